from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from hcbench.benchmarks.attributes.finetune import AttributeLearner
from hcbench.benchmarks.attributes.task import Attributes
from hcbench.benchmarks.reid.task import Reid
from hcbench.benchmarks.reid.zero_shot import ZeroShotReid
from hcbench.benchmarks.text_reid.zero_shot import ZeroShotTextReid
from hcbench.harness.jobs.atomic_files import read_json
from hcbench.harness.planning.cell import Evaluation
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.scoring import evaluate as evaluate_module
from hcbench.harness.scoring.benchmark_data import benchmark_splits
from hcbench.harness.scoring.evaluate import Counted, evaluate
from hcbench.methods.oracle.method import OracleEncoder
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.checkpoint import save_encoder
from hcbench.methods.parts.encoder import normalise
from hcbench.methods.parts.text import ImageProjection, TextSpec, TextTower
from hcbench.methods.parts.tokenizer import Tokenizer
from hcbench.methods.pixels.method import PixelEncoder
from hcbench.methods.solider.networks import controlled

pytestmark = pytest.mark.usefixtures("plugins")
CPU = torch.device("cpu")
predict, score = ZeroShotTextReid.predict, ZeroShotReid.score


@pytest.fixture
def checkpoint(tmp_path):
    save_encoder(build_encoder(EncoderSpec("timm:test_vit", 32, 16), seed=0), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture
def evaluations(make_cell, make_matrix):
    def make(*benchmarks):
        return make_matrix([make_cell()], benchmarks).evaluations["dummy-gan-0"]

    return make


def run(checkpoint, evaluations, tmp_path, **more):
    return list(evaluate(checkpoint, evaluations, tmp_path / "out", cache=tmp_path, device=CPU, **more))


def test_files_of_an_evaluation(checkpoint, evaluations, tmp_path):
    (ended,) = run(checkpoint, evaluations("dummy-score"), tmp_path)
    folder = tmp_path / "out" / ended.evaluation.fingerprint
    assert ended.status == "done"
    assert json.loads((folder / "summary.json").read_text())["score"] == ended.summary["score"]
    per_sample = pd.read_parquet(folder / "per_sample.parquet")
    assert per_sample["sample"].tolist() == [f"test{i}" for i in range(18)]
    assert per_sample["value"].mean() == pytest.approx(ended.summary["score"])
    assert pd.read_parquet(folder / "replicates.parquet")["score"].shape == (10,)
    assert json.loads((folder / "status.json").read_text())["status"] == "done"


def test_one_that_fails_stops_no_other_and_features_are_computed_once(checkpoint, evaluations, tmp_path, caplog):
    phases = []
    ended = run(
        checkpoint, evaluations("dummy-broken", "dummy-score"), tmp_path,
        progress=lambda phase, done, total: phases.append((phase, done, total)),
    )  # fmt: skip
    assert [(one.status, one.reason) for one in ended] == [
        ("failed", "ValueError: a bug of the benchmark"),
        ("done", ""),
    ]
    assert phases.count(("features noise/test", 0, 18)) == 1
    assert ("features noise/test", 14, 18) in phases
    assert "Traceback" in caplog.text


def noise_splits(folder):
    return benchmark_splits("noise", str(folder), height=32, width=16, scale=1, cache=folder)


def test_a_benchmark_whose_data_lack_something_is_skipped(checkpoint, evaluations, tmp_path, registry, monkeypatch):
    from dataclasses import replace

    from hcbench.harness.scoring import evaluate as module

    blind = {
        name: replace(split, group=None)
        for name, split in benchmark_splits(
            "noise", str(tmp_path), height=32, width=16, scale=1, cache=tmp_path
        ).items()
    }
    monkeypatch.setattr(module, "benchmark_splits", lambda *args, **named: blind)
    (ended,) = run(checkpoint, evaluations("dummy-score"), tmp_path)
    assert (ended.status, ended.reason) == ("skipped", "train does not know group")


def test_what_is_done_is_not_repeated_and_what_failed_is(checkpoint, evaluations, tmp_path):
    first = run(checkpoint, evaluations("dummy-broken", "dummy-score"), tmp_path)
    done = tmp_path / "out" / first[1].evaluation.fingerprint / "summary.json"
    written = done.stat().st_mtime_ns
    again = run(checkpoint, evaluations("dummy-broken", "dummy-score"), tmp_path)
    assert [one.status for one in again] == ["failed", "done"]
    assert again[1].summary["score"] == first[1].summary["score"]
    assert done.stat().st_mtime_ns == written


def zero_shot(evaluations):
    return [replace(one, benchmark="text-reid", protocol="zero-shot") for one in evaluations("dummy-score")]


@pytest.fixture
def captioned(tmp_path, registry, monkeypatch):
    """The noise data, with two captions for each image."""
    splits = {
        name: replace(split, captions=tuple((f"red {i}", "blue") for i in range(len(split.images))))
        for name, split in benchmark_splits(
            "noise", str(tmp_path), height=32, width=16, scale=1, cache=tmp_path
        ).items()
    }
    monkeypatch.setattr(evaluate_module, "benchmark_splits", lambda *args, **named: splits)
    return splits


def test_zero_shot_without_a_text_tower_is_skipped(checkpoint, evaluations, tmp_path, captioned):
    (ended,) = run(checkpoint, zero_shot(evaluations), tmp_path)
    assert (ended.status, ended.reason) == ("skipped", "the encoder has no text tower")


@pytest.mark.parametrize("pool", ["cls", "mean", "max"])
def test_zero_shot_compares_what_the_encoder_embeds(evaluations, tmp_path, captioned, pool, monkeypatch):
    torch.manual_seed(0)
    encoder = build_encoder(EncoderSpec("timm:test_vit", 32, 16), seed=0)
    spec = TextSpec(dim=16, layers=1, heads=2, mlp_dim=32, max_tokens=8)
    tower = TextTower(spec, Tokenizer.from_words(["red", "blue"], max_tokens=8))
    encoder.join_text(tower, ImageProjection(encoder.dim, tower.dim, pool=pool))
    save_encoder(encoder, tmp_path / "checkpoint")
    seen, phases = [], []
    monkeypatch.setattr(ZeroShotTextReid, "predict", lambda task, test: seen.append(test) or predict(task, test))
    (ended,) = run(
        tmp_path / "checkpoint", zero_shot(evaluations), tmp_path, progress=lambda *told: phases.append(told[0])
    )
    assert ended.status == "done"
    assert {"R1", "R5", "R10", "mAP"} <= ended.summary.keys()
    assert {phase for phase in phases if "features" in phase} == {"features noise/test"}, "nothing else is needed"
    images = normalise(torch.from_numpy(captioned["test"].images))
    with torch.no_grad():
        expected = encoder.eval().embed_image(images)
    torch.testing.assert_close(seen[0].embedded.image, expected, atol=1e-5, rtol=1e-4)
    flat = [text for several in captioned["test"].captions for text in several]
    torch.testing.assert_close(seen[0].embedded.text, encoder.embed_text(flat), atol=1e-5, rtol=1e-4)


def test_zero_shot_reid_ranks_what_the_contrast_was_taken_on(evaluations, tmp_path, captioned, monkeypatch):
    cameras = {name: replace(split, camera=np.arange(len(split.images)) % 2) for name, split in captioned.items()}
    monkeypatch.setattr(evaluate_module, "benchmark_splits", lambda *args, **named: cameras)
    monkeypatch.setattr(TextTower, "encode", None)  # captions are no queries here
    encoder = build_encoder(EncoderSpec("timm:test_vit", 32, 16), seed=0).eval()
    asked = [replace(one, benchmark="reid", protocol="zero-shot") for one in evaluations("dummy-score")]
    save_encoder(encoder, tmp_path / "plain")
    spec = TextSpec(dim=16, layers=1, heads=2, mlp_dim=32, max_tokens=8)
    tower = TextTower(spec, Tokenizer.from_words(["red", "blue"], max_tokens=8))
    encoder.join_text(tower, ImageProjection(encoder.dim, tower.dim))
    save_encoder(encoder, tmp_path / "told")
    found = {}
    for name in ("plain", "told"):
        seen = []
        monkeypatch.setattr(ZeroShotReid, "score", lambda *told, seen=seen: seen.append(told[1]) or score(*told))
        (ended,) = run(tmp_path / name, asked, tmp_path / name)
        assert ended.status == "done", ended.reason
        record = read_json(tmp_path / name / "out" / asked[0].fingerprint / "record.json")["record"]
        found[name] = torch.from_numpy(seen[0]["features"]), record["readout"]
    images = normalise(torch.from_numpy(cameras["test"].images))
    with torch.no_grad():
        pooled, projected = encoder(images).pooled, encoder.embed_image(images)
    torch.testing.assert_close(found["plain"][0], F.normalize(pooled, dim=1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found["told"][0], F.normalize(projected, dim=1), atol=1e-5, rtol=1e-4)
    assert [readout for _, readout in found.values()] == ["cls", "projected into the space of the encoder's texts"]


def test_features_are_computed_once_for_each_setting_of_a_knob(evaluations, tmp_path):
    encoder = build_encoder(EncoderSpec("timm:test_vit", 32, 16), seed=0)
    save_encoder(controlled(encoder, default_lambda=0.0, start="official"), tmp_path / "checkpoint")
    several = [
        replace(one, knobs={"lambda": value}, fingerprint=f"{one.fingerprint}-{value}")
        for one in evaluations("dummy-score", "dummy-broken")
        for value in (0.8, 0.2)
    ]
    phases = []
    ended = run(tmp_path / "checkpoint", several, tmp_path, progress=lambda *told: phases.append(told))
    assert phases.count(("features noise/test", 0, 18)) == 2
    found = {one.evaluation.knobs["lambda"]: one.summary["score"] for one in ended if one.status == "done"}
    assert found[0.2] != found[0.8]


def test_an_encoder_without_the_knob_refuses_it(checkpoint, evaluations, tmp_path):
    (one,) = evaluations("dummy-score")
    (ended,) = run(checkpoint, [replace(one, knobs={"lambda": 0.5})], tmp_path)
    assert ended.status == "failed"
    assert "has no knobs, but was given lambda" in ended.reason


def test_the_oracle_is_scored_on_the_truth_without_features(evaluations, tmp_path, dummies, monkeypatch):
    save_encoder(OracleEncoder(32, 16), tmp_path / "oracle")
    phases = []
    (silent,) = run(tmp_path / "oracle", evaluations("dummy-score"), tmp_path)
    assert silent.status == "skipped"
    assert "right predictions" in silent.reason
    monkeypatch.setattr(dummies.Score, "oracle", lambda self, truth: {"value": np.ones(len(truth))})
    (ended,) = run(
        tmp_path / "oracle", evaluations("dummy-score"), tmp_path, progress=lambda *told: phases.append(told)
    )
    assert (ended.status, ended.summary["score"]) == ("done", 1.0)
    assert not any(phase.startswith("features") for phase, _, _ in phases)


def test_counted_images_are_the_images():
    images = np.arange(7 * 3 * 2 * 2, dtype=np.uint8).reshape(7, 3, 2, 2)
    seen = []
    counted = Counted(images, "f", lambda *told: seen.append(told))
    parts = [counted[start : start + 3] for start in (0, 3, 6)]
    assert np.array_equal(np.concatenate(parts), images)
    assert seen == [("f", 0, 7), ("f", 3, 7), ("f", 6, 7)]


def tiny(benchmark, **more):
    """A benchmark of the embedded data, as small as it gets."""
    config = {"scale": 0.01, "readout": "auto", "replicates": 5, "epochs": 0.5, "batch_size": 16, "head_seed": 0}
    config |= {name: more.pop(name) for name in ("shots", "rerank", "boxes") if name in more}
    return Evaluation(
        benchmark=benchmark, version="1", data="people", config=config,
        **{"protocol": "frozen", "fingerprint": f"{benchmark}-{more.get('protocol', 'frozen')}", **more},
    )  # fmt: skip


def test_fine_tuning_leaves_the_checkpoint_as_it_was(checkpoint, tmp_path):
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    heard = []
    several = [tiny("attributes", protocol="finetune"), tiny("attributes")]
    tuned, frozen = run(checkpoint, several, tmp_path, progress=lambda *said: heard.append(said))
    assert (tuned.status, frozen.status) == ("done", "done")
    assert any(phase.startswith("finetune attributes lr") for phase, _, _ in heard)
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before
    written = json.loads((tmp_path / "out" / tuned.evaluation.fingerprint / "record.json").read_text())
    assert written["record"]["recipe"]["name"] == "short"
    (alone,) = run(checkpoint, [tiny("attributes")], tmp_path / "again")
    assert alone.summary == frozen.summary  # what was trained before it does not matter


def test_what_has_no_weights_is_not_fine_tuned(tmp_path):
    save_encoder(PixelEncoder(32, 16), tmp_path / "pixels")
    (ended,) = run(tmp_path / "pixels", [tiny("attributes", protocol="finetune")], tmp_path)
    assert ended.status == "skipped"
    assert ended.reason.startswith("the encoder has no weights to fine-tune")


def test_fine_tuning_that_diverges_stops_no_other(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(AttributeLearner, "loss", lambda self, batch: self.head.weight.sum() * torch.nan)
    several = [tiny("attributes", protocol="finetune"), tiny("reid")]
    ended = run(checkpoint, several, tmp_path)
    assert [one.status for one in ended] == ["diverged", "done"]


def test_few_shots_leave_validation_and_test_whole(checkpoint, tmp_path, monkeypatch):
    sizes = []
    fit = Attributes.fit

    def watched(self, train, val):
        sizes.append((len(train.samples), len(train.features), len(val.samples)))
        return fit(self, train, val)

    monkeypatch.setattr(Attributes, "fit", watched)
    run(checkpoint, [tiny("attributes", shots=1)], tmp_path)
    ((train, features, val),) = sizes
    assert train == features < 40
    assert val == 48


def test_features_that_nobody_learns_from_are_not_computed(checkpoint, tmp_path, monkeypatch):
    """A protocol that only chooses on validation, as a benchmark of a plug-in may have it."""
    phases, sizes = [], []
    fit, registry = Reid.fit, load_registry()

    def watched(self, train, val):
        sizes.append((len(train.samples), len(train.features), len(val.samples)))
        return fit(self, val, val)

    card = replace(registry.benchmarks["reid"], trains=frozenset())
    registry = replace(registry, benchmarks={**registry.benchmarks, "reid": card})
    monkeypatch.setattr(evaluate_module, "load_registry", lambda: registry)
    monkeypatch.setattr(Reid, "fit", watched)
    (ended,) = run(checkpoint, [tiny("reid")], tmp_path, progress=lambda *told: phases.append(told[0]))
    assert ended.status == "done"
    assert {phase for phase in phases if "features" in phase} == {"features people/val", "features people/test"}
    assert sizes == [(0, 0, 48)]
    # What learns from them gets them, whatever was scored before.
    both = [tiny("reid"), tiny("attributes")]
    again, _ = run(checkpoint, both, tmp_path / "again", progress=lambda *told: phases.append(told[0]))
    assert phases.count("features people/train") > 0
    assert again.summary == ended.summary


def test_reid_learns_its_metric_on_training_persons_as_far_as_shots_leave_them(checkpoint, tmp_path):
    phases, asked = (
        [],
        [tiny("reid"), tiny("reid", shots=2, fingerprint="two"), tiny("reid", shots=1, fingerprint="one")],
    )
    asked += [tiny("reid", protocol="zero-shot", shots=1), tiny("reid", protocol="finetune", shots=1)]
    every, two, one, zero_shot, tuned = run(
        checkpoint, asked, tmp_path, progress=lambda *told: phases.append(told[0])
    )  # fmt: skip
    assert "features people/train" in phases
    assert [ended.status for ended in (every, two, one, zero_shot, tuned)] == [
        "done",
        "done",
        "skipped",
        "done",
        "done",
    ]
    assert "0 persons have two images or more to learn a metric from" in one.reason
    learned = [read_json(tmp_path / "out" / name / "record.json")["record"] for name in ("reid-frozen", "two")]
    (persons, images), (_, fewer) = [(one["training_persons"], one["training_images"]) for one in learned]
    assert (images, fewer) == (40, 2 * persons)
    assert every.summary["mAP"] != two.summary["mAP"]


def test_reid_crosses_to_other_data_with_the_metric_of_the_first(checkpoint, tmp_path, monkeypatch):
    read, learned = [], []

    def splits(data, root, *, splits, **more):
        read.append((data, tuple(splits)))
        return benchmark_splits("people", "", splits=splits, **more)

    fit = Reid.fit

    def watched(self, train, val):
        learned.append((train.samples.name, val.samples.name))
        return fit(self, train, val)

    monkeypatch.setattr(evaluate_module, "benchmark_splits", splits)
    monkeypatch.setattr(Reid, "fit", watched)
    across, own = run(
        checkpoint, [tiny("reid", test_on="elsewhere", test_root="/there"), tiny("reid", fingerprint="own")], tmp_path
    )
    assert read[:2] == [("people", ("train", "val")), ("elsewhere", ("test",))]
    assert learned == [("people/train style B street", "people/val style B street")] * 2
    assert across.summary == own.summary


def test_other_data_are_scored_by_heads_of_the_first(checkpoint, tmp_path, monkeypatch):
    asked = []

    def splits(data, root, *, splits, **more):
        asked.append((data, root, tuple(splits)))
        found = benchmark_splits("people", "", splits=splits, **more)
        names = ("other",) * 26 if data == "elsewhere" and root == "/odd" else None
        return {k: replace(v, attribute_names=names) if names else v for k, v in found.items()}

    monkeypatch.setattr(evaluate_module, "benchmark_splits", splits)
    across = tiny("attributes", test_on="elsewhere", test_root="/there")
    odd = tiny("attributes", test_on="elsewhere", test_root="/odd", fingerprint="odd")
    done, skipped = run(checkpoint, [across, odd], tmp_path)
    assert asked[:2] == [("people", "", ("train", "val")), ("elsewhere", "/there", ("test",))]
    assert done.status == "done"
    assert skipped.status == "skipped"
    assert skipped.reason.startswith("the attributes of people/train style B street are not those of")


def test_benchmarks_of_two_regimes_have_people_of_their_own(checkpoint, tmp_path):
    phases = []
    ended = run(checkpoint, [tiny("reid"), tiny("attributes"), tiny("pose")], tmp_path,
                progress=lambda *told: phases.append(told))  # fmt: skip
    assert [one.status for one in ended] == ["done"] * 3
    passes = [name for name, done, _ in phases if name == "features people/test" and done == 0]
    assert len(passes) == 2, "reid and attributes share theirs, pose shows other pictures"


def test_boxes_that_nobody_found_are_a_reason_to_skip(checkpoint, tmp_path):
    (ended,) = run(checkpoint, [tiny("pose", boxes="detected")], tmp_path)
    assert ended.status == "skipped"
    assert ended.reason.endswith("has no boxes of a detector (evaluate.boxes=detected)")


def test_a_readout_of_a_token_is_scored_where_the_encoder_has_it(checkpoint, tmp_path):
    save_encoder(build_encoder(EncoderSpec("timm:test_vit", 32, 16, ("pose",)), seed=0), tmp_path / "posed")
    asked = [
        replace(one, config={**one.config, "readout": readout}, fingerprint=f"{one.fingerprint}-{number}")
        for one in (
            tiny("reid"), tiny("reid", protocol="zero-shot"), tiny("attributes"), tiny("text-reid"),
            tiny("attributes", protocol="finetune"),
        )
        for number, readout in enumerate(("cls", "pose", "cls+pose"))
    ]  # fmt: skip
    posed = run(tmp_path / "posed", asked, tmp_path / "a")
    assert {(one.status, one.reason) for one in posed} == {("done", "")}
    reid = [one.summary["mAP"] for one in posed[:3]]
    assert len(set(reid)) == 3
    ended = run(checkpoint, asked, tmp_path / "b")
    reason = "the readout {} takes a token [POSE], which the encoder does not have"
    assert [(one.status, one.reason) for one in ended] == [
        ("done", ""), ("skipped", reason.format("pose")), ("skipped", reason.format("cls+pose")),
    ] * 5  # fmt: skip
