"""GCL (Chen et al., CVPR 2021, arXiv 2012.09071) and GCL+ (TPAMI, arXiv 2301.00725).

Official code: chenhao2345/GCL @88aed52, chenhao2345/GCL-extended @11e920d. Their generator, trainer and utilities are
non-commercial: this is written from a description of what they compute. Departures stand in the card.

An image x is split into an identity code F and a structure code s; G(s, F) paints it again. With the structure s' of
the rotated body, G paints the same person from another side:

    (F, f) = E_id(x)    x_rec = G(s, F)    x_nv = G(s', F)    x_cyc = G(s, F_nv)    x_mix = G(s, l F + (1 - l) F')

Stages: "identity" teaches E_id by contrast of augmented views, whose positives are pseudo labels from a memory;
"generation" trains E_str, G and D around the frozen E_id; "joint" trains all, x_nv being the view of the contrast.

`contrast.py` holds the memory, its pseudo labels and the losses against them, `painting.py` the networks that paint,
with their losses; here both meet E_id.

Shapes: B images, N images of the view, D features, S = 4 stripes of the token grid. Images of the generator are smaller
than the encoder's input and normalised alike; generated ones are resampled to the input before they are encoded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcbench.data.augment import augment
from hcbench.data.augment_settings import augmentation
from hcbench.errors import ConfigError, MethodError, nearest_size
from hcbench.methods.base import (
    Batch,
    Context,
    Encode,
    Figure,
    Method,
    Objective,
    OptimiserSpec,
    ParamGroup,
    Stage,
    Step,
    Views,
    split_decay,
)
from hcbench.methods.card import MethodCard
from hcbench.methods.gan_invariance import figures, losses
from hcbench.methods.gan_invariance.card import CARD, Config
from hcbench.methods.gan_invariance.contrast import ClusterContrast
from hcbench.methods.gan_invariance.painting import Generated, Identity, Painter, resized
from hcbench.methods.parts import diagnostics
from hcbench.methods.parts.encoder import Encoder
from hcbench.methods.parts.heads import Projector
from hcbench.methods.parts.losses import multi_positive_contrastive
from hcbench.methods.parts.structure.base import Subjects

logger = logging.getLogger(__name__)

STAGES = ("identity", "generation", "joint")
STRIPES = 4
ROTATIONS = {"paper": tuple(range(45, 316, 45)), "released": tuple(range(45, 271, 45))}
"""Degrees by which bodies are turned."""


class GanInvariance(Method):
    """Joint generative and contrastive learning."""

    card: ClassVar[MethodCard] = CARD
    config: Config
    filled_in: Tensor

    def __init__(self, config: Config, encoder: Encoder, context: Context) -> None:
        super().__init__(config, encoder, context)
        _check(config, encoder.dim)
        self.augmentation = augmentation(config.augmentation)
        self.plain = replace(augmentation("none"), interpolation="bicubic")
        self.turns = torch.tensor(ROTATIONS[config.rotations])
        self.neck = nn.BatchNorm1d(encoder.dim)
        self.projector = Projector(encoder.dim, config.projector)
        self.contrast = ClusterContrast(config, context.num_images, encoder.dim)
        self.register_buffer("filled_in", torch.tensor(-1))
        self._whole_pass = False
        self._seen: tuple[Tensor, Tensor] | None = None
        if config.generation:
            self.painter = Painter(config, STRIPES * encoder.dim, context.ids)
            structure = self.painter.structure
            logger.info("structure maps: %s, fingerprint %s", structure.name, structure.fingerprint)

    def stages(self) -> tuple[Stage, ...]:
        """Three stages inside one budget; without generation the first is all there is."""
        if not self.config.generation:
            return (Stage("identity"),)
        return tuple(Stage(name, share) for name, share in zip(STAGES, self.config.shares, strict=True))

    def param_groups(self) -> tuple[OptimiserSpec, ...]:
        """The recipe's optimiser for E_id, Adam at a constant rate for E_str with G, and for D."""
        identity = tuple(group for part in (self.encoder, self.neck, self.projector) for group in split_decay(part))
        if not self.config.generation:
            return (OptimiserSpec(name="encoder", groups=identity),)
        return (
            OptimiserSpec(name="encoder", groups=identity, stages=("identity", "joint")),
            self._adam("generator", self.painter.structure_encoder, self.painter.generator),
            self._adam("discriminator", self.painter.discriminator),
        )

    def _adam(self, name: str, *modules: nn.Module) -> OptimiserSpec:
        parameters = [p for module in modules for p in module.parameters()]
        group = ParamGroup(params=parameters, weight_decay_factor=self.config.gan_decay)
        return OptimiserSpec(
            name=name,
            groups=(group,),
            kind="adam",
            lr=self.config.gan_lr,
            betas=(0.0, 0.999),  # configs/latest.yaml
            scheduled=False,
            stages=("generation", "joint"),
        )

    # What the loop does around a pass -------------------------------------------------------------------------------

    def start_epoch(self, encode: Encode, step: Step) -> None:
        """Cluster the memory; fill it before, at the first pass that begins in a stage.

        In its first pass E_id knows nothing, and all images stay clusters of their own. It rests in "generation", whose
        memory is filled once, with the features that "joint" starts from.
        """
        number = _number(step.stage)
        if step.stage == "identity" and step.epoch == 0:
            self.filled_in.fill_(number)
            return
        fresh = number != int(self.filled_in)
        if fresh:
            self._fill(encode())
            self.filled_in.fill_(number)
        if fresh or step.stage != "generation":
            self.contrast.cluster(step.epoch, own=step.stage == "identity" or self.config.outliers == "own")
        self._whole_pass = step.stage == "generation"

    def select(self, indices: Tensor) -> Tensor:
        """Images that have a label; all of them in stage "generation", which needs none."""
        return indices if self._whole_pass else self.contrast.select(indices)

    @torch.no_grad()
    def _fill(self, pooled: Tensor) -> None:
        training = self.neck.training
        self.contrast.memory.fill(self.neck.eval()(pooled.to(self.contrast.memory.rows)))
        self.neck.train(training)

    def views(self, batch: Batch, generator: torch.Generator) -> Views:
        """Two augmented images each, view-major, for stage 1; plain ones, structure and angles for the others."""
        size = self.context.input_size
        images = [augment(batch.images, self.augmentation, generator, size=size).images for _ in range(2)]
        yaw = self.turns[torch.randint(len(self.turns), (len(batch.images),), generator=generator)]
        subjects = Subjects(
            indices=batch.indices, frame=(batch.images.shape[2], batch.images.shape[3]), joints=batch.joints
        )
        if self.config.generation:
            self.painter.structure.check(subjects)
        # Neither flip nor crop nor erasing: generated views stand in for them.
        real = augment(batch.images, self.plain, generator, size=size).images
        return {
            "images": torch.cat(images),
            "real": real,
            "indices": batch.indices,
            "subjects": subjects,
            "yaw": yaw.to(real),
        }

    def objectives(self, views: Views, step: Step) -> Iterator[Objective]:
        """The losses of the stage."""
        resting = step.stage == "generation"
        self.encoder.train(not resting)
        self.neck.train(not resting)
        if step.stage == "joint":
            yield from self._joint(views)
        elif resting:
            yield from self._generation(views)
        else:
            yield from self._identity(views)

    def after_step(self, step: Step) -> None:
        """The memory takes this step's vectors: of both views in stage 1, of real images alone in stage 3."""
        if self._seen is not None:
            self.contrast.memory.update(*self._seen)
            self._seen = None

    # The stages -----------------------------------------------------------------------------------------------------

    def _identity(self, views: Views) -> Iterator[Objective]:
        """Stage 1, ours: two augmented views of an image, and those of its cluster, against the rest of the batch.

        The memory is what clusters are found in; its rows are a pass old, too old to be positives this early.
        """
        indices, vector = views["indices"], self.identify(views["images"]).vector
        labels = self.contrast.memory.labels[indices].repeat(2)
        loss = multi_positive_contrastive(self.projector(vector), labels, temperature=self.config.first_temperature)
        self._seen = (indices, F.normalize(vector.detach().float(), dim=1).unflatten(0, (2, -1)).sum(dim=0))
        yield Objective("encoder", loss, self._log({"pairs": loss}, vector))

    def _generation(self, views: Views) -> Iterator[Objective]:
        """Stage 2: D, then E_str and G."""
        made = self._generate(views, joint=False)
        yield Objective("discriminator", *self.painter.critic_loss(made))
        yield Objective("generator", *self.painter.painting_loss(made))

    def _joint(self, views: Views) -> Iterator[Objective]:
        """Stage 3: D, then E_str and G and E_id, which descend one sum of losses."""
        config, made = self.config, self._generate(views, joint=True)
        real, indices = made.of_real.vector, views["indices"]
        self._seen = (indices, real.detach())
        yield Objective("discriminator", *self.painter.critic_loss(made))
        loss, parts = self.painter.painting_loss(made)
        terms = self.contrast.terms(indices, made.of_nv.vector, real)
        loss = loss + config.memory_id_w * torch.stack(list(terms.values())).sum()
        if made.of_mix is not None:
            ce = self.contrast.cluster_terms(indices, real, made.of_mix.vector, made.order, made.weight)
            loss = loss + config.id_w * (ce["ce"] + ce["ce_mix"])
            terms |= ce
        painters = [*self.painter.structure_encoder.parameters(), *self.painter.generator.parameters()]
        readers = [p for p in (*self.encoder.parameters(), *self.neck.parameters()) if p.requires_grad]
        gradients = torch.autograd.grad(loss, [*painters, *readers], allow_unused=True)
        yield Objective("generator", losses.carry(loss, painters, gradients[: len(painters)]), parts)
        log = self._log(terms, real)
        yield Objective("encoder", losses.carry(loss, readers, gradients[len(painters) :]), log)

    def _generate(self, views: Views, *, joint: bool) -> Generated:
        return self.painter.generate(views["real"], views["subjects"], views["yaw"], self.identify, joint=joint)

    # E_id, and what it shows ----------------------------------------------------------------------------------------

    def identify(self, images: Tensor) -> Identity:
        """E_id: code and vector of images (B, 3, height, width), resampled to the input size."""
        if self.neck.training and len(images) == 1:
            raise MethodError("Batch norm needs at least two images in a batch, but there is one.", "Draw more.")
        features = self.encoder(resized(images, self.context.input_size))
        stripes = F.adaptive_avg_pool2d(features.grid, (STRIPES, 1))[..., 0]  # (B, D, S)
        if self.config.slices == "stripe":
            stripes = stripes.transpose(1, 2)
        vector: Tensor = self.neck(features.pooled)
        return Identity(stripes.flatten(1), vector)

    def figures(self, batch: Batch, generator: torch.Generator) -> dict[str, Figure]:
        """A row per image: itself, painted again, from every side, there and back, with another's looks."""
        return figures.sheets(self, batch, generator) if self.config.generation else {}

    def pseudo_labels(self) -> Tensor:
        """Clusters of the last pass."""
        return self.contrast.memory.labels

    def diagnostics(self) -> dict[str, float]:
        """Number and sizes of the clusters of the last pass."""
        return self.contrast.numbers()

    def _log(self, terms: dict[str, Tensor], vector: Tensor) -> dict[str, Tensor | float]:
        """Losses, and what the clusters are like."""
        parts: dict[str, Tensor | float] = {name: term.detach() for name, term in terms.items()}
        parts |= self.diagnostics()
        parts["feature_variance"] = diagnostics.feature_variance(vector)
        return parts


def _number(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else 0


def _check(config: Config, dim: int) -> None:
    if min(config.gan_height, config.gan_width) < 8 or config.gan_height % 4 or config.gan_width % 4:
        raise ConfigError(
            f"gan-invariance: generated images of {config.gan_height}x{config.gan_width} cannot be made.",
            "gan_height and gan_width must be multiples of 4, at least 8; the nearest is "
            f"{nearest_size((max(config.gan_height, 8), max(config.gan_width, 8)), (4, 4))}.",
        )
    if len(config.shares) != len(STAGES) or min(config.shares) <= 0 or abs(sum(config.shares) - 1) > 1e-6:
        raise ConfigError(
            f"gan-invariance: shares are {config.shares}.", f"Give {', '.join(STAGES)} shares above 0 that add up to 1."
        )
    if config.n_res < 1 or STRIPES * dim % config.n_res:
        raise ConfigError(
            f"gan-invariance: {config.n_res} blocks cannot share a code of {STRIPES} x {dim} numbers.",
            "Choose an n_res that divides it, such as 2 or 4.",
        )
