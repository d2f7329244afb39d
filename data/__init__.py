"""The ground floor: samples, budgets, batched augmentation and every dataset."""

if not __name__.startswith("hcbench."):
    raise ImportError(f"import hcbench.{__name__}, not {__name__}")
