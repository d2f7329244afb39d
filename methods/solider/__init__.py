"""SOLIDER: self-distillation with pseudo labels of body parts and a semantic controller."""
