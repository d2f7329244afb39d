"""The seed spread of a store as a file that others may borrow from (`reports/borrowed.py`); for maintainers."""

from __future__ import annotations

import yaml

from hcbench.errors import ConfigError
from hcbench.reports.borrowed import PROFILES, BorrowedSpread, question
from hcbench.reports.comparisons import Analysis
from hcbench.reports.settings import flat

HOW = (
    "Measure with `hcbench run --seeds 0,1,2`, several methods and the defaults of the cpu profile, in a new workspace."
)


def spread_of(analysis: Analysis) -> BorrowedSpread:
    """The spread of the newest main columns of a store, at the defaults of one profile.

    Raises:
        ConfigError: Cells are not all of one profile, network and corpus, settings were changed, or there are no seeds.
    """
    cells = [cell for row, several in analysis.arranged.cells.items() if not row.control for cell in several]
    facts = {(cell.row.profile, cell.row.backbone, cell.row.corpus) for cell in cells}
    changed = sorted({key for cell in cells for key in flat(cell.row.overrides)})
    if len(facts) != 1:
        raise ConfigError(f"The store holds {len(facts)} kinds of profile, network and corpus, instead of one.", HOW)
    if changed:
        raise ConfigError(f"Settings were changed for some cells: {', '.join(changed)}.", HOW)
    ((profile, backbone, corpus),) = facts
    if profile not in PROFILES:
        raise ConfigError(f"The profile is {profile!r}; spread is borrowed for {', '.join(PROFILES)} alone.", HOW)
    provenance = _provenance(analysis)
    pools = {
        question(metric, budget): column.pool
        for (budget, metric), column in analysis.columns.items()
        if metric.main and not metric.outdated and metric.scale == 1 and column.pool is not None and not column.borrowed
    }
    if not pools:
        raise ConfigError("No column of the store has a trained method with two seeds.", HOW)
    return BorrowedSpread(profile=profile, backbone=backbone, corpus=corpus, provenance=provenance, columns=pools)


def spread_text(spread: BorrowedSpread) -> str:
    """The file of a measured spread."""
    names = ("benchmark", "version", "data", "protocol", "metric", "budget")
    entries = [
        dict(zip(names, key, strict=True)) | {"variance": float(pool.variance), "freedom": float(pool.freedom)}
        for key, pool in sorted(spread.columns.items())
    ]
    head = {
        "profile": spread.profile,
        "backbone": spread.backbone,
        "corpus": spread.corpus,
        "provenance": spread.provenance,
    }
    return yaml.safe_dump({**head, "columns": entries}, sort_keys=False, width=120)


def _provenance(analysis: Analysis) -> str:
    """Which methods and seeds, made by which version."""
    rows = [row for row in analysis.arranged.rows if not row.control]
    seeds = sorted({cell.row.seed for row in rows for cell in analysis.arranged.cells[row]})
    made = analysis.arranged.footer.get("results made by") or "a version that nobody named"
    titles = ", ".join(dict.fromkeys(row.title for row in rows))
    return f"{titles}, seeds {', '.join(map(str, seeds))}, made by hcbench {made}"
