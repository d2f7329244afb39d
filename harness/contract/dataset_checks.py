"""What a data set promises, one function per promise.

Each takes a `DatasetUnderTest` and gives a note for the screen; where the promise is broken, it raises a DataError that
says what was found, what was expected and what to do next. `dataset_contract.py` runs them. No torch.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from hcbench.data.card import VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.fields import FIELDS
from hcbench.data.samples import Samples
from hcbench.data.task_splits import NAMES, TaskSplits, task_samples
from hcbench.errors import DataError, HcbenchError
from hcbench.harness.contract.dataset_under_test import HEIGHT, WIDTH, DatasetUnderTest, Skipped

_ARGUMENTS = ("height", "width", "cache")
_SHOWN = 3


def complete_card(tested: DatasetUnderTest) -> str:
    """The card says what users must know, and `load` takes what hcbench gives it."""
    data_set = tested.data_set
    for name, text in _texts(data_set).items():
        if not text.strip():
            raise DataError(f"The card's {name} is empty.", "`hcbench data explain` shows it: say it in plain words.")
    parameters = inspect.signature(data_set.load).parameters
    whatever = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    for name in _ARGUMENTS:
        if name not in parameters and not whatever:
            raise DataError(
                f"load takes no {name}; it takes {', '.join(parameters)}.",
                "Write def load(root, split, *, height, width, cache).",
            )
    known = {name for call in (data_set.load, data_set.index, data_set.verify) if call is not None
             for name in inspect.signature(call).parameters}  # fmt: skip
    for name in sorted(data_set.options - known):
        raise DataError(f"options names {name!r}, which load, index and verify do not take.", "Leave it out.")
    required = [name for name, one in list(parameters.items())[2:]
                if one.default is one.empty and name not in _ARGUMENTS
                and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]  # fmt: skip
    if required:
        raise DataError(f"load cannot be called without {required[0]}.", "Give it a default, and name it in options.")
    return f"{len(data_set.fields)} fields, {len(data_set.splits)} splits"


def loaded_splits(tested: DatasetUnderTest) -> str:
    """Every split gives samples."""
    for split, samples in tested.samples.items():
        if not isinstance(samples, Samples):
            raise DataError(f"load gives a {type(samples).__name__} for {split}; expected Samples.", "See samples.py.")
        if not len(samples):
            raise DataError(f"{split} holds 0 images.", "Raise a DataError in load where a split is empty.")
    told = ", ".join(f"{split} {len(samples):,}" for split, samples in tested.samples.items())
    absent = [split for split in tested.data_set.splits if split not in tested.samples]
    return f"{told}; not in this copy: {', '.join(absent)}" if absent else told


def images_of_the_size(tested: DatasetUnderTest) -> str:
    """Images are uint8 (N, 3, H, W) at the size that was asked for."""
    for split, samples in tested.samples.items():
        if len(samples.images) != len(samples):
            raise DataError(
                f"{split}: {len(samples.images)} images, but {len(samples)} ids.", "Both belong to the same N samples."
            )
        few = samples.images[np.unique([0, len(samples) - 1])]
        found = _array(few)
        shape = (len(few), 3, HEIGHT, WIDTH)
        if found != f"uint8 {shape}":
            raise DataError(
                f"{split}: images at {HEIGHT}x{WIDTH} are {found}; expected uint8 {shape}.",
                "Channels come before rows and columns, values are 0..255, and load resizes to height and width.",
            )
    return f"uint8 (N, 3, {HEIGHT}, {WIDTH})"


def unique_ids(tested: DatasetUnderTest) -> str:
    """Ids are text, and each is there once in its split."""
    for split, samples in tested.samples.items():
        ids = samples.ids
        if not isinstance(ids, np.ndarray) or ids.dtype.kind != "U" or ids.ndim != 1:
            raise DataError(
                f"{split}: ids are {_array(ids)}; expected text (N,).", "Write np.array([...]) of paths or other names."
            )
        names, counts = np.unique(ids, return_counts=True)
        if (counts > 1).any():
            raise DataError(
                f"{split}: {(counts > 1).sum()} ids are there more than once: {_some(names[counts > 1])}.",
                "Every image needs an id of its own; the path below the root will do.",
            )
    return f"such as {next(iter(tested.samples.values())).ids[0]}"


def declared_fields(tested: DatasetUnderTest) -> str:
    """What the card names is there."""
    data_set = tested.data_set
    further: dict[str, None] = {}
    for split, samples in tested.samples.items():
        known = samples.known()
        for name in sorted(data_set.fields - known - data_set.sometimes):
            raise DataError(
                f"{split} does not know {name}, which card.fields names.",
                "Fill it in load; or take it out of card.fields; or name it in sometimes: not every copy has it.",
            )
        further |= dict.fromkeys(sorted(known - data_set.fields))
    return f"not declared, but there: {', '.join(further)}" if further else ", ".join(sorted(data_set.fields))


def fields_as_promised(tested: DatasetUnderTest) -> str:
    """Every field that is there has its type and shape (`data/fields.py`)."""
    seen: set[str] = set()
    for split, samples in tested.samples.items():
        values = {name: value for name, value in _fields(samples) if name not in ("images", "coco_truth")}
        axes = {"N": len(samples), "K": len(samples.skeleton), "A": len(samples.attribute_names), "H": HEIGHT,
                "W": WIDTH}  # fmt: skip
        for name, value in values.items():
            _check_field(split, name, value, axes)
        seen |= values.keys()
    return ", ".join(sorted(seen)) or "images alone"


def apart(tested: DatasetUnderTest) -> str:
    """What a benchmark trains on, chooses on and is scored on share no image and no person."""
    data_set = tested.data_set
    if not set(data_set.task_splits.named) <= set(data_set.splits):
        raise Skipped("it has not the three splits of a benchmark")
    told = [_apart(tested, data_set.task_splits)]
    for benchmark, owners in data_set.benchmark_splits.items():
        if set(owners.named) <= tested.samples.keys():
            told.append(f"for {benchmark} {_apart(tested, owners)}")
    return "; ".join(told)


def _apart(tested: DatasetUnderTest, owners: TaskSplits) -> str:
    """The same for the splits of one benchmark."""
    data_set = tested.data_set
    parts = {
        split: task_samples(lambda root, name, **size: tested.samples[name], owners, tested.folder, split,
                            height=HEIGHT, width=WIDTH, cache=tested.cache)
        for split in NAMES if split == "test" or data_set.is_for_training
    }  # fmt: skip
    for one, other in combinations(parts, 2):
        shared = np.intersect1d(parts[one].ids, parts[other].ids)
        if len(shared):
            raise DataError(f"{one} and {other} share {len(shared)} images: {_some(shared)}.", "Take them out of one.")
    told = f"{', '.join(parts)}"
    if "identity" not in data_set.fields:
        return told
    if itself := data_set.card.sister_sets.get(data_set.name):
        return f"known of its splits: {itself}"
    for one, other in combinations(parts, 2):
        anew = [owners.owners(split) in data_set.renumbered for split in (one, other)]
        first, second = parts[one].identity, parts[other].identity
        if anew[0] != anew[1] or first is None or second is None:
            continue  # numbers of two numberings say nothing of each other
        shared = np.intersect1d(first[first >= 0], second[second >= 0])
        if len(shared):
            raise DataError(
                f"{one} and {other} share {len(shared)} persons: {_some(shared)}.",
                "Numbers that are equal are one person, unless one of the splits is in renumbered and the other is "
                "not. Split by person; or name in renumbered the splits that load numbers anew.",
            )
    return f"{told}; persons apart"


def same_again(tested: DatasetUnderTest) -> str:
    """The same call gives the same samples."""
    split = next(iter(tested.samples))
    first, again = tested.samples[split], tested.load(split)
    if first.fingerprint != again.fingerprint:
        raise DataError(
            f"{split}: the fingerprint is {first.fingerprint} and then {again.fingerprint}.",
            "Make it of the content alone: hcbench.data.formats.loading.digest(...), no time, no path, no order of a "
            "set.",
        )
    if not np.array_equal(first.ids, again.ids):
        raise DataError(f"{split}: the ids come in another order the second time.", "Sort the files.")
    return first.fingerprint


def refuses_nothing(tested: DatasetUnderTest) -> str:
    """An empty folder is an error of the user, and no data set of 0 images."""
    split = next(iter(tested.samples))
    with tempfile.TemporaryDirectory(prefix="hcbench-empty-") as folder:
        try:
            found = tested.load(split, Path(folder))
        except HcbenchError as error:
            return error.message.replace(folder, "ROOT").splitlines()[0]
        except Exception as error:
            raise DataError(
                f"load of an empty folder ends in {type(error).__name__}: {error}; expected a DataError.",
                "Raise DataError(what was found, what to do next): hcbench.errors.DataError.",
            ) from error
    raise DataError(
        f"load of an empty folder gives {len(found)} images; expected a DataError.",
        "Raise DataError(what was found, what to do next) where there is no image.",
    )


def verify_only_looks(tested: DatasetUnderTest) -> str:
    """`verify` gives its report and leaves the folder as it was; so did `load`."""
    folder = tested.folder
    before = dict(_listing(folder))
    report = tested.data_set.verify(folder)
    if not isinstance(report, VerifyReport):
        raise DataError(f"verify gives a {type(report).__name__}; expected a VerifyReport.", "See make_report.")
    after = dict(_listing(folder))
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    if changed:
        raise DataError(
            f"verify changed {len(changed)} files of the data set: {_some(np.array(changed))}.",
            "Nothing is ever written there.",
        )
    if report.dataset != tested.data_set.name:
        raise DataError(f"The report is one of {report.dataset!r}.", "Give it card.name.")
    return report.level


def crops_as_counted(tested: DatasetUnderTest) -> str:
    """`corpus_size` counts what `person_crops` gives."""
    data_set = tested.data_set
    if data_set.person_crops is None or data_set.corpus_size is None:
        raise Skipped("it cuts none; `hcbench data prepare` makes a corpus of it")
    counted = data_set.corpus_size(tested.folder, HEIGHT, WIDTH)
    given = data_set.person_crops(tested.folder, data_set.training_split, HEIGHT, WIDTH, tested.cache)
    if counted != len(given):
        raise DataError(
            f"corpus_size counts {counted:,} images, person_crops gives {len(given):,}.", "Budgets need the number."
        )
    fields = data_set.fields if data_set.corpus_fields is None else data_set.corpus_fields
    for name in sorted(fields - given.known()):
        raise DataError(f"person_crops does not know {name}, which corpus_fields names.", "Fill it, or take it out.")
    return f"{counted:,} images"


def _texts(data_set: Dataset) -> dict[str, str]:
    """The texts that a card must have, by name."""
    card = data_set.card
    return {"title": card.title, "terms": card.terms, "obtain": card.obtain, "tree": card.tree}


def _fields(samples: Samples) -> Iterator[tuple[str, Any]]:
    yield from ((name, value) for name in FIELDS if (value := getattr(samples, name)) is not None)


def _check_field(split: str, name: str, value: Any, axes: dict[str, int]) -> None:
    facts = FIELDS[name]
    if not facts.dtype:
        if len(value) != axes["N"]:
            raise DataError(f"{split}: {len(value)} {name} for {axes['N']} images.", "Give one tuple per image.")
        if name == "captions" and not all(isinstance(one, tuple) for one in value[:_SHOWN]):
            raise DataError(f"{split}: captions are no tuples of texts.", 'Write ("a text", "another") for each image.')
        return
    few = value[np.arange(min(axes["N"], 1))] if name == "parts" else value
    shape = tuple(axes[axis] if isinstance(axis, str) else axis for axis in facts.shape)
    shape = (len(few), *shape[1:]) if name == "parts" else shape
    expected = f"{facts.dtype} {shape}"
    if _array(few) != expected:
        written = f"({', '.join(map(str, facts.shape))}{',' if len(facts.shape) == 1 else ''})"
        raise DataError(
            f"{split}: {name} is {_array(few)}; expected {expected}.",
            f"{name} is {facts.dtype} {written}: N images"
            + (", K joints of skeleton" if "K" in facts.shape else "")
            + (", A attribute_names" if "A" in facts.shape else "")
            + ".",
        )


def _array(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return f"a {type(value).__name__}"


def _some(values: Any) -> str:
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    return shown + (f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else "")


def _listing(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    for path in folder.rglob("*"):
        stat = path.lstat()  # a link may lead nowhere
        yield path.relative_to(folder).as_posix(), (stat.st_size, stat.st_mtime_ns)
