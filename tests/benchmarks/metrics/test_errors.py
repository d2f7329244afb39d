"""User errors: the type, and a message that names the rule or value at fault."""

import re

import numpy as np
import pytest

from hcbench.benchmarks.metrics import attributes, bootstrap, keypoints, parsing, reid, text_reid
from hcbench.benchmarks.metrics.coco_files import coco_ground_truth, coco_results
from hcbench.errors import TaskError

NAN = float("nan")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([[NAN, 1.0]], [1], [1, 2], [0], [1, 1]), {}, "1 NaN"),
        ((np.zeros((0, 2)), [], [1, 2], [], [1, 1]), {}, "expected \\(queries, gallery\\), neither of them empty"),
        ((np.zeros((1, 0)), [1], [], [0], []), {}, "one for each of G > 0 images"),
        (([0.1, 0.2], [1], [1, 2], [0], [1, 1]), {}, "expected \\(queries, gallery\\)"),
        (([[0.1, 0.2]], [1], [1, 2, 3], [0], [1, 1, 1]), {}, "2 columns, but the gallery 3"),
        (([[0.1, 0.2]], [1, 1], [1, 2], [0], [1, 1]), {}, "query identities"),
        (([[0.1, 0.2]], [1], [1, 2], [0, 0], [1, 1]), {}, "query cameras"),
        (([[0.1, 0.2]], [1], [1, 2], [0], [1]), {}, "gallery cameras"),
        (([[0.1, 0.2]], [1], [1, 2], [0], [1, 1]), {"ap": "interpolated"}, "'step', 'trapezoid'"),
        (([[0.1, 0.2]], [1], [1, 2], [0], [1, 1]), {"same_camera": "drop"}, "'remove', 'keep'"),
        (([[0.1, 0.2]], [1], [1, 2], [0], [1, 1]), {"max_rank": 0}, "max_rank is 0"),
        (([[0.1, 0.2]], [1], [1, 2], [0], [0, 0]), {}, "one camera \\(0\\): 1 lost every match to the rule"),
        (([[0.1, 0.2]], [9], [1, 2], [0], [0, 1]), {}, "1 have an identity that the gallery lacks"),
        (([[0.1, 0.2]], [9], [1, 2], [0], [0, 0]), {"same_camera": "keep"}, "None of 1 queries has its identity"),
    ],
)
def test_reid(arguments, options, message):
    with pytest.raises(TaskError, match=message):
        reid.rank_metrics(*arguments, **options)


def test_single_shot_names_the_rule_too():
    with pytest.raises(TaskError, match="same_camera"):
        reid.cuhk03_cmc([[0.1, 0.2]], [1], [1, 2], [0], [0, 0])
    with pytest.raises(TaskError, match="NaN"):
        reid.cuhk03_cmc([[NAN, 0.2]], [1], [1, 2], [0], [1, 1])


def test_infinite_and_negative_distances_are_legal():
    result = reid.rank_metrics([[-np.inf, -1.0, np.inf]], [1], [2, 1, 1], [0], [1, 1, 1])
    assert result.ap[0] == pytest.approx((1 / 2 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unmatched": "drop"}, "'skip', 'zero'"),
        ({"ap": "mean"}, "'step', 'trapezoid'"),
        ({"query_ids": [5]}, "None of 1 captions"),
        ({"similarity": [[NAN, 1.0]]}, "similarity holds 1 NaN"),
        ({"gallery_ids": []}, "one for each of G > 0 images"),
    ],
)
def test_text(options, message):
    arguments = {"similarity": [[0.5, 0.1]], "query_ids": [1], "gallery_ids": [1, 2]} | options
    with pytest.raises(TaskError, match=message):
        text_reid.rank_metrics(**arguments)


@pytest.mark.parametrize(
    ("matrices", "options", "message"),
    [
        ((np.ones((2, 3)), np.ones((2, 2)), np.ones((2, 2))), {}, "do not fit"),
        ((-np.ones((2, 3)), np.ones((2, 2)), np.ones((3, 3))), {}, "unsquared Euclidean"),
        ((np.ones((2, 3)), np.ones((2, 2)), np.full((3, 3), NAN)), {}, "dist_gg holds 9 NaN"),
        ((np.ones((2, 3)), np.full((2, 2), np.inf), np.ones((3, 3))), {}, "distance of inf"),
        ((np.full((2, 3), 1e200), np.ones((2, 2)), np.ones((3, 3))), {}, "squares are finite"),
        ((np.ones((2, 3)), np.ones((2, 2)), np.ones((3, 3))), {"k1": 0}, "k1=0"),
        ((np.ones((2, 3)), np.ones((2, 2)), np.ones((3, 3))), {"lambda_value": 1.5}, "lambda_value=1.5"),
    ],
)
def test_re_ranking(matrices, options, message):
    with pytest.raises(TaskError, match=message):
        reid.rerank(*matrices, **options)


@pytest.mark.parametrize(
    ("gt", "prob", "message"),
    [
        ([[1, 0]], [[0.5]], "expected the same"),
        ([[1, 2]], [[0.5, 0.5]], "labels \\[2\\]"),
        ([[1, 0]], [[-2.0, 3.0]], "sigmoid"),
        ([[1, 0]], [[NAN, 0.5]], "NaN"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "expected \\(persons, attributes\\), neither of them empty"),
    ],
)
def test_attributes(gt, prob, message):
    with pytest.raises(TaskError) as caught:
        attributes.attribute_metrics(gt, prob)
    assert re.search(message, str(caught.value))


@pytest.mark.parametrize(
    ("gt", "pred", "message"),
    [
        ([[0, 1]], [[0, 1, 2]], "different numbers or shapes"),
        ([[0, 7]], [[0, 1]], "gt holds labels from 0 to 7"),
        ([[0, 1]], [[0, 9]], "pred holds labels from 0 to 9"),
        ([[255, 255]], [[0, 1]], "nothing can be scored"),
        ([[0.0, 1.0]], [[0, 1]], "must hold integers"),
        (np.zeros((2, 2, 2, 2), dtype=int), np.zeros((2, 2, 2, 2), dtype=int), "list of \\(H, W\\)"),
    ],
)
def test_parsing(gt, pred, message):
    with pytest.raises(TaskError, match=message):
        parsing.parsing_metrics(gt, pred, 3)


def mpii(**changes):
    ones = np.ones((2, 16, 2))
    boxes = np.tile([[0.0, 0.0], [6.0, 8.0]], (2, 1, 1))
    return {"pred": ones, "gt": ones + 1, "missing": np.zeros((2, 16)), "headboxes": boxes} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pred": np.ones((2, 15, 2))}, "pred has shape \\(2, 15, 2\\), expected \\(any, 16, 2\\)"),
        ({"pred": np.ones((3, 16, 2))}, "expected the same"),
        ({"missing": np.zeros((2, 15))}, "missing has shape"),
        ({"headboxes": np.zeros((2, 2, 2))}, "2 head boxes are empty, first at row 0"),
        ({"gt": np.full((2, 16, 2), NAN)}, "mark it as missing"),
        ({"boundary": "=="}, "'<=', '<'"),
    ],
)
def test_pckh(changes, message):
    with pytest.raises(TaskError, match=message):
        keypoints.pckh(**mpii(**changes))


def test_pck():
    with pytest.raises(TaskError, match="boxes has shape"):
        keypoints.pck(np.ones((2, 3, 2)), np.ones((2, 3, 2)), np.ones((2, 3)), np.ones((3, 4)))
    with pytest.raises(TaskError, match="no persons"):
        keypoints.pck(np.ones((0, 3, 2)), np.ones((0, 3, 2)), np.ones((0, 3)), np.ones((0, 4)))


@pytest.mark.parametrize("value", [NAN, np.inf])
def test_pck_needs_the_boxes_of_persons_who_can_be_seen(value):
    joints, visible = np.ones((2, 3, 2)), np.array([[1, 1, 1], [0, 0, 1]])
    boxes = np.array([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, value, 9.0]])
    with pytest.raises(TaskError, match="1 boxes are not finite, first at row 1"):
        keypoints.pck(joints, joints, visible, boxes)
    visible[1] = 0
    assert keypoints.pck(joints, joints, visible, boxes).pck[0.05] == 1.0


def test_heat_maps():
    maps = np.zeros((2, 8, 6))
    maps[1, 2, 3] = NAN
    with pytest.raises(TaskError, match="NaN"):
        keypoints.decode_heatmaps(maps)
    with pytest.raises(TaskError, match="'quarter-axis'"):
        keypoints.decode_heatmaps(maps, method="third")
    with pytest.raises(TaskError, match=r"expected \(\.\.\., height, width\)"):
        keypoints.decode_heatmaps(np.zeros(4))
    sizes = {"input_size": (16, 16), "heatmap_size": (4, 4), "sigma": 1}
    with pytest.raises(TaskError, match="'msra'"):
        keypoints.encode_heatmaps(np.ones((1, 2)), [1], **sizes, method="gauss")
    with pytest.raises(TaskError, match="mark it as invisible"):
        keypoints.encode_heatmaps([[NAN, 1]], [1], **sizes, method="msra")
    with pytest.raises(TaskError, match=r"expected \(\.\.\., K, 2\)"):
        keypoints.encode_heatmaps(np.ones((1, 2)), [1, 1], **sizes, method="msra")
    with pytest.raises(TaskError, match="heatmap_size"):
        keypoints.encode_heatmaps(np.ones((1, 2)), [1], input_size=(16, 16), heatmap_size=4, sigma=1, method="msra")


def coco_pair():
    joints = np.concatenate([np.random.default_rng(0).uniform(0, 50, (2, 17, 2)), np.full((2, 17, 1), 2.0)], axis=2)
    truth = coco_ground_truth([1, 2], joints, [[0, 0, 50, 50]] * 2)
    return truth, coco_results([1, 2], joints[..., :2], [0.9, 0.8])


def change(records, index, **fields):
    return [record | (fields if i == index else {}) for i, record in enumerate(records)]


def test_coco_results_at_fault():
    truth, results = coco_pair()
    for faulty, message in (
        (change(results, 1, image_id=99), "1 image ids that the ground truth lacks, first \\[99\\]"),
        (change(results, 1, image_id="2"), "not strings"),
        (change(results, 0, score=NAN), "Result number 1 holds a coordinate or score that is not finite"),
        (change(results, 0, keypoints=[1.0] * 42), "42 keypoint numbers"),
        ([{"image_id": 1}], "lacks category_id, keypoints, score"),
        ({"annotations": results}, "is a dict, expected a list"),
    ):
        with pytest.raises(TaskError) as caught:
            keypoints.coco_oks(truth, faulty)
        assert re.search(message, str(caught.value)), message


def test_coco_ground_truth_at_fault(tmp_path):
    truth, results = coco_pair()
    people = truth["annotations"]
    for faulty, message in (
        ({"images": truth["images"]}, "lacks annotations"),
        (truth | {"annotations": change(people, 0, id=2)}, "1 repeated annotation ids"),
        (truth | {"images": [{"id": 1}, {"id": 2}, {"id": 1}]}, "1 repeated image ids"),
        (truth | {"annotations": change(people, 0, image_id=7)}, "annotations name 1 image ids"),
        (truth | {"annotations": change(people, 0, category_id=2)}, "categories \\[1, 2\\], expected one"),
        (truth | {"annotations": change(people, 0, area=NAN)}, "not finite"),
        (truth | {"annotations": change(people, 0, area=-1500.0)}, "area -1500, expected 0 or more"),
        (truth | {"annotations": change(people, 0, keypoints=[NAN, 1.0, 2.0] * 17)}, "not finite"),
        (truth | {"annotations": change(people, 0, keypoints=[1.0, 1.0, NAN] * 17)}, "not finite"),
        (truth | {"annotations": change(people, 0, id="one")}, "1 annotation ids that are no integers"),
        (truth | {"annotations": change(people, 0, id=1.5)}, "1 annotation ids that are no integers"),
        (truth | {"annotations": change(people, 0, id=None)}, "1 annotation ids that are no integers"),
        (truth | {"annotations": [{"id": 1}]}, "annotation number 1 lacks area, bbox"),
        (tmp_path / "absent.json", "cannot be read"),
    ):
        with pytest.raises(TaskError, match=message):
            keypoints.coco_oks(faulty, results)


def test_bootstrap():
    with pytest.raises(TaskError, match="one label for each"):
        bootstrap.resample_weights([], seed=0)
    result = reid.rank_metrics([[0.1, 0.2]], [1], [1, 2], [0], [1, 1])
    with pytest.raises(TaskError, match="expected \\(replicates, 1\\)"):
        result.replicates(np.ones((3, 2)))
