"""Attributes and parsing beyond the golden values."""

import numpy as np
import pytest
import torch

from hcbench.benchmarks.metrics import attributes, parsing


def test_a_probability_on_the_threshold_is_negative():
    result = attributes.attribute_metrics([[1, 1]], [[0.5, np.nextafter(0.5, 1)]])
    assert result.predicted.tolist() == [[False, True]]
    single = np.array([[0.45, 0.1]], dtype=np.float32)  # compared as float32, where the scores equal the threshold
    assert not attributes.attribute_metrics([[1, 1]], single, threshold=0.45).predicted[0, 0]
    assert not attributes.attribute_metrics([[1, 1]], single, threshold=0.1).predicted[0, 1]


@pytest.mark.parametrize("threshold", [0.1, 0.35, 0.45, 0.7, 0.9])
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_threshold_has_the_precision_of_the_scores(kind, threshold):
    score = torch.tensor(threshold, dtype=torch.float64).to(kind)
    prob = torch.stack([score, score + torch.finfo(kind).eps])[None]
    assert attributes.attribute_metrics([[1, 1]], prob, threshold=threshold).predicted.tolist() == [[False, True]]
    if kind != torch.bfloat16:
        array = attributes.attribute_metrics([[1, 1]], prob.numpy(), threshold=threshold)
        assert array.predicted.tolist() == [[False, True]]


@pytest.mark.parametrize("prob", [np.array([[0, 1]]), torch.tensor([[0, 1]])])
def test_whole_numbers_leave_the_threshold_as_it_is(prob):
    assert attributes.attribute_metrics([[1, 1]], prob).predicted.tolist() == [[False, True]]


def test_unspecified_labels_count_in_the_union_unless_masked():
    gt, prob = [[1, -1, 0]], [[0.9, 0.9, 0.1]]
    seen, masked = (attributes.attribute_metrics(gt, prob, mask_unspecified=mask) for mask in (False, True))
    assert (seen.accuracy, seen.precision, seen.recall) == (0.5, 0.5, 1.0)
    assert (masked.accuracy, masked.precision, masked.recall) == (1.0, 1.0, 1.0)
    assert seen.label_fp.tolist() == masked.label_fp.tolist() == [0, 0, 0]
    assert seen.mA == masked.mA


def test_attributes_without_positives_or_negatives_are_named():
    gt = [[1, 0, 1, -1], [0, 0, 1, -1]]
    prob = [[0.9, 0.1, 0.9, 0.9], [0.1, 0.1, 0.9, 0.1]]
    result = attributes.attribute_metrics(gt, prob)
    assert result.undefined == (1, 2, 3)
    assert result.label_ma.tolist() == [1.0, 0.5, 0.5, 0.0]
    assert result.ma_defined == 1.0
    assert np.isnan(attributes.attribute_metrics([[1]], [[0.9]]).ma_defined)


def test_an_attribute_oracle_is_perfect():
    gt = np.random.default_rng(0).integers(0, 2, (50, 6))
    gt[:, 0] = 1  # every person has something to find
    gt[0, 0] = 0
    gt[0, 1] = 1
    summary = attributes.attribute_metrics(gt, gt.astype(float)).summary()
    assert summary == dict.fromkeys(summary, 1.0)


def test_a_parsing_oracle_is_one_over_present_classes():
    gt = np.random.default_rng(1).integers(0, 3, (4, 9, 7))
    result = parsing.parsing_metrics(gt, gt, 5)
    assert result.miou_present == result.pixel_accuracy == result.mean_accuracy_present == 1.0
    assert result.miou == result.mean_accuracy == pytest.approx(3 / 5)
    assert np.isnan(result.iou[3:]).all()


def test_maps_of_different_sizes_and_ignored_pixels():
    rng = np.random.default_rng(2)
    gt = [rng.integers(0, 3, shape) for shape in ((4, 6), (7, 3), (5, 5))]
    pred = [rng.integers(0, 3, item.shape) for item in gt]
    gt[0][0] = 255
    pred[0][0] = 99  # anything may stand where nothing counts
    result = parsing.parsing_metrics(gt, pred, 3)
    flat_gt, flat_pred = (np.concatenate([item.ravel() for item in maps]) for maps in (gt, pred))
    counted = flat_gt != 255
    for truth in range(3):
        for guess in range(3):
            wanted = np.sum(counted & (flat_gt == truth) & (flat_pred == guess))
            assert result.confusion[truth, guess] == wanted
    assert result.image_confusion.shape == (3, 3, 3)
    assert len(result.per_sample()["pixel_accuracy"]) == 3
