"""Losses that two or more methods share, as functions of raw features.

Letters in shapes: N rows, D dimensions, K prototypes, T texts. Losses work in the precision they are given, at least
float32 and outside autocast, and take NumPy arrays as well as tensors. They give scalars, but for `image_text_terms`;
what is normalised, each docstring says. Where a process group exists, `multi_positive_contrastive`, the image-text
losses, `cmpm` and `info_nce` see the rows of all processes, `instance_alignment` their keys (see `distributed.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hcbench.methods.parts.distributed import gather_features, gather_labels, mean_over_processes

_P = ParamSpec("_P")


def _full_precision(loss: Callable[_P, Tensor]) -> Callable[_P, Tensor]:
    """Switch autocast off inside a loss, as only networks run in low precision, and hand NumPy arrays in as tensors."""
    inner: Callable[..., Tensor] = loss

    @wraps(loss)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> Tensor:
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        device = tensors[0].device if tensors else torch.device("cpu")
        with torch.autocast(device.type, enabled=False):
            named = {name: _from_numpy(x, device) for name, x in kwargs.items()}
            return inner(*(_from_numpy(x, device) for x in args), **named)

    return run


def _from_numpy(x: Any, device: torch.device) -> Any:
    """A NumPy array as a tensor, a NumPy number or 0-d array as a plain number; anything else as it is."""
    if not isinstance(x, np.ndarray | np.generic):
        return x
    if x.ndim == 0:
        return x.item()
    return torch.as_tensor(x.copy(), device=device)  # the copy may be written, and has no negative strides


@_full_precision
def multi_positive_contrastive(features: Tensor, labels: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Multi-positive contrastive loss (StableRep, arXiv 2306.00984, equations 1-2); equals SupCon's L_out.

    All rows with a row's label, itself excluded, are its positives. A row without one contributes 0 but is
    counted in the mean. The minimum for m rows per label is log(m - 1), not 0.

    Args:
        features: float (N, D), normalised here.
        labels: int64 (N,).
        temperature: Divides the cosines.

    >>> x = torch.eye(2).repeat_interleave(2, dim=0)
    >>> round(float(multi_positive_contrastive(x, torch.tensor([0, 0, 1, 1]), temperature=1.0)), 4)
    0.5514
    """
    z = F.normalize(gather_features(_at_least_float32(features)), dim=1)
    y = gather_labels(labels)
    self_pairs = torch.eye(len(z), dtype=torch.bool, device=z.device)
    log_q = (z @ z.T / temperature).masked_fill(self_pairs, float("-inf")).log_softmax(dim=1)
    positives = (y[:, None] == y[None, :]) & ~self_pairs
    per_row = log_q.masked_fill(~positives, 0).sum(dim=1) / positives.sum(dim=1).clamp(min=1)
    return -per_row.mean()


@_full_precision
def multi_positive_image_text(
    image: Tensor, text: Tensor, image_labels: Tensor, text_labels: Tensor, *, logit_scale: Tensor | float
) -> Tensor:
    """Image-text part of StableRep+: the mean of both directions' cross-entropies; see `image_text_terms`."""
    terms = image_text_terms(image, text, image_labels, text_labels, logit_scale=logit_scale)
    return terms.mean()


@_full_precision
def image_text_terms(
    image: Tensor, text: Tensor, image_labels: Tensor, text_labels: Tensor, *, logit_scale: Tensor | float
) -> Tensor:
    """Cross-entropies (2,) of texts told from images, and of images told from texts.

    An image's target is uniform over the texts of its label, a text's over the images of its label; a row
    without a match contributes 0.

    Args:
        image: float (N, D), normalised here; `image_labels` int64 (N,).
        text: float (T, D), normalised here; `text_labels` int64 (T,).
        image_labels: Caption ids.
        text_labels: Caption ids.
        logit_scale: Multiplies the cosines, exp of CLIP's parameter.
    """
    v = F.normalize(gather_features(_at_least_float32(image)), dim=1)
    t = F.normalize(gather_features(_at_least_float32(text)), dim=1)
    logits = logit_scale * (v @ t.T)
    match = gather_labels(image_labels)[:, None] == gather_labels(text_labels)[None, :]
    return torch.stack([_soft_cross_entropy(logits, match), _soft_cross_entropy(logits.T, match.T)])


@_full_precision
def dino(
    student: Tensor, teacher: Tensor, center: Tensor, *, ncrops: int, student_temp: float, teacher_temp: float
) -> Tensor:
    """Self-distillation loss of DINO (arXiv 2104.14294, equation 3), the mean over pairs of crops.

    Args:
        student: float (ncrops * B, K), raw, crop-major; the first two crops are the teacher's.
        teacher: float (2 * B, K), raw, crop-major.
        center: float (K,) or (1, K), taken from the teacher's outputs; see `update_center`.
        ncrops: Crops that the student sees.
        student_temp: Softmax temperature of the student.
        teacher_temp: Softmax temperature of the teacher.
    """
    log_p = F.log_softmax(_at_least_float32(student) / student_temp, dim=1).chunk(ncrops)
    targets = F.softmax((_at_least_float32(teacher.detach()) - center) / teacher_temp, dim=1).chunk(2)
    pairs = [(t, s) for t in range(2) for s in range(ncrops) if s != t]
    terms = [-(targets[t] * log_p[s]).sum(dim=1).mean() for t, s in pairs]
    return torch.stack(terms).mean()


@torch.no_grad()
@_full_precision
def update_center(center: Tensor, teacher: Tensor, *, momentum: float) -> Tensor:
    """The next centre: a moving average of the mean of the teacher's raw outputs (2 * B, K), in float32 or more."""
    mean = mean_over_processes(_at_least_float32(teacher).mean(dim=0))
    return momentum * center + (1 - momentum) * mean.view_as(center)


@_full_precision
def cmpm(image: Tensor, text: Tensor, labels: Tensor, *, epsilon: float = 1e-8, label_norm: str = "l1") -> Tensor:
    """Cross-modal projection matching (Zhang and Lu, ECCV 2018), the sum of both directions.

    The raw rows of one side are projected onto the normalised rows of the other; the loss is the divergence
    of the softmax of these projections from the label matches.

    Args:
        image: float (N, D), row i belongs to text i; `text` likewise.
        text: See image.
        labels: int64 (N,), identities.
        epsilon: Added to the targets inside the logarithm.
        label_norm: "l1" divides the matches of a row by their number (a distribution); "l2", as public code
            does, by its root: the loss can then be negative.

    Raises:
        ValueError: `label_norm` is neither.
    """
    if label_norm not in ("l1", "l2"):
        raise ValueError(f"label_norm is 'l1' or 'l2', not {label_norm!r}")
    v, t = gather_features(_at_least_float32(image)), gather_features(_at_least_float32(text))
    y = gather_labels(labels)
    matches = (y[:, None] == y[None, :]).to(v.dtype)
    targets = F.normalize(matches, p=1 if label_norm == "l1" else 2, dim=1)

    def divergence(raw: Tensor, onto: Tensor) -> Tensor:
        log_p = (raw @ F.normalize(onto, dim=1).T).log_softmax(dim=1)
        return (log_p.exp() * (log_p - (targets + epsilon).log())).sum(dim=1).mean()

    return divergence(v, t) + divergence(t, v)


@_full_precision
def cmpc(image: Tensor, text: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Cross-modal projection classification: identities told from each side's projection onto the other.

    Args:
        image: float (N, D); `text` likewise.
        text: See image.
        labels: int64 (N,), class indices.
        weight: float (D, C); columns are normalised here.
    """
    v, t, w = (_at_least_float32(x) for x in (image, text, weight))
    v_unit, t_unit, w_unit = F.normalize(v, dim=1), F.normalize(t, dim=1), F.normalize(w, dim=0)
    v_on_t = (v * t_unit).sum(dim=1, keepdim=True) * t_unit
    t_on_v = (t * v_unit).sum(dim=1, keepdim=True) * v_unit
    return F.cross_entropy(v_on_t @ w_unit, labels) + F.cross_entropy(t_on_v @ w_unit, labels)


@_full_precision
def info_nce(image: Tensor, text: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Symmetric InfoNCE (CLIP): row i of one side matches row i of the other; the mean of both directions.

    Args:
        image: float (N, D), normalised here; `text` likewise.
        text: See image.
        logit_scale: Multiplies the cosines.
    """
    v = F.normalize(gather_features(_at_least_float32(image)), dim=1)
    t = F.normalize(gather_features(_at_least_float32(text)), dim=1)
    logits = logit_scale * (v @ t.T)
    target = torch.arange(len(v), device=v.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


@_full_precision
def moco(query: Tensor, key: Tensor, queue: Tensor, *, temperature: float) -> Tensor:
    """InfoNCE against a queue (MoCo, arXiv 1911.05722, equation 1); only the query gets a gradient.

    Args:
        query: float (N, D), normalised here; `key` likewise, row i the positive of query i.
        key: See query.
        queue: float (D, Q), unit columns.
        temperature: Divides the cosines.
    """
    q = F.normalize(_at_least_float32(query), dim=1)
    k = F.normalize(_at_least_float32(key.detach()), dim=1)
    positive = (q * k).sum(dim=1, keepdim=True)
    logits = torch.cat([positive, q @ queue.detach().to(q.dtype)], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.int64, device=q.device))


@torch.no_grad()
def enqueue(queue: Tensor, pointer: int, key: Tensor) -> int:
    """Overwrite the oldest columns of `queue` (D, Q) by the normalised keys (N, D); gives the next pointer."""
    keys = F.normalize(gather_labels(key), dim=1).to(queue.dtype)
    columns = (pointer + torch.arange(len(keys), device=queue.device)) % queue.shape[1]
    queue[:, columns] = keys.T
    return (pointer + len(keys)) % queue.shape[1]


@_full_precision
def instance_alignment(view1: Tensor, view2: Tensor, *, temperature: float = 0.2) -> Tensor:
    """HAP's alignment loss (after MoCo v3): 2T [CE(q1 k2 / T) + CE(q2 k1 / T)], keys without gradient.

    Args:
        view1: float (N, D), normalised here; row i of `view2` is its positive, other rows are negatives.
        view2: See view1.
        temperature: T.
    """
    q1, q2 = (F.normalize(_at_least_float32(view), dim=1) for view in (view1, view2))
    k1, k2 = gather_labels(q1.detach()), gather_labels(q2.detach())
    first = 0 if len(k1) == len(q1) else torch.distributed.get_rank() * len(q1)
    target = first + torch.arange(len(q1), device=q1.device)
    both = F.cross_entropy(q1 @ k2.T / temperature, target) + F.cross_entropy(q2 @ k1.T / temperature, target)
    return 2 * temperature * both


def positive_shares(target: Tensor) -> Tensor:
    """Share of positives among the specified labels of each attribute, float32 (A,); 0 where none is specified.

    Args:
        target: (N, A) in {0, 1, -1 = unspecified}.
    """
    specified = target >= 0
    return (target > 0).sum(0) / specified.sum(0).clamp_min(1)


def attribute_weights(target: Tensor, shares: Tensor) -> Tensor:
    """Weight (N, A) of each label: exp(1 - r) for positives, exp(r) for negatives, 0 for unspecified ones.

    Rare labels weigh more, as in RethinkingPAR (valencebond/Rethinking_of_PAR @0baa462).

    Args:
        target: (N, A) in {0, 1, -1 = unspecified}.
        shares: (A,), the share r of positives in training.
    """
    return torch.where(target > 0, torch.exp(1 - shares), torch.exp(shares)) * (target >= 0)


@_full_precision
def attribute_bce(logits: Tensor, target: Tensor, shares: Tensor) -> Tensor:
    """Weighted binary cross-entropy, summed over attributes and averaged over images; see `attribute_weights`.

    Args:
        logits: float (N, A).
        target: (N, A) in {0, 1, -1 = unspecified}; unspecified labels cost nothing.
        shares: (A,), the share of positives in training.
    """
    logits = _at_least_float32(logits)
    weight = attribute_weights(target, shares.to(logits))
    loss = F.binary_cross_entropy_with_logits(logits, target.clamp_min(0).to(logits), weight, reduction="sum")
    return loss / len(logits)


def _soft_cross_entropy(logits: Tensor, match: Tensor) -> Tensor:
    per_row = (logits.log_softmax(dim=1) * match).sum(dim=1) / match.sum(dim=1).clamp(min=1)
    return -per_row.mean()


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
