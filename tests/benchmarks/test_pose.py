import dataclasses
import math

import numpy as np
import pytest
import torch

from hcbench.benchmarks.base import EvaluateConfig, FeatureTable, Inputs
from hcbench.benchmarks.metrics.keypoints import decode_heatmaps
from hcbench.benchmarks.pose.head import (
    SIGMA,
    HeatmapHead,
    grid_for,
    heatmaps,
    place_loss,
    place_targets,
    prepare_grid,
    to_cells,
    to_pixels,
)
from hcbench.benchmarks.pose.task import Pose
from hcbench.benchmarks.pose.truth import PoseTruth
from hcbench.data.windows import to_crop

CONFIG = EvaluateConfig(replicates=20)


def test_cells_and_pixels_are_inverse_and_aligned():
    pixels = np.linspace(-0.5, 63.5, 33)
    np.testing.assert_allclose(to_pixels(to_cells(pixels)), pixels)
    assert to_cells(np.array([-0.5, 63.5])).tolist() == [-0.5, 15.5]  # borders of the crop are borders of the map
    assert to_cells(np.array([1.5, 5.5])).tolist() == [0.0, 1.0]  # the middle of pixels 0..3 is the centre of cell 0


def test_targets_are_gaussians_around_the_joint():
    xy = torch.tensor([[[3.3, 20.6], [0.0, 0.0]]])
    maps = torch.nn.functional.pixel_shuffle(place_targets(xy, (8, 4)).flatten(1, 2), 4)
    assert maps.shape == (1, 2, 32, 16)
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(1, 2))
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(16.0), indexing="ij")
    expected = torch.exp(-((x - 3.3) ** 2 + (y - 20.6) ** 2) / (2 * SIGMA**2))
    torch.testing.assert_close(maps[0, 0], expected / expected.sum(), atol=1e-6, rtol=1e-4)


def test_the_loss_is_the_cross_entropy_with_the_targets():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 16, 8, 4, generator=generator)
    xy = torch.rand(2, 3, 2, generator=generator) * 14
    weight = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    target, log_p = place_targets(xy, (8, 4)), logits.flatten(2).log_softmax(2).view_as(logits)
    expected = sum(-(target[b, j] * log_p[b, j]).sum() * weight[b, j] for b in range(2) for j in range(3)) / 4
    torch.testing.assert_close(place_loss(logits, xy, weight), expected)


def test_a_map_at_its_target_reads_back_the_joint():
    """Logits of the target itself, through the maps and the decoder, give the joint within the decoder's reach."""
    pixels = np.random.default_rng(0).uniform([10, 10], [54, 118], (4, 17, 2))
    target = place_targets(torch.from_numpy(to_cells(pixels)).float(), (8, 4))
    xy, scores = decode_heatmaps(heatmaps(target.log()).numpy(), method="quarter")
    assert np.abs(to_pixels(xy) - pixels).max() <= 1.01  # a quarter of a cell
    assert (scores > 0.1).all()


def test_the_head_starts_flat_and_reads_any_token_grid():
    for shape, size in (((8, 4), (128, 64)), ((4, 2), (128, 64)), ((16, 8), (128, 64)), ((7, 7), (224, 224))):
        raw = torch.randn(6, 10, *shape, generator=torch.Generator().manual_seed(0))
        grid, _ = prepare_grid(raw, grid_for(size), None)
        generator = torch.Generator().manual_seed(0)
        head = HeatmapHead(10, 17, grid_for(size), width=8, generator=generator)
        maps = heatmaps(head(grid))
        assert maps.shape == (6, 17, size[0] // 4, size[1] // 4)
        torch.testing.assert_close(maps.sum((2, 3)), torch.ones(6, 17))
        assert maps.max() < 10 / maps[0, 0].numel()


def test_told_joints_are_found_and_noise_gives_no_better_than_the_mean_pose(told, noise):
    values = []
    for world in (told, noise):
        task = Pose(dataclasses.replace(CONFIG, epochs=3.0))
        task.fit(world["train"], world["val"])
        test = world["test"]
        values.append(task.score(task.predict(Inputs(features=test.features)), test.samples).summary["PCK20"])
    train, test = noise["train"].samples, noise["test"].samples
    mean_pose = np.repeat(train.keypoints[..., :2].mean(axis=0)[None], len(test), axis=0)
    constant = Pose(CONFIG).score({"keypoints": mean_pose, "scores": np.ones(mean_pose.shape[:2])}, test)
    assert values[0] > 0.9
    assert values[1] < constant.summary["PCK20"] + 0.05


def test_joints_outside_the_crop_or_unlabelled_do_not_train(told):
    train = told["train"]
    keypoints = train.samples.keypoints.copy()
    hidden = keypoints[..., 2] == 0
    results = []
    for value in (-300.0, 30.0):
        keypoints[hidden, :2] = value
        samples = dataclasses.replace(train.samples, keypoints=keypoints.copy())
        task = Pose(CONFIG)
        task.fit(dataclasses.replace(train, samples=samples), told["val"])
        results.append(task.predict(Inputs(features=told["test"].features))["scores"])
    np.testing.assert_array_equal(*results)


@pytest.fixture
def coco(told):
    """Two persons in image 7 and one in image 3, cut out of images of 640 x 480; image 9 holds a crowd alone."""
    rng = np.random.default_rng(0)
    image_id = np.array([7, 3, 7])
    center = np.array([[100, 200], [300.5, 220], [400, 100.25]], np.float32)
    size = np.array([[80, 160], [100.5, 201], [60, 120]], np.float32)
    xy = center[:, None] + rng.uniform(-0.4, 0.4, (3, 17, 2)) * size[:, None]
    visible = np.full((3, 17), 2)
    visible[:, 3] = 1
    visible[:, 4] = 0
    low, high = xy.min(axis=1), xy.max(axis=1)
    boxes = np.concatenate([low, high - low], axis=1)
    annotations = [
        {
            "id": 50 + i,
            "image_id": int(image_id[i]),
            "category_id": 1,
            "iscrowd": 0,
            "keypoints": np.concatenate([xy[i], visible[i][:, None]], axis=1).ravel().tolist(),
            "num_keypoints": 16,
            "bbox": boxes[i].tolist(),
            "area": float(boxes[i, 2:].prod() / 2),
        }
        for i in range(3)
    ]
    crowd = {**annotations[0], "id": 99, "image_id": 9, "iscrowd": 1, "keypoints": [0] * 51, "num_keypoints": 0}
    truth = {
        "images": [{"id": i} for i in (3, 7, 9)],
        "annotations": [*annotations, crowd],
        "categories": [{"id": 1, "name": "person"}],
    }
    crop_xy = to_crop(xy, center[:, None], size[:, None], 128, 64)
    return dataclasses.replace(
        told["test"].samples.subset(np.arange(3)),
        images=np.zeros((3, 3, 128, 64), np.uint8),
        identity=None,
        slices={},
        keypoints=np.concatenate([crop_xy, visible[..., None]], axis=2).astype(np.float32),
        boxes=boxes.astype(np.float32),
        area=np.array([a["area"] for a in annotations], np.float32),
        image_id=image_id,
        crop_center=center,
        crop_size=size,
        coco_truth=truth,
    )


def test_crops_are_scored_in_their_original_image(coco):
    right = {"keypoints": coco.keypoints[..., :2], "scores": np.ones((3, 17))}
    scores = Pose(CONFIG).score(right, coco)
    assert scores.summary["AP"] == pytest.approx(1)
    assert scores.summary["PCK05"] == 1
    assert scores.record["frame"] == "original image"
    assert scores.record["clusters"] == 2  # images, since the data know no identity
    assert scores.per_sample["oks"].tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    target = PoseTruth.of(coco)
    official = np.array([a["keypoints"] for a in coco.coco_truth["annotations"][:3]]).reshape(3, 17, 3)
    np.testing.assert_allclose(target.keypoints, official, atol=1e-3)
    assert {image["id"] for image in target.official["images"]} == {3, 7}


def test_an_error_in_the_crop_is_measured_in_original_pixels(coco):
    """2 px of the crop of sample 1 are 2 * 100.5 / 64 px of its image."""
    shifted = coco.keypoints[..., :2].copy()
    shifted[1, :, 0] += 2
    scores = Pose(CONFIG).score({"keypoints": shifted, "scores": np.ones((3, 17))}, coco)
    distance = 2 * 100.5 / 64
    sigmas = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
    area = coco.coco_truth["annotations"][1]["area"]
    expected = np.mean([math.exp(-(distance**2) / (2 * area * (2 * s) ** 2)) for i, s in enumerate(sigmas) if i != 4])
    assert scores.per_sample["oks"][1] == pytest.approx(expected, abs=1e-3)
    assert scores.per_sample["oks"][[0, 2]].tolist() == pytest.approx([1, 1], abs=1e-6)


def test_people_are_images_of_their_own(told):
    samples = told["test"].samples
    target = PoseTruth.of(samples)
    assert target.image_id.tolist() == list(range(1, 201))
    assert [a["id"] for a in target.official["annotations"]] == list(range(1, 201))
    assert target.official["annotations"][3]["area"] == pytest.approx(float(samples.area[3]))
    assert len(np.unique(target.image_clusters(tuple(range(1, 201))))) == 30 + 20


def test_a_map_that_cannot_be_read_is_a_miss(told):
    samples = told["test"].samples
    points = samples.keypoints[..., :2].copy()
    points[:, 0] = np.nan
    scores = Pose(CONFIG).score({"keypoints": points, "scores": np.full(points.shape[:2], np.nan)}, samples)
    assert scores.summary["PCK20"] == pytest.approx(16 / 17)


def test_features_of_other_widths_fit(told):
    """A control's padding channels, which never vary, are left out."""
    train = told["train"]

    def padded(split):
        grid = torch.cat([split.features.grid, torch.zeros(len(split.features), 3, 8, 4)], dim=1)
        return dataclasses.replace(split, features=FeatureTable(pooled=split.features.pooled, grid=grid))

    plain, wide = Pose(CONFIG), Pose(CONFIG)
    plain.fit(train, told["val"])
    wide.fit(padded(train), padded(told["val"]))
    first = plain.predict(Inputs(features=told["test"].features))
    second = wide.predict(Inputs(features=padded(told["test"]).features))
    np.testing.assert_array_equal(first["keypoints"], second["keypoints"])
