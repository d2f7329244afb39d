"""Scenes and a diffusion pipeline as a `Maker`: which image has which prompt, skeleton and seed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hcbench.harness.generation.conditions import draw_skeleton
from hcbench.harness.generation.job import Made, Picture
from hcbench.harness.generation.recipe import GenerationRecipe
from hcbench.harness.generation.scenes import Points, Scene
from hcbench.harness.generation.weights import Models

if TYPE_CHECKING:
    from hcbench.harness.generation.backends import Diffusion

logger = logging.getLogger("hcbench.generate")

BLACKENED = "blackened by the model's safety checker"


class DiffusionMaker:
    """Makes units of `recipe.batch` images, group by group and variant by variant.

    Args:
        scenes: One per group, in the order of group numbers.
        recipe: Settings.
        models: Folders.
        backend: The loaded pipeline.
    """

    def __init__(self, scenes: Sequence[Scene], recipe: GenerationRecipe, models: Models, backend: Diffusion) -> None:
        self.scenes, self.recipe, self.models, self.backend = scenes, recipe, models, backend
        cut = sum(backend.is_cut(prompt) for prompt in {scene.prompt for scene in scenes})
        if cut:
            logger.warning("%d prompts are longer than the text encoder reads; it sees their beginning.", cut)

    def flops_per_image(self) -> float:
        """See `Maker`."""
        return self.backend.flops_per_image()

    def make(self, unit: int) -> Made:
        """See `Maker`."""
        recipe = self.recipe
        first = unit * recipe.batch
        places = range(first, min(first + recipe.batch, len(self.scenes) * recipe.variants))
        groups = [place // recipe.variants for place in places]
        conditions = np.stack([self._condition(group) for group in groups]) if recipe.style else None
        sampled = self.backend.sample(
            [self.scenes[group].prompt for group in groups], conditions,
            [seed_of(recipe, place) for place in places],
        )  # fmt: skip
        pictures = [
            Picture(self._row(place), _saved(pixels, recipe.size), BLACKENED if black else "")
            for place, pixels, black in zip(places, sampled.pictures, sampled.blackened, strict=True)
        ]
        return Made(pictures, self._generator(len(places)))

    def _condition(self, group: int) -> NDArray[np.uint8]:
        keypoints = self.scenes[group].keypoints
        if keypoints is None:
            raise ValueError(f"group {group} has no pose to draw")
        return draw_skeleton(keypoints, *self.recipe.canvas, style=self.recipe.style)

    def _row(self, place: int) -> dict[str, Any]:
        group, variant = divmod(place, self.recipe.variants)
        scene = self.scenes[group]
        points = None if scene.keypoints is None else saved_points(scene.keypoints, self.recipe)
        terms = [scene.licence] if scene.licence else []
        source, _, split = scene.dataset.partition("/")  # images of val2017's poses must not pass for strangers to it
        return {
            "group_id": group, "variant": variant, "captions": [scene.prompt], "pose_id": scene.pose_id,
            "keypoints": None if points is None else points.astype(np.float32).ravel().tolist(),
            "seed": seed_of(self.recipe, place), "source": source, "split": split or None,
            "licence": "; ".join([*terms, f"image: terms of {self.models.ids['model'].partition('@')[0]}"]),
        }  # fmt: skip

    def _generator(self, batch: int) -> dict[str, Any]:
        """What made an image: all that is needed to make it again, but for its seed, prompt and pose."""
        recipe = self.recipe.as_settings()
        for elsewhere in ("seed", "batch"):
            del recipe[elsewhere]
        return recipe | {
            "base_seed": self.recipe.seed, "scenes": self.scenes[0].dataset, "batch": batch,
            "models": dict(self.models.ids), "scheduler": self.backend.scheduler(), "versions": versions(),
        }  # fmt: skip


def diffusion_settings(scenes: Sequence[Scene], recipe: GenerationRecipe, models: Models) -> dict[str, Any]:
    """What decides the bytes of all images; paths do not."""
    digest = hashlib.sha256()
    for scene in scenes:
        digest.update(repr((scene.prompt, scene.dataset, scene.origin, scene.licence, scene.pose_id)).encode())
        digest.update(b"" if scene.keypoints is None else np.ascontiguousarray(scene.keypoints, "<f8").tobytes())
    return {
        **recipe.as_settings(), "models": dict(models.ids), "groups": len(scenes),
        "prompts and poses": digest.hexdigest()[:12], "versions": versions(),
    }  # fmt: skip


def units_of(scenes: Sequence[Scene], recipe: GenerationRecipe) -> list[int]:
    """Images of every unit."""
    total = len(scenes) * recipe.variants
    return [min(recipe.batch, total - first) for first in range(0, total, recipe.batch)]


def seed_of(recipe: GenerationRecipe, place: int) -> int:
    """Seed of the image at a place: base + m * group + variant.

    `place` counts images group by group, so it already is m * group + variant.
    """
    return recipe.seed + place


def saved_points(points: Points, recipe: GenerationRecipe) -> Points:
    """Keypoints of the canvas in pixels of the saved image; pixel centres lie at integers."""
    scale = recipe.size[0] / recipe.canvas[0]
    moved = (points[:, :2] + 0.5) * scale - 0.5
    return np.where(points[:, 2:] > 0, np.column_stack([moved, points[:, 2]]), 0.0)


def versions() -> Mapping[str, str]:
    """Versions of the libraries that decide pixels."""
    return {name: importlib.metadata.version(name) for name in ("diffusers", "transformers", "torch")}


def _saved(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.LANCZOS))
