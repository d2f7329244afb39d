"""Plan, training loop, evaluation, tracking and the command line."""

if not __name__.startswith("hcbench."):
    raise ImportError(f"import hcbench.{__name__}, not {__name__}")
