"""From one tidy table of results to statistics, tables and figures."""

if not __name__.startswith("hcbench."):
    raise ImportError(f"import hcbench.{__name__}, not {__name__}")
