"""Render and decode every image that a matrix needs, once, before cells start.

The parent (no torch) finds what is missing in the cache and starts processes of one thread,
`python -P -m hcbench.harness.training.prepare PIECES`, that make it. What is there is never made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hcbench.data.budget import draw_groups
from hcbench.data.catalogue import dataset, dataset_modules, direct_corpora, task_splits
from hcbench.data.dataset import Dataset
from hcbench.data.formats.person_boxes import GROUND_TRUTH, reader
from hcbench.data.people import dataset as people
from hcbench.data.people.cache import Shard
from hcbench.data.people.spec import GROUP_SIZE, REFERENCE_GROUPS, PeopleSpec
from hcbench.data.samples import Samples
from hcbench.errors import DataError
from hcbench.harness.jobs.atomic_files import read_json, remove, write_json
from hcbench.harness.jobs.cell_folder import CHECKPOINT
from hcbench.harness.jobs.events import Listener, Note, Prepared, Preparing, ignore
from hcbench.harness.jobs.job import Job
from hcbench.harness.jobs.outcomes import classify, classify_exit
from hcbench.harness.planning.cell import Cell, Evaluation
from hcbench.harness.planning.corpora import PEOPLE
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.scoring.benchmark_data import STYLE, regime
from hcbench.harness.training.corpus_view import people_spec

logger = logging.getLogger(__name__)

LOG = "prepare.log"
"""What the processes have to say, in the cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A unit of work: a shard of people, or the crops of a real data set's split.

    Attributes:
        name: For progress bars.
        key: Equal keys are the same work.
        images: How many images it makes; 0 where only the work itself tells.
        task: What the process needs to know.
    """

    name: str
    key: str
    images: int
    task: dict[str, Any]

    @property
    def on_disk(self) -> bool:
        """Whether it reads a real data set; people are drawn from code alone, which their key knows."""
        return bool(self.task["kind"] != PEOPLE)


def missing_pieces(jobs: Sequence[Job], cache: Path, *, fresh: bool = False) -> list[Piece]:
    """What the jobs need and the cache does not hold; where `fresh`, all that they need of data on disk."""
    pieces: dict[str, Piece] = {}
    for job in jobs:
        trains = job.cell.budget_images > 0 and not (job.folder / CHECKPOINT).is_dir()
        needed = [*(_of_cell(job.cell) if trains else ())]
        for evaluation in job.evaluations:
            needed += _of_evaluation(evaluation, job.cell.pretrain.height, job.cell.pretrain.width)
        for piece in needed:
            pieces.setdefault(piece.key, piece)
    return [one for one in pieces.values() if (fresh and one.on_disk) or not (cache / one.key).exists()]


def prepare(
    jobs: Sequence[Job], cache: Path, *, workers: int, environment: dict[str, str], inherit: Sequence[int] = (),
    fresh: bool = False, listener: Listener = ignore,
) -> None:  # fmt: skip
    """Make what is missing, in `workers` processes side by side; where `fresh`, files on disk are decoded again.

    What cannot be made is told of in a `Note`; the cells and evaluations that need it fail by themselves, others run.
    """
    pieces = missing_pieces(jobs, cache, fresh=fresh)
    if not pieces:
        return
    start, done, total = time.perf_counter(), 0, sum(piece.images for piece in pieces)
    listener(Preparing(name=pieces[0].name, done=0, total=total))
    cache.mkdir(parents=True, exist_ok=True)
    for made in _run(pieces, cache, min(workers, len(pieces)), environment, inherit, fresh=fresh):
        if made.error:
            listener(Note(text=f"preparing {made.name} failed: {made.error}", level="warning"))
        done += made.images
        rate = done / (time.perf_counter() - start)
        listener(Preparing(name=made.name, done=done, total=max(total, done), images_per_s=rate))
    listener(Prepared(images=done, seconds=time.perf_counter() - start))


def rendering_seconds(cell: Cell, cache: Path) -> float:
    """What the images of a cell's view cost to render, in processor seconds, as measured when they were made."""
    if cell.corpus.name != PEOPLE:
        return 0.0
    costs = [cache / f"{piece.key}.cost.json" for piece in _of_cell(cell)]
    return float(sum(read_json(path)["seconds"] for path in costs if path.is_file()))


def _of_cell(cell: Cell) -> Iterator[Piece]:
    pretrain = cell.pretrain
    if cell.corpus.name == PEOPLE:
        groups = draw_groups(cell.seed, REFERENCE_GROUPS, cell.budget_images // GROUP_SIZE, corpus=PEOPLE)
        yield from _of_shards(people.shards(people_spec(cell), groups), f"people/{cell.corpus.layout}")
    elif cell.corpus.name in direct_corpora():
        name = cell.corpus.name
        yield _of_files("person_crops", (name, cell.roots[name], dataset(name).training_split), pretrain.height,
                        pretrain.width, cell.contents.get(name, ""))  # fmt: skip


def _of_evaluation(evaluation: Evaluation, height: int, width: int) -> Iterator[Piece]:
    scale, boxes = float(evaluation.config["scale"]), str(evaluation.config.get("boxes", GROUND_TRUTH))
    for data, root, splits in evaluation.sources:
        if data == PEOPLE:
            for split in splits:
                shards = people.benchmark_shards(
                    split, style=STYLE, regime=regime(evaluation.benchmark), height=height, width=width, scale=scale
                )
                yield from _of_shards(shards, f"people/{split}")
        elif data in dataset_modules():
            found, owners = dataset(data), task_splits(data, evaluation.benchmark).owners
            calls = dict.fromkeys((reader(found, split, boxes), owners(split)) for split in splits)
            told = evaluation.contents.get(data, "")
            yield from (_of_files(call, (data, root, split), height, width, told) for call, split in calls)


def _of_shards(shards: Sequence[Shard], name: str) -> Iterator[Piece]:
    for shard in shards:
        task = {"spec": asdict(shard.spec), "groups": shard.groups.tolist(), "variants": shard.variants}
        yield Piece(name=name, key=shard.key, images=len(shard), task={"kind": PEOPLE, **task})


def _of_files(call: str, part: tuple[str, str, str], height: int, width: int, contents: str) -> Piece:
    data, root, split = part
    task = {"kind": data, "call": call, "root": root, "split": split, "height": height, "width": width}
    digest = hashlib.sha256(json.dumps([task, contents]).encode()).hexdigest()[:20]
    return Piece(name=f"{data}/{split}", key=f"{data}-{digest}.done", images=0, task=task)


@dataclass(frozen=True, slots=True)
class Made:
    """A piece that is done, or why it is not."""

    name: str
    images: int
    error: str = ""


def _run(
    pieces: Sequence[Piece],
    cache: Path,
    workers: int,
    environment: dict[str, str],
    inherit: Sequence[int],
    *,
    fresh: bool,
) -> Iterator[Made]:
    """Results of all pieces, as they are done; a process that dies is reported once."""
    results: Queue[Made | None] = Queue()
    with ExitStack() as stack:
        log = stack.enter_context((cache / LOG).open("ab"))
        for number in range(workers):
            path = cache / f".pieces-{os.getpid()}-{number}.json"
            write_json(
                path, {"cache": cache, "fresh": fresh, "pieces": [asdict(one) for one in pieces[number::workers]]}
            )
            stack.callback(remove, path)
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "hcbench.harness.training.prepare", str(path)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                env=environment, pass_fds=tuple(inherit), start_new_session=True,
            )  # fmt: skip
            stack.enter_context(process)
            stack.callback(process.kill)
            threading.Thread(target=_listen, args=(process, results), daemon=True).start()
        for _ in range(workers):
            while (made := results.get()) is not None:
                yield made


def _listen(process: subprocess.Popen[bytes], results: Queue[Made | None]) -> None:
    for line in process.stdout or ():
        results.put(Made(*json.loads(line)))
    if process.wait() != 0:
        results.put(Made("images", 0, classify_exit(process.returncode)[1]))
    results.put(None)


def _make(task: dict[str, Any], key: str, cache: Path, *, fresh: bool) -> int:
    if task["kind"] == PEOPLE:
        start = time.process_time()
        shard = Shard(PeopleSpec(**task["spec"]), np.asarray(task["groups"], np.int64), task["variants"])
        images = people.prepare(shard, cache)
        write_json(cache / f"{key}.cost.json", {"images": images, "seconds": time.process_time() - start})
        return images
    read = _member(dataset(task["kind"]), task["call"])
    where = {"root": Path(task["root"]), "split": task["split"], "height": task["height"], "width": task["width"]}
    if fresh:  # into a folder of its own, so that nothing is taken from the cache
        with TemporaryDirectory(dir=cache, prefix="reading-") as place:
            count = len(read(**where, cache=Path(place)))
            _move_into(Path(place), cache)
    else:
        count = len(read(**where, cache=cache))
    write_json(cache / key, {"images": count})  # it only spares the next run the looking
    return count


def _move_into(source: Path, target: Path) -> None:
    """Put all files below one folder to their places below another, over those that are there."""
    for place, _, names in os.walk(source):
        below = target / Path(place).relative_to(source)
        below.mkdir(parents=True, exist_ok=True)
        for name in names:
            (Path(place) / name).replace(below / name)


def _member(data_set: Dataset, call: str) -> Callable[..., Samples]:
    """What reads the files of a piece, by the name that `_of_files` gave it."""
    members = {
        "load": data_set.load, "load_detected": data_set.load_detected, "person_crops": data_set.person_crops
    }  # fmt: skip
    found = members[call]
    if found is None:
        raise DataError(f"{data_set.name} has no {call}.", "The plug-in changed while it was in use: start again.")
    return found


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)  # pieces appear whole or not at all, so nothing is lost


def main(path: Path) -> int:
    """Make all pieces of a file, one JSON line each."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    load_registry()  # the data sets of plug-ins, named by the environment
    work = read_json(path)
    for piece in work["pieces"]:
        images, error = 0, ""
        try:
            images = _make(piece["task"], piece["key"], Path(work["cache"]), fresh=work["fresh"])
        except Exception as problem:  # other pieces may be fine
            logger.exception("%s cannot be made", piece["name"])
            error = classify(problem)[1]
        sys.stdout.write(json.dumps([piece["name"], images, error]) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
