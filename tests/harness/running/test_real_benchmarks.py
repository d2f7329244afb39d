"""Benchmarks on real data sets from their folder to their score, on small trees whose answer stands in the colours."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from attribute_mat import write_attributes
from image_tree import colour
from mats import cells, write_mat
from PIL import Image

from hcbench.benchmarks.base import EvaluateConfig
from hcbench.data.formats.identity_attributes.files import MARKET
from hcbench.errors import DataError
from hcbench.harness.planning.cell import Evaluation
from hcbench.harness.scoring.benchmark_data import benchmark_splits, scaled
from hcbench.harness.scoring.evaluate import evaluate
from hcbench.harness.training.prepare import _of_evaluation
from hcbench.methods.oracle.method import OracleEncoder
from hcbench.methods.parts.checkpoint import save_encoder
from hcbench.methods.parts.encoder import Encoder
from hcbench.methods.pixels.method import PixelEncoder

SIZE = (32, 16)


def paint(path: Path, rgb: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 32), rgb).save(path)


def market(root: Path) -> Path:
    """Persons of one colour each: a query's own camera holds a copy of it, which must not count."""
    for person in range(1, 21):
        for camera in (1, 2):
            paint(root / f"bounding_box_train/{person:04d}_c{camera}s1_{camera:06d}_01.jpg", colour(f"train {person}"))
    for person in range(101, 107):
        paint(root / f"query/{person:04d}_c1s1_000001_00.jpg", colour(f"test {person}"))
        paint(root / f"bounding_box_test/{person:04d}_c1s1_000001_01.jpg", colour(f"test {person}"))
        paint(root / f"bounding_box_test/{person:04d}_c3s1_000001_01.jpg", colour(f"test {person}"))
    # A distractor that looks like the last person: that query finds it as early as its match, but not before.
    paint(root / "bounding_box_test/0000_c4s1_000001_01.jpg", colour("test 106"))
    paint(root / "bounding_box_test/-1_c4s1_000002_01.jpg", colour("test 105"))
    return root


def cuhk(root: Path) -> Path:
    entries = []
    for split, persons in (("train", range(1, 41)), ("val", range(41, 47)), ("test", range(47, 53))):
        for person in persons:
            name = ("red", "green", "blue")[person % 3]
            rgb = tuple(240 if place == person % 3 else 10 for place in range(3))
            path = f"cam_a/{person:04d}.png"
            paint(root / "imgs" / path, (rgb[0], rgb[1], rgb[2]))
            entries.append({"split": split, "id": person, "file_path": path, "captions": [f"a person in {name}"]})
    (root / "reid_raw.json").write_text(json.dumps(entries))
    return root


def pa100k(root: Path) -> Path:
    """Even attributes are red images, odd ones bright images."""
    mat = {"attributes": cells([f"attribute {i}" for i in range(26)])}
    for split, count in (("train", 80), ("val", 16), ("test", 24)):
        labels = np.array([[i % 2, i // 2 % 2] * 13 for i in range(count)], np.uint8)
        names = [f"{split}{i:03d}.png" for i in range(count)]
        mat |= {f"{split}_images_name": cells(names), f"{split}_label": labels}
        for name, (red, bright) in zip(names, labels[:, :2].tolist(), strict=True):
            paint(root / "data" / name, (120 + 100 * red, 200 * bright, 200 * bright))
    write_mat(root / "annotation.mat", mat)
    return root


def lip(root: Path) -> Path:
    """Upper half hair (2), lower half pants (9), told by the brightness of the image."""
    for split, count in (("train", 40), ("val", 6)):
        stems = [f"{i}_1" for i in range(count)]
        for stem in stems:
            labels = np.full((64, 32), 2, np.uint8)
            labels[32:] = 9
            pixels = np.where(labels[..., None] == 2, 30, 220).astype(np.uint8).repeat(3, axis=2)
            for folder, array in ((f"{split}_images", pixels), (f"{split}_segmentations", labels)):
                (root / folder).mkdir(parents=True, exist_ok=True)
                ending = "jpg" if folder.endswith("images") else "png"
                Image.fromarray(array).save(root / folder / f"{stem}.{ending}")
        (root / f"{split}_id.txt").write_text("\n".join(stems))
    return root


def score(
    benchmark: str, data: str, root: Path, tmp_path: Path, encoder: Encoder | None = None, protocol: str = "frozen"
) -> tuple[dict[str, float], dict[str, object]]:
    """Summary and record of one evaluation."""
    save_encoder(encoder or PixelEncoder(*SIZE), tmp_path / "checkpoint")
    config = asdict(EvaluateConfig(replicates=20, epochs=20.0))
    evaluation = Evaluation(
        benchmark=benchmark, version="1", data=data, protocol=protocol, config=config, root=str(root),
        fingerprint=f"{benchmark}-{data}",
    )  # fmt: skip
    (ended,) = evaluate(
        tmp_path / "checkpoint", [evaluation], tmp_path / "out", cache=tmp_path / "cache", device=torch.device("cpu")
    )
    assert ended.status == "done", ended.reason
    record = json.loads((tmp_path / "out" / evaluation.fingerprint / "record.json").read_text())["record"]
    assert ended.summary is not None
    return ended.summary, record


def test_market_queries_are_ranked_against_the_gallery(tmp_path: Path) -> None:
    summary, record = score("reid", "market1501", market(tmp_path / "m"), tmp_path)
    # The distractor's name sorts first, so of equal distances it comes first: 5 of 6 queries find their match at once.
    assert summary["R1"] == pytest.approx(5 / 6)
    assert summary["mAP"] == pytest.approx((5 + 1 / 2) / 6)
    assert (record["n_valid"], record["gallery"], record["distractors"]) == (6, 13, 1)
    assert (record["training_persons"], record["training_images"]) == (18, 36)
    assert record["queries"] == "as the data say"
    assert record["split_rule"] == (
        "train: market1501 train (without every tenth person); val: market1501 val (every tenth person); "
        "test: market1501 test"
    )


def labelled_market(root: Path) -> Path:
    """`market`, whose persons' labels stand in their colours: bright red is gender 2, green over blue upper black."""
    numbers = {"train": range(1, 21), "test": range(101, 107)}
    looks = {person: colour(f"{part} {person}") for part, people in numbers.items() for person in people}

    def label(person: int, name: str) -> int:
        red, green, blue = looks[person]
        if name == "age":
            return 1 + person % 2
        yes = {"gender": red > 128, "upblack": green > blue, "upwhite": green <= blue, "downgray": True}
        return 1 + yes.get(name, False)

    write_attributes(market(root) / "market_attribute.mat", MARKET, numbers, label)
    return root


def test_market_is_scored_for_attributes_on_the_gallery_beside_reid(tmp_path: Path) -> None:
    """Both in one go: they share no samples, since their splits are others."""
    root = labelled_market(tmp_path / "m")
    save_encoder(OracleEncoder(*SIZE), tmp_path / "checkpoint")
    evaluations = [
        Evaluation(benchmark=name, version="1", data="market1501", protocol="frozen", root=str(root), fingerprint=name,
                   config=asdict(EvaluateConfig(replicates=20)))
        for name in ("reid", "attributes")
    ]  # fmt: skip
    reid, attributes = evaluate(
        tmp_path / "checkpoint", evaluations, tmp_path / "out", cache=tmp_path / "cache", device=torch.device("cpu")
    )
    assert reid.summary is not None
    assert attributes.summary is not None
    assert reid.summary["mAP"] == 1
    assert attributes.summary["ma_defined"] == pytest.approx(1)
    assert attributes.summary["question_accuracy"] == pytest.approx(1)
    record = json.loads((tmp_path / "out" / "attributes" / "record.json").read_text())["record"]
    assert (record["images"], record["left_out"], record["clusters"]) == (12, 2, 6)
    assert record["split_rule"] == (
        "train: market1501 train (without every tenth person), persons with attributes; "
        "val: market1501 val (every tenth person), persons with attributes; "
        "test: market1501 gallery, persons with attributes"
    )


def test_heads_learn_the_labels_of_market(tmp_path: Path) -> None:
    summary, record = score("attributes", "market1501", labelled_market(tmp_path / "m"), tmp_path)
    by_name = record["label_ma"]
    assert isinstance(by_name, dict)
    assert by_name["gender"] > 0.8
    assert summary["question_accuracy"] > 0.7


def test_zero_shot_ranks_the_pooled_vector_and_chooses_nothing(tmp_path: Path) -> None:
    summary, record = score("reid", "market1501", market(tmp_path / "m"), tmp_path, protocol="zero-shot")
    assert summary["R1"] == pytest.approx(5 / 6)
    assert record["readout"] == "cls"


@pytest.mark.parametrize(
    ("benchmark", "data", "write", "metric", "least"),
    [
        ("text-reid", "cuhk-pedes", cuhk, "R1", 0.3),
        ("attributes", "pa100k", pa100k, "mA", 0.99),
        ("parsing", "lip", lip, "pixel_accuracy", 0.95),
    ],
)
def test_heads_learn_what_stands_in_the_colours(benchmark, data, write, metric, least, tmp_path) -> None:  # type: ignore[no-untyped-def]
    summary, record = score(benchmark, data, write(tmp_path / "data"), tmp_path)
    assert summary[metric] >= least
    assert data in record["split"]


@pytest.mark.parametrize(
    ("benchmark", "data", "write", "metric"),
    [
        ("reid", "market1501", market, "mAP"),
        ("text-reid", "cuhk-pedes", cuhk, "R1"),
        ("attributes", "pa100k", pa100k, "mA"),
        ("parsing", "lip", lip, "miou_present"),
    ],
)
def test_the_truth_scores_one(benchmark, data, write, metric, tmp_path) -> None:  # type: ignore[no-untyped-def]
    summary, _ = score(benchmark, data, write(tmp_path / "data"), tmp_path, OracleEncoder(*SIZE))
    assert summary[metric] == pytest.approx(1.0)


def test_splits_do_not_meet_and_a_smaller_scale_lies_inside_a_larger_one(tmp_path: Path) -> None:
    root = market(tmp_path / "m")
    how = {"height": 32, "width": 16, "cache": tmp_path / "cache"}
    whole = benchmark_splits("market1501", str(root), scale=1.0, **how)  # type: ignore[arg-type]
    assert {name: len(split) for name, split in whole.items()} == {"train": 36, "val": 4, "test": 19}
    half = benchmark_splits("market1501", str(root), scale=0.5, splits=("train", "test"), **how)  # type: ignore[arg-type]
    assert half["test"].ids.tolist() == whole["test"].ids.tolist()
    more = scaled(whole["train"], 0.8)
    assert 0 < len(half["train"]) < len(more) <= 36
    assert set(half["train"].ids) < set(more.ids) <= set(whole["train"].ids)
    persons, kept = half["train"].identity, set(half["train"].identity)
    assert len(persons) == 2 * len(kept), "persons are kept whole"
    with pytest.raises(DataError, match=r"evaluate\.scale=0\.01 leaves nothing of 2 persons in market1501 val"):
        benchmark_splits("market1501", str(root), scale=0.01, splits=("val",), **how)  # type: ignore[arg-type]


def test_what_is_scored_alone_reads_no_other_split(tmp_path: Path) -> None:
    root = market(tmp_path / "m")
    found = benchmark_splits("market1501", str(root), height=32, width=16, scale=1.0, cache=tmp_path, splits=("test",))
    assert set(found) == {"test"}
    evaluation = Evaluation(
        benchmark="pose", version="1", data="coco", protocol="frozen", config=asdict(EvaluateConfig()), root="/x"
    )
    pieces = list(_of_evaluation(evaluation, 32, 16))
    assert [piece.name for piece in pieces] == ["coco/train2017", "coco/val2017"], "train and val are parts of one"
    detected = replace(evaluation, config=asdict(EvaluateConfig(boxes="detected")))
    assert [piece.task["call"] for piece in _of_evaluation(detected, 32, 16)] == ["load", "load_detected"]
