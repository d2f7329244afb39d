"""Which cells make a row, which settings name a variant, what is missing."""

from __future__ import annotations

import json
import math

import pandas as pd

from hcbench.reports.arrange import arrange


def labels(arranged) -> list[str]:
    return [row.label for row in arranged.rows]


def test_groups_stand_in_the_order_that_their_cells_name(workspace) -> None:
    for group, order in (("z", None), ("captions", 4), ("a", None), ("images", 1)):
        workspace.cell(group, group, supervision_order=order)
    assert [row.supervision for row in arrange(workspace.results()).rows] == ["images", "captions", "z", "a"]


def test_rows_by_supervision_then_title(full) -> None:
    arranged = arrange(full(1).results())
    assert [row.method for row in arranged.rows] == [
        "histogram", "pixels", "random", "mae", "simclr", "solider", "gan-invariance", "hap", "genpoccl", "stablerep",
        "plip", "supervised",
    ]  # fmt: skip


def test_seeds_are_repetitions_of_one_row(workspace) -> None:
    for seed in range(3):
        workspace.score(workspace.cell("mae", seed=seed), "reid", 0.3 + seed / 100)
    arranged = arrange(workspace.results())
    assert labels(arranged) == ["MAE"]
    entry = arranged.entries[arranged.rows[0], arranged.main_metrics[0]]
    assert entry.sample is not None
    assert entry.sample.seeds == (0, 1, 2)
    assert entry.sample.replicates is not None
    assert entry.sample.replicates.shape == (3, 200)


def test_controls_stand_at_every_budget(workspace) -> None:
    workspace.score(workspace.cell("pixels", "control"), "reid", 0.2)
    for budget, size in (("1pct", 5855), ("0.1pct", 585)):
        workspace.score(workspace.cell("mae", budget=budget, budget_images=size), "reid", 0.3)
    arranged = arrange(workspace.results())
    assert arranged.budgets == ("0.1pct", "1pct")
    for budget in arranged.budgets:
        assert [row.method for row in arranged.at(budget)] == ["pixels", "mae"]


def test_a_swept_setting_names_its_rows_and_no_other(workspace) -> None:
    for weight in (0.1, 0.5):
        workspace.score(
            workspace.cell("mae", config=json.dumps({"method": {"weight": weight, "depth": 2}})), "reid", 0.3
        )
    workspace.score(workspace.cell("simclr", config=json.dumps({"method.temperature": 0.2})), "reid", 0.3)
    assert labels(arrange(workspace.results())) == ["MAE · weight=0.1", "MAE · weight=0.5", "SIMCLR"]


def test_a_sweep_of_the_evaluation_makes_rows_and_leaves_other_benchmarks_whole(workspace) -> None:
    cell = workspace.cell("solider")
    for value in (0.0, 0.5):
        workspace.score(cell, "reid", 0.3 + value / 10, config={"lambda": value})
    workspace.score(cell, "pose", 0.4)
    arranged = arrange(workspace.results())
    assert labels(arranged) == ["SOLIDER · lambda=0", "SOLIDER · lambda=0.5"]
    pose, reid = arranged.main_metrics
    values = [[float(arranged.entries[row, m].sample.values[0]) for m in (pose, reid)] for row in arranged.rows]
    assert values == [[0.4, 0.3], [0.4, 0.35]]


def test_given_files_are_rows_by_their_titles(workspace) -> None:
    """Files share the method `checkpoint`; only two files of one title are told apart by their content."""
    for title, content in (("MAE: a", "1"), ("DINO: b", "2"), ("MAE: c", "3"), ("MAE: c", "4")):
        config = json.dumps({"checkpoint.sha256": content, "checkpoint.layout": title[:3].lower()})
        workspace.score(workspace.cell("checkpoint", "given", title=title, budget="-", config=config), "reid", 0.3)
    assert labels(arrange(workspace.results())) == ["DINO: b", "MAE: a", "MAE: c · sha256=3", "MAE: c · sha256=4"]


def test_settings_of_training_do_not_multiply_controls(workspace) -> None:
    for passes in (1, 3):
        config = json.dumps({"pretrain.passes": passes, "corpus.noise": "0.0", "pretrain.height": "128"})
        workspace.score(workspace.cell("random", "control", config=config), "reid", 0.3)
    (row,) = arrange(workspace.results()).rows
    assert (row.label, row.oracle) == ("RANDOM", False)


def test_settings_without_an_effect_name_no_row(workspace) -> None:
    for seed in (0, 1):
        config = json.dumps({"pretrain.log_every": seed + 1})
        workspace.score(workspace.cell("mae", seed=seed, config=config), "reid", 0.3)
    assert labels(arrange(workspace.results())) == ["MAE"]


def test_settings_that_a_card_calls_nameless_name_no_row(workspace) -> None:
    for day, digest in enumerate(("aa", "bb"), start=1):
        workspace.cell(
            "weights", seed=0, config=json.dumps({"weights.sha256": digest}), nameless="weights.sha256",
            created=pd.Timestamp(f"2026-01-0{day}", tz="UTC"),
        )  # fmt: skip
    arranged = arrange(workspace.results())
    assert [row.label for row in arranged.rows] == ["WEIGHTS"]
    assert arranged.superseded == 1, "of two files the newer one counts"


def test_oracle_rows_are_named(workspace) -> None:
    for noise in ("0.0", "1.0"):  # parameters come out of the store as text
        workspace.score(workspace.cell("mae", config=json.dumps({"corpus": {"noise": noise}})), "reid", 0.3)
    arranged = arrange(workspace.results())
    assert [(row.label, row.oracle) for row in arranged.rows] == [
        ("MAE · noise=1.0", False),
        ("MAE [oracle: no label noise]", True),
    ]


def test_what_the_user_changed_is_named_once(workspace) -> None:
    shared, own = {"pretrain.passes": 1.0}, {"pretrain.passes": 1.0, "method.mask": 0.9}
    workspace.score(workspace.cell("mae", config=json.dumps(own), overrides=json.dumps(own)), "reid", 0.3)
    workspace.score(workspace.cell("hap", config=json.dumps(shared), overrides=json.dumps(shared)), "reid", 0.3)
    arranged = arrange(workspace.results())
    assert arranged.common == (("pretrain.passes", "1"),)
    assert labels(arranged) == ["HAP", "MAE · mask=0.9"]


def test_seeds_of_the_same_settings_are_one_row_whoever_chose_them(workspace) -> None:
    """The user changed it once; another time a profile said so, or it was stored before changes were."""
    settings = {"pretrain.passes": "1.0", "mae.mask": "0.9"}
    for seed, overrides in enumerate((json.dumps(settings), "{}", None)):
        cell = workspace.cell("mae", seed=seed, config=json.dumps(settings), overrides=overrides)
        workspace.score(cell, "reid", 0.3)
    workspace.score(workspace.cell("hap", config=json.dumps({"pretrain.passes": "1.0"})), "reid", 0.3)
    arranged = arrange(workspace.results())
    assert labels(arranged) == ["HAP", "MAE · mask=0.9"]
    assert arranged.common == (("pretrain.passes", "1.0"),)


def test_results_without_a_column_of_changes_have_plain_rows(workspace) -> None:
    workspace.score(workspace.cell("mae", config=json.dumps({"mae.mask": "0.9"})), "reid", 0.3)
    arranged = arrange(workspace.results())
    assert (labels(arranged), arranged.common) == (["MAE"], ())


def test_smaller_test_sets_never_share_a_column(workspace) -> None:
    workspace.score(workspace.cell("mae"), "reid", 0.3)
    workspace.score(workspace.cell("hap"), "reid", 0.9, config={"scale": 0.1})
    workspace.score(workspace.cell("plip"), "reid", 0.8, version="2")
    arranged = arrange(workspace.results())
    assert [(m.scale, m.version) for m in arranged.main_metrics] == [(0.1, "1"), (1.0, "1"), (1.0, "2")]
    assert arranged.main_metrics[0].heading == "Person ReID (0.1 of the identities, not the benchmark)"
    assert len(arranged.entries) == 6


def test_the_newest_version_counts(workspace) -> None:
    old, both = workspace.cell("mae"), workspace.cell("hap")
    for version in ("9", "10"):
        workspace.score(both, "reid", 0.1 * int(version), version=version)
    arranged = arrange(workspace.results())
    assert [(m.version, m.heading) for m in arranged.main_metrics] == [("10", "Person ReID")]
    assert arranged.outdated == 1
    workspace.score(old, "reid", 0.3, version="9")
    arranged = arrange(workspace.results())
    hap, mae = arranged.rows
    ten, nine = arranged.main_metrics
    assert (ten.heading, nine.heading) == ("Person ReID (version 10)", "Person ReID (version 9)")
    assert {entry for entry in arranged.entries if entry[1].main} == {(hap, ten), (mae, nine)}
    assert arranged.outdated == 1


def test_a_setting_that_only_an_older_version_was_asked_for_stays(workspace) -> None:
    cell = workspace.cell("mae")
    for version, shots in (("1", 0), ("1", 5), ("2", 0)):
        workspace.score(cell, "reid", 0.3, version=version, config={"shots": shots})
    arranged = arrange(workspace.results())
    assert {(row.label, metric.version) for row, metric in arranged.entries if metric.main} == {
        ("MAE · shots=0", "2"), ("MAE · shots=5", "1"),
    }  # fmt: skip
    assert arranged.outdated == 1


def test_the_newest_cell_counts(workspace) -> None:
    workspace.score(workspace.cell("mae", created=pd.Timestamp("2026-02-02", tz="UTC")), "reid", 0.5)
    workspace.score(workspace.cell("mae", created=pd.Timestamp("2026-02-01", tz="UTC")), "reid", 0.1)
    arranged = arrange(workspace.results())
    entry = arranged.entries[arranged.rows[0], arranged.main_metrics[0]]
    assert entry.sample is not None
    assert entry.sample.values.tolist() == [0.5]
    assert arranged.superseded == 1


def test_failures_and_what_is_still_to_finish(workspace) -> None:
    workspace.cell("mae", status="failed", reason="disk full")
    workspace.cell("simclr", status="running")
    cell = workspace.cell("plip")
    workspace.score(cell, "reid", None, status="out-of-memory", reason="2 GiB")
    workspace.score(cell, "pose", 0.3)
    arranged = arrange(workspace.results())
    assert [(f.cell.method, f.benchmark, f.status) for f in arranged.failures] == [
        ("mae", "", "failed"),
        ("plip", "reid", "out-of-memory"),
    ]
    assert arranged.unfinished == 1
    assert [metric.title for metric in arranged.main_metrics] == ["AP50", "no result"]


def test_one_seed_without_replicates_takes_them_from_all(workspace) -> None:
    for seed in range(2):
        evaluation = workspace.score(workspace.cell("mae", seed=seed), "reid", 0.3)
    del workspace.replicates[evaluation, "mAP"]
    arranged = arrange(workspace.results())
    sample = arranged.entries[arranged.rows[0], arranged.main_metrics[0]].sample
    assert sample is not None
    assert sample.replicates is None


def test_what_a_data_set_does_not_define_is_no_column(workspace) -> None:
    """PCK of nobody: undefined in every row, beside a metric that is defined; the main one stays, whatever it is."""
    for seed, value in enumerate((0.3, math.nan)):
        workspace.score(workspace.cell("mae", seed=seed), "pose", value)
    workspace.score(workspace.cell("simclr"), "reid", math.nan)
    results = workspace.results()
    results.scores.loc[results.scores["metric"] == "AP", "value"] = math.nan
    shown = [(metric.benchmark, metric.name) for metric in arrange(results).metrics]
    assert ("pose", "AP50") in shown
    assert ("pose", "AP") not in shown
    assert ("reid", "mAP") in shown
