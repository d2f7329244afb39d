"""A manifest, or a split of a data set, as a command line names it: `NAME`, `NAME:SPLIT`, `FILE.parquet`, with `=ROOT`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hcbench.data.catalogue import dataset, dataset_card, training_split
from hcbench.data.samples import Samples
from hcbench.errors import ConfigError, did_you_mean
from hcbench.harness.corpora import PARQUET, PEOPLE, is_manifest, stem
from hcbench.harness.data_roots import root_of
from hcbench.harness.data_screen import CACHE

if TYPE_CHECKING:
    from hcbench.data.manifest import Manifest


@dataclass(frozen=True)
class ImageSet:
    """A manifest, or a split of a data set, that was found on disk; no pixel is read yet.

    Attributes:
        name: The data set's name, or the manifest's path.
        split: Empty for a manifest.
        root: Of its images.
        workspace: Holds decoded pixels.
        as_corpus: Whether crops are to be those that one pre-trains on, where they are others than those scored.
    """

    name: str
    split: str
    root: Path
    workspace: Path
    as_corpus: bool

    @property
    def title(self) -> str:
        """What the screen calls it."""
        return f"{self.name} {self.split}".rstrip()

    @cached_property
    def manifest(self) -> Manifest:
        """The open manifest.

        Raises:
            DataError: It is none, or its images are not where it says.
        """
        from hcbench.data.manifest import check_images, open_manifest

        manifest = open_manifest(Path(self.name), self.root if self.root != Path() else None)
        check_images(manifest)
        return manifest

    def samples(self, size: tuple[int, int], scratch: Path) -> Samples:
        """All images at a size; `scratch` is gone when the command ends."""
        height, width = size
        if is_manifest(self.name):
            from hcbench.data.manifest_view import view

            rows = np.arange(len(self.manifest))
            return view(self.manifest, "captions", rows, height=height, width=width, cache=scratch)
        module, cache = dataset(self.name), self.workspace / CACHE
        if self.as_corpus and hasattr(module, "person_crops"):
            crops: Samples = module.person_crops(self.root, self.split, height, width, cache)
            return crops
        loaded: Samples = module.load(self.root, self.split, height=height, width=width, cache=cache)
        return loaded


def find_images(text: str, roots: Mapping[str, str], workspace: Path, *, as_corpus: bool) -> ImageSet:
    """Read what the user calls a set of images.

    Raises:
        ConfigError: There is no such split, or a manifest was given one.
        DataError: There is no such data set or folder.
    """
    whole = is_manifest(text) and Path(text).expanduser().exists()  # a path may hold = and :
    given, _, root = (text, "", "") if whole else text.partition("=")
    if whole or given.endswith(PARQUET):
        place = root or roots.get(stem(given), "")
        return ImageSet(str(Path(given).expanduser()), "", Path(place).expanduser(), workspace, as_corpus)
    written, _, split = given.partition(":")
    if written == PEOPLE:
        raise ConfigError(
            "people is rendered: no image of it lies in another data set.", "Name a data set or a manifest."
        )
    if is_manifest(written):
        raise ConfigError(f"There is no manifest {text}.", f"Name FILE{PARQUET} or a folder of such, or a data set.")
    name = dataset_card(written).name
    where = root or roots.get(name)
    splits = tuple(getattr(dataset(name), "SPLITS", dataset_card(name).counts))
    split = split or (training_split(name) if as_corpus else _scored_split(name, splits))
    if split not in splits:
        raise ConfigError(f"{name} has no split {split!r}.", did_you_mean(split, splits))
    return ImageSet(name, split, root_of(name, Path(where) if where else None, workspace), workspace, as_corpus)


def _scored_split(name: str, splits: tuple[str, ...]) -> str:
    """The split that models are scored on."""
    own = getattr(dataset(name), "TASK_SPLITS", None)
    return own.test if own is not None else next((one for one in splits if one.startswith("test")), splits[-1])
