"""Pose metrics beyond the golden values: oracles, written files, borders, geometry there and back."""

import copy
import json
import math

import numpy as np
import pytest
from pycocotools.coco import COCO as CocoFile
from pycocotools.cocoeval import COCOeval

from hcbench.benchmarks.metrics import keypoints
from hcbench.data.skeletons import COCO
from hcbench.errors import TaskError


def people(count=6, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 200, (count, 1, 2))
    joints = corner + rng.uniform(0, 120, (count, 17, 2))
    visible = np.where(rng.random((count, 17, 1)) < 0.8, 2.0, 0.0)
    boxes = np.hstack([corner[:, 0], corner[:, 0] + 120])
    return np.concatenate([joints, visible], axis=2), boxes


# --- COCO


def test_an_oracle_has_average_precision_one(tmp_path):
    joints, boxes = people()
    images = [3, 3, 5, 5, 9, 9]
    truth = keypoints.coco_ground_truth(images, joints, boxes)
    results = keypoints.coco_results(images, joints[..., :2], np.ones(6), np.ones((6, 17)))
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    result = keypoints.coco_oks(path, results)
    for name, value in result.summary().items():
        assert value == pytest.approx(1.0) or (name in ("APm", "ARm") and np.isnan(value)), name
    assert result.image_ids == (3, 5, 9)
    assert result.per_sample()["oks"] == pytest.approx([1.0] * 6)


def test_annotation_id_zero_is_never_written_and_never_hurts():
    joints, boxes = people()
    truth = keypoints.coco_ground_truth(range(1, 7), joints, boxes)
    assert [a["id"] for a in truth["annotations"]] == [1, 2, 3, 4, 5, 6]
    results = keypoints.coco_results(range(1, 7), joints[..., :2], np.ones(6))
    from_zero = truth | {"annotations": [a | {"id": a["id"] - 1} for a in truth["annotations"]]}
    result = keypoints.coco_oks(from_zero, results)
    assert result.ap == pytest.approx(1.0)
    assert [image.annotation_ids.tolist() for image in result.images] == [[n] for n in range(6)]


def test_no_results_score_zero_not_an_error():
    joints, boxes = people()
    result = keypoints.coco_oks(keypoints.coco_ground_truth(range(6), joints, boxes), [])
    assert (result.ap, result.ar50) == (0.0, 0.0)
    assert np.isnan(result.ap_m)
    assert (result.replicates(np.ones((3, 6)))["AP"] == 0).all()
    assert result.replicates(np.ones((0, 6)))["AP"].shape == (0,), "no resamples are fine"


def test_an_image_without_persons_only_adds_false_positives():
    joints, boxes = people()
    truth = keypoints.coco_ground_truth(range(6), joints, boxes)
    truth["images"].append({"id": 77})
    oracle = keypoints.coco_results(range(6), joints[..., :2], np.full(6, 0.5))
    extra = keypoints.coco_results([77], joints[:1, :, :2], [0.9])
    result = keypoints.coco_oks(truth, oracle + extra)
    assert result.ar == pytest.approx(1.0)
    assert result.ap == pytest.approx(6 / 7, abs=0.01)  # one wrong result stands before six right ones


def test_joints_that_could_not_be_read_are_exported_as_zeros():
    joints, boxes = people()
    guess = joints[..., :2].copy()
    guess[0, 4] = np.nan
    results = keypoints.coco_results(range(6), guess, np.ones(6))
    assert results[0]["keypoints"][12:15] == [0.0, 0.0, 0.0]
    assert results[0]["keypoints"][15:18] == [*joints[0, 5, :2], 1.0]
    assert keypoints.coco_oks(keypoints.coco_ground_truth(range(6), joints, boxes), results).ar50 == pytest.approx(1.0)


def test_a_box_in_the_results_is_not_used():
    joints, boxes = people()
    truth = keypoints.coco_ground_truth(range(6), joints, boxes)
    rng = np.random.default_rng(1)
    results = keypoints.coco_results(range(6), joints[..., :2] + rng.normal(scale=6, size=(6, 17, 2)), rng.random(6))
    boxed = [record | {"bbox": [0, 0, 1, 1]} for record in results]
    assert keypoints.coco_oks(truth, boxed).summary() == pytest.approx(
        keypoints.coco_oks(truth, results).summary(), nan_ok=True
    )


def test_coordinates_of_joints_that_are_not_labelled_are_nothing():
    joints, boxes = people()
    hidden = joints[..., 2] == 0
    assert hidden.any()
    results = keypoints.coco_results(range(6), joints[..., :2] + 2.0, np.ones(6))
    plain = keypoints.coco_oks(keypoints.coco_ground_truth(range(6), joints, boxes), results)
    joints[hidden, :2] = np.nan
    truth = keypoints.coco_ground_truth(range(6), joints, boxes)
    written = np.array([a["keypoints"] for a in truth["annotations"]]).reshape(6, 17, 3)
    assert (written[hidden] == 0).all()
    foreign = truth | {
        "annotations": [a | {"keypoints": k.ravel()} for a, k in zip(truth["annotations"], joints, strict=True)]
    }
    for given in (truth, foreign):
        assert keypoints.coco_oks(given, results).per_sample() == plain.per_sample()


def test_results_of_another_category_are_left_out_as_by_pycocotools(caplog):
    joints, boxes = people()
    truth = keypoints.coco_ground_truth(range(6), joints, boxes)
    results = keypoints.coco_results(range(6), joints[..., :2] + 4.0, np.linspace(1, 0.5, 6))
    cats = [{"image_id": 2, "category_id": 17, "keypoints": [], "score": 1.0}] * 2
    mixed = cats[:1] + results + cats[1:]
    found = keypoints.coco_oks(truth, mixed)
    assert "2 of 8 results are of another category than 1" in caplog.text
    assert found.summary() == pytest.approx(keypoints.coco_oks(truth, results).summary(), nan_ok=True)
    assert [image.result_index.tolist() for image in found.images] == [[n] for n in range(1, 7)]
    whole = [record | {"keypoints": record["keypoints"] or [0.0] * 51} for record in mixed]
    assert found.ap == pytest.approx(pycocotools_ap(truth, whole), abs=1e-12)
    with pytest.raises(TaskError, match="1 image ids that the ground truth lacks, first \\[99\\]"):
        keypoints.coco_oks(truth, [cats[0] | {"image_id": 99}])


def pycocotools_ap(truth, results):
    """AP by its own reader of results, which fills fields in."""
    file = CocoFile()
    file.dataset = copy.deepcopy(truth)
    file.createIndex()
    evaluation = COCOeval(file, file.loadRes(copy.deepcopy(results)), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[0]


def test_a_file_without_persons_has_the_category_that_it_names():
    joints, _ = people()
    truth = {"images": [{"id": 1}], "annotations": [], "categories": [{"id": 5, "name": "person"}]}
    results = [r | {"category_id": 5} for r in keypoints.coco_results([1], joints[:1, :, :2], [0.9])]
    result = keypoints.coco_oks(truth, results)
    assert np.isnan(list(result.summary().values())).all()
    assert result.images[0].result_index.tolist() == [0]


def test_results_may_be_any_sequence():
    joints, boxes = people()
    truth = keypoints.coco_ground_truth(range(6), joints, boxes)
    results = keypoints.coco_results(range(6), joints[..., :2], np.ones(6))
    assert keypoints.coco_oks(truth, tuple(results)).ap == keypoints.coco_oks(truth, results).ap


# --- PCKh and PCK


def test_a_pckh_oracle_is_one_and_a_missing_prediction_is_a_miss():
    gt = np.random.default_rng(2).uniform(1, 90, (4, 16, 2))
    missing = np.zeros((4, 16))
    missing[:, 12] = 1  # never annotated
    boxes = np.tile([[10.0, 10.0], [16.0, 18.0]], (4, 1, 1))
    oracle = keypoints.pckh(gt - 1, gt, missing, boxes)
    assert oracle.mean == 1.0
    assert np.isnan(oracle.groups["Shoulder"])
    assert {name: value for name, value in oracle.groups.items() if name != "Shoulder"} == dict.fromkeys(
        ("Head", "Elbow", "Wrist", "Hip", "Knee", "Ankle"), 1.0
    )
    guess = gt - 1
    guess[0, 9] = np.nan
    assert keypoints.pckh(guess, gt, missing, boxes).mean == pytest.approx(1 - 1 / (4 * 13))
    assert keypoints.pckh(guess, gt, missing, boxes).groups["Head"] == 0.75


def test_the_pckh_boundary():
    gt, pred = np.ones((1, 16, 2)), np.zeros((1, 16, 2))
    pred[0, :, 0] += 3.0  # head size = 0.6 * 10, so the error is half of it exactly
    boxes = [[[0.0, 0.0], [6.0, 8.0]]]
    assert keypoints.pckh(pred, gt, np.zeros((1, 16)), boxes).mean == 1.0
    assert keypoints.pckh(pred, gt, np.zeros((1, 16)), boxes, boundary="<").mean == 0.0


def test_pck_averages_joints_not_points_and_skips_empty_boxes():
    gt = np.zeros((3, 2, 2))
    pred = gt.copy()
    pred[0, 0, 0] = 50.0
    visible = [[1, 1], [1, 0], [1, 1]]
    boxes = [[0, 0, 100, 10], [0, 0, 10, 100], [5, 5, 5, 5]]
    result = keypoints.pck(pred, gt, visible, boxes, thresholds=(0.5, 0.51))
    assert result.per_joint[0.5].tolist() == [0.5, 1.0]  # error / side = .5 is not below .5
    assert result.pck == {0.5: 0.75, 0.51: 1.0}
    nothing = keypoints.pck(pred, gt, np.zeros((3, 2)), boxes)
    assert np.isnan(nothing.pck[0.05])
    assert np.isnan(nothing.per_joint[0.05]).all()


# --- heat maps and boxes


@pytest.mark.parametrize("method", ["msra", "udp"])
def test_a_joint_with_an_empty_map_has_no_weight(method):
    cells = np.array([48.0, 64.0])
    scale = (4 * cells - 1) / (cells - 1) if method == "udp" else 4.0  # pixels per cell
    places = np.arange(-10.0, 75.0)
    points = np.concatenate([np.stack([places, places * 0 + 9], 1), np.stack([places * 0 + 9, places], 1)]) * scale
    maps, weights = keypoints.encode_heatmaps(
        points, np.ones(len(points)), input_size=4 * cells, heatmap_size=cells, sigma=2, method=method
    )
    np.testing.assert_array_equal(weights > 0, maps.any(axis=(1, 2)))


@pytest.mark.parametrize("method", ["quarter", "quarter-axis", "dark", "udp"])
def test_a_map_without_a_peak_is_undefined(method):
    maps = np.zeros((2, 3, 16, 12))
    maps[1] = -1.0
    xy, scores = keypoints.decode_heatmaps(maps, method=method)
    assert np.isnan(xy).all()
    assert (scores == 0).all()
    assert np.isnan(keypoints.heatmap_to_image(xy, [5, 5], [30, 40], [12, 16], method=method)).all()


def test_the_first_of_equal_maxima_wins():
    maps = np.zeros((1, 9, 9))
    maps[0, 4, 5] = maps[0, 4, 3] = maps[0, 6, 2] = 1.0
    assert keypoints.decode_heatmaps(maps)[0].tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize(
    ("peak", "both", "each"),
    [
        ((1, 5), (1.0, 5.0), (1.0, 5.25)),
        ((2, 5), (2.25, 5.25), (2.25, 5.25)),
        ((7, 5), (7.25, 5.25), (7.25, 5.25)),
        ((8, 5), (8.0, 5.0), (8.0, 5.25)),
        ((5, 1), (5.0, 1.0), (5.25, 1.0)),
    ],
)
def test_quarter_offsets_near_the_border(peak, both, each):
    x, y = peak
    maps = np.zeros((1, 10, 9))
    maps[0, y, x] = 1.0
    maps[0, y, min(x + 1, 8)] = max(maps[0, y, min(x + 1, 8)], 0.5)
    maps[0, y + 1, x] = 0.5
    assert keypoints.decode_heatmaps(maps)[0][0].tolist() == list(both)
    assert keypoints.decode_heatmaps(maps, method="quarter-axis")[0][0].tolist() == list(each)


@pytest.mark.parametrize(("encoder", "decoder"), [("dark", "dark"), ("udp", "udp")])
def test_exact_encoders_are_read_back_below_a_tenth_of_a_cell(encoder, decoder):
    rng = np.random.default_rng(3)
    points = rng.uniform([40, 40], [150, 210], (20, 17, 2))
    size, cells = np.array([192, 256]), np.array([48, 64])
    maps, weights = keypoints.encode_heatmaps(
        points, np.ones((20, 17)), input_size=size, heatmap_size=cells, sigma=2, method=encoder
    )
    assert maps.shape == (20, 17, 64, 48)
    assert weights.all()
    xy, scores = keypoints.decode_heatmaps(maps, method=decoder)
    scale = (size - 1) / (cells - 1) if encoder == "udp" else size / cells
    assert np.abs(xy - points / scale).max() < 0.1
    assert scores.min() > 0.9


def literal_refinement(heatmap, method):
    """One map after the definition: plain loops, the blur as a sum over an 11 x 11 window of a zero-padded map."""
    height, width = heatmap.shape
    y, x = divmod(int(heatmap.argmax()), width)
    kernel = np.exp(-(np.arange(-5, 6) ** 2) / 8.0)
    window = np.outer(kernel, kernel) / kernel.sum() ** 2
    padded = np.pad(heatmap, 5)
    blurred = np.array([[(padded[i : i + 11, j : j + 11] * window).sum() for j in range(width)] for i in range(height)])
    blurred *= heatmap.max() / blurred.max()
    if method == "dark":
        if not (1 < x < width - 2 and 1 < y < height - 2):
            return [x, y]
        log, step, tiny = np.log(np.maximum(blurred, 1e-10)), 2, 0.0
        mixed = (log[y + 1, x + 1] - log[y - 1, x + 1] - log[y + 1, x - 1] + log[y - 1, x - 1]) / 4
    else:
        log, step, tiny = np.pad(np.log(np.clip(blurred, 1e-3, 50)), 1, mode="edge"), 1, np.finfo(np.float32).eps
        y, x = y + 1, x + 1
        mixed = log[y + 1, x + 1] - log[y, x + 1] - log[y + 1, x] + 2 * log[y, x]
        mixed = (mixed - log[y, x - 1] - log[y - 1, x] + log[y - 1, x - 1]) / 2
    gradient = [(log[y, x + 1] - log[y, x - 1]) / 2, (log[y + 1, x] - log[y - 1, x]) / 2]
    second_x = (log[y, x + step] - 2 * log[y, x] + log[y, x - step]) / step**2
    second_y = (log[y + step, x] - 2 * log[y, x] + log[y - step, x]) / step**2
    hessian = np.array([[second_x + tiny, mixed], [mixed, second_y + tiny]])
    start = np.array([x, y]) - (method == "udp")
    return start - np.linalg.inv(hessian) @ gradient


@pytest.mark.parametrize("method", ["dark", "udp"])
def test_refined_decoders_against_the_definition_everywhere(method):
    height, width = 13, 11
    rng = np.random.default_rng(5)
    centers = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2)
    centers = centers + rng.uniform(-0.4, 0.4, centers.shape)  # every cell of the map, borders and corners too
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    sigma = rng.choice([0.6, 1.5], (len(centers), 1, 1))
    height_of_peak = rng.choice([0.0015, 1.0, 90.0], (len(centers), 1, 1))  # UDP clips at both ends
    maps = height_of_peak * np.exp(-np.square(grid - centers[:, None, None]).sum(axis=-1) / (2 * sigma**2))
    xy, _ = keypoints.decode_heatmaps(maps, method=method)
    wanted = [literal_refinement(heatmap, method) for heatmap in maps]
    np.testing.assert_allclose(xy, wanted, rtol=1e-6, atol=1e-6)


def test_decoding_in_blocks_changes_nothing():
    maps = np.random.default_rng(4).random((700, 12, 10))  # more than one block
    for method in ("quarter", "dark", "udp"):
        xy, scores = keypoints.decode_heatmaps(maps, method=method)
        single = [keypoints.decode_heatmaps(one, method=method) for one in maps[[0, 511, 512, 699]]]
        np.testing.assert_allclose(xy[[0, 511, 512, 699]], [found[0] for found in single], atol=1e-9)
        assert scores[[0, 511, 512, 699]].tolist() == [float(found[1]) for found in single]


@pytest.mark.parametrize("udp", [False, True])
def test_box_maps_have_their_fixed_points(udp):
    center, size, output = np.array([[50.0, 80.0], [20.0, 30.0]]), np.array([[30.0, 40.0], [60.0, 80.0]]), [192, 256]
    matrices = keypoints.box_affine(center, size, [0.0, 35.0], output, udp=udp)
    middle = np.einsum("nij,nj->ni", matrices, np.hstack([center, np.ones((2, 1))]))
    np.testing.assert_allclose(middle, np.tile((np.array(output) - udp) / 2, (2, 1)), atol=1e-9)
    corner = matrices[0] @ [35.0, 60.0, 1.0]
    np.testing.assert_allclose(corner, [0, 0], atol=1e-9)
    there_and_back = keypoints.invert_affine(matrices)[1] @ [*(matrices[1] @ [7.0, 9.0, 1.0]), 1.0]
    np.testing.assert_allclose(there_and_back, [7.0, 9.0], atol=1e-9)


def test_plain_and_udp_boxes_turn_in_opposite_directions():
    plain, udp = (keypoints.box_affine([0, 0], [100, 100], 30, [100, 100], udp=udp) for udp in (False, True))
    assert plain[0, 1] > 0 > udp[0, 1]


def literal_oks_nms(points, scores, areas, sigmas, threshold):
    """The loops of HRNet's lib/nms/nms.py, in plain numbers."""
    left, kept = sorted(range(len(scores)), key=lambda i: -scores[i]), []
    while left:
        best = left.pop(0)
        kept.append(best)
        near = {}
        for other in left:
            parts = []
            for (x, y), (u, v), sigma in zip(points[best], points[other], sigmas, strict=True):
                squared = (x - u) ** 2 + (y - v) ** 2
                parts.append(math.exp(-squared / (sigma * 2) ** 2 / ((areas[best] + areas[other]) / 2) / 2))
            near[other] = sum(parts) / len(parts)
        left = [other for other in left if near[other] <= threshold]
    return sorted(kept)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("joints", [14, 17])
def test_poses_that_say_the_same_are_one(seed, joints):
    rng = np.random.default_rng(seed)
    first = rng.uniform(0, 100, (4, joints, 2))
    points = np.concatenate([first, first + rng.normal(0, 1, first.shape), first + rng.normal(0, 5, first.shape)])
    scores, areas, sigmas = rng.random(12), rng.uniform(3e3, 9e3, 12), rng.uniform(0.03, 0.11, joints)
    for threshold in (0.3, 0.9):
        kept = keypoints.oks_nms(points, scores, areas, sigmas, threshold=threshold)
        assert kept.tolist() == literal_oks_nms(points, scores, areas, sigmas, threshold)
    assert len(keypoints.oks_nms(points, scores, areas, sigmas, threshold=0.3)) < 12
    assert len(keypoints.oks_nms(points, scores, areas, sigmas, threshold=1.0)) == 12
    assert keypoints.oks_nms(points[:0], [], [], sigmas).tolist() == []


def test_what_oks_nms_cannot_read():
    poses = np.zeros((2, 14, 2))
    with pytest.raises(TaskError, match="expected \\(any, 17, 2\\)"):
        keypoints.oks_nms(poses, [1, 1], [9, 9], [0.1] * 17)
    with pytest.raises(TaskError, match="1 scores of poses are not finite"):
        keypoints.oks_nms(poses, [1, np.nan], [9, 9], [0.1] * 14)


def test_other_joints_have_widths_of_their_own():
    """Fourteen joints against pycocotools with the same widths, and by hand."""
    rng = np.random.default_rng(1)
    joints = np.concatenate([rng.uniform(0, 90, (5, 14, 2)), np.full((5, 14, 1), 2.0)], axis=2)
    truth = keypoints.coco_ground_truth(range(5), joints, np.tile([0, 0, 90, 90], (5, 1)))
    results = keypoints.coco_results(range(5), joints[..., :2] + [3.0, 0.0], rng.random(5))
    found = {}
    for width in (0.02, 0.1):
        found[width] = keypoints.coco_oks(truth, results, sigmas=[width] * 14)
        expected = math.exp(-9 / (2 * 8100 * (2 * width) ** 2))
        assert found[width].per_sample()["oks"] == pytest.approx([expected] * 5)
    assert found[0.02].ap < found[0.1].ap == pytest.approx(1.0)
    with pytest.raises(TaskError, match="has 42 keypoint numbers, expected 3 x 17"):
        keypoints.coco_oks(truth, results)


def test_coco_s_own_widths_are_the_default():
    rng = np.random.default_rng(2)
    joints = np.concatenate([rng.uniform(0, 60, (6, 17, 2)), np.full((6, 17, 1), 2.0)], axis=2)
    truth = keypoints.coco_ground_truth(range(6), joints, np.tile([0, 0, 60, 60], (6, 1)))
    results = keypoints.coco_results(range(6), joints[..., :2] + rng.normal(0, 3, (6, 17, 2)), rng.random(6))
    plain, given = (keypoints.coco_oks(truth, results, sigmas=sigmas) for sigmas in (None, COCO.sigmas))
    assert given.per_sample()["oks"] == pytest.approx(plain.per_sample()["oks"], abs=1e-12)
