"""hcbench compares human-centric self-supervised pre-training methods fairly."""

__version__ = "0.1.0"
