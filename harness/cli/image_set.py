"""Images on disk as a command line names them: `NAME`, `NAME:SPLIT` or `FILE.parquet`, each perhaps with `=ROOT`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hcbench.data.catalogue import dataset
from hcbench.data.manifest.manifest import Manifest, check_images, open_manifest
from hcbench.data.samples import Samples
from hcbench.errors import ConfigError, did_you_mean
from hcbench.harness.cli.data_sets import CACHE
from hcbench.harness.planning.corpora import PARQUET, PEOPLE, is_manifest, stem
from hcbench.harness.planning.data_roots import root_of


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """A manifest, or a split of a data set, that was found; no pixel is read yet.

    Attributes:
        name: The data set's name, or the manifest's path.
        split: Of the data set; empty for a manifest.
        root: The folder of its images.
        manifest: Open; None for a data set.
        as_corpus: Whether crops are to be those that one pre-trains on, where they are others than those scored.
    """

    name: str
    split: str
    root: Path
    manifest: Manifest | None = None
    as_corpus: bool = False

    @property
    def title(self) -> str:
        """What the screen calls it."""
        return f"{self.name} {self.split}".rstrip()

    def samples(self, size: tuple[int, int], workspace: Path) -> Samples:
        """All its images at a size (height, width); `workspace` keeps what is decoded once."""
        height, width = size
        if self.manifest is not None:
            from hcbench.data.manifest.view import view

            rows = np.arange(len(self.manifest))
            return view(self.manifest, "captions", rows, height=height, width=width, cache=workspace / CACHE)
        found = dataset(self.name)
        if self.as_corpus and found.person_crops is not None:
            return found.person_crops(self.root, self.split, height, width, workspace / CACHE)
        return found.load(self.root, self.split, height=height, width=width, cache=workspace / CACHE)


def find_images(text: str, roots: Mapping[str, str], workspace: Path, *, as_corpus: bool) -> ImageSet:
    """Look for what a user calls a set of images.

    Args:
        text: See the module.
        roots: Folders by name of a data set, or by name of a manifest's file without its ending.
        workspace: Its data.yaml may say where a data set lies.
        as_corpus: As in `ImageSet`; also decides which split is meant where none is named.

    Raises:
        ConfigError: There is no such manifest or split.
        DataError: There is no such data set or folder, or a manifest cannot be read.
    """
    whole = is_manifest(text) and Path(text).expanduser().exists()  # a path may hold = and :
    given, _, root = (text, "", "") if whole else text.partition("=")
    if whole or given.endswith(PARQUET):
        place = root or roots.get(stem(given), "")
        manifest = open_manifest(Path(given).expanduser(), Path(place).expanduser() if place else None)
        check_images(manifest)
        return ImageSet(name=given, split="", root=manifest.root, manifest=manifest)
    written, _, split = given.partition(":")
    if written == PEOPLE:
        raise ConfigError(
            "people is rendered: none of its images lies in another data set.", "Name a data set or a manifest."
        )
    if is_manifest(written):
        raise ConfigError(f"There is no manifest {given}.", f"Name FILE{PARQUET}, a folder of such, or a data set.")
    name = dataset(written).name
    known = dataset(name)
    split = split or (known.training_split if as_corpus else known.scored_split)
    if split not in known.splits:
        raise ConfigError(f"{name} has no split {split!r}.", did_you_mean(split, known.splits))
    where = root or roots.get(name, "")
    folder = root_of(name, Path(where) if where else None, workspace)
    return ImageSet(name=name, split=split, root=folder, as_corpus=as_corpus)
