"""Attributes that ReID sets have beside their images: their files, and the splits of the benchmark `attributes`."""
