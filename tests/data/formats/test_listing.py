from __future__ import annotations

import pytest

from hcbench.data.card import DatasetCard
from hcbench.data.files.left_out import SYSTEM
from hcbench.data.formats.listing import find_base, list_files
from hcbench.errors import DataError

CARD = DatasetCard(
    name="toy",
    title="Toy",
    homepage="",
    terms="",
    obtain="",
    tree="ROOT/\n  a/\n  b.json",
    counts={},
    fields=frozenset(),
)
MARKS = (("a", "b.json"), ("c",))


def tree(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("")
    return folder


def test_files_are_sorted_and_junk_is_counted(tmp_path):
    tree(tmp_path, "10.jpg", "2.JPG", "._2.jpg", ".DS_Store", "note.txt", "sub/1.png", "__MACOSX/x.jpg")
    flat, deep = list_files(tmp_path), list_files(tmp_path, deep=True)
    assert flat.files == ("10.jpg", "2.JPG")
    assert deep.files == ("10.jpg", "2.JPG", "sub/1.png")
    assert deep.left_out.counts[SYSTEM] == 3
    with pytest.raises(DataError, match="is no folder"):
        list_files(tmp_path / "none")


@pytest.mark.parametrize("around", ["", "Toy-v1/", "x/Toy-v1/"])
def test_folders_around_a_dataset_are_looked_through(tmp_path, around):
    tree(tmp_path, f"{around}a/1.jpg", f"{around}b.json", "__MACOSX/a/._1.jpg")
    assert find_base(tmp_path, CARD, MARKS) == (tmp_path / around, MARKS[0])


def test_another_layout_is_recognised(tmp_path):
    assert find_base(tree(tmp_path, "c/1.jpg"), CARD, MARKS) == (tmp_path, MARKS[1])


def test_what_is_wrong_is_explained(tmp_path):
    with pytest.raises(DataError, match="is no folder") as error:
        find_base(tmp_path / "none", CARD, MARKS)
    assert CARD.tree in error.value.hint
    tree(tmp_path, "a/1.jpg", *(f"f{k}.txt" for k in range(9)))
    with pytest.raises(DataError, match=r"is not Toy: it holds a, f0.txt, .* and 2 more") as error:
        find_base(tmp_path, CARD, MARKS)
    assert CARD.tree in error.value.hint
    tree(tmp_path, "one/c/1.jpg", "two/c/1.jpg")
    with pytest.raises(DataError, match="more than once: one, two"):
        find_base(tmp_path, CARD, MARKS)
