"""Yaml files that override the defaults written in the dataclasses."""

if not __name__.startswith("hcbench."):
    raise ImportError(f"import hcbench.{__name__}, not {__name__}")
