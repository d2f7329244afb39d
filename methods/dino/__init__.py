"""DINO: self-distillation between the crops of one image."""
