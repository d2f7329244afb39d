"""hcbench compares human-centric self-supervised pre-training methods fairly."""

__version__ = "0.2.0.dev0"
