"""What planning must know of a corpus or of a real data set, without torch and without reading a pixel."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hcbench.data.catalogue import dataset, dataset_contents, dataset_modules, direct_corpora
from hcbench.data.files.contents import Contents
from hcbench.data.files.walk import is_hidden
from hcbench.data.overlaps import plain
from hcbench.errors import DataError, did_you_mean
from hcbench.harness.planning.registry import load_registry
from hcbench.harness.planning.settings import CorpusConfig, PretrainConfig

if TYPE_CHECKING:
    from hcbench.data.manifest.manifest import Manifest

PEOPLE = "people"
PARQUET = ".parquet"
IMAGES = "images"
"""Key of a cell's `roots`: folder of the images of its manifest, where the user has named one."""

LAYOUTS = ("captions", "poses", "identities")


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusFacts:
    """The size of a corpus and what it knows.

    Attributes:
        provides: Fields of `Samples` that are known.
        reference_groups: What 100pct means.
        group_size: Images in a group; 1 where there are no groups.
        data: What stands for the files on disk, by name; empty for the embedded corpus.
        why: Fields that are not known to why, where there is more to say.
        sources: Data sets that the images come from, as `data/overlaps.py` writes them; empty where nobody says.
    """

    provides: frozenset[str]
    reference_groups: int
    group_size: int
    data: Mapping[str, Contents] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()


def corpus_names() -> tuple[str, ...]:
    """All corpora that can be pre-trained on by name; a manifest is named by its path."""
    load_registry()  # workers, too, must know the data sets of plug-ins
    return (PEOPLE, *direct_corpora())


def is_manifest(name: str) -> bool:
    """Whether a corpus is named as manifests are: a .parquet file, or a folder of them by its path.

    The name alone of a folder that is there and holds such files will do, where nothing else is called so.
    """
    if name.endswith(PARQUET) or "/" in name:
        return True
    if not name or all(is_hidden(path.name) for path in Path(name).glob(f"*{PARQUET}")):
        return False
    load_registry()
    return plain(name) not in {plain(one) for one in (PEOPLE, *dataset_modules())}


def stem(name: str) -> str:
    """What `--data STEM=ROOT` calls the images of a manifest."""
    return Path(name).name.removesuffix(PARQUET)


def located(corpus: CorpusConfig, roots: Mapping[str, str]) -> tuple[CorpusConfig, dict[str, str]]:
    """A corpus under the name that tables give it, and where its files lie, as a cell keeps both.

    Raises:
        DataError: There is no root.
    """
    name = corpus.name
    if name == PEOPLE:
        return corpus, {}
    if not is_manifest(name):
        return corpus, {name: str(data_root(name, roots))}
    path = Path(name).expanduser().resolve()
    short = path.name if name.endswith(PARQUET) else f"{path.name}/"
    images = {IMAGES: str(data_root(stem(name), roots))} if stem(name) in roots else {}
    return replace(corpus, name=short), {short: str(path), **images}


def corpus_facts(corpus: CorpusConfig, pretrain: PretrainConfig, roots: Mapping[str, str]) -> CorpusFacts:
    """Look at a corpus.

    Args:
        corpus: Which one; what a manifest knows depends on the layout.
        pretrain: Gives the input size, on which the number of usable crops may depend.
        roots: Roots of real data by name.

    Raises:
        DataError: The corpus is unknown, has no root, or its files are not as they should be.
        ConfigError: A setting of the embedded corpus is out of range.
    """
    if corpus.name == PEOPLE:
        return _people(corpus, pretrain)
    if is_manifest(corpus.name):
        return _of_manifest(corpus, roots)
    names = corpus_names()
    if corpus.name not in names:
        raise _unknown(corpus.name, names)
    root = data_root(corpus.name, roots)
    found = dataset(corpus.name)
    if found.corpus_size is None:  # `Dataset` refuses crops without it
        raise _unknown(corpus.name, names)
    return CorpusFacts(
        provides=found.fields if found.corpus_fields is None else found.corpus_fields,
        reference_groups=found.corpus_size(root, pretrain.height, pretrain.width),
        group_size=1,
        data=data_contents(corpus.name, root),
        sources=(f"{corpus.name}:{found.training_split}",),
    )


def data_root(name: str, roots: Mapping[str, str]) -> Path:
    """The folder of a real data set.

    Raises:
        DataError: None was given, or it is no folder.
    """
    if name not in roots:
        raise DataError(f"{name} is real data, and nobody said where it lies.", f"Add --data {name}=ROOT.")
    root = Path(roots[name]).expanduser()
    if not os.path.isdir(root):
        raise DataError(
            f"--data {name}={roots[name]}: there is no such folder.", "Give the folder that holds the data."
        )
    return root.resolve()


def data_contents(name: str, root: Path) -> dict[str, Contents]:
    """What stands for a real data set, by its name; nothing for the embedded one.

    Raises:
        DataError: There is no file below the root, or one cannot be read.
    """
    return {name: dataset_contents(name, root)} if name in dataset_modules() else {}


def _unknown(name: str, names: tuple[str, ...]) -> DataError:
    if name in dataset_modules():
        return DataError(
            f"{name} cannot be pre-trained on as it is.",
            f"Index it once: hcbench data prepare {name} ROOT --out {name}{PARQUET}; then --corpus {name}{PARQUET}.",
        )
    hint = did_you_mean(name, names)
    return DataError(f"No corpus is called {name!r}.", f"{hint} A manifest is named by its file: NAME{PARQUET}.")


def _of_manifest(corpus: CorpusConfig, roots: Mapping[str, str]) -> CorpusFacts:
    path = Path(corpus.name).expanduser().resolve()
    root = str(data_root(stem(corpus.name), roots)) if stem(corpus.name) in roots else None
    files = sorted(path.glob(f"*{PARQUET}")) if path.is_dir() else [path]
    stamp = tuple((str(one), one.stat().st_mtime_ns, one.stat().st_size) for one in files if one.exists())
    manifest = _opened(path, root, stamp)
    layout = corpus.layout or LAYOUTS[0]
    groups, size = manifest.group_sizes(layout)
    provides = manifest.known(layout)
    everything = ("group", "identity", "camera", "pose_id", "captions", "keypoints")
    reasons = {what: manifest.why_unknown(what, layout) for what in everything if what not in provides}
    return CorpusFacts(
        provides=provides,
        reference_groups=groups if size else len(manifest),
        group_size=size or 1,
        data={manifest.name: manifest.contents},
        why={what: why for what, why in reasons.items() if why},
        sources=manifest.sources(),
    )


@functools.lru_cache(maxsize=8)
def _opened(path: Path, root: str | None, stamp: tuple[tuple[str, int, int], ...]) -> Manifest:
    """An open manifest whose root was looked at; a file that changes is opened again."""
    from hcbench.data.manifest.manifest import check_images, open_manifest

    manifest = open_manifest(path, None if root is None else Path(root))
    check_images(manifest)
    return manifest


def _people(corpus: CorpusConfig, pretrain: PretrainConfig) -> CorpusFacts:
    from hcbench.data.people import fit, spec

    height, width = fit.render_size(pretrain.height, pretrain.width)
    for layout in LAYOUTS if corpus.layout is None else (corpus.layout,):
        # The specification checks its own values, and says what is wrong with them.
        spec.PeopleSpec(
            layout=layout, style=corpus.style, caption_detail=corpus.caption_detail,
            noise=corpus.noise, height=height, width=width,
        )  # fmt: skip
    known = ("images", "group", "identity", "camera", "pose_id", "keypoints", "joints", "area", "boxes", "captions",
             "phrases")  # fmt: skip
    return CorpusFacts(
        provides=frozenset((*known, "attributes", "parts")),
        reference_groups=spec.REFERENCE_GROUPS,
        group_size=spec.GROUP_SIZE,
        sources=(PEOPLE,),
    )
