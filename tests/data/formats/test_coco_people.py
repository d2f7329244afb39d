"""One reading of a file in COCO's format: truth and samples count the same persons, whatever files say twice."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_tree import Tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcbench.benchmarks.pose.measures import measure
from hcbench.benchmarks.pose.truth import PoseTruth
from hcbench.data import coco
from hcbench.data.formats.coco_people import number_ids, numbers, plain_id
from hcbench.data.samples import Samples
from hcbench.errors import DataError

SPLIT = "val2017"
PLAIN = ["val2017/000000000101.jpg#6", "val2017/000000000103.jpg#10", "val2017/000000000103.jpg#11",
         "val2017/000000000103.jpg#12"]  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A folder of which all persons of the scored split are labelled and inside their images."""
    made = Tree(tmp_path / "coco", "official")
    made.write()
    made.persons[4] |= {"area": 500.0}
    made.persons[5] |= {"bbox": [10.0, 10.0, 50.0, 90.0]}
    return made


def oracle(samples: Samples) -> float:
    """AP of the truth itself as the prediction."""
    assert samples.keypoints is not None
    labelled = samples.keypoints[..., 2] > 0
    predictions = {"keypoints": np.where(labelled[..., None], samples.keypoints[..., :2], 0),
                   "scores": labelled.astype(np.float32)}  # fmt: skip
    return measure(PoseTruth.of(samples), predictions).summary()["AP"]


def loaded(tree: Tree, cache: Path, edit: Callable[[dict[str, Any]], object]) -> Samples:
    """The scored split of a file that was changed."""
    tree.write_json()
    path = tree.json_path(SPLIT)
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return coco.load(tree.root, SPLIT, cache=cache)


def each(key: str, value: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def edit(content: dict[str, Any]) -> None:
        for person in content["annotations"][::2]:
            person[key] = value(person[key])

    return edit


def category(number: Any) -> Callable[[dict[str, Any]], None]:
    def edit(content: dict[str, Any]) -> None:
        content["categories"] = [{"id": number, "name": "pedestrian"}]
        for person in content["annotations"]:
            person["category_id"] = number

    return edit


def with_dogs(content: dict[str, Any]) -> None:
    content["categories"] = [{"id": 18, "name": "dog"}, {"id": 3, "name": "Person"}]
    for person in content["annotations"]:
        person["category_id"] = 3
    dog = {"id": 99, "image_id": 101, "category_id": 18, "bbox": [5, 5, 50, 50], "area": 9, "iscrowd": 0}
    content["annotations"].insert(0, dog)


SAME = {
    "category 2": category(2),
    "category 0": category(0),
    "category as text": category("7"),
    "no categories": lambda content: content.update(categories=[]),
    "dogs": with_dogs,
    "no joint counted": each("num_keypoints", lambda found: 0),
    "every joint counted": each("num_keypoints", lambda found: 17),
    "counts are null": each("num_keypoints", lambda found: None),
    "crowd is false": each("iscrowd", bool),
    "crowd is null": each("iscrowd", lambda found: None),
    "numbers as text": each("area", str),
    "a count beyond every array": each("num_keypoints", lambda found: 10**25),
    "box as text": each("bbox", lambda box: [str(one) for one in box]),
    "widths as text": lambda content: [image.update(width=str(image["width"])) for image in content["images"]],
}
"""Changes that say the same thing otherwise: nothing about the samples may change."""


@pytest.mark.parametrize("case", SAME)
def test_the_same_said_otherwise(tree: Tree, tmp_path: Path, case: str) -> None:
    expected = loaded(tree, tmp_path / "cache", lambda content: None)
    found = loaded(tree, tmp_path / "cache", SAME[case])
    assert found.ids.tolist() == expected.ids.tolist()
    assert len(found) >= 4
    assert np.array_equal(found.keypoints, expected.keypoints)
    assert np.array_equal(found.area, expected.area)
    assert oracle(found) == 1
    assert coco.verify(tree.root).level == "subset"


LESS = {
    "area 0": (each("area", lambda found: 0), "persons without an area above 0"),
    "area null": (each("area", lambda found: None), "persons without an area above 0"),
    "area below every pixel": (each("area", lambda found: 1e-6), "persons without an area above 0"),
    "box below every pixel": (each("bbox", lambda box: [*box[:2], 1e-6, 9]), "persons whose box is empty or outside"),
    "area negative": (each("area", lambda found: -3.5), "persons without an area above 0"),
    "box negative": (each("bbox", lambda box: [*box[:2], -box[2], box[3]]), "persons whose box is empty or outside"),
    "box empty": (each("bbox", lambda box: [*box[:2], box[2], 0]), "persons whose box is empty or outside"),
    "box null": (each("bbox", lambda box: None), "persons whose box is empty or outside"),
    "box outside": (each("bbox", lambda box: [9000, 9000, 5, 5]), "persons whose box is empty or outside"),
    "keypoints null": (each("keypoints", lambda points: None), None),
    "keypoints empty": (each("keypoints", lambda points: []), None),
    "joints not labelled": (each("keypoints", lambda points: [0] * 51), None),
}
"""Changes after which half of the persons cannot be scored, and what is said of them."""


@pytest.mark.parametrize("case", LESS)
def test_persons_that_cannot_be_scored_are_in_neither(tree: Tree, tmp_path: Path, case: str) -> None:
    edit, said = LESS[case]
    everybody = loaded(tree, tmp_path / "cache", lambda content: None)
    found = loaded(tree, tmp_path / "cache", edit)
    assert 0 < len(found) < len(everybody)
    assert oracle(found) == 1
    notes = [note for note in coco.verify(tree.root).notes if note.startswith(SPLIT)]
    assert any(said in note for note in notes) if said else True
    assert found.coco_truth is not None
    assert (sum(found.coco_truth["left_out"].values()) > 0) == bool(said)


@pytest.mark.parametrize("own", [lambda n: f"img-{n}", lambda n: str(n), lambda n: n * 10**24, float])
def test_ids_of_any_kind(tree: Tree, tmp_path: Path, own: Callable[[int], Any]) -> None:
    def edit(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["id"] = own(image["id"])
        for person in content["annotations"]:
            person["image_id"], person["id"] = own(person["image_id"]), own(person["id"])

    expected = loaded(tree, tmp_path / "cache", lambda content: None)
    captions = tree.json_path(SPLIT, "captions")
    found = loaded(tree, tmp_path / "cache", edit)
    content = json.loads(captions.read_text())
    for caption in content["annotations"]:
        caption["image_id"] = own(caption["image_id"])
    captions.write_text(json.dumps(content))
    found = coco.load(tree.root, SPLIT, cache=tmp_path / "cache")
    assert sorted(map(tuple, found.boxes.tolist())) == sorted(map(tuple, expected.boxes.tolist()))
    assert sorted(map(str, found.captions)) == sorted(map(str, expected.captions))
    assert found.image_id.dtype == np.int64
    assert oracle(found) == 1
    assert coco.verify(tree.root).level == "subset"


WRONG = {
    "two categories, no person": (
        lambda content: content.update(categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]),
        "holds the categories 1 'cat', 2 'dog'; expected one that is called 'person'",
    ),
    "category that is not listed": (lambda content: content["annotations"][0].update(category_id=5), "of category 5"),
    "joint is null": (each("keypoints", lambda points: [None, *points[1:]]), "holds null between its numbers"),
    "joint is nan": (each("keypoints", lambda points: [float("nan"), *points[1:]]), "is nan; expected a number"),
    "area is words": (each("area", lambda found: "large"), "area is 'large'; expected a number"),
    "width is null": (lambda content: content["images"][0].update(width=None), "the width of image 101 is None"),
    "the same id as text": (lambda content: content["annotations"][0].update(id=str(content["annotations"][1]["id"])),
                            "occurs twice"),
    "surrogate": (lambda content: content["annotations"][0].update(id="\ud800"), "is no id"),
    "no list": (lambda content: content.update(images={"id": 1}), "images is {'id': 1}"),
    "no object": (lambda content: content["annotations"].insert(1, "7.5"), "entry 1 of annotations is '7.5'"),
    "id is null": (lambda content: content["annotations"][0].update(id=None), "None is no id"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_read_is_named(tree: Tree, tmp_path: Path, case: str) -> None:
    edit, message = WRONG[case]
    with pytest.raises(DataError, match=message):
        loaded(tree, tmp_path / "cache", edit)
    report = coco.verify(tree.root)
    assert report.level == "mismatch"
    assert any(message.split(";")[0][:20] in problem for problem in report.problems)


def test_nobody_who_can_be_scored_is_no_valid_copy(tree: Tree, tmp_path: Path) -> None:
    tree.write_json()
    content = json.loads(tree.json_path(SPLIT).read_text())
    for person in content["annotations"]:
        person["area"] = None
    tree.json_path(SPLIT).write_text(json.dumps(content))
    report = coco.verify(tree.root)
    assert (report.level, report.problems) == ("mismatch", ("val2017: no person can be scored",))


ODDITIES: dict[str, st.SearchStrategy[Any]] = {
    "area": st.sampled_from([0, None, -1.0, "12.5", 300.0]),
    "bbox": st.sampled_from([None, [0, 0, 0, 0], [10, 10, -5, 20], ["4", "4", "40", "90"], [600, 400, 300, 300]]),
    "keypoints": st.sampled_from([None, [], [0] * 51, [20.0, 20.0, 2] + [0] * 48]),
    "num_keypoints": st.sampled_from([0, 1, 17, None, "3"]),
    "iscrowd": st.sampled_from([0, 1, True, False, None, "0"]),
    "category_id": st.sampled_from([1, "1", 1.0]),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(sorted(ODDITIES))).flatmap(
            lambda place: st.tuples(st.just(place[0]), st.just(place[1]), ODDITIES[place[1]])
        ),
        max_size=12,
    )
)
def test_the_oracle_scores_one_wherever_verify_says_valid(
    tree: Tree, tmp_path: Path, oddities: list[tuple[int, str, Any]]
) -> None:
    def edit(content: dict[str, Any]) -> None:
        for place, key, value in oddities:
            content["annotations"][place % len(content["annotations"])][key] = copy.deepcopy(value)

    try:
        samples = loaded(tree, tmp_path / "cache", edit)
    except DataError:
        assert coco.verify(tree.root).level == "mismatch"
        return
    assert coco.verify(tree.root).level == "subset"
    assert oracle(samples) == pytest.approx(1)


def test_ids_and_numbers() -> None:
    assert plain_id(7) == plain_id(7.0) == plain_id(" 7 ") == "7"
    assert number_ids([3, "3", 10**30]) == {"1" + "0" * 30: 1, "3": 2}
    with pytest.raises(DataError, match="True is no id"):
        plain_id(True)
    assert numbers(["1", 2.5], 2, "it") == [1.0, 2.5]
    assert numbers(None, 2, "it") is None


def test_a_caption_that_is_no_text_makes_the_copy_invalid(tree: Tree, tmp_path: Path) -> None:
    path = tree.json_path(SPLIT, "captions")
    content = json.loads(path.read_text())
    content["annotations"][0]["caption"] = None
    path.write_text(json.dumps(content))
    assert coco.verify(tree.root).level == "subset", "nothing is written there"
    for wrong in (["a", "b"], 7):
        content["annotations"][0]["caption"] = wrong
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match=r"caption 1 is (\['a', 'b'\]|7)"):
            coco.load(tree.root, SPLIT, cache=tmp_path / "cache")
        report = coco.verify(tree.root)
        assert (report.level, "caption 1 is" in report.problems[0]) == ("mismatch", True)


def test_a_split_that_is_no_name(tmp_path: Path) -> None:
    made = Tree(tmp_path / "coco", "merged")
    made.write()
    made.images[0]["split"] = [0]
    made.write_json()
    assert "unknown splits" in coco.verify(made.root).problems[0]
