"""What planning must know of a corpus or of a real data set, without torch and without reading a pixel."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hcbench.data.card import DatasetCard
from hcbench.data.samples import Samples
from hcbench.errors import DataError, did_you_mean
from hcbench.harness.settings import CorpusConfig, PretrainConfig

PEOPLE = "people"
DATASETS = {"coco": "hcbench.data.coco"}
"""Real data sets by name, and the module that holds their card and `load`."""

LAYOUTS = ("captions", "poses", "identities")


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusFacts:
    """The size of a corpus and what it knows.

    Attributes:
        provides: Fields of `Samples` that are known.
        reference_groups: What 100pct means.
        group_size: Images in a group; 1 where there are no groups.
        data: Fingerprints of the files on disk; empty for the embedded corpus.
    """

    provides: frozenset[str]
    reference_groups: int
    group_size: int
    data: tuple[str, ...] = ()


class Corpus(Protocol):
    """What an entry point of `hcbench.data` gives: a further corpus."""

    name: str
    title: str

    def facts(self, root: Path, height: int, width: int) -> CorpusFacts:
        """Size and fields of the copy in `root`, without reading its images."""

    def load(self, root: Path, height: int, width: int, cache: Path) -> Samples:
        """All images of the copy in `root` at a size; `cache` keeps decoded pixels."""

    def splits(self, root: Path, height: int, width: int, cache: Path) -> dict[str, Samples]:
        """Train, val and test of a benchmark's data; a corpus that serves no benchmark needs none."""


def corpus_names(further: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """All corpora that can be pre-trained on."""
    return (PEOPLE, *DATASETS, *(further or {}))


def corpus_facts(
    corpus: CorpusConfig, pretrain: PretrainConfig, roots: Mapping[str, str], further: Mapping[str, Any] | None = None
) -> CorpusFacts:
    """Look at a corpus.

    Args:
        corpus: Which one.
        pretrain: Gives the input size, on which the number of usable crops may depend.
        roots: Roots of real data by name.
        further: Corpora of entry points by name.

    Raises:
        DataError: The corpus is unknown, has no root, or its files are not as they should be.
        ConfigError: A setting of the embedded corpus is out of range.
    """
    if corpus.name == PEOPLE:
        return _people(corpus, pretrain)
    names = corpus_names(further)
    if corpus.name not in names:
        raise DataError(f"No corpus is called {corpus.name!r}.", did_you_mean(corpus.name, names))
    root = data_root(corpus.name, roots)
    if corpus.name in (further or {}):
        facts: CorpusFacts = (further or {})[corpus.name].facts(root, pretrain.height, pretrain.width)
        return facts
    module = importlib.import_module(DATASETS[corpus.name])
    return CorpusFacts(
        provides=module.CORPUS_FIELDS,
        reference_groups=module.corpus_size(root, pretrain.height, pretrain.width),
        group_size=1,
        data=data_fingerprints(corpus.name, root),
    )


def data_root(name: str, roots: Mapping[str, str]) -> Path:
    """The folder of a real data set.

    Raises:
        DataError: None was given, or it is no folder.
    """
    if name not in roots:
        raise DataError(f"{name} is real data, and nobody said where it lies.", f"Add --data {name}=ROOT.")
    root = Path(roots[name]).expanduser()
    if not root.is_dir():
        raise DataError(
            f"--data {name}={roots[name]}: there is no such folder.", "Give the folder that holds the data."
        )
    return root.resolve()


def dataset_card(name: str) -> DatasetCard:
    """The card of a built-in real data set."""
    card: DatasetCard = importlib.import_module(DATASETS[name]).CARD
    return card


def data_fingerprints(name: str, root: Path) -> tuple[str, ...]:
    """Hashes of the annotation files of a real data set; none for the embedded one and for others' data sets."""
    if name not in DATASETS:
        return ()
    files = importlib.import_module(DATASETS[name]).annotation_files(root)
    return tuple(f"{path.name}:{_sha256(path)}" for path in files)


def _people(corpus: CorpusConfig, pretrain: PretrainConfig) -> CorpusFacts:
    from hcbench.data.people import spec

    for layout in LAYOUTS if corpus.layout is None else (corpus.layout,):
        # The specification checks its own values, and says what is wrong with them.
        spec.PeopleSpec(
            layout=layout, style=corpus.style, caption_detail=corpus.caption_detail,
            noise=corpus.noise, height=pretrain.height, width=pretrain.width,
        )  # fmt: skip
    known = ("images", "group", "identity", "camera", "pose_id", "keypoints", "joints", "area", "boxes", "captions",
             "phrases")  # fmt: skip
    return CorpusFacts(
        provides=frozenset((*known, "attributes", "parts")),
        reference_groups=spec.REFERENCE_GROUPS,
        group_size=spec.GROUP_SIZE,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
