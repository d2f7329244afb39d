"""Pre-training methods, one folder each; what two or more share lies in `parts`."""

if not __name__.startswith("hcbench."):
    raise ImportError(f"import hcbench.{__name__}, not {__name__}")
