"""Stable Diffusion pipelines of diffusers behind one call: prompts, skeletons and seeds in, pictures out."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch.utils.flop_counter import FlopCounterMode

from hcbench.errors import ConfigError, DivergedError, WeightsError
from hcbench.harness.generation.recipe import ADAPTER, CONTROLNET, SD, GenerationRecipe
from hcbench.harness.generation.weights import Models

Pictures = NDArray[np.uint8]

logger = logging.getLogger("hcbench.generate")

_DTYPES: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Sampled:
    """A batch of pictures.

    Attributes:
        pictures: uint8 (n, H, W, 3), RGB, of the canvas's size.
        blackened: Which of them the model's safety checker made black.
    """

    pictures: Pictures
    blackened: list[bool]


class Diffusion:
    """A pipeline with its recipe.

    Every image has a prompt, a condition and a generator of its own, and `num_images_per_prompt` stays 1: with several
    prompts diffusers 0.42.1 tiles an adapter's features prompt by prompt, but its latents image by image, so that
    variants would follow the pose of another prompt.

    Args:
        recipe: Settings.
        models: Folders, as `look_at` found them.

    Raises:
        WeightsError: A folder cannot be loaded.
    """

    def __init__(self, recipe: GenerationRecipe, models: Models) -> None:
        started = time.perf_counter()
        self.recipe = recipe
        self.pipeline = _load(recipe, models)
        self.loading_s = time.perf_counter() - started

    def scheduler(self) -> dict[str, Any]:
        """The sampler's settings, plain."""
        config = self.pipeline.scheduler.config
        kept = {key: value for key, value in config.items() if not key.startswith("_")}
        return {"name": type(self.pipeline.scheduler).__name__, "eta": 0.0, **kept}

    def is_cut(self, prompt: str) -> bool:
        """Whether the text encoder sees only the beginning of a prompt."""
        tokenizer = self.pipeline.tokenizer
        return bool(len(tokenizer(prompt, truncation=False, verbose=False).input_ids) > tokenizer.model_max_length)

    @torch.inference_mode()
    def sample(self, prompts: Sequence[str], conditions: Pictures | None, seeds: Sequence[int]) -> Sampled:
        """Make one picture per prompt.

        Args:
            prompts: n of them.
            conditions: Skeletons, uint8 (n, H, W, 3), RGB; None for the backend sd.
            seeds: n of them; the same seeds in the same batch give the same bytes.

        Raises:
            ValueError: Their numbers differ.
            DivergedError: The pipeline gave values that are not finite.
            ConfigError: The batch does not fit into memory.
        """
        if len(seeds) != len(prompts) or (conditions is not None and len(conditions) != len(prompts)):
            condition_count = "no" if conditions is None else len(conditions)
            raise ValueError(f"{len(prompts)} prompts, {condition_count} conditions and {len(seeds)} seeds were given")
        if (conditions is None) != (self.recipe.backend == SD):
            raise ValueError(f"the backend {self.recipe.backend} was called with conditions={conditions is not None}")
        output = self._call(prompts, conditions, seeds, self.recipe.steps)
        images = np.asarray(output.images)
        if not np.isfinite(images).all():
            raise DivergedError(
                f"The pipeline gave values that are not finite, in {self.recipe.precision}.",
                "Try --precision bf16 or fp32 (with a new --out), or another model.",
            )
        flags = getattr(output, "nsfw_content_detected", None) or [False] * len(prompts)
        return Sampled(np.rint(images.clip(0, 1) * 255).astype(np.uint8), [bool(flag) for flag in flags])

    @torch.inference_mode()
    def flops_per_image(self) -> float:
        """Floating-point operations of an image: those of one step and of two, extrapolated to all.

        They are counted beside the work, since counting makes torch compute attention in another way, and the pixels
        differ in the last digits.
        """
        condition = None if self.recipe.backend == SD else np.zeros((1, *self.recipe.canvas, 3), np.uint8)
        counts = []
        for steps in (1, 2):
            with FlopCounterMode(display=False) as counter:
                self._call(["a person"], condition, [0], steps)
            counts.append(counter.get_total_flops())
        return float(counts[0] + (counts[1] - counts[0]) * (self.recipe.steps - 1))

    def _call(self, prompts: Sequence[str], conditions: Pictures | None, seeds: Sequence[int], steps: int) -> Any:
        recipe = self.recipe
        arguments: dict[str, Any] = {
            "prompt": list(prompts), "height": recipe.canvas[0], "width": recipe.canvas[1],
            "num_inference_steps": steps, "guidance_scale": recipe.guidance, "eta": 0.0, "output_type": "np",
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        }  # fmt: skip
        if conditions is not None:
            arguments["image"] = torch.from_numpy(conditions).permute(0, 3, 1, 2).float() / 255  # 0..1, passed as it is
            key = "adapter_conditioning_scale" if recipe.backend == ADAPTER else "controlnet_conditioning_scale"
            arguments[key] = recipe.condition_scale
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=".*decode_latents.*", category=FutureWarning
            )  # diffusers' own call
            try:
                return self.pipeline(**arguments)
            except torch.OutOfMemoryError as error:
                raise ConfigError(
                    f"{recipe.batch} images at once do not fit into the GPU's memory.", "Take a smaller --batch."
                ) from error


def _load(recipe: GenerationRecipe, models: Models) -> Any:
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    if recipe.device == "cuda":  # the same batch must give the same bytes after an interruption
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    parts: dict[str, Any] = {} if models.safety_checker else {"safety_checker": None, "requires_safety_checker": False}
    kind = {
        SD: diffusers.StableDiffusionPipeline,
        ADAPTER: diffusers.StableDiffusionAdapterPipeline,
        CONTROLNET: diffusers.StableDiffusionControlNetPipeline,
    }[recipe.backend]
    networks = {
        "unet": diffusers.UNet2DConditionModel, "vae": diffusers.AutoencoderKL,
        "text_encoder": transformers.CLIPTextModel,
    }  # fmt: skip
    dtype = _DTYPES[recipe.precision]
    with _loading(models.base):
        for name, network in networks.items():
            parts[name] = _whole(network, models.base, dtype, variant=models.variant, subfolder=name)
    if models.extra is not None:
        with _loading(models.extra):
            name, network = (
                ("adapter", diffusers.T2IAdapter)
                if recipe.backend == ADAPTER
                else ("controlnet", diffusers.ControlNetModel)
            )
            parts[name] = _whole(network, models.extra, dtype, variant=models.extra_variant)
    with _loading(models.base):
        pipeline = kind.from_pretrained(models.base, local_files_only=True, dtype=dtype, **parts)
    # The settings of the noise schedule are the model's own, the way of sampling is not.
    pipeline.scheduler = diffusers.DDIMScheduler.from_config(
        pipeline.scheduler.config, clip_sample=False, set_alpha_to_one=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(recipe.device)


def _whole(network: Any, folder: Path, dtype: torch.dtype, **where: Any) -> Any:
    """A network with all of its weights; the libraries would fill gaps with random numbers."""
    loaded, report = network.from_pretrained(
        folder, local_files_only=True, dtype=dtype, output_loading_info=True, **where
    )
    lacking = sorted(report["missing_keys"])
    if lacking:
        raise WeightsError(
            f"{folder / where.get('subfolder', '')} lacks {len(lacking)} weights, the first of them {lacking[0]}.",
            "The file is incomplete, or of another model than its config.json: copy the folder again from its source.",
        )
    return loaded


@contextmanager
def _loading(folder: Path) -> Iterator[None]:
    """Errors of the libraries about a folder's content as ours, with its name."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise WeightsError(f"{folder} cannot be loaded: {first}", "Copy the folder again from its source.") from error
