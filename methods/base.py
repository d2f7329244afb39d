"""`Method`: the method's side of the training loop.

A method never sees loaders, devices, trackers or benchmarks. It names its optimisers and yields
objectives; the loop (`harness/training/train.py`) owns everything else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hcbench.data.samples import Phrase
from hcbench.methods.card import MethodCard
from hcbench.methods.parts.encoder import Encoder
from hcbench.methods.rules import check_config


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of pre-training; shares of images seen add up to 1."""

    name: str
    share: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ParamGroup:
    """Parameters that share factors on the recipe's learning rate and weight decay."""

    params: Sequence[nn.Parameter]
    lr_factor: float = 1.0
    weight_decay_factor: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimiserSpec:
    """A named optimiser over some of the method's parameters.

    Attributes:
        name: What objectives refer to.
        groups: Disjoint parameter groups.
        kind: A timm optimiser name.
        lr: Base learning rate; None takes the recipe's.
        betas: None takes the recipe's.
        scheduled: Whether warm-up and decay of the recipe apply.
        restarts: Whether they begin anew with every stage, as where a paper's stages are runs of their own.
        stages: Names of the stages in which the optimiser is stepped; empty = all.
    """

    name: str
    groups: Sequence[ParamGroup]
    kind: str = "adamw"
    lr: float | None = None
    betas: tuple[float, float] | None = None
    scheduled: bool = True
    restarts: bool = False
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """What the loop hands to `views`: source images, as stored, with their labels.

    Attributes:
        images: uint8 (B, 3, H, W), RGB.
        indices: int64 (B,), positions in the corpus view.
        group: int64 (B,) or None; identity, camera, pose_id likewise.
        keypoints: float32 (B, 17, 3) in pixels of `images`, v = 0, 1, 2; or None.
        joints: float32 (B, 17, 3), the same joints in space: x, y and z (towards the camera) in pixels; or None.
        attributes: int8 (B, A) in {0, 1, -1 = unspecified}, or None.
        captions: One caption per image, or None.
        phrases: The attribute phrases of each of `captions`, or None.
    """

    images: Tensor
    indices: Tensor
    group: Tensor | None = None
    identity: Tensor | None = None
    camera: Tensor | None = None
    pose_id: Tensor | None = None
    keypoints: Tensor | None = None
    joints: Tensor | None = None
    attributes: Tensor | None = None
    captions: tuple[str, ...] | None = None
    phrases: tuple[tuple[Phrase, ...], ...] | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch with every tensor on `device`."""
        names = (
            "images", "indices", "group", "identity", "camera", "pose_id", "keypoints", "joints", "attributes",
        )  # fmt: skip
        moved = {n: v.to(device, non_blocking=True) for n in names if (v := getattr(self, n)) is not None}
        return replace(self, **moved)


Views = dict[str, Any]
"""What `views` gives and `objectives` takes: augmented tensors and labels by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """Where the loop stands.

    Attributes:
        index: Steps done before this one, over all stages.
        total: Steps of the whole run.
        stage: Name of the current stage.
        stage_index: Steps done in this stage; `stage_total` of them make the stage.
        images_seen: Source images drawn before this step.
        epoch: Passes over the view begun before this step, counted from 0.
    """

    index: int
    total: int
    stage: str
    stage_index: int
    stage_total: int
    images_seen: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Objective:
    """One loss to be minimised by one optimiser; `parts` go to the log."""

    optimiser: str
    loss: Tensor
    parts: Mapping[str, Tensor | float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What a method may know of its run.

    Attributes:
        input_size: Height and width of the encoder's input, pixels.
        vocabulary: Word list of the corpus captions; empty where there are none.
        num_images: Images in the corpus view.
        num_groups: Groups in the corpus view; 0 where there are none.
        images_per_group: Images of a group that a batch holds.
        ids: Names of the images of the corpus view, for what users give beside a corpus (structure maps).
        identities: Persons whose labels occur in the corpus view, ascending; empty for methods that need none.
        positive_shares: Share of positives among the known labels of each attribute; empty likewise.
        backbone: Name of the cell's backbone.
        files: Files and folders that the user gave, by name (`Cell.roots`).
    """

    input_size: tuple[int, int]
    vocabulary: tuple[str, ...] = ()
    num_images: int = 0
    num_groups: int = 0
    images_per_group: int = 1
    ids: tuple[str, ...] = ()
    backbone: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    identities: tuple[int, ...] = ()
    positive_shares: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A sheet of small pictures; the harness lays it out, enlarges it and writes the titles.

    Attributes:
        tiles: uint8 (rows, columns, 3, h, w), RGB.
        columns: What stands in each column, a word or two.
        note: What one must know to read it.
    """

    tiles: Tensor
    columns: tuple[str, ...]
    note: str = ""


Encode = Callable[[], Tensor]
"""Gives evaluation-mode pooled features (N, D) of the whole corpus view."""


class Method(nn.Module, ABC):
    """One pre-training algorithm around an encoder.

    Subclasses are readable as their paper: `views` makes the augmented views, `objectives` the losses.
    `state_dict` holds everything that training needs to go on, buffers and queues included.

    Args:
        config: The card's Config, already resolved.
        encoder: The backbone under training; the same kind for every method of a comparison.
        context: Facts of the run.

    Raises:
        ConfigError: A setting breaks a rule of the card.
    """

    card: ClassVar[MethodCard]

    def __init__(self, config: Any, encoder: Encoder, context: Context) -> None:
        super().__init__()
        check_config(self.card.name, self.card.rules, config)
        self.config, self.encoder, self.context = config, encoder, context

    @classmethod
    def extra_tokens(cls, config: Any) -> tuple[str, ...]:
        """Names of extra tokens that the encoder must be built with, such as ("pose",)."""
        return ()

    @classmethod
    def own_encoder(cls, config: Any, context: Context) -> Encoder | None:
        """The encoder of a method that brings one, such as that of a file; None takes the cell's backbone."""
        return None

    def stages(self) -> tuple[Stage, ...]:
        """The stages, in order; one by default, none for a control."""
        return (Stage("pretrain"),) if self.card.trains else ()

    def param_groups(self) -> tuple[OptimiserSpec, ...]:
        """The named optimisers; by default one over all parameters, without weight decay on 1-D ones."""
        return (OptimiserSpec(name="main", groups=split_decay(self)),)

    @abstractmethod
    def views(self, batch: Batch, generator: torch.Generator) -> Views:
        """Augment a batch on its own device; every random number comes from `generator` (a CPU one)."""

    @abstractmethod
    def objectives(self, views: Views, step: Step) -> Iterator[Objective]:
        """Yield objectives in order; the loop steps each one's optimiser before the next is computed."""

    def after_step(self, step: Step) -> None:
        """Called after all objectives of a step: moving averages, queues."""

    def start_epoch(self, encode: Encode, step: Step) -> None:
        """Called before the first batch of each pass: memory fill, clustering."""

    def select(self, indices: Tensor) -> Tensor:
        """The indices (int64, CPU) of the view that this pass may draw; all of them by default.

        Where they are too few to fill a batch once, the loop draws from all, with a warning.
        """
        return indices

    def pseudo_labels(self) -> Tensor | None:
        """Labels that the method gave the images of the view, int64 (N,), -1 = none; None where it gives none.

        At the end of training they are held against identities where those are known. The method never sees these.
        """
        return None

    def diagnostics(self) -> dict[str, float]:
        """Extra numbers for the log at the end of training."""
        return {}

    def figures(self, batch: Batch, generator: torch.Generator) -> dict[str, Figure]:
        """Pictures of what was learned, by name, drawn from a batch at the end of training; for the eye alone."""
        return {}


def split_decay(module: nn.Module) -> tuple[ParamGroup, ...]:
    """Trainable parameters as two groups: with weight decay, and 1-D ones (biases, norms, tokens) without."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    decayed = [p for p in trainable if p.squeeze().ndim >= 2]
    plain = [p for p in trainable if p.squeeze().ndim < 2]
    groups = (ParamGroup(params=decayed), ParamGroup(params=plain, weight_decay_factor=0.0))
    return tuple(group for group in groups if group.params)
