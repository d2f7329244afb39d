"""The ledger: what a cell cost and what it used."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hcbench.data.samples import Int, Samples
from hcbench.methods.parts.backbones import VitEncoder
from hcbench.methods.parts.encoder import Encoder


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """What a cell cost and used; stored as metrics `ledger.<name>`.

    Attributes:
        images_stored: Images that the method could draw from.
        images_seen: Source images drawn, one per draw.
        groups: Groups in the view, 0 where the method uses none; identities, poses and captions likewise.
        identities: Distinct persons whose labels the method was given.
        poses: Distinct poses it was given, as keypoints, as joints or by groups of one pose.
        captions: Distinct captions it was given, as texts or by groups that were made of them.
        attributes: Attributes that it was told of every image.
        steps: Batches.
        optimiser_steps: Steps of all its optimisers.
        encoder_pixels_forward: Pixels that went through an encoder, teachers and memory fills included.
        encoder_pixels_backward: Those of them that a gradient went back through.
        flops: Floating-point operations of all steps (matrix products, convolutions, attention; forward and
            backward), counted on one full step of every stage.
        parameters: Trainable parameters, heads included.
        encoder_parameters: Parameters of the encoder that is scored, without a text tower.
        wall_s: Seconds of training.
        device_s: Seconds of processor time over all cores, or seconds that the GPU was held.
        peak_memory_bytes: Most memory of the process, or of the GPU.
        images_per_s: Images seen per second of training.
        data_wait_share: Share of the time spent waiting for images, 0..1.
        generator_s: Seconds of rendering or generating the images of the view; 0 where they were there.
        tuning_trials: Trials that the recipe's settings were chosen from.
        threads: Threads of the process.
        workers: Processes beside each other, this one included: times depend on both.
    """

    images_stored: int
    images_seen: int = 0
    groups: int = 0
    identities: int = 0
    poses: int = 0
    captions: int = 0
    attributes: int = 0
    steps: int = 0
    optimiser_steps: int = 0
    encoder_pixels_forward: int = 0
    encoder_pixels_backward: int = 0
    flops: float = 0.0
    parameters: int = 0
    encoder_parameters: int = 0
    wall_s: float = 0.0
    device_s: float = 0.0
    peak_memory_bytes: int = 0
    images_per_s: float = 0.0
    data_wait_share: float = 0.0
    generator_s: float = 0.0
    tuning_trials: int = 0
    threads: int = 0
    workers: int = 1


def facts_of_view(view: Samples, needs: frozenset[str], layout: str | None = None) -> dict[str, int]:
    """The number of stored images, and of distinct labels of each kind that a method with these needs reads.

    Groups bring in the labels that they were made of: the layout `poses` poses and captions, `captions` captions.

    Args:
        view: The images that the method may draw from.
        needs: The needs on the method's card.
        layout: What makes a group of the view.
    """
    labels = needs & view.known()
    made_of = layout if "group" in labels else None
    posed = bool(labels & {"pose_id", "keypoints", "joints"}) or made_of == "poses"
    captioned = "captions" in labels or made_of in ("captions", "poses")
    return {
        "images_stored": len(view),
        "groups": _distinct(view.group) if "group" in labels else 0,
        "identities": _distinct(view.identity) if "identity" in labels else 0,
        "poses": _poses(view) if posed else 0,
        "captions": len({caption for captions in view.captions or () for caption in captions}) if captioned else 0,
        "attributes": view.attributes.shape[1] if "attributes" in needs and view.attributes is not None else 0,
    }


def _distinct(values: Int | None) -> int:
    """Distinct numbers from 0 on."""
    return 0 if values is None else len(np.unique(values[values >= 0]))


def _poses(view: Samples) -> int:
    """Distinct poses; where nobody tells which are the same, images with a joint that is known."""
    if view.pose_id is not None:
        return _distinct(view.pose_id)
    known = np.zeros(len(view), bool)
    if view.keypoints is not None:
        known |= np.any(view.keypoints[..., 2] > 0, axis=1)
    if view.joints is not None:
        known |= np.any(np.isfinite(view.joints[..., 0]), axis=1)
    return int(known.sum())


@dataclass(slots=True)
class Totals:
    """Running sums of a training, over interruptions."""

    wall_s: float = 0.0
    device_s: float = 0.0
    data_wait_s: float = 0.0
    pixels_forward: int = 0
    pixels_backward: int = 0
    flops: float = 0.0
    peak_memory_bytes: int = 0


class Meter:
    """Measures a training from inside: time, memory, encoder pixels, operations.

    Args:
        method: Its encoders (students and teachers alike) are watched.
        device: Where it trains.
    """

    def __init__(self, method: nn.Module, device: torch.device) -> None:
        self.device = device
        self.totals = Totals()
        self._flops_per_image: dict[str, float] = {}
        self._hooks = [
            watch for module in method.modules() if isinstance(module, Encoder) for watch in self._watch(module)
        ]
        self._wall, self._device = time.perf_counter(), self._clock()

    def close(self) -> None:
        """Stop watching."""
        for hook in self._hooks:
            hook.remove()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent inside counts as waiting for data."""
        start = time.perf_counter()
        yield
        self.totals.data_wait_s += time.perf_counter() - start

    @contextmanager
    def operations(self, stage: str, images: int) -> Iterator[None]:
        """Count the operations of a step; only the first step of a stage is really counted."""
        if stage in self._flops_per_image:
            yield
        else:
            with FlopCounterMode(display=False) as counter:
                yield
            self._flops_per_image[stage] = counter.get_total_flops() / images
        self.totals.flops += self._flops_per_image[stage] * images

    @property
    def flops_per_image(self) -> Mapping[str, float]:
        """Operations per source image of every stage that has begun."""
        return dict(self._flops_per_image)

    def now(self) -> Totals:
        """The sums up to now."""
        wall, device = time.perf_counter(), self._clock()
        self.totals.wall_s += wall - self._wall
        self.totals.device_s += device - self._device
        self._wall, self._device = wall, device
        self.totals.peak_memory_bytes = max(self.totals.peak_memory_bytes, peak_memory(self.device))
        return self.totals

    def state_dict(self) -> dict[str, Any]:
        """The sums, to go on after an interruption."""
        return {"totals": asdict(self.now()), "flops_per_image": dict(self._flops_per_image)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the sums of `state_dict`."""
        for field in fields(Totals):
            setattr(self.totals, field.name, state["totals"][field.name])
        self._flops_per_image = dict(state["flops_per_image"])

    def _clock(self) -> float:
        return time.perf_counter() if self.device.type == "cuda" else time.process_time()

    def _watch(self, encoder: Encoder) -> Iterator[Any]:
        if isinstance(encoder, VitEncoder):
            # Masked methods send only some patches through the blocks; all ways end in the final norm.
            area = encoder.patch_size[0] * encoder.patch_size[1]
            prefix = encoder.num_prefix

            def count_tokens(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                self._count(output.shape[0] * (output.shape[1] - prefix) * area, output)

            yield encoder.backbone.norm.register_forward_hook(count_tokens)
        else:

            def count_images(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
                self._count(inputs[0].shape[0] * inputs[0].shape[-2] * inputs[0].shape[-1], output.pooled)

            yield encoder.register_forward_hook(count_images)

    def _count(self, pixels: int, output: Tensor) -> None:
        def count_gradient(gradient: Tensor) -> None:
            self.totals.pixels_backward += pixels

        self.totals.pixels_forward += pixels
        if output.requires_grad:
            output.register_hook(count_gradient)


def peak_memory(device: torch.device) -> int:
    """Most bytes held so far: of the GPU's memory, or of the process's."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def count_encoder(encoder: Encoder) -> int:
    """Parameters of the image encoder; a text tower and the way into its space are not what image tasks compare."""
    text_side = [module for module in (encoder.text, encoder.image_projection) if module is not None]
    return count_parameters(encoder) - sum(count_parameters(module) for module in text_side)


def count_parameters(module: nn.Module, *, trainable: bool = False) -> int:
    """How many numbers a module's parameters hold."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)
