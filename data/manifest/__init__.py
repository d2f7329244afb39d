"""Corpora on disk: one Parquet schema, its reader, writer and checks."""
