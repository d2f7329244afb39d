"""Folders of person crops whose file names say who and which camera: Market-1501 and its many relatives.

Names are parsed from the base name alone, never from the whole path: a folder `run_12_c3` around it is no camera.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcbench.data.files.left_out import LeftOut
from hcbench.data.files.names import some
from hcbench.data.formats.listing import list_files
from hcbench.errors import DataError

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
"""The three folders of Market-1501, in the order train, query, gallery; most later datasets are packed like that."""


@dataclass(frozen=True, slots=True)
class NameRule:
    """How a dataset writes person and camera into file names.

    Attributes:
        pattern: With the groups `camera` (counted from 1) and, where names hold it, `pid`; matched against the whole
            base name.
        example: A name that fits, for messages.
        endings: Endings of files that are read by this rule, lower case; others are counted and not taken.
    """

    pattern: re.Pattern[str]
    example: str
    endings: tuple[str, ...] = (".jpg",)


MARKET = NameRule(
    # person, camera, sequence, frame, box
    re.compile(r"(?P<pid>-1|\d{4})_c(?P<camera>[1-6])s\d_\d{6}_\d{2}\.jpg", re.IGNORECASE),
    "0002_c1s1_000451_03.jpg",
)
DUKE = NameRule(re.compile(r"(?P<pid>\d{4})_c(?P<camera>[1-8])_f\d{7}\.jpg", re.IGNORECASE), "0001_c2_f0046182.jpg")
MSMT = NameRule(
    # person, image, camera, day and time, frame, box
    re.compile(r"(?P<pid>\d{4})_\d{3}_(?P<camera>\d{2})_\d{4}[a-z]+_\d{4}_\d(_ex)?\.jpe?g", re.IGNORECASE),
    "0000_013_04_0303morning_0020_2.jpg",
    (".jpg", ".jpeg"),
)
CUHK03 = NameRule(
    # pair of cameras, person, view, image
    re.compile(r"[1-5]_\d{3}_(?P<camera>[12])_\d{2}\.png", re.IGNORECASE),
    "1_001_1_01.png",
    (".png",),
)
ANY_MARKET = NameRule(
    re.compile(r"(?P<pid>\d{1,5})_c(?P<camera>\d{1,2})(?!\d).*\.(jpe?g|png)", re.IGNORECASE),
    "0001_c1_0.png",
    (".jpg", ".jpeg", ".png"),
)
"""Person and camera as in Market-1501, anything after them: other datasets that were renamed into its form."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonFiles:
    """Image files with who is on them.

    Attributes:
        files: Paths below the dataset's folder, forward slashes, N of them.
        pids: int64 (N,), persons as the dataset numbers them.
        cameras: int64 (N,), counted from 0.
        left_out: What lies beside them and was left out.
    """

    files: tuple[str, ...]
    pids: NDArray[np.int64]
    cameras: NDArray[np.int64]
    left_out: LeftOut = field(default_factory=LeftOut)

    def take(self, rows: NDArray[np.bool_]) -> PersonFiles:
        """The files where `rows`, bool (N,), is true."""
        files = tuple(file for file, kept in zip(self.files, rows, strict=True) if kept)
        return PersonFiles(files=files, pids=self.pids[rows], cameras=self.cameras[rows], left_out=self.left_out)


def read_folder(base: Path, folder: str, rules: Sequence[NameRule]) -> PersonFiles:
    """All images of one folder, sorted by name.

    Args:
        base: The dataset's folder.
        folder: The folder below it.
        rules: Accepted ways of naming; each file follows the first of them that fits it.

    Raises:
        DataError: The folder is missing or empty, or names do not follow the rules or are not in UTF-8.
    """
    endings = dict.fromkeys(ending for rule in rules for ending in rule.endings)
    listing = list_files(base / folder, endings=tuple(endings))
    if not listing.files:
        left_out = listing.left_out
        why = "".join(f" {remark}." for remark in (*left_out.problems(), *left_out.notes()))
        raise DataError(f"{base / folder} holds no image.{why}", f"Expected files such as {rules[0].example}.")
    pids, cameras = parse_names(listing.files, rules, base / folder)
    files = tuple(f"{folder}/{file}" for file in listing.files)
    return PersonFiles(files=files, pids=pids, cameras=cameras, left_out=listing.left_out)


def parse_names(
    files: Sequence[str], rules: Sequence[NameRule], where: Path
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Persons as written (0 where names do not hold them) and cameras counted from 0, int64 (N,) each.

    Raises:
        DataError: A base name follows none of the rules; the first such are named.
    """
    matches = [_match(file, rules) for file in files]
    strange = [file for file, match in zip(files, matches, strict=True) if match is None]
    if strange:
        raise DataError(
            f"{len(strange)} of {len(files)} names in {where} say neither person nor camera: {some(strange)}.",
            f"Expected names such as {' or '.join(rule.example for rule in rules)}; take other files out.",
        )
    groups = [match.groupdict() for match in matches if match is not None]
    pids = np.array([int(group.get("pid", 0)) for group in groups], np.int64)
    cameras = np.array([int(group["camera"]) - 1 for group in groups], np.int64)
    return pids, cameras


def _match(file: str, rules: Sequence[NameRule]) -> re.Match[str] | None:
    name = file.rpartition("/")[2]
    return next((match for rule in rules if (match := rule.pattern.fullmatch(name))), None)
