"""Resampling: unit weights give the point value, whole weights give what repeating the samples gives."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from hcbench.benchmarks.metrics import attributes, keypoints, parsing, reid, text_reid
from hcbench.benchmarks.metrics.bootstrap import resample_weights, weighted_means, weighted_sums

GOLDEN = Path(__file__).parents[2] / "golden"


# --- the draws


def test_weights_move_whole_clusters_and_keep_their_number():
    clusters = np.random.default_rng(0).integers(0, 40, 300)
    weights = resample_weights(clusters, replicates=200, seed=3)
    assert weights.shape == (200, 300)
    assert weights.dtype == np.uint8
    names, first = np.unique(clusters, return_index=True)
    np.testing.assert_array_equal(weights, weights[:, first][:, np.searchsorted(names, clusters)])
    np.testing.assert_array_equal(weights[:, first].sum(axis=1), len(names))


def test_weights_depend_on_clusters_and_seed_alone():
    clusters = np.array(["b", "a", "c", "a", "b"])
    weights = resample_weights(clusters, replicates=50, seed=1)
    np.testing.assert_array_equal(weights, resample_weights(clusters, replicates=50, seed=1))
    assert (weights != resample_weights(clusters, replicates=50, seed=2)).any()
    order = np.array([3, 0, 4, 2, 1])
    np.testing.assert_array_equal(weights[:, order], resample_weights(clusters[order], replicates=50, seed=1))


def test_weights_are_fixed_for_all_time():
    # Part of every benchmark's version: if these numbers move, stored replicates no longer pair.
    assert resample_weights(np.arange(8), replicates=2, seed=0).tolist() == [
        [2, 0, 1, 0, 1, 2, 1, 1],
        [2, 1, 0, 0, 1, 1, 2, 1],
    ]


def test_every_cluster_is_equally_likely():
    weights = resample_weights(np.arange(10), replicates=20_000, seed=5)
    np.testing.assert_allclose(weights.mean(axis=0), 1.0, atol=5 * np.sqrt(0.9 / 20_000))
    np.testing.assert_allclose(weights.var(axis=0), 0.9, rtol=0.05)


def test_sums_and_means_do_not_depend_on_the_block_size():
    rng = np.random.default_rng(1)
    weights, values = rng.integers(0, 4, (150, 30)), rng.random((30, 3))
    np.testing.assert_allclose(weighted_sums(weights, values), weights @ values, rtol=1e-13)
    values[::4, 1] = np.nan
    wanted = [np.average(values[~np.isnan(values[:, 1]), 1], weights=w[~np.isnan(values[:, 1])]) for w in weights]
    np.testing.assert_allclose(weighted_means(weights, values)[:, 1], wanted, rtol=1e-13)
    assert np.isnan(weighted_means(np.zeros((1, 30)), values)).all()


# --- every metric. A case is (samples, evaluate(rows) -> metrics); rows may repeat.


def reid_case(rng):
    distance = np.round(rng.random((40, 90)), 2)
    query_pids, gallery_pids = rng.integers(0, 9, 40), rng.integers(0, 8, 90)  # identity 8 has no match
    query_camids, gallery_camids = rng.integers(0, 3, 40), rng.integers(0, 3, 90)
    return 40, lambda rows: reid.rank_metrics(
        distance[rows], query_pids[rows], gallery_pids, query_camids[rows], gallery_camids
    )


def text_case(unmatched):
    def case(rng):
        similarity, queries, gallery = rng.random((40, 30)), rng.integers(0, 9, 40), rng.integers(0, 8, 30)
        return 40, lambda rows: text_reid.rank_metrics(similarity[rows], queries[rows], gallery, unmatched=unmatched)

    return case


def attribute_case(rng):
    gt, prob = rng.choice([-1, 0, 1], (30, 9), p=[0.1, 0.75, 0.15]), rng.random((30, 9))
    return 30, lambda rows: attributes.attribute_metrics(gt[rows], prob[rows])


def pckh_case(rng):
    gt = rng.uniform(1, 100, (30, 16, 2))
    pred, missing = gt - 1 + rng.normal(scale=8, size=gt.shape), rng.random((30, 16)) < 0.5
    boxes = np.cumsum(rng.uniform(5, 25, (30, 2, 2)), axis=1)
    return 30, lambda rows: keypoints.pckh(pred[rows], gt[rows], missing[rows], boxes[rows])


def pck_case(rng):
    gt = rng.uniform(0, 100, (30, 5, 2))
    pred, visible = gt + rng.normal(scale=8, size=gt.shape), rng.random((30, 5)) < 0.2
    boxes = np.concatenate([np.zeros((30, 2)), rng.uniform(40, 120, (30, 2))], axis=1)
    return 30, lambda rows: keypoints.pck(pred[rows], gt[rows], visible[rows], boxes[rows])


def parsing_case(rng):
    gt, pred = rng.integers(0, 4, (20, 6, 5)), rng.integers(0, 5, (20, 6, 5))
    gt[rng.random(gt.shape) < 0.1] = 255
    gt[:15][gt[:15] == 3] = 0  # a class that resamples can miss
    return 20, lambda rows: parsing.parsing_metrics(gt[rows], pred[rows], 6)


def coco_case(name):
    """Repeated images get neighbouring ids, and their results follow one another in the file."""

    def case(_):
        truth, results = (json.loads((GOLDEN / f"{name}_{kind}.json").read_text()) for kind in ("gt", "dt"))
        images = sorted(image["id"] for image in truth["images"])

        def evaluate(rows):
            copies = {image: [] for image in images}
            for position, row in enumerate(sorted(rows)):
                copies[images[row]].append(position + 1)
            people = [a | {"image_id": new} for a in truth["annotations"] for new in copies[a["image_id"]]]
            found = [r | {"image_id": new} for r in results for new in copies[r["image_id"]]]
            people = [person | {"id": number} for number, person in enumerate(people, start=1)]
            files = {"images": [{"id": n + 1} for n in range(len(rows))], "categories": truth["categories"]}
            return keypoints.coco_oks(files | {"annotations": people}, found)

        return len(images), evaluate

    return case


CASES = {
    "reid": reid_case,
    "text-skip": text_case("skip"),
    "text-zero": text_case("zero"),
    "attributes": attribute_case,
    "pckh": pckh_case,
    "pck": pck_case,
    "parsing": parsing_case,
    "coco": coco_case("coco_kpt"),
    "coco-nolarge": coco_case("coco_kpt_nolarge"),
}


@pytest.mark.parametrize("name", CASES)
def test_unit_weights_give_the_point_value(name):
    samples, evaluate = CASES[name](np.random.default_rng(11))
    metrics = evaluate(np.arange(samples))
    for weights in (np.ones((2, samples), dtype=np.uint8), np.ones((2, samples))):
        replicates = metrics.replicates(weights)
        assert list(replicates) == list(metrics.summary())
        for key, value in metrics.summary().items():
            np.testing.assert_allclose(replicates[key], [value, value], rtol=0, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", CASES)
def test_whole_weights_equal_repeated_samples(name):
    rng = np.random.default_rng(12)
    samples, evaluate = CASES[name](rng)
    weights = rng.choice(4, (12, samples), p=[0.4, 0.3, 0.2, 0.1])
    replicates = evaluate(np.arange(samples)).replicates(weights)
    repeated = [evaluate(np.repeat(np.arange(samples), row)).summary() for row in weights]
    for key, values in replicates.items():
        np.testing.assert_allclose(values, [point[key] for point in repeated], rtol=0, atol=1e-12, err_msg=key)
    assert np.std(next(iter(replicates.values()))) > 0


@pytest.mark.parametrize("name", CASES)
def test_nothing_drawn_is_undefined(name):
    samples, evaluate = CASES[name](np.random.default_rng(13))
    replicates = evaluate(np.arange(samples)).replicates(np.zeros((1, samples), dtype=np.uint8))
    ruled_zero = {"mA"} if name == "attributes" else set()  # ratios that count 0 by rule when empty
    for key, values in replicates.items():
        assert np.isnan(values[0]) or (key in ruled_zero and values[0] == 0), key


def test_per_sample_values_average_to_the_point_value():
    samples, evaluate = reid_case(np.random.default_rng(14))
    metrics = evaluate(np.arange(samples))
    assert np.nanmean(metrics.per_sample()["ap"]) == pytest.approx(metrics.mAP)
    samples, evaluate = attribute_case(np.random.default_rng(14))
    metrics = evaluate(np.arange(samples))
    assert metrics.per_sample()["recall"].mean() == pytest.approx(metrics.recall)
    samples, evaluate = coco_case("coco_kpt")(None)
    metrics = evaluate(np.arange(samples))
    columns = metrics.per_sample()
    assert len({len(column) for column in columns.values()}) == 1
    assert np.mean(np.array(columns["oks"]) >= 0.5) >= metrics.ar50  # greedy matching can only lose pairs


def test_a_thousand_replicates_of_three_thousand_persons_are_quick():
    rng = np.random.default_rng(15)
    weights = resample_weights(rng.integers(0, 600, 3000), seed=0)
    joints = rng.uniform(0, 100, (3000, 17, 2))
    near = joints + rng.normal(size=joints.shape) * 8
    metrics = {
        "reid": reid.rank_metrics(
            rng.random((3000, 500), dtype=np.float32),
            rng.integers(0, 100, 3000),
            rng.integers(0, 100, 500),
            np.zeros(3000),
            np.ones(500),
        ),
        "attributes": attributes.attribute_metrics(rng.integers(0, 2, (3000, 26)), rng.random((3000, 26))),
        "pck": keypoints.pck(joints, near, np.ones((3000, 17)), np.tile([0, 0, 100, 100], (3000, 1))),
    }
    for name, result in metrics.items():
        start = time.process_time()
        result.replicates(weights)
        assert time.process_time() - start < 2.0, name  # measured below 0.1 s; slack for busy machines
