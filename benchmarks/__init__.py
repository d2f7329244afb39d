"""Downstream tasks, one folder each; metric definitions lie in `metrics`."""

if not __name__.startswith("hcbench."):
    raise ImportError(f"import hcbench.{__name__}, not {__name__}")
