from __future__ import annotations

from dataclasses import replace

import numpy as np

from hcbench.data.samples import COCO_FLIP, Phrase, Samples
from hcbench.data.skeletons import COCO, MPII


def _samples(n: int = 6) -> Samples:
    return Samples(
        name="test",
        fingerprint="f",
        images=np.arange(n, dtype=np.uint8)[:, None, None, None].repeat(3, 1),
        ids=np.array([f"id{i}" for i in range(n)]),
        identity=np.arange(n) // 2,
        captions=tuple((f"caption {i}",) for i in range(n)),
        phrases=tuple(((Phrase("number", 8, 9 + i // 10),),) for i in range(n)),
        slices={"skin": np.arange(n) % 3},
    )


def test_subset_keeps_every_field_in_step() -> None:
    picked = _samples().subset(np.array([4, 1, 1]))
    assert picked.ids.tolist() == ["id4", "id1", "id1"]
    assert picked.identity is not None
    assert picked.identity.tolist() == [2, 0, 0]
    assert picked.captions == (("caption 4",), ("caption 1",), ("caption 1",))
    assert picked.phrases == (((Phrase("number", 8, 9),),),) * 3
    assert picked.images[np.array([0, 2])][:, 0, 0, 0].tolist() == [4, 1]
    assert picked.slices["skin"].tolist() == [1, 1, 1]
    assert len(picked) == 3


def test_subset_of_a_subset_reads_the_right_pixels() -> None:
    twice = _samples().subset(np.array([5, 3, 1])).subset(np.array([2, 0]))
    assert twice.images[np.array([0, 1])][:, 0, 0, 0].tolist() == [1, 5]
    assert twice.fingerprint != _samples().subset(np.array([1, 5])).fingerprint


def test_known_names_what_is_there() -> None:
    assert _samples().known() == {"images", "identity", "captions", "phrases"}


def test_joints_are_cocos_where_nothing_else_is_said() -> None:
    assert _samples().skeleton is COCO
    own = replace(_samples(), skeleton=MPII, keypoints=np.zeros((6, 16, 3), np.float32), part_names=("a", "b"))
    picked = own.subset(np.array([1, 2]))
    assert picked.skeleton is MPII
    assert picked.part_names == ("a", "b")
    assert own.known() - _samples().known() == {"keypoints"}


def test_flip_is_its_own_inverse_and_swaps_sides() -> None:
    assert [COCO_FLIP[COCO_FLIP[i]] for i in range(17)] == list(range(17))
    for i, name in enumerate(COCO.joints):
        swapped = name.replace("left", "?").replace("right", "left").replace("?", "right")
        assert COCO.joints[COCO_FLIP[i]] == swapped
