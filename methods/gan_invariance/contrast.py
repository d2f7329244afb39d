"""The identity side: pseudo labels from a memory of vectors, and the contrasts that they steer.

Shapes: B images of a batch, N images of the view, D numbers of a vector, C clusters.
"""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcbench.methods.gan_invariance import losses
from hcbench.methods.gan_invariance.card import Config
from hcbench.methods.parts import clustering
from hcbench.methods.parts.clustering import OUTLIER
from hcbench.methods.parts.memory import Memory, masked_info_nce

logger = logging.getLogger(__name__)

SIZES = (2, 5, 10, 50)
"""Where the bins of the logged histogram of cluster sizes begin."""


class ClusterContrast(nn.Module):
    """A memory of all images, its clusters, and the losses against both.

    Args:
        config: Settings of the method.
        number: Images N.
        dim: Length D of a vector.
    """

    eps: Tensor
    outliers: Tensor

    def __init__(self, config: Config, number: int, dim: int) -> None:
        super().__init__()
        self.config = config
        self.memory = Memory(number, dim, keep=config.memory_keep)
        self.register_buffer("eps", torch.tensor(config.eps, dtype=torch.float64))
        self.register_buffer("outliers", torch.tensor(0))

    def cluster(self, epoch: int, *, own: bool) -> None:
        """Pseudo labels from the memory's rows (official: every stage-3 epoch, not on features extracted anew).

        Args:
            epoch: Pass that begins, for the log.
            own: Whether an image without a cluster becomes one of its own; else it is an outlier, and where there are
                fewer than two clusters all images are.
        """
        number = len(self.memory.labels)
        found = self._scan()
        logger.info("pass %d: %d clusters, %d outliers, eps %.3f", epoch, found.count, found.outliers, self.eps)
        labels = torch.from_numpy(found.labels)
        if found.count < 2:
            # DEVIATION (our decision): official code has no guard.
            labels = torch.full((number,), OUTLIER)
            logger.warning(
                "pass %d: %d clusters among %d images; all images are kept, %s",
                epoch,
                found.count,
                number,
                "each as a cluster of its own" if own else "and the contrast is skipped",
            )
        alone = labels == OUTLIER
        self.outliers.fill_(int(alone.sum()))
        if own:
            # DEVIATION (our decision): official code leaves outliers out of the pass. Vectors of an encoder that began
            # at random weights have so many that little would be left to learn from.
            labels[alone] = torch.arange(int(alone.sum())) + labels.max() + 1
        self.memory.assign(labels)

    def _scan(self) -> clustering.Clusters:
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
        return clustering.cluster(distances, eps=float(self.eps), min_samples=config.min_samples)

    def select(self, indices: Tensor) -> Tensor:
        """Those of `indices` (CPU) that have a label; all where none has."""
        kept = indices[self.memory.labels.cpu() != OUTLIER]
        return kept if len(kept) else indices

    def terms(self, indices: Tensor, view: Tensor, real: Tensor | None = None) -> dict[str, Tensor]:
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

    def cluster_terms(
        self, indices: Tensor, real: Tensor, mix: Tensor, order: Tensor, weight: float
    ) -> dict[str, Tensor]:
        """GCL+'s cross-entropies over clusters, of vectors (B, D) as they are, without temperature.

        Args:
            indices: int64 (B,).
            real: Vectors of the real images.
            mix: Vectors of the mixed images.
            order: int64 (B,), which image was mixed in.
            weight: Share of the image itself.
        """
        labels, centroids = self.memory.labels[indices], self.memory.centroids
        known = labels != OUTLIER
        both = known & known[order]
        with torch.autocast(centroids.device.type, enabled=False):
            logits, mixed = real.float() @ centroids.T, mix.float() @ centroids.T
            # Without a cluster there is no class, and the sums over no row are 0.
            classes = max(1, len(centroids))
            targets = losses.mixed_targets(labels.clamp(min=0), order, weight, classes)
            sure = F.one_hot(labels.clamp(min=0), classes).float()
            return {
                "ce": losses.soft_cross_entropy(logits[known], sure[known]),
                "ce_mix": losses.soft_cross_entropy(mixed[both], targets[both]),
            }

    def numbers(self) -> dict[str, float]:
        """Clusters of two images or more, outliers (also those with a label of their own), sizes, and eps."""
        labels = self.memory.labels.cpu()
        sizes = torch.bincount(labels[labels != OUTLIER]).float()
        sizes = sizes[sizes > 1]
        edges = [*zip(SIZES, (*SIZES[1:], torch.inf), strict=True)]
        return {
            "clusters": float(len(sizes)),
            "outliers": float(self.outliers),
            "eps": float(self.eps),
            "largest_cluster": float(sizes.max()) if len(sizes) else 0.0,
            "median_cluster": float(sizes.median()) if len(sizes) else 0.0,
            **{f"clusters_from_{low}": float(((sizes >= low) & (sizes < high)).sum()) for low, high in edges},
        }
