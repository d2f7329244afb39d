"""`hcbench data duplicates`: images of a test set that a corpus holds as well, or holds something too alike."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from hcbench.data.duplicates import (
    BITS,
    COSINE,
    Matches,
    difference_hashes,
    joined,
    near_duplicates,
    near_hashes,
)
from hcbench.data.samples import Indexed, Samples
from hcbench.errors import ConfigError, DataError
from hcbench.harness.cli.data_sets import check_outside
from hcbench.harness.cli.image_set import find_images
from hcbench.harness.cli.progress_bar import bar
from hcbench.harness.cli.tables import plain_table
from hcbench.harness.jobs.atomic_files import replacing
from hcbench.harness.planning.corpora import stem

Rows = NDArray[Any]
"""What stands for images while they are compared: bits of hashes, or vectors; a row for each."""

HASH = "hash"
"""Looks for copies by the pixels alone, without a network."""
_BLOCK = 512
"""Images that are decoded together."""
_FIRST, _ON_SHEET, _COLUMNS = 10, 40, 8
"""Pairs that are printed and drawn; images in a row of the sheet."""
_HASHED_AT = (128, 64)


@dataclass(frozen=True, kw_only=True, slots=True)
class DuplicatesRequest:
    """What is asked for.

    Attributes:
        corpus: `NAME`, `NAME:SPLIT`, either with `=ROOT`, or a manifest.
        test: Likewise; its images are what the share is of.
        roots: Folders of data sets, and of the images of manifests, by name.
        by: `HASH`, or a file or folder of weights.
        layout: Whose weights they are, see `hcbench evaluate --as`; empty where the file makes it plain.
        weights_key: The part of the file to take, see `hcbench evaluate --weights-key`.
        weights_size: HEIGHTxWIDTH that the weights were trained at, see `hcbench evaluate --weights-size`.
        size: Height and width of the input of foreign weights.
        least: Cosine similarity from which on two images count as alike; None = `COSINE`.
        bits: Bits of 64 in which two hashes may differ; None = `BITS`.
        out: Table of all pairs.
        sheet: Picture of the first pairs; None draws none.
        workspace: Holds decoded pixels, and may say where data lie.
    """

    corpus: str
    test: str
    roots: Mapping[str, str]
    by: str = HASH
    layout: str = ""
    weights_key: str = ""
    weights_size: str = ""
    size: tuple[int, int] = (256, 128)
    least: float | None = None
    bits: int | None = None
    out: Path
    sheet: Path | None = None
    workspace: Path


def screen(console: Console, wanted: DuplicatesRequest) -> Matches:
    """Look for images of the corpus in the test set, print what was found, and write all of it down.

    Raises:
        ConfigError: Options do not fit each other, or one is out of range.
        HcbenchError: Images or weights are not as they should be.
    """
    _check(wanted)
    corpus = find_images(wanted.corpus, wanted.roots, wanted.workspace, as_corpus=True)
    test = find_images(wanted.test, wanted.roots, wanted.workspace, as_corpus=False)
    if (corpus.name, corpus.split, corpus.root) == (test.name, test.split, test.root):
        raise ConfigError(f"{corpus.title} is held against itself.", "Name another split: NAME:SPLIT.")
    unused = set(wanted.roots) - {name for side in (corpus, test) for name in (side.name, stem(side.name))}
    if unused:
        raise ConfigError(
            f"--data {sorted(unused)[0]}: that is neither {corpus.name} nor {test.name}.", "Leave it out, or mend it."
        )
    for path in filter(None, (wanted.out, wanted.sheet)):
        for side in (corpus, test):
            if side.manifest is None:
                check_outside(path, side.root)
    likeness = _by_hash(wanted.bits) if wanted.by == HASH else _by_network(console, wanted)
    there, scored = (side.samples(likeness.size, wanted.workspace) for side in (corpus, test))
    console.print(
        f"{corpus.title} ({len(there):,} images) against {test.title} ({len(scored):,} images), {likeness.rule}",
        soft_wrap=True,
    )
    found = _compare(console, likeness, there, scored)
    _tell(console, likeness, found, there, scored)
    _write(wanted.out, likeness, found, there, scored)
    console.print(f"wrote {wanted.out}", soft_wrap=True)
    if wanted.sheet is not None and len(found):
        console.print(f"wrote {_draw(wanted.sheet, likeness, found, there, scored)}", soft_wrap=True)
    elif len(found):
        console.print("Look at them before you believe them: --sheet pairs.png draws them.", soft_wrap=True)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Likeness:
    """A way to tell whether two images are alike.

    Attributes:
        rule: In words.
        unit: What scores are called.
        size: Height and width of the images that `describe` takes.
        describe: From images (n, 3, H, W) to a row for each.
        pairs: From such rows of a corpus and of a test set to the pairs that are alike.
        factor: From the score of a pair to the number that is shown.
    """

    rule: str
    unit: str
    size: tuple[int, int]
    describe: Callable[[NDArray[np.uint8]], Rows]
    pairs: Callable[[Rows, Rows], Matches]
    factor: int = 1


def _by_hash(bits: int | None) -> Likeness:
    """Copies, perhaps resized or compressed anew: few of 64 bits differ."""
    most = BITS if bits is None else bits
    return Likeness(
        rule=f"by difference hash: at most {most} of 64 bits differ",
        unit="bits",
        size=_HASHED_AT,
        describe=difference_hashes,
        pairs=partial(near_hashes, most=most),
        factor=-1,
    )


def _by_network(console: Console, wanted: DuplicatesRequest) -> Likeness:
    """Whatever a network takes for alike: vectors that point the same way."""
    from hcbench.harness.cli.evaluate import WeightsFile, located
    from hcbench.harness.scoring.embedding import embedder
    from hcbench.harness.scoring.weight_fit import Question

    given = located(
        WeightsFile(Path(wanted.by), wanted.layout, weights_key=wanted.weights_key, weights_size=wanted.weights_size)
    )
    height, width = wanted.size
    question = Question(
        path=str(given.path),
        layout=given.layout,
        height=height,
        width=width,
        weights_key=given.weights_key,
        weights_size=given.weights_size,
    )
    embed, size, text = embedder(question)
    console.print(Text(text), soft_wrap=True)
    least = COSINE if wanted.least is None else wanted.least
    return Likeness(
        rule=f"by vectors of {given.path.name}: cosine at least {least:g}",
        unit="cosine",
        size=size,
        describe=embed,
        pairs=partial(near_duplicates, least=least),
    )


def _about_weights(wanted: DuplicatesRequest) -> tuple[tuple[str, object], ...]:
    """Options that are of use with weights alone, and what was given for each."""
    return (
        ("--least", wanted.least),
        ("--as", wanted.layout),
        ("--weights-key", wanted.weights_key),
        ("--weights-size", wanted.weights_size),
    )


def _check(wanted: DuplicatesRequest) -> None:
    if wanted.by == HASH:
        unused = [name for name, value in _about_weights(wanted) if value]
        if unused:
            raise ConfigError(
                f"{' and '.join(unused)}: that is about weights, and hashes need none.",
                "Name the weights: --by CHECKPOINT. How alike hashes must be is --bits.",
            )
    elif wanted.bits is not None:
        raise ConfigError("--bits is about hashes.", "With --by CHECKPOINT, say --least COSINE.")
    if wanted.least is not None and not -1 < wanted.least <= 1:
        raise ConfigError(f"--least {wanted.least:g} is no cosine.", "Expected above -1 and at most 1; .98 is usual.")
    if wanted.bits is not None and not 0 <= wanted.bits <= 64:
        raise ConfigError(f"--bits {wanted.bits} is out of range.", "Expected 0 to 64; 5 is usual.")


def _compare(console: Console, likeness: Likeness, corpus: Samples, test: Samples) -> Matches:
    """The pairs; only the rows of the test set are held as a whole."""
    right = np.concatenate([rows for _, rows in _described(console, likeness, test)])
    parts = ((start, likeness.pairs(rows, right)) for start, rows in _described(console, likeness, corpus))
    found = joined(parts)
    broken = [set(getattr(samples.images, "broken", ())) for samples in (corpus, test)]
    for samples in (corpus, test):
        for warning in getattr(samples.images, "warnings", ()):
            console.print(Text(f"Beware: {warning}, and so are like nothing", style="yellow"), soft_wrap=True)
    pairs = zip(found.corpus.tolist(), found.test.tolist(), strict=True)
    kept = np.array([left not in broken[0] and right not in broken[1] for left, right in pairs], bool)
    return Matches(found.corpus[kept], found.test[kept], found.score[kept])


def _described(console: Console, likeness: Likeness, samples: Samples) -> Iterator[tuple[int, Rows]]:
    """Rows of every block of images, with the number of its first image."""
    if not len(samples):
        raise DataError(f"{samples.name} holds no image.", "Name another split, or another folder.")
    with bar(console, samples.name) as tell:
        for start in range(0, len(samples), _BLOCK):
            tell(start, len(samples), "")
            yield start, likeness.describe(samples.images[np.arange(start, min(start + _BLOCK, len(samples)))])
        tell(len(samples), len(samples), "")


def _tell(console: Console, likeness: Likeness, found: Matches, corpus: Samples, test: Samples) -> None:
    concerned = len(np.unique(found.test))
    console.print(
        f"{len(found):,} pairs. {concerned:,} of {len(test):,} test images ({found.share_of_test(len(test)):.2%}) have "
        "a near-duplicate in the corpus.",
        soft_wrap=True,
    )
    if not len(found):
        return
    table = plain_table("corpus", "test", likeness.unit, right=(likeness.unit,), unbroken=(likeness.unit,))
    for row in _rows(likeness, found, corpus, test, _FIRST):
        table.add_row(*row)
    console.print(table)
    if len(found) > _FIRST:
        console.print(f"... and {len(found) - _FIRST:,} more pairs")


def _rows(
    likeness: Likeness, found: Matches, corpus: Samples, test: Samples, count: int
) -> Iterator[tuple[str, str, str]]:
    """The first pairs, most alike first: id in the corpus, id in the test set, score."""
    for left, right, score in zip(found.corpus[:count], found.test[:count], found.score[:count], strict=True):
        number = likeness.factor * float(score)
        yield str(corpus.ids[left]), str(test.ids[right]), f"{number:.4f}" if number % 1 else f"{number:.0f}"


def _write(path: Path, likeness: Likeness, found: Matches, corpus: Samples, test: Samples) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("corpus", "test", likeness.unit))
        table.writerows(_rows(likeness, found, corpus, test, len(found)))


def _draw(path: Path, likeness: Likeness, found: Matches, corpus: Samples, test: Samples) -> Path:
    """The first pairs side by side, the image of the corpus on the left."""
    from hcbench.data.sheet import contact_sheet

    left, right = (indices[:_ON_SHEET] for indices in (found.corpus, found.test))
    images = np.stack([Indexed(corpus.images, left)[:], Indexed(test.images, right)[:]], axis=1)
    rows = list(_rows(likeness, found, corpus, test, _ON_SHEET))
    samples = Samples(
        name="pairs",
        fingerprint="",
        images=images.reshape(-1, *images.shape[2:]),
        ids=np.array([name for one, other, _ in rows for name in (one, other)]),
    )
    texts = [
        text for one, other, score in rows for text in (f"corpus {one}", f"test {other} ({likeness.unit} {score})")
    ]
    zoom = 1 if likeness.size[0] >= 224 else 2
    return contact_sheet(samples, path, columns=_COLUMNS, limit=len(samples), zoom=zoom, texts=texts)
