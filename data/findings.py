"""What `verify` finds when it decodes pictures, with the decoder of the run.

Which cannot be used and why, and of which not everything counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hcbench.data.files.names import some
from hcbench.data.pixels import Picture, Remark, read_picture
from hcbench.data.threads import in_threads
from hcbench.errors import DataError

_REASONS = 3


@dataclass(slots=True)
class Findings:
    """What decoding pictures one after the other has shown.

    Attributes:
        looked_at: How many were decoded, or should have been.
        broken: Why a picture cannot be used, by its name.
        closed: Names of those of them that may not be read.
        by_remark: Names of pictures of which not everything counts, by remark.
    """

    looked_at: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)
    by_remark: dict[Remark, list[str]] = field(default_factory=dict)

    def add(self, name: str, found: Picture | DataError) -> None:
        """Note one picture, or why there is none."""
        self.looked_at += 1
        if isinstance(found, DataError):
            self.broken[name] = found.message
            if isinstance(found.__cause__, PermissionError):
                self.closed.append(name)
            return
        for remark in found.remarks:
            self.by_remark.setdefault(remark, []).append(name)

    @property
    def notes(self) -> list[str]:
        """The first reasons why pictures cannot be used, and `remarks`."""
        return [*(reason.rstrip(".") for reason in list(self.broken.values())[:_REASONS]), *self.remarks]

    @property
    def remarks(self) -> list[str]:
        """For each rule by which not everything of a picture counts, how many follow it, with the first names."""
        return [
            f"{len(names):,} of {self.looked_at:,} pictures {remark.value} ({some(names)})"
            for remark in Remark
            if (names := self.by_remark.get(remark))
        ]

    @property
    def problems(self) -> list[str]:
        """A sentence on the pictures that cannot be used, for each kind of trouble; none where all can."""
        damaged = [name for name in self.broken if name not in set(self.closed)]
        kinds = {"cannot be decoded": damaged, "may not be read (permissions)": self.closed}
        return [
            f"{len(names)} of {self.looked_at:,} images {words}: {some(names)}"
            for words, names in kinds.items()
            if names
        ]


def checked_images(
    base: Path,
    files: Sequence[str],
    sizes: Mapping[str, tuple[int, int]] | None = None,
    *,
    source: str = "its annotations say",
) -> tuple[list[str], list[str]]:
    """Decode all images of a data set as a run does.

    Args:
        base: The folder that the paths begin at.
        files: Paths below it.
        sizes: Width and height that annotations give some of them.
        source: Who says so, with the verb.

    Returns:
        Problems (images that are missing, cannot be decoded, or are of another size), a sentence for each kind, and
        notes on those of which not everything counts.
    """
    expected = sizes or {}
    findings = Findings()
    missing: list[str] = []
    wrong: list[str] = []

    def read(file: str) -> Picture | DataError | None:
        return attempt(lambda: read_picture(base / file, file)) if os.path.isfile(base / file) else None

    unique = list(dict.fromkeys(files))
    for file, found in zip(unique, in_threads(read, unique, f"images of {base.name}"), strict=True):
        if found is None:
            missing.append(file)
            continue
        findings.add(file, found)
        if isinstance(found, Picture) and found.image.size != expected.get(file, found.image.size):
            wrong.append(f"{file} is {sides(found.image.size)}, {source} {sides(expected[file])}")
    absent = [f"{len(missing)} of {len(unique):,} images are missing: {some(missing)}"] if missing else []
    findings.looked_at = len(unique)
    return [*absent, *findings.problems, *wrong], findings.notes


def attempt(read: Callable[[], Picture]) -> Picture | DataError:
    """The picture, or why there is none."""
    try:
        return read()
    except DataError as error:
        return error


def sides(size: Sequence[int]) -> str:
    """Width and height as text."""
    return " x ".join(map(str, size))
