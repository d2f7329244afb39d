"""A metric learned in closed form: Fisher's discriminant directions of the training persons.

The head finds the directions in which persons differ and images of one person do not (Fisher, Annals of Eugenics 1936;
Fukunaga, Introduction to Statistical Pattern Recognition, chapter 10: whiten the within-class covariance, then rotate
to the principal axes of the between-class one). Covariances are per image, so that within W and between B add up to
the whole:

    W = 1/N sum over images of (x - m_person)(x - m_person)^T
    B = 1/N sum over persons of N_person (m_person - m)(m_person - m)^T

W is shrunk to W + s tr(W)/D I. Along a whitened direction whose between-person variance is w, the share w / (1 + w) of
the variance is a matter of persons (its reliability, as in probabilistic discriminant analysis: Ioffe, ECCV 2006);
directions are scaled by the root of it, and at most `DIRECTIONS` are kept.

The cost: R = min(N, D) numbers describe an image, since all that differs between the training images lies in a space
of at most N dimensions (`Scatter.measure` takes a basis of it, which changes nothing). Memory is about
8 (2 N D + 3 R² + 2 P R) bytes, work N D R once and R³/3 + R² P for each shrinkage, with P persons. Measured, seconds of
one thread for five shrinkages: 4,000 images of 960 numbers 1.2, 3,000 of 2,048 2.3, 3,000 of 10,240 (five parts of a
ResNet-50) 17. Market-1501 by the latter, 12,936 images, wants 5 GB and minutes: name a readout of one part there
(`evaluate.readout`) where that is too much.

Shape suffixes: N images, P persons, D features, R = min(N, D), K directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hcbench.data.samples import Int
from hcbench.errors import TaskError

DIRECTIONS = 256
"""The most directions that are kept."""
COLLAPSED = 1e-12
"""Features whose variance is no larger a share of their mean square do not differ but for rounding."""
FLOOR = 1e-9
"""Least share of the whole variance that the shrinkage adds, for features that are equal in all images of a person."""
RANK = 1e-10
"""Directions with a smaller share of the largest between-person variance are rounding."""
BLOCK = 4096
"""Images that are projected at a time."""


@dataclass(frozen=True, slots=True)
class MetricHead:
    """A centre and the directions that tell persons apart.

    Attributes:
        mean_D: float64, mean of the training images.
        projection_DK: float64, scaled directions, those that tell most first.
    """

    mean_D: Tensor
    projection_DK: Tensor

    @property
    def directions(self) -> int:
        """How many directions were kept."""
        return self.projection_DK.shape[1]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors (N, K) of unit length, to be compared by their cosine, of features (N, D)."""
        blocks = [
            F.normalize((torch.from_numpy(block).double() - self.mean_D) @ self.projection_DK, dim=1).float()
            for block in np.split(features, range(BLOCK, len(features), BLOCK))
        ]
        projected: NDArray[np.float32] = torch.cat(blocks).numpy()
        return projected


@dataclass(frozen=True, slots=True)
class Scatter:
    """How training images differ within and between persons; every shrinkage is solved from it.

    Attributes:
        mean_D: Mean of the images.
        basis_DR: Orthonormal basis of the space that the images lie in; None where it is the whole.
        within_RR: Covariance within persons, in that basis.
        between_PR: Persons' means less the mean, each times the root of its share of the images: between_PR^T
            between_PR is the covariance between persons.
        floor: The least that shrinkage adds.
    """

    mean_D: Tensor
    basis_DR: Tensor | None
    within_RR: Tensor
    between_PR: Tensor
    floor: float

    @classmethod
    def measure(cls, features: NDArray[np.float32], identity: Int) -> Scatter:
        """Measure training images.

        Args:
            features: (N, D).
            identity: (N,), the person of each; `learnable` says which images have something to tell.

        Raises:
            TaskError: A feature is NaN or infinite, or none varies.
        """
        if not np.isfinite(features).all():
            raise TaskError(
                f"{int((~np.isfinite(features)).sum())} of {features.size} feature values are not finite.",
                "The encoder has diverged or its checkpoint is damaged; no head can be trained on it.",
            )
        x_ND = torch.from_numpy(features).double()
        square = float(x_ND.square().mean())
        mean_D = x_ND.mean(dim=0)
        x_ND -= mean_D
        variance = float(x_ND.square().mean())
        if variance <= COLLAPSED * square:
            raise TaskError(
                f"None of the {features.shape[1]} features differs between the {len(features)} training images.",
                "The encoder has collapsed; no head can be trained on it.",
            )
        basis_DR, x_NR = None, x_ND
        if len(features) < features.shape[1]:
            basis_DR, coordinates_RN = torch.linalg.qr(x_ND.T)
            x_NR = coordinates_RN.T.contiguous()
        _, person, images = np.unique(identity, return_inverse=True, return_counts=True)
        person_N, images_P = torch.from_numpy(person), torch.from_numpy(images).double()
        means_PR = x_NR.new_zeros(len(images), x_NR.shape[1]).index_add_(0, person_N, x_NR) / images_P[:, None]
        x_NR -= means_PR[person_N]
        within_RR = x_NR.T @ x_NR / len(features)
        between_PR = means_PR * (images_P / len(features)).sqrt()[:, None]
        return cls(mean_D, basis_DR, within_RR, between_PR, FLOOR * variance)

    def solve(self, shrinkage: float) -> MetricHead:
        """The head whose within-person covariance is shrunk by a share `shrinkage` of its mean variance."""
        ridge = max(shrinkage * float(self.within_RR.trace()) / len(self.mean_D), self.floor)
        lower_RR = self.within_RR.clone()
        lower_RR.diagonal().add_(ridge)
        lower_RR = torch.linalg.cholesky(lower_RR)
        white_RP = torch.linalg.solve_triangular(lower_RR, self.between_PR.T, upper=False)
        # Axes of white white^T (R x R) from the smaller of it and white^T white (P x P), which share their variances.
        few_persons = white_RP.shape[1] <= white_RP.shape[0]
        variance, axes = torch.linalg.eigh(white_RP.T @ white_RP if few_persons else white_RP @ white_RP.T)
        variance, axes = variance.flip(0)[:DIRECTIONS].clamp_min(0), axes.flip(1)[:, :DIRECTIONS]
        kept = variance > RANK * variance[0]
        kept[0] = True  # vectors have a direction, even if persons do not differ in it
        variance_K, axes = variance[kept], axes[:, kept]
        # An axis of white^T white, brought over by white, has the length of the root of its variance.
        scaled_RK = white_RP @ axes if few_persons else axes * variance_K.sqrt()
        scaled_RK = scaled_RK / (1 + variance_K).sqrt()
        projection_RK = torch.linalg.solve_triangular(lower_RR.T, scaled_RK, upper=True)
        return MetricHead(self.mean_D, projection_RK if self.basis_DR is None else self.basis_DR @ projection_RK)


def learnable(identity: Int) -> tuple[Int, int]:
    """Positions of the images that a metric can be learned from, and how many persons they show.

    One image says nothing of how a person's images differ, and distractors are nobody: persons with two images remain.

    Args:
        identity: (N,), below 0 for distractors.

    >>> rows, persons = learnable(np.array([4, -1, 7, 4, 9, -1, 9]))
    >>> rows.tolist(), persons
    ([0, 3, 4, 6], 2)
    """
    names, place, images = np.unique(identity, return_inverse=True, return_counts=True)
    enough = (names >= 0) & (images >= 2)
    return np.flatnonzero(enough[place]), int(enough.sum())
