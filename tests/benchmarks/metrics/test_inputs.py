"""Arrays and tensors alike, results that cannot be changed, no torch at import."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from hcbench.benchmarks.metrics import attributes, keypoints, parsing, reid, text_reid


def as_tensors(arguments):
    return [torch.from_numpy(np.asarray(argument)) for argument in arguments]


def cases():
    rng = np.random.default_rng(0)
    gt = rng.uniform(1, 90, (5, 16, 2))
    boxes = np.tile([[10.0, 10.0], [16.0, 18.0]], (5, 1, 1))
    return {
        "reid": (
            reid.rank_metrics,
            (rng.random((6, 9)), np.arange(6) % 3, np.arange(9) % 3, np.zeros(6, int), np.ones(9, int)),
        ),
        "text": (text_reid.rank_metrics, (rng.random((6, 9)), np.arange(6) % 3, np.arange(9) % 3)),
        "attributes": (attributes.attribute_metrics, (rng.integers(-1, 2, (6, 4)), rng.random((6, 4)))),
        "pckh": (keypoints.pckh, (gt + rng.normal(size=gt.shape), gt, np.zeros((5, 16), dtype=bool), boxes)),
        "pck": (keypoints.pck, (gt + 3, gt, np.ones((5, 16)), np.tile([0.0, 0.0, 50.0, 60.0], (5, 1)))),
        "parsing": (
            lambda *maps: parsing.parsing_metrics(*maps, 3),
            (rng.integers(0, 3, (4, 5, 6)), rng.integers(0, 3, (4, 5, 6))),
        ),
    }


@pytest.mark.parametrize("name", cases())
def test_tensors_give_what_arrays_give(name):
    evaluate, arguments = cases()[name]
    wanted, found = evaluate(*arguments), evaluate(*as_tensors(arguments))
    assert found.summary() == pytest.approx(wanted.summary(), nan_ok=True)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.int64])
def test_number_types(kind):
    values = torch.tensor([[4.0, 1.0, 2.0, 3.0]]).to(kind)
    result = reid.rank_metrics(values, [1], [1, 2, 1, 3], [0], [1, 1, 1, 1])
    assert result.ap.tolist() == [0.5]  # ranks 2 and 4
    assert result.ap.dtype == np.float64


def test_a_tensor_with_gradient_is_read():
    heatmaps = torch.rand(2, 3, 8, 6, requires_grad=True)
    xy, scores = keypoints.decode_heatmaps(heatmaps)
    np.testing.assert_array_equal(scores, heatmaps.detach().numpy().max(axis=(2, 3)))
    assert xy.shape == (2, 3, 2)


def test_the_caller_s_arrays_stay_as_they_are():
    for evaluate, arguments in cases().values():
        copies = [np.array(argument) for argument in arguments]
        evaluate(*arguments)
        for argument, copy in zip(arguments, copies, strict=True):
            np.testing.assert_array_equal(argument, copy)


def test_results_are_frozen():
    evaluate, arguments = cases()["reid"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        evaluate(*arguments).mAP = 1.0


def test_metrics_do_not_import_torch():
    names = ("attributes", "bootstrap", "keypoints", "parsing", "reid", "text_reid")
    lines = ["import sys", *(f"import hcbench.benchmarks.metrics.{name}" for name in names)]
    lines.append("sys.exit('torch' in sys.modules or 'pycocotools.cocoeval' in sys.modules)")
    assert subprocess.run([sys.executable, "-P", "-c", "\n".join(lines)], check=False).returncode == 0
