"""Is the embedded ReID benchmark as hard as real photographs, for the same reasons?

`scripts/calibrate` renders the persons of the benchmark, finds them again by features that nobody trained, and prints
how well that goes beside the figures of real photographs (`calibration_figures`), with statistics of the images
themselves. It knows controls alone: the world is calibrated, and frozen, before any method is looked at.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from hcbench.benchmarks.base import FeatureTable
from hcbench.benchmarks.metrics.reid import rank_metrics
from hcbench.benchmarks.reid.metric_head import Scatter
from hcbench.benchmarks.reid.task import normalised
from hcbench.data.samples import Samples
from hcbench.data.seeds import name_seed
from hcbench.errors import DataError, HcbenchError
from hcbench.harness.planning.corpora import PEOPLE
from hcbench.harness.planning.settings import RunConfig
from hcbench.harness.scoring.benchmark_data import benchmark_splits
from hcbench.harness.scoring.calibration_figures import DIFFICULTIES, LOOKS, Difficulty, near
from hcbench.harness.scoring.image_statistics import Statistics, image_statistics
from hcbench.methods.histogram.method import HistogramEncoder
from hcbench.methods.parts.backbones import EncoderSpec, build_encoder
from hcbench.methods.parts.encoder import Encoder, Features, encode_all
from hcbench.methods.pixels.method import PixelEncoder

TESTED: Final = (250, 6)
"""Persons that are searched for, and images of each at the most."""
LEARNED: Final = (500, 5)
"""Other persons, on whom the metric is learned."""
HEIGHT, WIDTH = 128, 64
SHRINKAGE: Final = 0.1
"""Of the benchmark's own metric, which the figures of real photographs were measured with."""
_SCALE: Final = 0.625
"""Share of the embedded benchmark that holds so many persons: 250 of 400, 500 of 800."""


@dataclass(frozen=True, slots=True)
class People:
    """Crops of persons: images uint8 (N, 3, H, W), identity and camera int64 (N,)."""

    images: NDArray[np.uint8]
    identity: NDArray[np.int64]
    camera: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured: mAP in % by (features, readout), nearest neighbour and learned metric; looks by name."""

    difficulty: dict[tuple[str, str], tuple[float, float]]
    looks: Statistics

    def misses(self) -> list[str]:
        """Targets that are missed, one sentence each."""
        return [*self._too_hard_or_easy(), *self._unlike()]

    def _too_hard_or_easy(self) -> Iterator[str]:
        for row in DIFFICULTIES:
            values = self.difficulty.get((row.features, row.readout))
            if values is None:
                continue
            for what, value, target in zip(
                ("nearest neighbour", "learned metric"), values, (row.nearest_target, row.metric_target), strict=True
            ):
                if target and not target[0] <= value <= target[1]:
                    yield f"{row.features} {row.readout}, {what}: {value:.1f}, expected {target[0]:g}-{target[1]:g}"

    def _unlike(self) -> Iterator[str]:
        for look in LOOKS:
            found = self.looks[look.name]
            if look.target and not near(look, found):
                middle = len(found) // 2
                yield f"{look.name}: {found[middle]:.3g}, expected {look.real[middle]:g} within a quarter"


def chosen_persons(samples: Samples, persons: int, images: int, *, cameras: int = 2) -> People:
    """The first persons of a split who are seen by enough cameras, and the first images of each.

    Args:
        samples: With identity and camera; identities below 0 are nobody.
        persons: At the most.
        images: Of each, at the most.
        cameras: That a person must be seen by, at the least, in these images.

    Raises:
        DataError: Nobody is seen by enough cameras, or it is not known who is seen, or by which camera.
    """
    if samples.identity is None or samples.camera is None:
        raise DataError(
            f"{samples.name} does not say who is seen by which camera.", "Choose data of the benchmark reid."
        )
    rows: list[int] = []
    taken = 0
    for identity in dict.fromkeys(samples.identity.tolist()):
        own = np.flatnonzero(samples.identity == identity)[:images].tolist()
        if identity >= 0 and taken < persons and len(set(samples.camera[own].tolist())) >= cameras:
            rows, taken = rows + own, taken + 1
    if not rows:
        raise DataError(f"Nobody in {samples.name} is seen by {cameras} cameras.", "Choose data of the benchmark reid.")
    picked = np.array(rows)
    return People(samples.images[picked], samples.identity[picked], samples.camera[picked])


def controls(height: int, width: int, *, backbone: str, seed: int) -> dict[str, Encoder]:
    """The encoders that nobody trains, by name."""
    spec = EncoderSpec(backbone=backbone, height=height, width=width)
    return {
        "histogram": HistogramEncoder(height, width),
        "pixels": PixelEncoder(height, width),
        "random": build_encoder(spec, seed=name_seed("encoder", backbone, seed)),
    }


def measure(test: People, train: People, *, seed: int = 0, rows: Sequence[Difficulty] = DIFFICULTIES) -> Found:
    """Find the persons of `test` again by each control, with and without a metric learned on those of `train`.

    Args:
        test: Every image is a query.
        train: Other persons.
        seed: Of the network that is not trained.
        rows: Features and readouts to try.
    """
    encoders = controls(*test.images.shape[2:], backbone=RunConfig().backbones[0], seed=seed)
    difficulty = {}
    for name, encoder in encoders.items():
        wanted = [row.readout for row in rows if row.features == name]
        if not wanted:
            continue
        seen, learned = (_features(encode_all(encoder, people.images)) for people in (test, train))
        for readout in wanted:
            features = normalised(seen, readout)
            head = Scatter.measure(normalised(learned, readout), train.identity).solve(SHRINKAGE)
            difficulty[name, readout] = (_mean_ap(features, test), _mean_ap(head(features), test))
    return Found(difficulty, image_statistics(test.images))


def _features(found: Features) -> FeatureTable:
    return FeatureTable(pooled=found.pooled, grid=found.grid)


def _mean_ap(features: NDArray[np.float32], people: People) -> float:
    """In %; every image is a query."""
    labels = (people.identity, people.identity, people.camera, people.camera)
    exact = features.astype(np.float64)
    return 100.0 * float(rank_metrics(1.0 - exact @ exact.T, *labels).mAP)


def table(found: Found) -> str:
    """Real, v1 and what was found, side by side, as two Markdown tables."""
    lines = ["| features | readout | NN real | v1 | here | target | LDA real | v1 | here | target |", "|---" * 10 + "|"]
    for row in DIFFICULTIES:
        if (row.features, row.readout) not in found.difficulty:
            continue
        cells: list[str] = []
        values = found.difficulty[row.features, row.readout]
        for value, told, target in zip(
            values, (row.nearest, row.metric), (row.nearest_target, row.metric_target), strict=True
        ):
            cells += [
                f"{told[0]:.1f}",
                f"{told[1]:.1f}",
                f"**{value:.1f}**",
                "{:g}-{:g}".format(*target) if target else "",
            ]
        lines.append(f"| {' | '.join((row.features, row.readout, *cells))} |")
    lines += ["", "| statistic (quantiles 5, 25, 50, 75, 95 %) | real | v1 | here |", "|---" * 4 + "|"]
    for look in LOOKS:
        columns = [", ".join(f"{v:.3g}" for v in values) for values in (look.real, look.before, found.looks[look.name])]
        lines.append(f"| {' | '.join((look.name, *columns))} |")
    misses = found.misses()
    return "\n".join([*lines, "", *(f"missed: {one}" for one in misses), "" if misses else "All targets are met."])


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/calibrate", description=__doc__)
    parser.add_argument("--data", default=PEOPLE, help="data of the benchmark reid (default: %(default)s)")
    parser.add_argument("--root", default="", help="folder of real data")
    parser.add_argument("--cache", type=Path, required=True, help="folder of rendered and decoded images")
    parser.add_argument("--seed", type=int, default=0, help="of the network that is not trained (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="only what has a target")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Measure and print; 1 where the embedded data miss a target, 2 after a mistake of the caller."""
    torch.set_num_threads(1)
    told = _arguments(words)
    rows = [row for row in DIFFICULTIES if row.metric_target or not told.quick]
    try:
        splits = benchmark_splits(told.data, told.root, height=HEIGHT, width=WIDTH, scale=_SCALE, cache=told.cache,
                                  splits=("train", "test"), benchmark="reid")  # fmt: skip
        test, train = chosen_persons(splits["test"], *TESTED), chosen_persons(splits["train"], *LEARNED, cameras=1)
        found = measure(test, train, seed=told.seed, rows=rows)
    except HcbenchError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    sys.stdout.write(f"{told.data}: {len(set(test.identity.tolist()))} persons, {len(test.images)} images; "
                     f"metric from {len(train.images)} images; seed {told.seed}\n\n{table(found)}\n")  # fmt: skip
    return 1 if found.misses() and told.data == PEOPLE else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
