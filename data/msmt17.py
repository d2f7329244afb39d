"""MSMT17, version 1 and 2: re-identification across fifteen cameras; four lists say which image is for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hcbench.data.card import DatasetCard, VerifyReport
from hcbench.data.dataset import Dataset
from hcbench.data.files.names import some
from hcbench.data.files.under_root import check_names
from hcbench.data.formats import reid_splits
from hcbench.data.formats.listing import find_base, list_files
from hcbench.data.formats.loading import listing_notes
from hcbench.data.formats.market_files import ANY_MARKET, FOLDERS, MSMT, PersonFiles, parse_names, read_folder
from hcbench.data.formats.person_splits import report
from hcbench.data.formats.reid_splits import ReidSet, load_split, verify_set
from hcbench.data.samples import Samples
from hcbench.errors import DataError

SPLITS = reid_splits.SPLITS
RENUMBERED = reid_splits.RENUMBERED
TRAIN_IDENTITIES = 1_041
"""Added to test persons, whose numbers begin again at 0, so that no number means a person of each."""
_LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")
_VERSIONS = {"V2": ("mask_train_v2", "mask_test_v2"), "V1": ("train", "test")}
_SMALL_GALLERY = 60_910
"""Gallery images of a shortened copy that circulates."""

CARD = DatasetCard(
    name="msmt17",
    title="MSMT17",
    homepage="https://www.pkuvmc.com/dataset.html",
    terms="On request, no redistribution (not verified). Its owners withdrew version 1 and blurred faces in version 2\n"
    "(not verified); results of the two versions are not comparable.",
    obtain="Sign the release agreement of the homepage and send it by e-mail.",
    tree="""\
ROOT/                                     one of these, with or without a folder around it
  mask_train_v2/<person>/*.jpg  mask_test_v2/<person>/*.jpg        version 2
  list_train.txt list_val.txt list_query.txt list_gallery.txt      lines: <path below the folder> <person>
ROOT/
  train/<person>/*.jpg  test/<person>/*.jpg                        version 1, with the same four lists
ROOT/
  bounding_box_train/ query/ bounding_box_test/                    renamed into the form of Market-1501""",
    counts={
        "trainval": {
            "images": 32_621,
            "identities": 1_041,
            "images in list_train": 30_248,
            "images in list_val": 2_373,
        },
        "query": {"images": 11_659},
        "gallery": {"images": 82_161, "identities": 3_060},
    },
    unverified=frozenset({"images in list_train", "images in list_val"}),
    split_rule="""\
trainval = list_train and list_val, as SOLIDER-REID and TransReID train: what is pre-trained on (data prepare)
train    = list_train, as torchreid trains: what heads learn from
val      = list_val, which shows training persons: what heads are chosen on
A copy without the lists has neither: every tenth person is val. Results of the two rules are not comparable; each
evaluation's record tells its own as split_rule.""",
    fields=reid_splits.FIELDS,
)


def load(root: Path, split: str, *, height: int = 128, width: int = 64, cache: Path) -> Samples:
    """One split of MSMT17.

    `trainval` (list_train and list_val together, 32,621 images) is what published results are trained on; where a
    result comes from list_train alone, it says `train`. The version stands in the samples' name.

    Args:
        root: The folder of `CARD.tree`.
        split: One of `SPLITS` (see `hcbench.data.formats.reid_splits`).
        height: Height of the images, pixels.
        width: Width of the images, pixels.
        cache: Folder outside of `root` that keeps the decoded pixels.

    Returns:
        Samples in the order of the paths; cameras are 0..14; persons of the test begin at 1041.

    Raises:
        DataError: The folder, a list, a name or an image is not as it should be.
        CacheError: The cache folder cannot be written.
    """
    return load_split(_read(*_find(root)), split, height, width, cache)


def verify(root: Path) -> VerifyReport:
    """Check a copy: lists, names, every image's decoding, and the counts of each split. Nothing is written.

    Raises:
        DataError: The root is no folder, or is not MSMT17.
    """
    base, folders = _find(root)
    there = {folder: list_files(base / folder, deep=True, refuse=False) for folder in folders}
    left_out = listing_notes(*there.values())
    try:
        found = _read(base, folders)
    except DataError as error:
        held = [f"{folder}/ holds {len(listing.files):,} images" for folder, listing in there.items()]
        return report(CARD, root, f"{'/, '.join(folders)}/", {}, problems=[error.message],
                      notes=[error.hint, *held, *left_out])  # fmt: skip
    notes = []
    if len(found.gallery.files) == _SMALL_GALLERY:
        notes.append(f"known variant: a copy with {_SMALL_GALLERY:,} gallery images; its results are not comparable")
    if found.val is None:
        notes.append("without list_val.txt nobody can tell training from validation: every tenth person validates")
    else:
        listed = {*found.train.files, *found.query.files, *found.gallery.files}
        files = [f"{folder}/{file}" for folder, listing in there.items() for file in listing.files]
        extra = sorted(set(files) - listed)
        notes += [f"{len(extra)} images are in no list: {some(extra)}"] if extra else []
        notes += left_out  # those of a renamed copy are counted as its folders are read
    return verify_set(found, root, notes=notes)


def _find(root: Path) -> tuple[Path, tuple[str, ...]]:
    base, folders = find_base(root, CARD, (*_VERSIONS.values(), FOLDERS))
    return base, tuple(folders)


def _read(base: Path, folders: tuple[str, ...]) -> ReidSet:
    if folders == FOLDERS:
        train, query, gallery = (read_folder(base, folder, (MSMT, ANY_MARKET)) for folder in FOLDERS)
        renamed = ReidSet(card=CARD, base=base, layout=f"{'/, '.join(FOLDERS)}/", title="msmt17 renamed",
                          train=train, query=query, gallery=gallery)  # fmt: skip
        return replace(renamed, test_offset=TRAIN_IDENTITIES)
    absent = [name for name in _LISTS if not (base / name).is_file()]
    if absent:
        raise DataError(
            f"{base} has no {some(absent)}.",
            "Copies without the lists circulate; only the lists say which test image is a query. Ask the owners.",
        )
    version = next(name for name, pair in _VERSIONS.items() if pair == folders)
    training, validation, query, gallery = (
        _read_list(base, name, folders[index // 2]) for index, name in enumerate(_LISTS)
    )
    both = _joined([training, validation])
    return ReidSet(
        card=CARD,
        base=base,
        layout=f"{version}: {folders[0]}/, {folders[1]}/ and four lists",
        title=f"msmt17 {version}",
        train=both,
        query=query,
        gallery=gallery,
        val=np.isin(both.files, validation.files),
        test_offset=TRAIN_IDENTITIES,
    )


def _read_list(base: Path, name: str, folder: str) -> PersonFiles:
    """The images of one list, sorted by path."""
    path = base / name
    try:
        written = path.read_text(encoding="utf-8").splitlines()
        lines = [line.split() for line in written if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", "Copy it again from its source.") from error
    wrong = [" ".join(line) for line in lines if len(line) != 2 or not line[1].isdecimal()]
    if wrong or not lines:
        raise DataError(
            f"{len(wrong)} of {len(lines)} lines of {path} are no path and number: {some(wrong) or 'it is empty'}.",
            f"Expected lines such as 0000/{MSMT.example} 0",
        )
    rows = [row for row, line in enumerate(written, start=1) if line.strip()]
    check_names(base / folder, [file for file, _ in lines], lambda place: f"{path}: line {rows[place]} names")
    lines.sort()
    files = tuple(f"{folder}/{file}" for file, _ in lines)
    # The list counts, not the first field of the name, which it only repeats.
    _, cameras = parse_names(files, (MSMT,), path)
    return PersonFiles(files=files, pids=np.array([int(pid) for _, pid in lines], np.int64), cameras=cameras)


def _joined(parts: Sequence[PersonFiles]) -> PersonFiles:
    """Several lists as one, sorted by path."""
    files = [file for part in parts for file in part.files]
    order = np.argsort(np.array(files), kind="stable")
    return PersonFiles(
        files=tuple(files[row] for row in order),
        pids=np.concatenate([part.pids for part in parts])[order],
        cameras=np.concatenate([part.cameras for part in parts])[order],
    )


DATASET = Dataset(card=CARD, load=load, verify=verify, splits=SPLITS, renumbered=RENUMBERED)
