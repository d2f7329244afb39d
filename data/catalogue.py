"""Which real data sets there are: every module of this folder that holds a `CARD` registers by being there."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from hcbench.data.card import DatasetCard
from hcbench.data.overlaps import plain
from hcbench.data.task_splits import OWN, TaskSplits
from hcbench.errors import DataError, did_you_mean

_CARD = re.compile(r"^CARD\s*=\s*(DatasetCard|replace)\(", re.MULTILINE)


@functools.cache
def dataset_modules() -> Mapping[str, str]:
    """Name of every data set, sorted, to its module.

    A module is looked at as text first, and imported only where it holds a card: nothing here loads torch.

    Raises:
        DataError: Two modules use one name.
    """
    found: dict[str, str] = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if _CARD.search(path.read_text(encoding="utf-8")):
            module = f"{__package__}.{path.stem}"
            name = importlib.import_module(module).CARD.name
            if name in found:
                raise DataError(f"{module} and {found[name]} are both called {name!r}.", "Give one another name.")
            found[name] = module
    return dict(sorted(found.items()))


def dataset(name: str) -> ModuleType:
    """The module of a data set: its `CARD`, `load` and `verify`; other spellings are understood (`overlaps.plain`).

    Raises:
        DataError: No data set has this name.
    """
    modules = dataset_modules()
    own = {plain(one): one for one in modules}.get(plain(name))
    if own is None:
        raise DataError(f"No data set is called {name!r}.", did_you_mean(name, modules))
    return importlib.import_module(modules[own])


def dataset_card(name: str) -> DatasetCard:
    """The card of a data set; errors as `dataset`."""
    card: DatasetCard = dataset(name).CARD
    return card


def direct_corpora() -> tuple[str, ...]:
    """Data sets that can be pre-trained on as they are, because their module cuts crops for it (`person_crops`)."""
    return tuple(name for name in dataset_modules() if hasattr(dataset(name), "person_crops"))


def taking(option: str) -> tuple[str, ...]:
    """Data sets whose loader has an argument that not all have, such as `trust_pickle`."""
    return tuple(name for name in dataset_modules() if option in inspect.signature(dataset(name).load).parameters)


def task_splits(name: str) -> TaskSplits:
    """The owners' splits behind those of a benchmark."""
    found: TaskSplits = getattr(dataset(name), "TASK_SPLITS", OWN)
    return found


def is_for_training(name: str) -> bool:
    """Whether a data set may be trained on; OCHuman, for one, may not."""
    return task_splits(name).train is not None


def training_split(name: str) -> str:
    """The split of a data set that a corpus may be made of: the one for training.

    Raises:
        DataError: It has none.
    """
    module = dataset(name)
    if not is_for_training(name):
        raise DataError(f"{module.CARD.title} has no split to train on.", "Name one (--split) for another purpose.")
    splits = tuple(module.CARD.counts)
    return str(getattr(module, "CORPUS_SPLIT", next((one for one in splits if one.startswith("train")), splits[0])))


def content_hashes(name: str, root: Path) -> tuple[str, ...]:
    """What tells one copy of a data set from another: hashes of its annotation files.

    Where a module does not name them (`annotation_files`), the names and sizes of all files are taken.
    """
    files: Callable[[Path], tuple[Path, ...]] | None = getattr(dataset(name), "annotation_files", None)
    if files is not None:
        return tuple(f"{path.name}:{_sha256(path)}" for path in files(root))
    listing = sorted(f"{path.relative_to(root).as_posix()} {path.stat().st_size}"
                     for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))  # fmt: skip
    return (f"files:{hashlib.sha256(chr(10).join(listing).encode()).hexdigest()[:16]}",)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
