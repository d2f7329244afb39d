"""Main, bar, rank, detail and failure tables, curves: cells, marks, footnotes, headers."""

from __future__ import annotations

import json
import math

import pytest

from hcbench.errors import ConfigError
from hcbench.reports.comparisons import analyse
from hcbench.reports.curves import comparison_tables
from hcbench.reports.render.table import Footnotes, Table, shown
from hcbench.reports.tables import (
    bar_table,
    by_benchmark,
    detail_table,
    failure_table,
    group_table,
    main_table,
    rank_table,
)


def cells(table: Table) -> dict[str, list[str]]:
    """Shown cells by row title."""
    return {
        row.title: [shown(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)]
        for row in table.rows
    }


def marks(table: Table) -> dict[str, str]:
    """Mark of the first cell of each row that has one."""
    return {row.title: row.cells[0].mark for row in table.rows if row.cells[0].mark}


def ticks(table: Table) -> set[str]:
    """Ticks of the first cells."""
    return {row.cells[0].tick for row in table.rows}


def test_main_table_holds_all_methods_with_supervision_beside_and_controls_below(full) -> None:
    table = main_table(analyse(full(3).results()), "1pct")
    assert [(column.group, column.title) for column in table.columns] == [
        ("Human pose", "AP50"),
        ("Person ReID", "mAP"),
    ]
    assert [row.group for row in table.rows] == [""] * 9 + ["controls (no pre-training)"] * 3
    assert {row.title: row.label for row in table.rows}["HAP"] == "images with poses or structure"
    assert {row.label for row in table.rows if row.group} == {""}
    assert marks(table) == {"SUPERVISED": "star", "GENPOCCL": "second"}
    assert {row.cells[0].tick for row in table.rows if not row.group} == {"above"}
    assert {row.cells[0].tick for row in table.rows if row.group} == {""}
    assert cells(table)["GENPOCCL"][0].startswith("52.0 ± ")


def test_the_header_says_in_two_sentences_what_signs_mean_and_where_seed_spread_comes_from(full) -> None:
    header = main_table(analyse(full(3).results()), "1pct").header
    assert header == (
        "Mean over 3 seeds ± half-width of the 95 % interval.",
        "Intervals: test sampling (bootstrap) and seeds. Seed spread is estimated from all methods of a column "
        "together (it counts as 2 more degrees of freedom), because three runs of one method cannot tell it.",
        "★ is shown to be the best of all trained methods (error below 5 % over 2 columns together), bold may be the "
        "best: nothing is shown to be better (95 %); below a star, underlined is shown to be the best of the rest.",
        "▲ is shown to be above all of the controls random, pixels and histogram, ▼ below at least one of them, · "
        "neither (error below 5 % over the methods of a column).",
        "Pre-training data: noise=1.0.",
    )


def test_groups_of_two_or_more_have_a_view_of_their_own(full, workspace) -> None:
    table = group_table(analyse(full(3).results()), "1pct")
    assert table is not None
    assert list(dict.fromkeys(row.group for row in table.rows)) == [
        "images only",
        "images with poses or structure",
        "generated groups",
    ]
    assert marks(table) == {"SIMCLR": "star", "MAE": "second", "HAP": "star", "GENPOCCL": "star"}
    assert ticks(table) == {""}
    assert "of its group (error below 5 % over 6 contests together)" in table.header[0]
    workspace.score(workspace.cell("mae"), "reid", 0.3)
    workspace.score(workspace.cell("hap", "structure"), "reid", 0.3)
    assert group_table(analyse(workspace.results()), "1pct") is None


def test_one_seed_says_so_marks_nothing_and_says_what_would(full) -> None:
    table = main_table(analyse(full(1).results()), "1pct")
    assert marks(table) == {}
    assert ticks(table) == {""}
    assert table.header[:2] == ("One seed.", "Intervals with one seed: test sampling only (bootstrap).")
    assert table.header[2].startswith(
        "No verdict on methods. One seed says nothing about methods: --seeds 0,1,2 for two or three methods would make "
        "every column speak; the others may stay at one."
    )


def test_columns_without_a_verdict_are_named_where_others_have_one(full) -> None:
    space = full(3)
    cells_of_more_seeds = {cell["cell"] for cell in space.cells if cell["seed"] > 0}
    space.scores = [s for s in space.scores if s["benchmark"] == "pose" or s["cell"] not in cells_of_more_seeds]
    header = main_table(analyse(space.results()), "1pct").header
    assert any(line.startswith("No verdict on methods in Person ReID mAP. One seed") for line in header)
    assert any("best of all trained methods (error below 5 %)" in line for line in header)


def test_missing_values_say_why(workspace) -> None:
    workspace.cell("mae", status="diverged", reason="loss is NaN")
    workspace.cell("hap", status="skipped", reason="needs keypoints, and the corpus knows none of them")
    workspace.cell("simclr", status="running")
    cell = workspace.cell("plip")
    workspace.score(cell, "pose", 0.4)
    workspace.score(cell, "reid", None, status="out-of-memory", reason="")
    lonely = workspace.cell("solider")
    workspace.score(lonely, "pose", math.nan, reason="no large person")
    table = main_table(analyse(workspace.results()), "1pct")
    found = cells(table)
    assert found["MAE"] == ["diverged (loss is NaN)"] * 2
    assert found["HAP"] == ["skipped"] * 2
    assert found["SIMCLR"] == ["running"] * 2
    assert found["PLIP"][1] == "out-of-memory"
    assert found["SOLIDER"] == ["n/a (no large person)", "not run"]
    (row,) = [row for row in table.rows if row.title == "HAP"]
    assert table.footnotes[row.cells[0].notes[0]] == "needs keypoints, and the corpus knows none of them"


def test_missing_seeds_are_counted(workspace) -> None:
    for seed in range(2):
        workspace.score(workspace.cell("mae", seed=seed), "reid", 0.3)
    workspace.cell("mae", seed=2, status="failed", reason="disk full")
    table = main_table(analyse(workspace.results()), "1pct")
    note = table.rows[0].cells[0].notes[0]
    assert table.footnotes[note] == "2 of 3 seeds: seed 2 failed (disk full)"


@pytest.mark.parametrize(
    ("change", "config", "note"),
    [
        ({"ledger.images_seen": 18000}, {}, "images seen 18,000, others 36,000"),
        ({"ledger.images_stored": 5000}, {}, "images stored 5,000, others 5,855"),
        ({"ledger.tuning_trials": 40}, {}, "tuning trials 40, others 6"),
        ({"backbone": "resnet50"}, {}, "backbone resnet50, others vit-mini16"),
        ({"precision": "bf16"}, {}, "precision bf16, others fp32"),
        ({"config": '{"pretrain": {"height": 256, "width": 128}}'}, {}, "input size 256 x 128, others 128 x 64"),
        ({}, {"readout": "mean"}, "readout rule mean, others auto"),
        ({}, {"epochs": 3.0}, "head budget 3, others 1"),
    ],
)
def test_unequal_rows_are_marked_with_what_differs(workspace, change, config, note) -> None:
    for method in ("mae", "simclr", "dino"):
        odd = method == "dino"
        cell = workspace.cell(method, **(change if odd else {}))
        workspace.score(cell, "reid", 0.3, config=config if odd else {})
    workspace.score(workspace.cell("pixels", "control"), "reid", 0.2)
    table = main_table(analyse(workspace.results()), "1pct")
    noted = {row.title.split(" ")[0]: [table.footnotes[mark] for mark in row.notes] for row in table.rows}
    assert noted == {"PIXELS": [], "MAE": [], "SIMCLR": [], "DINO": [f"not equal: {note}"]}


def test_rows_with_other_sources_of_structure_are_marked(workspace) -> None:
    for number, source in enumerate(("capsule", "capsule", "unused")):
        config = json.dumps({"gcl": {"rho": number}, "pretrain": {"height": 128, "width": 64}})
        cell = workspace.cell("gcl", "structure", config=config, sources=json.dumps({"structure": source}))
        workspace.score(cell, "reid", 0.3 + 0.01 * number)
    workspace.score(workspace.cell("hap", "structure"), "reid", 0.2)
    table = main_table(analyse(workspace.results()), "1pct")
    noted = [table.footnotes[mark] for row in table.rows for mark in row.notes]
    assert noted == ["not equal: structure unused, others capsule"]


def test_settings_of_the_embedded_corpus_stay_out_of_other_tables(workspace) -> None:
    workspace.score(workspace.cell("mae", corpus="coco"), "reid", 0.3)
    assert not [line for line in main_table(analyse(workspace.results()), "1pct").header if "Pre-training" in line]


def test_bar_table(full) -> None:
    table = bar_table(analyse(full(3).results()), "1pct")
    assert "PIXELS" not in cells(table)
    assert cells(table)["GENPOCCL"][0].startswith("+22.0 ± ")
    assert table.header[1] == "The best are HISTOGRAM (Human pose AP50), HISTOGRAM (Person ReID mAP)."
    assert ticks(table) == {"above"}
    assert "ticks are about all of the controls" in table.header[0]


def test_below_the_bar(workspace) -> None:
    for seed in range(3):
        workspace.score(workspace.cell("histogram", "control", seed=seed), "reid", 0.5 + seed * 1e-4)
        workspace.score(workspace.cell("mae", seed=seed), "reid", 0.3 - seed * 1e-4)
    table = bar_table(analyse(workspace.results()), "1pct")
    assert ticks(table) == {"below"}


def test_ranks_hold_ties(full) -> None:
    table = rank_table(analyse(full(3).results()), "1pct")
    assert "HISTOGRAM" not in cells(table)
    assert cells(table)["SUPERVISED"] == ["1", "1", "1"]
    assert cells(table)["SOLIDER"] == ["9", "9", "9"]
    tied = rank_table(analyse(full(3, jitter=0.05).results()), "1pct")
    assert all("–" in cell for cell in cells(tied)["SIMCLR"][:2])


def test_budget_curves_keep_compute_limited_rows_out(full) -> None:
    space = full(2, ("0.1pct", "1pct"))
    for cell in space.cells:
        if cell["method"] == "hap" and cell["budget"] == "1pct":
            cell["ledger.images_seen"] = 5855
    analysis = analyse(space.results())
    pose, reid = comparison_tables(analysis, "budget")
    assert (pose.name, reid.name) == ("budget-pose-AP50", "budget-reid-mAP")
    assert [column.title for column in pose.columns] == ["0.1pct", "1pct"]
    found = cells(pose)
    assert found["HAP"][1] == "compute-limited"
    assert [text.split(" ")[0] for text in found["MAE"]] == ["30.0", "35.0"]
    assert found["PIXELS"][0] == found["PIXELS"][1]
    assert list(pose.footnotes.values()) == [
        "compute-limited: 1.0 passes over its images, at least 2 are needed; kept out of the curve"
    ]
    row = next(row for row in main_table(analysis, "1pct").rows if row.title == "HAP")
    assert len(row.notes) == 2  # not equal in images seen, and compute-limited


def test_any_sweep_can_be_laid_side_by_side(workspace) -> None:
    cell = workspace.cell("solider")
    for value in (10, 9, 0.5):
        workspace.score(cell, "reid", 0.3, config={"lambda": value})
    workspace.score(workspace.cell("pixels", "control"), "reid", 0.2)
    (table,) = comparison_tables(analyse(workspace.results()), "lambda")
    assert [column.title for column in table.columns] == ["0.5", "9", "10"]
    assert [text.split(" ")[0] for text in cells(table)["SOLIDER"]] == ["30.0"] * 3
    assert [text.split(" ")[0] for text in cells(table)["PIXELS"]] == ["20.0"] * 3


def test_a_readout_that_an_encoder_lacks_is_skipped_in_its_column(workspace) -> None:
    for method in ("genpoccl", "stablerep"):
        cell = workspace.cell(method, "generated")
        workspace.score(cell, "reid", 0.4, config={"readout": "cls"})
        value, facts = (0.3, {}) if method == "genpoccl" else (None, {"status": "skipped", "reason": "no token"})
        workspace.score(cell, "reid", value, config={"readout": "pose"}, **facts)
    (table,) = comparison_tables(analyse(workspace.results()), "readout")
    assert [column.title for column in table.columns] == ["cls", "pose"]
    assert [text.split(" ")[0] for text in cells(table)["GENPOCCL"]] == ["40.0", "30.0"]
    assert cells(table)["STABLEREP"][1] == "skipped (no token)"


def test_a_dimension_without_values_is_an_error(workspace) -> None:
    cell = workspace.cell("solider")
    for value in (0, 1):
        workspace.score(cell, "reid", 0.3, config={"lambda": value})
    analysis = analyse(workspace.results())
    with pytest.raises(ConfigError, match="do not differ in 'lambd'") as caught:
        comparison_tables(analysis, "lambd")
    assert "lambda" in caught.value.hint


def test_details_show_all_metrics_and_the_chosen_readout(full) -> None:
    space = full(3)
    odd = next(score for score in space.scores if score["metric"] == "AP50" and score["cell"] == "cell3")
    for score in space.scores:
        if score["evaluation"] == odd["evaluation"]:
            score["readout"] = "mean"
    analysis = analyse(space.results())
    table = detail_table(analysis, by_benchmark(analysis)[0], "1pct")
    assert [column.title for column in table.columns] == ["readout", "AP50", "AP"]
    assert cells(table)["SIMCLR"][0] == "cls+stripes (2), mean (1)"
    assert cells(table)["MAE"][0] == "cls+stripes"
    assert table.title == "Human pose, version 1, frozen, at 1pct: all metrics"


def test_failures_are_listed_with_reasons(workspace, full) -> None:
    workspace.cell("mae", status="failed", reason="disk full", seed=2)
    workspace.score(workspace.cell("plip"), "reid", None, status="failed", reason="no query")
    table = failure_table(analyse(workspace.results()))
    assert table is not None
    assert cells(table) == {
        "MAE": ["1pct", "2", "pre-training", "failed", "disk full"],
        "PLIP": ["1pct", "0", "reid", "failed", "no query"],
    }
    assert failure_table(analyse(full(1).results())) is None


def test_footnotes_share_marks_and_go_on_after_z() -> None:
    notes = Footnotes()
    assert [notes.mark(text) for text in ("x", "y", "x")] == ["a", "b", "a"]
    assert [notes.mark(str(i)) for i in range(26)][-1] == "ab"
    assert notes.texts["ab"] == "25"


def effort_notes(workspace) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    table = main_table(analyse(workspace.results()), "1pct")
    return {row.title: [table.footnotes[mark] for mark in row.notes] for row in table.rows}, table.header


def test_rows_of_equal_compute_tell_images_seen_and_are_checked_for_flops(workspace) -> None:
    costs = {"mae": (36000, 1.0e15), "dino": (9000, 1.04e15), "solider": (8000, 1.2e15)}
    for method, (seen, flops) in costs.items():
        ledger = {"ledger.images_seen": seen, "ledger.flops": flops}
        workspace.score(workspace.cell(method, effort="compute", **ledger), "reid", 0.3)
    workspace.score(workspace.cell("pixels", "control", effort="images"), "reid", 0.2)
    noted, header = effort_notes(workspace)
    assert header[-1] == "Methods had equal FLOPs (within 5%), not equal images seen."
    assert noted["PIXELS"] == []
    assert noted["MAE"] == ["not equal: images seen 36,000 (equal compute instead)"]
    assert noted["DINO"][0] == "not equal: images seen 9,000 (equal compute instead)"
    assert noted["SOLIDER"][0].endswith("images seen 8,000 (equal compute instead); FLOPs 1.2e+15, others 1.04e+15")


def test_both_efforts_of_a_method_are_two_rows(workspace) -> None:
    """The reference's one cell belongs to both comparisons."""
    workspace.score(workspace.cell("stablerep", effort="images"), "reid", 0.3)
    for effort, seen in (("images", 36000), ("compute", 9000)):
        cell = workspace.cell("dino", effort=effort, **{"ledger.images_seen": seen})
        workspace.score(cell, "reid", 0.2)
    noted, header = effort_notes(workspace)
    assert set(noted) == {"STABLEREP", "DINO · effort=images", "DINO · effort=compute"}
    assert header[-1] == "Rows with effort=compute had equal FLOPs (within 5%), not equal images seen."
    assert noted["STABLEREP"] == noted["DINO · effort=images"] == []
    assert noted["DINO · effort=compute"][0] == "not equal: images seen 9,000 (equal compute instead)"


def test_findings_say_what_is_shown_and_nothing_where_nothing_is(full, workspace) -> None:
    assert main_table(analyse(full(3).results()), "1pct").findings == (
        "Human pose AP50: SUPERVISED is best, above all controls.",
        "Person ReID mAP: SUPERVISED is best, above all controls.",
    )
    assert main_table(analyse(full(1).results()), "1pct").findings == ()
    for seed in range(3):
        for method in ("mae", "dino", "hap", "plip"):
            workspace.score(workspace.cell(method, seed=seed), "reid", 0.3 + 0.01 * seed)
    (line,) = main_table(analyse(workspace.results()), "1pct").findings
    assert line == "Person ReID mAP: no method is shown to be better than another."
