"""FLOPs per image of a cell, measured without training it: `python -P -m hcbench.harness.forecast.flops JOB`.

One full step of every stage is done by the loop itself and counted by the ledger's own meter, so that what is planned
and what the ledger will say are one number.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from hcbench.data.people.dataset import SHARD_GROUPS
from hcbench.data.people.spec import GROUP_SIZE
from hcbench.data.samples import Int, Samples
from hcbench.harness.jobs.atomic_files import write_json
from hcbench.harness.jobs.cell_folder import FLOPS
from hcbench.harness.jobs.job import Job, read_job
from hcbench.harness.jobs.outcomes import classify
from hcbench.harness.planning.cell import Cell
from hcbench.harness.training.corpus_view import corpus_view
from hcbench.harness.training.loss_log import LossLog
from hcbench.harness.training.pretrain import build_method
from hcbench.harness.training.train import Loop
from hcbench.methods.base import Method

logger = logging.getLogger("hcbench.flops")

DISTINCT_IMAGES: Final = SHARD_GROUPS * GROUP_SIZE
"""Images that are rendered for it: one shard of the embedded corpus, which the run itself needs, too."""


def flops_per_image(method: Method, view: Samples, cell: Cell, device: torch.device) -> float:
    """FLOPs per image seen, each stage weighing its share of the images.

    Args:
        method: As `build_method` makes it; it is trained for a step of each stage.
        view: As many images and labels as the cell has: memories and classifiers grow with them.
        cell: Its images seen decide how large batches are; the step measured is the first of each stage.
        device: Where the method computes.
    """
    loop = Loop(method, view, cell, device, LossLog(cell.pretrain.log_every))
    for units, step in loop.remaining():
        if step.stage not in loop.meter.flops_per_image:
            loop.take_step(units, step)
    loop.meter.close()
    units_of = {plan.name: sum(plan.batches) for plan in loop.plans if plan.batches}
    flops = loop.meter.flops_per_image
    return sum(flops[name] * units for name, units in units_of.items()) / sum(units_of.values())


def stand_in(cell: Cell, cache: Path) -> Samples:
    """A view with as many images, groups and persons as the cell's, of a few images shown over and over.

    Operations do not depend on pixels, but they do on how many images a memory holds and a classifier tells apart.
    """
    few = corpus_view(replace(cell, budget_images=min(cell.budget_images, DISTINCT_IMAGES)), cache)
    return repeated(few, cell.budget_images)


def repeated(samples: Samples, count: int) -> Samples:
    """The samples over and over, `count` in all; every round has groups, persons and poses of its own."""
    indices: Int = np.arange(count) % len(samples)
    rounds: Int = np.arange(count) // len(samples)
    many = samples.subset(indices)

    def renumbered(labels: Int | None) -> Int | None:
        if labels is None:
            return None
        span = int(labels.max(initial=0)) + 1
        return np.where(labels >= 0, labels + rounds * span, labels)

    ids = np.array([f"{name}~{turn}" for name, turn in zip(many.ids, rounds, strict=True)])
    return replace(
        many,
        ids=ids,
        group=renumbered(many.group),
        identity=renumbered(many.identity),
        pose_id=renumbered(many.pose_id),
    )


def answer(job: Job) -> None:
    """Write what a job's cell costs per image, or why that is not known."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    flops, reason = 0.0, ""
    try:
        view = stand_in(job.cell, job.cache)
        flops = flops_per_image(build_method(job.cell, view), view, job.cell, device)
        if not flops > 0:
            reason = "no operation of it can be counted"
    except Exception as error:  # whatever breaks would break the run's own cell, which says so in full
        logger.exception("%s could not be measured", job.cell.title)
        reason = classify(error)[1]
    write_json(job.folder / FLOPS, {"flops_per_image": flops, "reason": reason})


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    answer(read_job(Path(sys.argv[1])))
