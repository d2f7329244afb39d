"""Which data sets there are: the built-in ones, listed here, and those that plug-ins have registered.

A module is imported when its data set is asked for, and nothing here loads torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from hcbench.data.card import DatasetCard
from hcbench.data.dataset import Dataset
from hcbench.data.files.contents import Contents, folder_contents
from hcbench.data.overlaps import plain
from hcbench.data.task_splits import TaskSplits
from hcbench.errors import DataError, did_you_mean

BUILT_IN = (
    "aic", "cihp", "coco", "crowdpose", "cuhk03_np", "cuhk03_np_labeled", "cuhk_pedes", "dukemtmc", "icfg_pedes",
    "image_folder", "lip", "luperson", "luperson_nl", "market1501", "mpii", "msmt17", "occluded_duke", "ochuman",
    "pa100k", "peta", "peta_persons", "peta_zs", "rapv1", "rapv2", "rapzs", "rstpreid", "synth_pedes",
)  # fmt: skip
"""Modules of this folder that hold a `DATASET`, each called as its data set is, with _ for -."""

_registered: dict[str, tuple[Dataset, str]] = {}
"""Data sets of plug-ins by name, each with its module."""


def register(data_set: Dataset, module: str) -> None:
    """Make the data set of a plug-in known to this process; of two that share a name, the later one counts.

    Args:
        data_set: The data set.
        module: The module that its code stands in, for fingerprints.

    Raises:
        DataError: A built-in one has this name.
    """
    own = {plain(one): one for one in built_in_modules()}.get(plain(data_set.name))
    if own is not None:
        raise DataError(f"{module} calls its data set {data_set.name!r}, as the built-in {own} is.", "Rename it.")
    _registered[data_set.name] = (data_set, module)


def built_in_modules() -> Mapping[str, str]:
    """Name of every built-in data set, sorted, to its module."""
    return {name.replace("_", "-"): f"{__package__}.{name}" for name in BUILT_IN}


def dataset_modules() -> Mapping[str, str]:
    """Name of every data set, those of plug-ins last, to its module."""
    return {**built_in_modules(), **{name: module for name, (_, module) in sorted(_registered.items())}}


def dataset(name: str) -> Dataset:
    """A data set by its name; other spellings are understood (`overlaps.plain`).

    Raises:
        DataError: No data set has this name.
    """
    modules = dataset_modules()
    own = name if name in modules else {plain(one): one for one in modules}.get(plain(name))
    if own is None:
        raise DataError(f"No data set is called {name!r}.", did_you_mean(name, modules))
    if own in _registered:
        return _registered[own][0]
    found: Dataset = importlib.import_module(modules[own]).DATASET
    return found


def dataset_card(name: str) -> DatasetCard:
    """The card of a data set; errors as `dataset`."""
    return dataset(name).card


def direct_corpora() -> tuple[str, ...]:
    """Data sets that can be pre-trained on as they are, because they cut crops for it (`person_crops`)."""
    return tuple(name for name in dataset_modules() if dataset(name).person_crops is not None)


def taking(option: str) -> tuple[str, ...]:
    """Data sets whose loader has an argument that not all have, such as `trust_pickle`."""
    return tuple(name for name in dataset_modules() if option in dataset(name).options)


def task_splits(name: str, benchmark: str) -> TaskSplits:
    """The owners' splits of a data set behind those of a benchmark."""
    return dataset(name).splits_for(benchmark)


def lacking(name: str, root: Path, benchmark: str) -> str:
    """What a copy of a data set lacks for a benchmark, in a clause; empty where it lacks nothing."""
    find = dataset(name).lacking
    return "" if find is None else find(root, benchmark)


def is_for_training(name: str) -> bool:
    """Whether a data set may be trained on; OCHuman, for one, may not."""
    return dataset(name).is_for_training


def training_split(name: str) -> str:
    """The split of a data set that a corpus may be made of: the one for training.

    Raises:
        DataError: It has none.
    """
    return dataset(name).training_split


def dataset_contents(name: str, root: Path) -> Contents:
    """What tells one copy of a data set from another: its files' contents.

    Annotation files are read whole; of images that are too many (`contents.MOST_FILES`), names, sizes and the contents
    of a sample stand for all.

    Raises:
        DataError: There is no file, or one cannot be read.
    """
    found = dataset(name)
    folders = None if found.image_folders is None else found.image_folders(root)
    always = () if found.annotation_files is None else found.annotation_files(root)
    return folder_contents(root, folders, always)
