from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hcbench.benchmarks.base import EvaluateConfig, FeatureTable, Inputs
from hcbench.benchmarks.parsing.classes import IGNORED, PEOPLE_CLASSES, Classes
from hcbench.benchmarks.parsing.head import enlarging, pixel_logits, pixel_loss, token_logits
from hcbench.benchmarks.parsing.task import Parsing
from hcbench.data.part_names import CIHP, LIP
from hcbench.data.people.figure import PART, PARTS
from hcbench.errors import TaskError

CONFIG = EvaluateConfig(replicates=20)


def test_every_part_of_the_renderer_has_a_class(told):
    samples = told["test"].samples
    classes = Classes.of(samples)
    assert classes.names == PEOPLE_CLASSES
    named = {part: PEOPLE_CLASSES[classes.of_part[PART[part]]] for part in PARTS}
    assert named["hat"] == named["hair"] == named["head"] == "head"
    assert named["skirt"] == named["left_thigh"] == "lower_cloth"
    assert named["bag"] == named["occluder"] == named["object"] == "background"
    assert set(named.values()) == set(PEOPLE_CLASSES)
    assert (classes.of_part[len(PARTS) :] == IGNORED).all()


@pytest.mark.parametrize("names", [LIP, CIHP])
def test_other_data_are_their_own_classes(told, names):
    samples = dataclasses.replace(told["test"].samples, part_names=names)
    classes = Classes.of(samples)
    assert classes.names == names
    assert len(set(names)) == 20
    assert classes.of_part[:20].tolist() == list(range(20))
    swapped = [pair for pair in enumerate(classes.mirrored) if pair[0] < pair[1]]
    assert swapped == [(14, 15), (16, 17), (18, 19)]


def test_masks_without_names_are_told_of(told):
    with pytest.raises(TaskError, match="does not say what their ids are"):
        Classes.of(dataclasses.replace(told["test"].samples, part_names=()))


def test_enlargement_is_bilinear_and_the_loss_is_per_pixel():
    generator = torch.Generator().manual_seed(0)
    grid = torch.randn(2, 5, 8, 4, generator=generator)
    weight, bias = torch.randn(3, 5, 7, generator=generator), torch.randn(3, 7, generator=generator)
    tokens = token_logits(grid, weight, bias)
    rows, columns = enlarging(8, 128), enlarging(4, 64)
    target = torch.randint(0, 7, (2, 128, 64), generator=generator)
    target[0, :40] = IGNORED
    expected = torch.zeros(())
    for head in range(3):
        convolved = F.conv2d(grid, weight[head].T[:, :, None, None], bias[head])
        wide = F.interpolate(convolved, size=(128, 64), mode="bilinear", align_corners=False)
        torch.testing.assert_close(pixel_logits(tokens, rows, columns)[head], wide, atol=1e-5, rtol=1e-4)
        expected = expected + F.cross_entropy(wide, target, ignore_index=IGNORED)
    torch.testing.assert_close(pixel_loss(pixel_logits(tokens, rows, columns), target.to(torch.uint8)), expected)
    # Some rows and columns alone are the same pixels.
    thinned = pixel_logits(tokens, rows[:, 1::4], columns[:, 2::4])
    torch.testing.assert_close(thinned, pixel_logits(tokens, rows, columns)[..., 1::4, 2::4])


def test_told_parts_are_found_and_noise_gives_the_background(told, noise):
    values = []
    for world in (told, noise):
        task = Parsing(CONFIG)
        task.fit(world["train"], world["val"])
        found = task.score(task.predict(Inputs(features=world["test"].features)), world["test"].samples)
        values.append(found.summary["miou"])
    samples = noise["test"].samples
    background = {"labels": np.zeros(samples.parts.shape, np.uint8)}
    alone = Parsing(CONFIG).score(background, samples).summary["miou"]
    assert values[0] > 0.6
    assert values[1] < alone + 0.05


def test_ignored_pixels_count_for_nobody(told):
    samples = told["test"].samples
    parts = samples.parts.copy()
    parts[:, :64] = 200
    holes = dataclasses.replace(samples, parts=parts)
    labels = Parsing(CONFIG).oracle(holes)["labels"]
    assert (labels[:, :64] == 0).all()
    assert Parsing(CONFIG).score({"labels": labels}, holes).summary["pixel_accuracy"] == 1.0


def test_absent_classes_are_named_and_both_means_are_given(told):
    samples = told["test"].samples
    parts = np.where(samples.parts == PART["torso"], 0, samples.parts)
    scores = Parsing(CONFIG).score(
        Parsing(CONFIG).oracle(bare := dataclasses.replace(samples, parts=parts.astype(np.uint8))), bare
    )
    assert scores.record["absent"] == ["upper_cloth"]
    assert scores.summary["miou"] == pytest.approx(6 / 7)
    assert scores.summary["miou_present"] == pytest.approx(1.0)
    assert np.isnan(scores.record["iou"]["upper_cloth"])


def test_features_of_any_grid_fit(told):
    def coarse(split):
        grid = F.avg_pool2d(split.features.grid, 2)
        return dataclasses.replace(split, features=FeatureTable(pooled=split.features.pooled, grid=grid))

    task = Parsing(dataclasses.replace(CONFIG, epochs=0.25))
    task.fit(coarse(told["train"]), coarse(told["val"]))
    labels = task.predict(Inputs(features=coarse(told["test"]).features))["labels"]
    assert labels.shape == told["test"].samples.parts.shape


def test_other_classes_cannot_be_scored(told):
    samples = told["test"].samples
    task = Parsing(CONFIG)
    assert task.crossing_reason(samples, samples) is None
    assert "are not those of" in task.crossing_reason(samples, dataclasses.replace(samples, part_names=LIP))
