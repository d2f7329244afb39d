"""Really running each pipeline, in random weights: seeds, order, batches, and that conditions count."""

from __future__ import annotations

import numpy as np
import pytest
from reference_pose import POSE

from hcbench.errors import WeightsError
from hcbench.harness.generation.backends import Diffusion
from hcbench.harness.generation.conditions import draw_skeleton
from hcbench.harness.generation.recipe import GenerationRecipe
from hcbench.harness.generation.weights import look_at

CANVAS = (64, 32)
EXTRA = {"sd": None, "t2i-adapter": "adapter-keypose", "controlnet": "control"}
STYLE = {"sd": "", "t2i-adapter": "t2i-keypose", "controlnet": "controlnet"}


def recipe(backend: str, **changes) -> GenerationRecipe:
    settings = {
        "variants": 2, "seed": 0, "steps": 2, "guidance": 2.0, "condition_scale": 1.0, "style": STYLE[backend],
        "canvas": CANVAS, "size": CANVAS, "batch": 4, "precision": "fp32", "device": "cpu",
    }  # fmt: skip
    return GenerationRecipe(backend=backend, **(settings | changes))


@pytest.fixture(scope="session")
def open_backend(weights):
    kept: dict[tuple, Diffusion] = {}

    def open_(backend: str, extra: str | None = None, **changes) -> Diffusion:
        key = (backend, extra, *sorted(changes.items()))
        if key not in kept:
            name = extra or EXTRA[backend]
            models = look_at(backend, weights / "sd", weights / name if name else None)
            kept[key] = Diffusion(recipe(backend, **changes), models)
        return kept[key]

    return open_


def skeletons(count: int) -> np.ndarray:
    """Skeletons of poses that differ."""
    scaled = POSE * (CANVAS[1] / 256, CANVAS[0] / 512, 1)
    return np.stack([draw_skeleton(scaled + np.array((4 * (i % 2), 0, 0)), *CANVAS, stick=2) for i in range(count)])


def conditions(backend: str, count: int) -> np.ndarray | None:
    return None if backend == "sd" else skeletons(count)


@pytest.mark.parametrize("backend", EXTRA)
def test_the_same_seeds_give_the_same_bytes(open_backend, backend):
    pipeline = open_backend(backend)
    prompts, seeds = ["a man", "a man", "a woman", "a woman"], [0, 1, 2, 3]
    first = pipeline.sample(prompts, conditions(backend, 4), seeds)
    again = pipeline.sample(prompts, conditions(backend, 4), seeds)
    assert first.pictures.shape == (4, *CANVAS, 3)
    assert first.blackened == [False] * 4
    np.testing.assert_array_equal(first.pictures, again.pictures)
    assert len({picture.tobytes() for picture in first.pictures}) == 4
    # In another batch the values agree to 1e-4: a rounding step of 8 bits at most.
    alone = pipeline.sample(prompts[2:3], None if backend == "sd" else skeletons(3)[2:], seeds[2:3])
    assert np.abs(alone.pictures[0].astype(int) - first.pictures[2]).max() <= 1


def test_order_is_that_of_diffusers_own_variants(open_backend):
    """Image k of prompt p lies at p m + k, as with num_images_per_prompt."""
    import torch

    pipeline = open_backend("sd")
    ours = pipeline.sample(["a man", "a man", "a woman", "a woman"], None, [0, 1, 2, 3]).pictures
    theirs = pipeline.pipeline(
        prompt=["a man", "a woman"], num_images_per_prompt=2, height=CANVAS[0], width=CANVAS[1], num_inference_steps=2,
        guidance_scale=2.0, output_type="np", generator=[torch.Generator("cpu").manual_seed(i) for i in range(4)],
    ).images  # fmt: skip
    assert np.abs(ours.astype(int) - np.rint(theirs * 255)).max() <= 1


@pytest.mark.parametrize("backend", ["t2i-adapter", "controlnet"])
def test_a_batch_keeps_every_condition_with_its_image(open_backend, backend):
    """Two conditions x two variants: each image is the one that its condition gives alone."""
    pipeline = open_backend(backend, condition_scale=1.0 if backend == "t2i-adapter" else 300.0)
    shown = np.zeros((4, *CANVAS, 3), np.uint8)
    shown[2:] = 255  # as different as can be: random networks hardly look
    together = pipeline.sample(["a man"] * 4, shown, [0, 1, 2, 3]).pictures.astype(int)
    for i in range(4):
        alone = pipeline.sample(["a man"], shown[i : i + 1], [i]).pictures[0]
        other = pipeline.sample(["a man"], 255 - shown[i : i + 1], [i]).pictures[0]
        assert np.abs(alone - together[i]).max() <= 1 < np.abs(other - together[i]).max()


def test_scale_0_is_no_control_and_a_fresh_controlnet_neither(open_backend):
    black, drawn = np.zeros((1, *CANVAS, 3), np.uint8), skeletons(1)

    def pictures(pipeline, condition):
        return pipeline.sample(["a man"], condition, [5]).pictures

    off = open_backend("controlnet", condition_scale=0.0)
    np.testing.assert_array_equal(pictures(off, drawn), pictures(off, black))
    np.testing.assert_array_equal(pictures(off, drawn), open_backend("sd").sample(["a man"], None, [5]).pictures)
    fresh = open_backend("controlnet", "control-fresh")
    np.testing.assert_array_equal(pictures(fresh, drawn), pictures(fresh, black))
    moved = open_backend("controlnet")
    assert (pictures(moved, drawn) != pictures(moved, black)).any()
    adapter = open_backend("t2i-adapter")
    assert (pictures(adapter, drawn) != pictures(adapter, black)).any()


@pytest.mark.parametrize("backend", EXTRA)
def test_operations_are_those_of_all_steps(open_backend, backend):
    """Extrapolated from one and two steps; counting leaves no trace in the pictures."""
    from torch.utils.flop_counter import FlopCounterMode

    pipeline = open_backend(backend, steps=5)
    before = pipeline.sample(["a man"], conditions(backend, 1), [0]).pictures
    with FlopCounterMode(display=False) as counter:
        pipeline.sample(["a man"], conditions(backend, 1), [0])
    assert pipeline.flops_per_image() == counter.get_total_flops() > 0
    np.testing.assert_array_equal(pipeline.sample(["a man"], conditions(backend, 1), [0]).pictures, before)


def test_the_sampler_is_ddim_with_the_models_noise(open_backend):
    scheduler = open_backend("sd").scheduler()
    assert scheduler["name"] == "DDIMScheduler"
    assert (scheduler["eta"], scheduler["beta_end"], scheduler["clip_sample"]) == (0.0, 0.012, False)


def test_long_prompts_are_noticed(open_backend):
    pipeline = open_backend("sd")
    assert not pipeline.is_cut("a man")
    assert pipeline.is_cut("m" * 100)  # one token per character


def test_numbers_that_do_not_match_are_an_error(open_backend):
    with pytest.raises(ValueError, match="2 prompts, no conditions and 3 seeds"):
        open_backend("sd").sample(["a", "b"], None, [1, 2, 3])
    with pytest.raises(ValueError, match="2 prompts, 1 conditions"):
        open_backend("controlnet").sample(["a", "b"], skeletons(1), [1, 2])
    with pytest.raises(ValueError, match="was called with"):
        open_backend("controlnet").sample(["a"], None, [1])


def test_damaged_weights_are_an_error(weights, tmp_path):
    import shutil

    shutil.copytree(weights / "sd", tmp_path / "sd")
    (tmp_path / "sd" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"not a header")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        Diffusion(recipe("sd"), look_at("sd", tmp_path / "sd", None))


def test_missing_tensors_are_an_error(weights, tmp_path):
    """A file with half of the tensors must not be filled up with random ones."""
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(weights / "adapter-keypose", tmp_path / "keypose")
    path = tmp_path / "keypose" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    save_file(dict(sorted(tensors.items())[1:]), path)
    with pytest.raises(WeightsError, match="lacks"):
        Diffusion(recipe("t2i-adapter"), look_at("t2i-adapter", weights / "sd", tmp_path / "keypose"))
