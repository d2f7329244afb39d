"""Settings as reports need them: flat by dotted key, as text, and those in which rows differ."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from hcbench.reports.rows import Pairs, Settings


def flat(text: Any, prefix: str = "") -> dict[str, Any]:
    """Json text, nested or with dotted keys, as one flat mapping with dotted keys."""
    value = json.loads(text) if isinstance(text, str) and text else text
    if not isinstance(value, Mapping):
        return {}
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        found.update(flat(item, f"{name}.") if isinstance(item, Mapping) else {name: item})
    return found


def shown(value: Any) -> str:
    """A setting as it stands in a row's name."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def pick(settings: Settings, keys: Iterable[str]) -> Pairs:
    """The settings of some keys as pairs of text, sorted; keys that are not there are left out."""
    return tuple((key, shown(settings[key])) for key in sorted(keys) if key in settings)


def varying(items: Iterable[tuple[tuple[Hashable, ...], Settings]]) -> dict[Hashable, set[str]]:
    """Keys in which settings of one stratum differ, gathered by the stratum's first member (the method)."""
    values: dict[tuple[Hashable, ...], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for stratum, settings in items:
        for key, value in settings.items():
            values[stratum][key].add(shown(value))
    found: dict[Hashable, set[str]] = defaultdict(set)
    for stratum, by_key in values.items():
        found[stratum[0]] |= {key for key, texts in by_key.items() if len(texts) > 1}
    return found
