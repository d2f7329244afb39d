"""A plugin file with small methods: a GAN-like one with two optimisers and two stages, and ones that go wrong."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hcbench.benchmarks.base import Scores, Task
from hcbench.benchmarks.card import MetricInfo, TaskCard
from hcbench.data.augment import normalise
from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.samples import Samples
from hcbench.errors import DataError
from hcbench.methods.base import Method, Objective, OptimiserSpec, ParamGroup, Stage, split_decay
from hcbench.methods.card import MethodCard
from hcbench.methods.solider.networks import controlled


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    lr: float | None = None
    pause_s: float = 0.0
    marker: str = ""


def card(name: str, implementation: str, **facts: object) -> MethodCard:
    values = {
        "title": name,
        "summary": "A dummy.",
        "needs": frozenset({"images", "group"}),
        "layout": "identities",
        "supervision": "images",
        "config": Config,
    } | facts
    return MethodCard(name=name, implementation=f"here:{implementation}", **values)


def noise(root, split, *, height, width, cache):
    """A corpus and a benchmark's data: noise in groups of three, brighter from group to group."""
    if not root.is_dir():
        raise DataError(f"There is no {root}.", "Make it.")
    groups = 12 if split == "corpus" else 6
    rng = np.random.default_rng(len(split))
    group = np.repeat(np.arange(groups), 3)
    images = rng.integers(0, 100, (len(group), 3, 32, 16)) + 150 * group[:, None, None, None] // groups
    return Samples(
        name=split,
        fingerprint=split,
        images=images.astype(np.uint8),
        group=group,
        identity=group.copy(),
        ids=np.array([f"{split}{i}" for i in range(len(group))]),
    )


NOISE = Dataset(
    card=DatasetCard(
        name="noise",
        title="Noise",
        homepage="none",
        terms="none",
        obtain="It is made.",
        tree="any folder",
        counts={"corpus": {}, "train": {}, "val": {}, "test": {}},
        fields=frozenset({"images", "group", "identity"}),
    ),
    load=noise,
    verify=lambda root: VerifyReport(dataset="noise", root=root, level="exact", layout="", found={}, expected={}),
    splits=("corpus", "train", "val", "test"),
    renumbered=("corpus", "train", "val", "test"),
    annotation_files=lambda root: (Path(__file__),),
    image_folders=lambda root: (),
    person_crops=lambda root, split, height, width, cache: noise(root, split, height=height, width=width, cache=cache),
    corpus_size=lambda root, height, width: 36,
    corpus_split="corpus",
)


def benchmark(name, implementation):
    metrics = (MetricInfo(name="score", title="Score", main=True), MetricInfo(name="undefined", title="Undefined"))
    return TaskCard(
        name=name,
        title=name.title(),
        summary="A dummy.",
        version="1",
        metrics=metrics,
        data=("noise",),
        needs=frozenset({"images", "group"}),
        implementation=f"here:{implementation}",
    )


CARDS = (
    NOISE,
    benchmark("dummy-score", "Score"),
    benchmark("dummy-broken", "Broken"),
    benchmark("dummy-deadly", "Deadly"),
    card("dummy-gan", "DummyGan"),
    card("dummy-plain", "Plain"),
    card("dummy-control", "Plain", supervision="control", trains=False),
    card("dummy-raises", "Raises"),
    card("dummy-diverges", "Diverges"),
    card("dummy-crashes", "Crashes"),
    card("dummy-killed", "Killed"),
    card("dummy-memory", "Memory"),
    card("dummy-knob", "Knob", knobs={"lambda": {"dummy-score": 0.2}}),
)
METHODS = {one.name: one for one in CARDS[4:]}


class Score(Task):
    """How far the mean feature tells test images apart from each other."""

    card = CARDS[1]

    def fit(self, train, val):
        self.centre = train.features.pooled.mean(0)
        return {"readout": "cls"}

    def predict(self, test):
        return {"value": (test.features.pooled - self.centre).norm(dim=1).numpy()}

    def score(self, predictions, truth):
        value = predictions["value"]
        replicates = np.random.default_rng(0).choice(value, (self.config.replicates, len(value))).mean(1)
        return Scores(
            summary={"score": value.mean(), "undefined": np.nan},
            per_sample={"sample": truth.ids, "value": value},
            replicates={"score": replicates.astype(np.float64)},
            record={"rule": "mean", "count": np.int64(len(value))},
            chosen={"readout": "cls"},
        )


class Broken(Score):
    def fit(self, train, val):
        raise ValueError("a bug of the benchmark")


class Deadly(Score):
    def fit(self, train, val):
        os._exit(7)


class DummyGan(Method):
    """Stage "encode" trains the encoder; in stage "game" a critic and the encoder take turns.

    Everything that resuming can lose is in use: dropout, a moving average, a queue, numbers of the last pass, a
    selection, and an optimiser that only wakes in the second stage.
    """

    card = METHODS["dummy-gan"]

    def __init__(self, config, encoder, context):
        super().__init__(config, encoder, context)
        self.head = nn.Sequential(nn.Linear(encoder.dim, 8), nn.Dropout(0.2), nn.Linear(8, 8))
        self.critic = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
        self.register_buffer("average", torch.zeros(8))
        self.register_buffer("queue", torch.zeros(16, 8))
        self.register_buffer("centre", torch.zeros(encoder.dim))
        self.calls: list[str] = []

    def stages(self):
        return (Stage("encode", 0.4), Stage("game", 0.6))

    def param_groups(self):
        encoder = OptimiserSpec(name="encoder", groups=(*split_decay(self.encoder), *split_decay(self.head)))
        critic = OptimiserSpec(
            name="critic",
            groups=(ParamGroup(params=list(self.critic.parameters()), lr_factor=0.5),),
            kind="sgd",
            lr=0.05,
            scheduled=False,
            stages=("game",),
        )
        return (encoder, critic)

    def start_epoch(self, encode, step):
        self.calls.append(f"epoch {step.epoch} at {step.index}")
        self.centre.copy_(encode().mean(0))

    def select(self, indices):
        return indices[indices % 7 != int(self.average.abs().sum() * 1e4) % 7]

    def views(self, batch, generator):
        noise = torch.rand(batch.images.shape, generator=generator)
        return {"images": normalise(batch.images) + 0.1 * noise, "group": batch.group}

    def objectives(self, views, step):
        if self.config.pause_s:
            time.sleep(self.config.pause_s)
        code = self.head(self.encoder(views["images"]).pooled - self.centre)
        if step.stage == "game":
            real = self.critic(self.queue).mean()
            yield Objective("critic", self.critic(code.detach()).mean() - real, {"real": real.detach()})
            code = self.head(self.encoder(views["images"]).pooled)
            yield Objective("encoder", -self.critic(code).mean() + code.square().mean())
        else:
            yield Objective("encoder", (code - self.average).square().mean(), {"size": code.norm()})
        with torch.no_grad():
            code = code.float()
            self.average.lerp_(code.mean(0), 0.1)
            self.queue.copy_(torch.cat([code[:4], self.queue])[:16])

    def after_step(self, step):
        self.calls.append(f"step {step.index}")


class Plain(Method):
    """The encoder learns to tell dark from light."""

    card = METHODS["dummy-plain"]

    def views(self, batch, generator):
        if self.config.pause_s:
            time.sleep(self.config.pause_s)
        return {"images": normalise(batch.images)}

    def objectives(self, views, step):
        self.misbehave(step)
        target = views["images"].mean((1, 2, 3))
        yield Objective("main", (self.encoder(views["images"]).pooled.mean(1) - target).square().mean())

    def misbehave(self, step):
        """Nothing wrong here."""


class Raises(Plain):
    def misbehave(self, step):
        if step.index == 1:
            raise ValueError("a bug of the method")


class Diverges(Plain):
    def objectives(self, views, step):
        factor = float("nan") if step.index == 2 else 1.0
        for objective in super().objectives(views, step):
            yield Objective("main", objective.loss * factor)


class Crashes(Plain):
    def misbehave(self, step):
        os._exit(3)


class Killed(Plain):
    def misbehave(self, step):
        os.kill(os.getpid(), signal.SIGKILL)


class Knob(Plain):
    """Its encoder has a knob."""

    def __init__(self, config, encoder, context):
        super().__init__(config, controlled(encoder, default_lambda=0.0, start="official"), context)


class Memory(Plain):
    def misbehave(self, step):
        raise MemoryError("no more")
