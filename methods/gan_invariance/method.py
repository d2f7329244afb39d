"""GCL (Chen et al., CVPR 2021, arXiv 2012.09071) and GCL+ (TPAMI, arXiv 2301.00725).

Official code: chenhao2345/GCL @88aed52, chenhao2345/GCL-extended @11e920d. Their generator, trainer and utilities are
non-commercial: this is written from a description of what they compute. Departures stand in the card.

An image x is split into an identity code F and a structure code s; G(s, F) paints it again. With the structure s' of
the rotated body, G paints the same person from another side:

    (F, f) = E_id(x)    x_rec = G(s, F)    x_nv = G(s', F)    x_cyc = G(s, F_nv)    x_mix = G(s, l F + (1 - l) F')

Stages: "identity" teaches E_id by contrast of augmented images against a memory with pseudo labels; "generation" trains
E_str, G and D around the frozen E_id; "joint" trains all, x_nv being the view of the contrast.

Shapes: B images, N images of the view, D features, S = 4 stripes of the token grid. Images of the generator are smaller
than the encoder's input and normalised alike; generated ones are resampled to the input before they are encoded.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcbench.data.augment import augment, augmentation
from hcbench.errors import ConfigError, MethodError
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
from hcbench.methods.gan_invariance.networks import Decoder, Discriminator, StructureEncoder
from hcbench.methods.parts import clustering, diagnostics
from hcbench.methods.parts.clustering import OUTLIER
from hcbench.methods.parts.encoder import Encoder
from hcbench.methods.parts.memory import Memory, masked_info_nce
from hcbench.methods.parts.structure.base import Subjects
from hcbench.methods.parts.structure.providers import structure_provider

logger = logging.getLogger(__name__)

STAGES = ("identity", "generation", "joint")
STRIPES = 4
ROTATIONS = {"paper": tuple(range(45, 316, 45)), "released": tuple(range(45, 271, 45))}
"""Degrees by which bodies are turned."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What E_id says of images: the code F (B, S * D) and the batch-normalised vector f (B, D), not unit length."""

    code: Tensor
    vector: Tensor


@dataclass(frozen=True, slots=True)
class Generated:
    """One step's images, each (B, 3, h, w), and identities; `mix` and what belongs to it is None without mixup."""

    real: Tensor
    images: dict[str, Tensor]
    of_real: Identity
    of_rec: Identity
    of_nv: Identity
    of_cyc: Identity
    of_mix: Identity | None
    order: Tensor
    weight: float


class GanInvariance(Method):
    """Joint generative and contrastive learning."""

    card: ClassVar[MethodCard] = CARD
    config: Config

    def __init__(self, config: Config, encoder: Encoder, context: Context) -> None:
        super().__init__(config, encoder, context)
        _check(config, encoder.dim)
        self.augmentation = augmentation(config.augmentation)
        self.plain = replace(augmentation("none"), interpolation="bicubic")
        self.size = (config.gan_height, config.gan_width)
        self.turns = torch.tensor(ROTATIONS[config.rotations])
        self.neck = nn.BatchNorm1d(encoder.dim)
        self.memory = Memory(context.num_images, encoder.dim, keep=config.memory_keep)
        self.register_buffer("eps", torch.tensor(config.eps, dtype=torch.float64))
        self.register_buffer("filled_in", torch.tensor(-1))
        self.eps: Tensor
        self.filled_in: Tensor
        self._whole_pass = False
        self._seen: tuple[Tensor, Tensor] | None = None
        if config.generation:
            self.structure = structure_provider(config.structure, context.ids)
            logger.info("structure maps: %s, fingerprint %s", self.structure.name, self.structure.fingerprint)
            self.structure_encoder = StructureEncoder(self.structure.channels, config.dim, config.n_res)
            self.generator = Decoder(8 * config.dim, STRIPES * encoder.dim, config.n_res, config.mlp_dim)
            self.discriminator = Discriminator(config.dis_dim, config.dis_res)

    def stages(self) -> tuple[Stage, ...]:
        """Three stages inside one budget; without generation the first is all there is."""
        if not self.config.generation:
            return (Stage("identity"),)
        return tuple(Stage(name, share) for name, share in zip(STAGES, self.config.shares, strict=True))

    def param_groups(self) -> tuple[OptimiserSpec, ...]:
        """The recipe's optimiser for E_id, Adam at a constant rate for E_str with G, and for D."""
        identity = (*split_decay(self.encoder), *split_decay(self.neck))
        if not self.config.generation:
            return (OptimiserSpec(name="encoder", groups=identity),)
        return (
            OptimiserSpec(name="encoder", groups=identity, stages=("identity", "joint")),
            self._adam("generator", self.structure_encoder, self.generator),
            self._adam("discriminator", self.discriminator),
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
        """Fill the memory at the first pass that begins in a stage, and cluster it.

        E_id rests in stage "generation": its memory is filled once, with the features that "joint" starts from.
        """
        number = _number(step.stage)
        fresh = number != int(self.filled_in)
        if fresh:
            self._fill(encode())
            self.filled_in.fill_(number)
        if fresh or step.stage != "generation":
            self._cluster(step)
        self._whole_pass = step.stage == "generation"

    def select(self, indices: Tensor) -> Tensor:
        """Images of clusters; all of them in stage "generation", or where there is no cluster."""
        kept = indices[self.memory.labels.cpu() != OUTLIER]
        return indices if self._whole_pass or not len(kept) else kept

    @torch.no_grad()
    def _fill(self, pooled: Tensor) -> None:
        training = self.neck.training
        self.memory.fill(self.neck.eval()(pooled.to(self.memory.rows)))
        self.neck.train(training)

    def _cluster(self, step: Step) -> None:
        """Pseudo labels from the memory's rows (official: every stage-3 epoch, not on features extracted anew)."""
        config, number = self.config, len(self.memory.labels)
        if number <= config.k1:
            logger.info("%d images: clustering looks at %d neighbours instead of %d", number, number - 1, config.k1)
        distances = clustering.jaccard_distances(
            self.memory.rows,
            k1=config.k1,
            k2=config.k2,
            released=config.neighbours == "released",
            most=config.eps if config.eps_rule == "fixed" else 1.0,
        )
        if config.eps_rule == "rho":
            eps = clustering.eps_of(distances, config.rho)
            if eps is None:
                logger.warning("rho = %g is no distance of %d images; eps stays %.3f", config.rho, number, self.eps)
            else:
                self.eps.fill_(eps)
        found = clustering.cluster(distances, eps=float(self.eps), min_samples=config.min_samples)
        labels = torch.from_numpy(found.labels)
        logger.info("pass %d: %d clusters, %d outliers, eps %.3f", step.epoch, found.count, found.outliers, self.eps)
        if found.count < 2:
            # DEVIATION (our decision): official code has no guard. Stage 1 must be able to begin from random weights.
            alone = step.stage == "identity"
            labels = torch.arange(number) if alone else torch.full((number,), OUTLIER)
            logger.warning(
                "pass %d: %d clusters among %d images; all images are kept, %s",
                step.epoch,
                found.count,
                number,
                "each as a cluster of its own" if alone else "and the contrast is skipped",
            )
        self.memory.assign(labels)

    def views(self, batch: Batch, generator: torch.Generator) -> Views:
        """Augmented images for stage 1; plain ones, structure and an angle each for the others."""
        size = self.context.input_size
        images = augment(batch.images, self.augmentation, generator, size=size).images
        yaw = self.turns[torch.randint(len(self.turns), (len(images),), generator=generator)]
        subjects = Subjects(
            indices=batch.indices, frame=(batch.images.shape[2], batch.images.shape[3]), joints=batch.joints
        )
        if self.config.generation:
            self.structure.check(subjects)
        # Neither flip nor crop nor erasing: generated views stand in for them.
        real = augment(batch.images, self.plain, generator, size=size).images
        return {
            "images": images,
            "real": real,
            "indices": batch.indices,
            "identity": batch.identity,
            "subjects": subjects,
            "yaw": yaw.to(images),
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
        """The memory takes this step's real features."""
        if self._seen is not None:
            self.memory.update(*self._seen)
            self._seen = None

    # The stages -----------------------------------------------------------------------------------------------------

    def _identity(self, views: Views) -> Iterator[Objective]:
        """Stage 1, ours: an augmented image against its own memory row and one of its cluster."""
        found = self.identify(views["images"])
        terms = self._contrast(views["indices"], found.vector)
        self._seen = (views["indices"], found.vector.detach())
        loss = self.config.memory_id_w * torch.stack(list(terms.values())).sum()
        yield Objective("encoder", loss, self._log(terms, found.vector, views))

    def _generation(self, views: Views) -> Iterator[Objective]:
        """Stage 2: D, then E_str and G."""
        made = self.generate(views)
        yield self._critic(made)
        loss, parts = self._painting(made)
        yield Objective("generator", loss, parts)

    def _joint(self, views: Views) -> Iterator[Objective]:
        """Stage 3: D, then E_str and G and E_id, which descend one sum of losses."""
        made = self.generate(views)
        self._seen = (views["indices"], made.of_real.vector.detach())
        yield self._critic(made)
        loss, parts = self._painting(made)
        real = made.of_real.vector
        terms = self._contrast(views["indices"], made.of_nv.vector, real)
        loss = loss + self.config.memory_id_w * torch.stack(list(terms.values())).sum()
        if made.of_mix is not None:
            ce = self._cluster_losses(views["indices"], real, made.of_mix.vector, made)
            loss = loss + self.config.id_w * (ce["ce"] + ce["ce_mix"])
            terms |= ce
        painters = [*self.structure_encoder.parameters(), *self.generator.parameters()]
        readers = [p for p in (*self.encoder.parameters(), *self.neck.parameters()) if p.requires_grad]
        gradients = torch.autograd.grad(loss, [*painters, *readers], allow_unused=True)
        yield Objective("generator", losses.carry(loss, painters, gradients[: len(painters)]), parts)
        log = self._log(terms, real, views)
        yield Objective("encoder", losses.carry(loss, readers, gradients[len(painters) :]), log)

    # The networks ---------------------------------------------------------------------------------------------------

    def identify(self, images: Tensor) -> Identity:
        """E_id: code and vector of images (B, 3, H, W) of the input size."""
        if self.neck.training and len(images) == 1:
            raise MethodError("Batch norm needs at least two images in a batch, but there is one.", "Draw more.")
        features = self.encoder(images)
        stripes = F.adaptive_avg_pool2d(features.grid, (STRIPES, 1))[..., 0]  # (B, D, S)
        if self.config.slices == "stripe":
            stripes = stripes.transpose(1, 2)
        vector: Tensor = self.neck(features.pooled)
        return Identity(stripes.flatten(1), vector)

    def identify_generated(self, images: Tensor) -> Identity:
        """E_id of generated images, resampled to its input size."""
        return self.identify(_resized(images, self.context.input_size))

    def shown(self, real: Tensor) -> Tensor:
        """Real images (B, 3, H, W) at the generator's size."""
        return _resized(real, self.size)

    @torch.no_grad()
    def structure_maps(self, subjects: Subjects, yaw: Tensor) -> Tensor:
        """Structure maps (B, C, h, w) of the bodies turned by `yaw` (B,) degrees."""
        return self.structure.render(subjects, yaw, self.size)

    def generate(self, views: Views) -> Generated:
        """All generated images of a step and what E_id says of them."""
        subjects, yaw = views["subjects"], views["yaw"]
        maps = torch.cat([self.structure_maps(subjects, torch.zeros_like(yaw)), self.structure_maps(subjects, yaw)])
        codes = self.structure_encoder(maps)
        own = codes[: len(yaw)]
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.encoder.training):
            of_real = self.identify(views["real"])
        # Neither E_str nor G has batch statistics: halves of one batch are what two batches would be.
        rec, nv = self.generator(codes, of_real.code.repeat(2, 1)).chunk(2)
        # Batch norm in E_id sees every kind of image alone.
        of_rec, of_nv = self.identify_generated(rec), self.identify_generated(nv)
        cyc = self.generator(own, of_nv.code)
        images = {"rec": rec, "nv": nv, "cyc": cyc}
        of_cyc, of_mix = self.identify_generated(cyc), None
        order, weight = torch.randperm(len(yaw)).to(own.device), 1.0
        if self.config.mixup:
            weight = losses.mixed_weight(self.config.mix_alpha)
            images["mix"] = self.generator(own, weight * of_real.code + (1 - weight) * of_real.code[order])
            if self.encoder.training:
                of_mix = self.identify_generated(images["mix"])
        real = self.shown(views["real"])
        return Generated(real, images, of_real, of_rec, of_nv, of_cyc, of_mix, order, weight)

    def figures(self, batch: Batch, generator: torch.Generator) -> dict[str, Figure]:
        """A row per image: itself, painted again, from every side, there and back, with another's looks."""
        return figures.sheets(self, batch, generator) if self.config.generation else {}

    # The losses -----------------------------------------------------------------------------------------------------

    def _critic(self, made: Generated) -> Objective:
        fakes = [image.detach() for image in made.images.values()]
        loss, log = losses.critic_loss(self.discriminator, made.real, fakes, penalty=self.config.r1_w)
        return Objective("discriminator", self.config.gan_w * loss, log)

    def _painting(self, made: Generated) -> tuple[Tensor, dict[str, Any]]:
        """Reconstruction of images and codes, there and back, and the adversarial loss."""
        config, code = self.config, made.of_real.code.detach()
        rec = F.l1_loss(made.images["rec"].float(), made.real.float())
        cyc = F.l1_loss(made.images["cyc"].float(), made.real.float())
        code_rec = F.l1_loss(made.of_rec.code.float(), code.float())
        code_cyc = F.l1_loss(made.of_cyc.code.float(), code.float())
        maps = self.discriminator(torch.cat(list(made.images.values())))
        # The mean over all kinds times their number: the sum of each kind's loss.
        deceit = len(made.images) * losses.adversarial(maps)
        loss = config.recon_x_w * rec + config.recon_x_cyc_w * cyc + config.recon_f_w * (code_rec + code_cyc)
        parts = {
            "image_rec": rec.detach(),
            "image_cyc": cyc.detach(),
            "code_rec": code_rec.detach(),
            "code_cyc": code_cyc.detach(),
            "adversarial": deceit.detach(),
        }
        return loss + config.gan_w * deceit, parts

    def _contrast(self, indices: Tensor, view: Tensor, real: Tensor | None = None) -> dict[str, Tensor]:
        """View-invariant contrast, section 3.3 of GCL: L1 and L2, and L3 where there is a real image beside the view.

        Args:
            indices: int64 (B,); images without a cluster are no anchors, but negatives of the others.
            view: float (B, D), the queries of L1 (against their own rows) and L2 (against a row of their cluster).
            real: float (B, D), the queries of L3 (against a row of their cluster).
        """
        config, rows = self.config, self.memory.rows
        known = (self.memory.labels[indices] != OUTLIER).nonzero()[:, 0]
        labels, own = self.memory.labels[indices[known]], indices[known]
        with torch.autocast(rows.device.type, enabled=False):
            query = F.normalize(view[known].float(), dim=1)
            others, allowed = query @ rows.T, self.memory.negatives(labels, config.negatives)
            partners = rows[self.memory.positives(labels)]
            terms = {
                "l1": self._nce((query * rows[own]).sum(dim=1), others, allowed),
                "l2": self._nce((query * partners).sum(dim=1), others, allowed),
            }
            if real is not None:
                query = F.normalize(real[known].float(), dim=1)
                # DEVIATION (chenhao2345/GCL memory.py): official code compares the view with L3's negatives.
                others = others if config.l3_negatives == "released" else query @ rows.T
                terms["l3"] = self._nce((query * partners).sum(dim=1), others, allowed)
        return terms

    def _nce(self, positive: Tensor, negatives: Tensor, allowed: Tensor) -> Tensor:
        return masked_info_nce(positive, negatives, allowed, temperature=self.config.temperature)

    def _cluster_losses(self, indices: Tensor, real: Tensor, mix: Tensor, made: Generated) -> dict[str, Tensor]:
        """GCL+'s cross-entropies over clusters, of vectors (B, D) as they are, without temperature."""
        labels, centroids = self.memory.labels[indices], self.memory.centroids
        known = labels != OUTLIER
        both = known & known[made.order]
        with torch.autocast(centroids.device.type, enabled=False):
            logits, mixed = real.float() @ centroids.T, mix.float() @ centroids.T
            # Without a cluster there is no class, and the sums over no row are 0.
            targets = losses.mixed_targets(labels.clamp(min=0), made.order, made.weight, max(1, len(centroids)))
            sure = F.one_hot(labels.clamp(min=0), max(1, len(centroids))).float()
            return {
                "ce": losses.soft_cross_entropy(logits[known], sure[known]),
                "ce_mix": losses.soft_cross_entropy(mixed[both], targets[both]),
            }

    def _log(self, terms: dict[str, Tensor], vector: Tensor, views: Views) -> dict[str, Tensor | float]:
        """Losses, and what the clusters are like."""
        parts: dict[str, Tensor | float] = {name: term.detach() for name, term in terms.items()}
        parts |= self.diagnostics()
        parts["feature_variance"] = diagnostics.feature_variance(vector)
        if views["identity"] is not None:
            labels = self.memory.labels[views["indices"]].cpu().numpy()
            found = clustering.agreement(labels, views["identity"].cpu().numpy())
            parts |= {} if math.isnan(found) else {"label_agreement": found}
        return parts

    def diagnostics(self) -> dict[str, float]:
        """Number and sizes of the clusters of the last pass."""
        labels = self.memory.labels.cpu()
        sizes = torch.bincount(labels[labels != OUTLIER]).float()
        sizes = sizes[sizes > 0]
        return {
            "clusters": float(len(sizes)),
            "outliers": float((labels == OUTLIER).sum()),
            "eps": float(self.eps),
            "largest_cluster": float(sizes.max()) if len(sizes) else 0.0,
            "median_cluster": float(sizes.median()) if len(sizes) else 0.0,
        }


def _number(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else 0


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images of another size, smoothed where they shrink; linear, so that normalised images stay so."""
    if tuple(images.shape[2:]) == size:
        return images
    return F.interpolate(images.float(), size, mode="bilinear", antialias=True)


def _check(config: Config, dim: int) -> None:
    for field, allowed in (
        ("rotations", tuple(ROTATIONS)),
        ("slices", ("stripe", "released")),
        ("l3_negatives", ("f", "released")),
        ("neighbours", ("original", "released")),
        ("eps_rule", ("fixed", "rho")),
    ):
        value = getattr(config, field)
        if value not in allowed:
            raise ConfigError(f"gan-invariance: {field} is {value!r}.", f"Use one of: {', '.join(allowed)}.")
    if min(config.gan_height, config.gan_width) < 8 or config.gan_height % 4 or config.gan_width % 4:
        raise ConfigError(
            f"gan-invariance: generated images of {config.gan_height}x{config.gan_width} cannot be made.",
            "gan_height and gan_width must be multiples of 4, at least 8.",
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
