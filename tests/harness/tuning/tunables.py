"""A plugin file with what searches are tested on: a method with a space, and data whose test split nobody may read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hcbench.benchmarks.base import Scores, Task
from hcbench.benchmarks.card import MetricInfo, TaskCard
from hcbench.data.augment import normalise
from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.samples import Samples
from hcbench.methods.base import Method, Objective
from hcbench.methods.card import MethodCard
from hcbench.methods.space import Around, Choice


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    lr: float | None = None
    weight: float = 1.0
    power: int = 2
    diverges_above: float = 1e9
    fails_above: float = 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class Fixed:
    size: int = 1


class Forbidden:
    """Images that must not be looked at."""

    shape, dtype = (12, 3, 32, 16), np.uint8

    def __len__(self):
        return 12

    def __getitem__(self, index):
        raise AssertionError("the test split was read")


def guarded(split, groups=6):
    """Grey images, lighter from group to group; those of the test split must not be looked at."""
    rng = np.random.default_rng(len(split))
    group = np.repeat(np.arange(groups), 2)
    images = rng.integers(0, 100, (len(group), 3, 32, 16)) + 150 * group[:, None, None, None] // groups
    return Samples(
        name=split,
        fingerprint=split,
        images=Forbidden() if split == "test" else images.astype(np.uint8),
        group=group,
        identity=group.copy(),
        ids=np.array([f"{split}{i}" for i in range(len(group))]),
    )


SPLITS = ("corpus", "train", "val", "test")
GUARDED = Dataset(
    card=DatasetCard(
        name="guarded",
        title="Guarded",
        homepage="none",
        terms="none",
        obtain="It is made.",
        tree="any folder",
        counts={split: {} for split in SPLITS},
        fields=frozenset({"images", "group", "identity"}),
    ),
    load=lambda root, split, *, height=32, width=16, cache: guarded(split),
    verify=lambda root: VerifyReport(dataset="guarded", root=root, level="exact", layout="", found={}, expected={}),
    splits=SPLITS,
    renumbered=SPLITS,
    annotation_files=lambda root: (Path(__file__),),
    image_folders=lambda root: (),
    person_crops=lambda root, split, height, width, cache: guarded(split, 12),
    corpus_size=lambda root, height, width: 24,
    corpus_split="corpus",
)


LEVEL = TaskCard(
    name="level",
    title="Level",
    summary="A dummy.",
    version="1",
    metrics=(MetricInfo(name="rate", title="Rate", main=True), MetricInfo(name="other", title="Other")),
    data=("guarded",),
    needs=frozenset({"images", "group"}),
    implementation="here:Level",
)


def card(name, implementation, config=Config, **facts):
    return MethodCard(
        name=name, title=name, summary="A dummy.", needs=frozenset({"images", "group"}), layout="identities",
        supervision="images", config=config, implementation=f"here:{implementation}", **facts,
    )  # fmt: skip


TUNABLE = card("tunable", "Tunable", space={"weight": Around(4.0), "power": Choice((1, 2))})
SIMPLE = card("simple", "Simple")
FIXED = card("fixed", "Simple", config=Fixed)
CARDS = (GUARDED, LEVEL, TUNABLE, SIMPLE, FIXED)


class Level(Task):
    """How light an encoder believes images to be: a number between 0 and 1 that training changes."""

    card = LEVEL

    def fit(self, train, val):
        assert train.samples.name == "train"
        assert val.samples.name == "val"
        return {"readout": "cls"}

    def predict(self, test):
        return {"value": test.features.pooled.mean(1).sigmoid().numpy()}

    def score(self, predictions, truth):
        value = predictions["value"]
        return Scores(
            summary={"rate": float(value.mean()), "other": 0.5},
            per_sample={"sample": truth.ids, "value": value},
            replicates={"rate": np.full(self.config.replicates, value.mean())},
            record={},
            chosen={"readout": "cls"},
        )


class Tunable(Method):
    card = TUNABLE

    def views(self, batch, generator):
        return {"images": normalise(batch.images)}

    def objectives(self, views, step):
        if self.config.weight > self.config.fails_above:
            raise ValueError("this weight is a bug")
        loss = (self.encoder(views["images"]).pooled.mean(1) - 2.0).abs().pow(self.config.power).mean()
        factor = float("nan") if self.config.weight > self.config.diverges_above else self.config.weight
        yield Objective("main", factor * loss)


class Simple(Tunable):
    card = SIMPLE
