"""Sentences above tables of scores: what the intervals cover, what the signs mean, why there may be none."""

from __future__ import annotations

from collections.abc import Sequence

from hcbench.reports.bar import BAR, missing_controls
from hcbench.reports.comparisons import Analysis
from hcbench.reports.measured import MeasuredColumn
from hcbench.reports.render.signs import CIRCLE, HOLLOW_STAR, HOLLOW_TICKS, STAR, TICKS
from hcbench.reports.rows import Metric, Row
from hcbench.reports.statistics.advice import seed_advice
from hcbench.reports.statistics.intervals import BORROWED, BOTH, NO_INTERVAL, SEEDS_ONLY, TEST_ONLY
from hcbench.reports.statistics.seed_spread import PRIOR_FREEDOM
from hcbench.reports.views import View

SEED_SPREAD = (
    "Seed spread is estimated from all methods of a column together (it counts as "
    f"{PRIOR_FREEDOM:g} more degrees of freedom), because three runs of one method cannot tell it."
)


def interval_lines(
    analysis: Analysis, rows: Sequence[Row], metrics: Sequence[Metric], budget: str = ""
) -> tuple[str, ...]:
    """Number of seeds and kind of the intervals of these rows."""
    estimates = [(row, analysis.estimate(row, metric, budget)) for row in rows for metric in metrics]
    found = [(row, estimate) for row, estimate in estimates if estimate is not None]
    if not found:
        return ()
    # Controls that no seed changes are scored once, whatever the number of seeds of the methods.
    counted = [estimate.seeds for row, estimate in found if not row.control] or [one.seeds for _, one in found]
    seeds = sorted(set(counted))
    count = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    lines = [f"Mean over {count} seeds ± half-width of the 95 % interval." if seeds[-1] > 1 else "One seed."]
    meaning = {
        BOTH: f"Intervals: test sampling (bootstrap) and seeds. {SEED_SPREAD}",
        BORROWED: "Intervals: test sampling (bootstrap) and a seed spread that was measured elsewhere.",
        TEST_ONLY: f"Intervals{' with one seed' if seeds[-1] == 1 else ''}: test sampling only (bootstrap).",
        SEEDS_ONLY: "Intervals without stored replicates: seeds only; such a row is not excluded from being best.",
        NO_INTERVAL: "Values without ±: one seed, no stored replicates.",
    }
    kinds = {estimate.kind for _, estimate in found}
    lines += [text for kind, text in meaning.items() if kind in kinds]
    if any(estimate.kind == BOTH and estimate.seeds == 1 and not row.control for row, estimate in found):
        lines.append("Rows with one seed have the seed spread of the others.")
    return tuple(lines)


def verdict_lines(
    analysis: Analysis, metrics: Sequence[Metric], budget: str, view: View, *, scope: str, unit: str, ticks: bool
) -> tuple[str, ...]:
    """What star, bold and ticks mean in this table, or why there are none.

    Args:
        analysis: The statistics.
        metrics: Columns of the table.
        budget: Its budget.
        view: Its marks.
        scope: Among what rows compete, as the sentence says it.
        unit: What is decided together: columns, or contests of groups.
        ticks: Whether the table shows ticks.
    """
    columns = [column for metric in metrics if (column := analysis.column(metric, budget)) is not None]
    trained = [column for column in columns if any(not row.control for row in column.rows)]
    judged = [column for column in trained if column.pool is not None]
    lines: list[str] = []
    if view.judged:
        lines.append(_best_line(judged, view, scope, unit))
    elif judged and view.rivals and max(view.rivals.values()) == 1:
        lines.append("One method alone: there is nothing to be best of.")
    if ticks and judged and (present := _controls(judged)):
        lines.append(_bar_line(judged, present))
    borrowed = dict.fromkeys(column.pool.source for column in judged if column.pool is not None and column.borrowed)
    if borrowed:
        lines.append(
            f"Hollow signs: every method has one seed here, and the seed spread is that of {'; '.join(borrowed)}. "
            "Seeds of your own take its place."
        )
    silent = [column for column in trained if column.pool is None]
    if silent:
        lines.append(_silent_line(silent, all_of_them=len(silent) == len(trained)))
    return tuple(lines)


def _best_line(judged: Sequence[MeasuredColumn], view: View, scope: str, unit: str) -> str:
    hollow = all(column.borrowed for column in judged)
    star, bold = (HOLLOW_STAR, CIRCLE) if hollow else (STAR, "bold")
    together = "" if view.judged == 1 else f" over {view.judged} {unit} together"
    return (
        f"{star} is shown to be the best {scope} (error below 5 %{together}), {bold} may be the best: nothing is shown "
        "to be better (95 %); below a star, underlined is shown to be the best of the rest."
    )


def _bar_line(judged: Sequence[MeasuredColumn], present: Sequence[str]) -> str:
    above, below = (
        (HOLLOW_TICKS if all(column.borrowed for column in judged) else TICKS)[name] for name in ("above", "below")
    )
    which = f"all of the controls {_listed(present)}" if len(present) > 1 else f"the control {present[0]}"
    one = "at least one of them" if len(present) > 1 else "it"
    missing = [name for name in missing_controls(judged) if name in present]
    partly = f" ({_listed(missing)} not in every column)" if missing else ""
    return (
        f"{above} is shown to be above {which}{partly}, {below} below {one}, {TICKS['open']} neither (error below "
        "5 % over the methods of a column)."
    )


def _silent_line(silent: Sequence[MeasuredColumn], *, all_of_them: bool) -> str:
    """Why columns have no verdict, and what would give them one."""
    first = silent[0]
    advice = seed_advice([count for row, count in zip(first.rows, first.seeds, strict=True) if not row.control])
    if all_of_them:
        return f"No verdict on methods. {advice}"
    named = ", ".join(f"{column.metric.heading} {column.metric.title}" for column in silent)
    return f"No verdict on methods in {named}. {advice}"


def _controls(columns: Sequence[MeasuredColumn]) -> list[str]:
    return [name for name in BAR if any(row.method == name and row.control for c in columns for row in c.rows)]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
