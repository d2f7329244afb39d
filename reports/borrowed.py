"""Seed spread that was measured once and may be borrowed where every method has one seed.

One seed says nothing about methods. For the default comparison of the cpu profile alone, the spread that the
maintainers measured with several seeds may stand for it: a file of `configs/seed_spread`, which names its origin. What
is concluded with it is marked by hollow signs, and the header of the table names the file's origin. A column borrows
only where it is what was measured: same profile, network, corpus, budget and question, and no setting changed.

    profile: cpu
    backbone: vit-mini16-res
    corpus: people
    provenance: hcbench 1.0 (0123abc), five methods, seeds 0, 1 and 2, two cores of an AMD EPYC
    columns:
      - {benchmark: reid, version: "2", data: people, protocol: frozen, metric: mAP, budget: 1pct,
         variance: 0.0021, freedom: 10}

`variance` is u0 of `reports/statistics/seed_spread.py`, `freedom` its D. `scripts/seed-spread` writes such a file
(`reports/measured_spread.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from hcbench.errors import ConfigError
from hcbench.reports.rows import Arranged, Metric, ReportedCell, Row
from hcbench.reports.settings import flat
from hcbench.reports.statistics.seed_spread import BORROWED_PRIOR_FREEDOM, Pool

FOLDER = "seed_spread"
PROFILES = ("cpu",)
"""Profiles whose spread may be borrowed: their defaults are the same on every machine."""

Question = tuple[str, str, str, str, str, str]
"""Benchmark, version, data, protocol, metric and budget."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BorrowedSpread:
    """A file of measured seed spread.

    Attributes:
        profile: Profile of its cells.
        backbone: Their network.
        corpus: What they were pre-trained on.
        provenance: Who measured it, when and with what.
        columns: Pool by question.
    """

    profile: str
    backbone: str
    corpus: str
    provenance: str
    columns: Mapping[Question, Pool]

    def pool_for(self, arranged: Arranged, rows: Iterable[Row], metric: Metric, budget: str) -> Pool | None:
        """The spread of a column; None where it is not what was measured."""
        cells = [cell for row in rows if not row.control for cell in arranged.cells[row]]
        if metric.scale != 1 or not cells or not all(self._measured(cell) for cell in cells):
            return None
        return self.columns.get(question(metric, budget))

    def _measured(self, cell: ReportedCell) -> bool:
        row = cell.row
        named = (row.profile, row.backbone, row.corpus) == (self.profile, self.backbone, self.corpus)
        return named and row.effort in ("", "images") and not flat(row.overrides)


def question(metric: Metric, budget: str) -> Question:
    """What the spread of a column was measured of."""
    return metric.benchmark, metric.version, metric.data, metric.protocol, metric.name, budget


def shipped() -> tuple[BorrowedSpread, ...]:
    """The files that come with hcbench; none where nothing was measured yet."""
    folder = files("hcbench.configs") / FOLDER
    places = [folder / f"{profile}.yaml" for profile in PROFILES]
    return tuple(read_spread(place) for place in places if place.is_file())


def read_spread(path: Traversable) -> BorrowedSpread:
    """Read a file of seed spread.

    Raises:
        ConfigError: It is not what the head of this file shows.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _wrong(path, f"it cannot be read: {' '.join(str(error).split())}") from error
    names = [one.name for one in fields(BorrowedSpread)]
    if not isinstance(found, dict) or sorted(found) != sorted(names):
        raise _wrong(path, f"it must hold {', '.join(names)}")
    texts = {name: found[name] for name in names if name != "columns"}
    if not all(isinstance(text, str) and text for text in texts.values()):
        raise _wrong(path, f"{', '.join(texts)} must be texts")
    if found["profile"] not in PROFILES:
        raise _wrong(
            path, f"the profile is {found['profile']!r}; spread may be borrowed for {', '.join(PROFILES)} alone"
        )
    if not isinstance(found["columns"], list) or not found["columns"]:
        raise _wrong(path, "columns must be a list")
    columns: dict[Question, Pool] = {}
    for entry in found["columns"]:
        key, pool = _column(path, entry, found["provenance"])
        if key in columns:
            raise _wrong(path, f"{' '.join(key)} is there twice")
        columns[key] = pool
    return BorrowedSpread(**texts, columns=columns)


def _column(path: Traversable, entry: Any, provenance: str) -> tuple[Question, Pool]:
    names = ("benchmark", "version", "data", "protocol", "metric", "budget", "variance", "freedom")
    if not isinstance(entry, dict) or sorted(map(str, entry)) != sorted(names):
        raise _wrong(path, f"{entry!r} must hold {', '.join(names)}")
    numbers = [entry["variance"], entry["freedom"]]
    sound = all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) and n > 0 for n in numbers)
    if not sound or entry["freedom"] < 1:
        raise _wrong(path, f"variance must be above 0 and freedom at least 1, not {numbers[0]!r} and {numbers[1]!r}")
    benchmark, version, data, protocol, metric, budget = (str(entry[name]) for name in names[:6])
    pool = Pool(variance=float(numbers[0]), freedom=float(numbers[1]), prior=BORROWED_PRIOR_FREEDOM, source=provenance)
    return (benchmark, version, data, protocol, metric, budget), pool


def _wrong(path: Traversable, why: str) -> ConfigError:
    return ConfigError(f"{path} is no file of seed spread: {why}.", "`scripts/seed-spread WORKSPACE` writes one.")
