from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from hcbench.data.people.spec import REFERENCE_GROUPS
from hcbench.errors import ConfigError, DataError, DivergedError
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.planning.settings import CorpusConfig
from hcbench.harness.training.batches import make_batch
from hcbench.harness.training.corpus_view import corpus_view, draw_from
from hcbench.harness.training.health import diagnose
from hcbench.harness.training.ledger import facts_of_view
from hcbench.harness.training.loss_log import LossLog
from hcbench.harness.training.pretrain import build_method, pretrain
from hcbench.methods.base import Step
from hcbench.methods.parts.checkpoint import load_encoder

pytestmark = pytest.mark.usefixtures("plugins")
CPU = torch.device("cpu")


def test_a_folder_holds_checkpoint_ledger_losses_and_diagnosis(make_cell, tmp_path):
    folder = tmp_path / "cell"
    pretrain(make_cell(), folder, cache=tmp_path, device=CPU, workers=3)
    assert {path.name for path in folder.iterdir()} == {
        "checkpoint", "ledger.json", "losses.parquet", "diagnostics.json"
    }  # fmt: skip
    ledger = json.loads((folder / "ledger.json").read_text())
    assert (ledger["images_stored"], ledger["images_seen"], ledger["workers"]) == (36, 100, 3)
    losses = pd.read_parquet(folder / "losses.parquet")
    assert set(losses.stage) == {"encode", "game"}
    assert losses.images_seen.max() == 100
    diagnosis = json.loads((folder / "diagnostics.json").read_text())
    assert diagnosis["values"].keys() >= {"effective_rank", "uniformity", "alignment"}
    assert load_encoder(folder / "checkpoint").input_size == (32, 16)


def test_the_same_cell_gives_the_same_bytes_and_another_seed_others(make_cell, tmp_path):
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(weights))
        pretrain(make_cell(images_seen=40, seed=seed), tmp_path / name, cache=tmp_path, device=CPU)
        weights.append((tmp_path / name / "checkpoint" / "encoder.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_losses_of_a_training_that_breaks_off_are_kept(make_cell, tmp_path):
    with pytest.raises(DivergedError):
        pretrain(make_cell("dummy-diverges", log_every=1), tmp_path, cache=tmp_path, device=CPU)
    losses = pd.read_parquet(tmp_path / "losses.parquet")
    assert losses[losses.name == "main.loss"].step.tolist() == [1, 2]


def test_methods_of_a_seed_start_from_the_same_encoder(make_cell, view):
    first, second, other = (
        build_method(make_cell(name, seed=seed), view).encoder.state_dict()
        for name, seed in (("dummy-gan", 0), ("dummy-plain", 0), ("dummy-gan", 1))
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_setting_of_the_wrong_type_is_told_of(make_cell, view):
    with pytest.raises(ConfigError, match="pause_s"):
        build_method(make_cell(config={"pause_s": "soon"}), view)


def test_the_draw_is_nested_and_shared_by_methods(make_cell, tmp_path):
    def ids(images, seed=0, method="dummy-plain"):
        return set(corpus_view(replace(make_cell(method, seed=seed), budget_images=images), tmp_path).ids)

    assert ids(6) < ids(18) < ids(36)
    assert ids(18) == ids(18, method="dummy-gan")
    assert ids(18) != ids(18, seed=1)
    assert ids(18) < ids(20) < ids(24), "whole groups first, then a part of the next one"
    assert len(ids(20)) == 20


def test_a_corpus_that_shrank_is_told_of(make_cell, view):
    with pytest.raises(DataError, match="holds 32 images, the plan counted on 36"):
        draw_from(view, make_cell())


def test_people_views_hold_the_budget_in_the_layout(make_cell, tmp_path):
    cell = replace(make_cell(), corpus=CorpusConfig(layout="poses", noise=0.0), budget_images=10)
    samples = corpus_view(cell, tmp_path)
    assert len(samples) == 10
    assert len(np.unique(samples.group)) == 2
    assert samples.group.max() < REFERENCE_GROUPS
    assert samples.images[np.arange(2)].shape == (2, 3, 32, 16)


def test_labels_that_a_method_does_not_need_stay_hidden(view):
    captioned = replace(view, captions=tuple((f"a {i}", f"b {i}") for i in range(len(view))))
    indices = np.array([3, 1, 30])
    bare = make_batch(captioned, indices, frozenset({"images"}), seed=0, step=0)
    assert bare.group is bare.identity is bare.captions is None
    assert torch.equal(bare.images, torch.from_numpy(view.images[indices]))
    full = make_batch(captioned, indices, frozenset({"images", "identity", "captions"}), seed=0, step=0)
    assert full.identity.tolist() == view.identity[indices].tolist()
    assert [caption[2:] for caption in full.captions] == ["3", "1", "30"]
    drawn = {make_batch(captioned, indices, frozenset({"captions"}), seed=0, step=k).captions for k in range(20)}
    assert len(drawn) > 1


def test_the_ledger_counts_labels_that_are_given(view):
    labelled = replace(
        view, identity=np.where(view.group == 0, -1, view.group), captions=tuple((f"c{g}", "all") for g in view.group)
    )
    assert facts_of_view(labelled, frozenset({"images"})) == {
        "images_stored": 32, "groups": 0, "identities": 0, "poses": 0, "captions": 0, "attributes": 0,
    }  # fmt: skip
    found = facts_of_view(labelled, frozenset({"group", "identity", "captions"}))
    assert (found["groups"], found["identities"], found["captions"]) == (11, 10, 12)
    told = replace(view, attributes=np.zeros((32, 3), np.int8))
    assert facts_of_view(told, frozenset({"attributes"}))["attributes"] == 3


def test_the_ledger_counts_poses_and_captions_that_groups_are_made_of(view):
    keypoints = np.ones((32, 17, 3), np.float32)
    keypoints[0, :, 2] = 0  # nothing is known of the first image
    generated = replace(
        view, pose_id=view.group, captions=tuple((f"c{g % 6}",) for g in view.group), keypoints=keypoints
    )

    def counts(samples, needs, layout):
        found = facts_of_view(samples, frozenset(needs), layout)
        return found["poses"], found["captions"]

    needs = load_registry(()).method("genpoccl").needs
    assert counts(generated, needs, "poses") == (11, 6), "a pose and its prompt make a group"
    assert counts(generated, needs, "identities") == (11, 0), "keypoints tell poses, persons tell no captions"
    assert counts(replace(generated, keypoints=None), needs, "poses") == (11, 6)
    assert counts(generated, {"group", "captions"}, "captions") == (0, 6)
    assert counts(generated, {"images"}, "poses") == (0, 0)
    assert counts(replace(generated, pose_id=None), {"keypoints"}, "identities") == (31, 0)
    joints = np.full((32, 17, 3), np.nan, np.float32)
    joints[:4] = 1.0
    assert counts(replace(view, joints=joints), {"joints"}, "identities") == (4, 0)


def step(index, total=20):
    return Step(
        index=index, total=total, stage="s", stage_index=index, stage_total=total, images_seen=10 * index, epoch=0
    )


def test_losses_are_means_between_rows(make_cell):
    log = LossLog(every=4)
    for k in range(6):
        log.add("main.loss", float(k))
        log.end_step(step(k, total=6), 10)
    assert log.rows == [(4, 40, "s", "main.loss", 1.5), (6, 60, "s", "main.loss", 4.5)]
    assert log.tail("main.loss") == [4.5]


def test_a_loss_at_chance_and_a_collapse_are_warned_of(make_cell, view):
    method = build_method(make_cell("dummy-plain"), view)
    for loss, words in ((math.log(95), 1), (2.0, 0)):
        log = LossLog(every=1)
        for k in range(20):
            log.add("main.mp_loss", loss)
            log.add("main.mp_rows", 96.0)
            log.end_step(step(k), 10)
        warnings = diagnose(method, view, log, seed=0).warnings
        assert sum("nothing is learned" in text for text in warnings) == words
    with torch.no_grad():
        for parameter in method.encoder.parameters():
            parameter.zero_()
    found = diagnose(method, view, LossLog(every=1), seed=0)
    assert found.values["effective_rank"] < 1.5
    assert any("collapsed" in text for text in found.warnings)
