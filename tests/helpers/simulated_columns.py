"""Columns of scores with a known truth, many at once, judged by the rules of `reports/`.

A score is y_is = m_i + g_i (shared + own + alone_s + seed_s): what the drawn test persons do to all rows, to one row,
to one checkpoint, and what its seed does. The first three have variance 1 together and correlate between rows by rho
from U(.5, .8); half of the rest belongs to single checkpoints. Seed effects have the standard deviation `ratio`, and
half of the rows four times the variance of the others. g_i = m_i (1 - m_i) / (top (1 - top)): on the p(1-p) scale, in
units in which the best row has 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hcbench.reports.statistics.intervals import ALPHA, half_width, holm, p_values
from hcbench.reports.statistics.resampling import difference_variances
from hcbench.reports.statistics.seed_spread import Pool, pair_freedom, pool, row_freedom, scale, seed_variance
from hcbench.reports.statistics.verdicts import may_be_best, winner_p

UNIT = 0.01
"""Standard deviation of test sampling at the top of a column, as a fraction: one point."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Drawn columns (experiments, columns, rows), with all that the rules take."""

    truth: np.ndarray
    means: np.ndarray
    covariance: np.ndarray
    spread: np.ndarray
    shared: Pool
    freedom: np.ndarray

    @property
    def pair_half_widths(self) -> np.ndarray:
        spread = self.spread[..., :, None] + self.spread[..., None, :]
        v = pair_freedom(self.shared, self.freedom)
        return half_width(difference_variances(self.covariance), spread, v, ALPHA)

    @property
    def row_half_widths(self) -> np.ndarray:
        own = np.diagonal(self.covariance, axis1=-2, axis2=-1)
        return half_width(own, self.spread, row_freedom(self.shared, self.freedom), ALPHA)

    def p(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """p-values (experiments, columns, pairs) of pairs of rows; i and j: (experiments, columns, pairs) indices."""
        picked = [np.take_along_axis(self.means, at, -1) for at in (i, j)]
        spread = [np.take_along_axis(self.spread, at, -1) for at in (i, j)]
        flat = self.means.shape[-1] * i + j
        size = self.covariance.shape[-1] ** 2
        test = np.take_along_axis(difference_variances(self.covariance).reshape(*i.shape[:2], size), flat, -1)
        v = pair_freedom(self.shared, self.freedom)
        v = np.take_along_axis(v.reshape(*i.shape[:2], size), flat, -1)
        return p_values(picked[0] - picked[1], test, spread[0] + spread[1], v)

    def stars(self) -> np.ndarray:
        """Index of the starred row of each column (experiments, columns); -1 where there is none."""
        shape = self.means.shape
        first = np.argmax(self.means, axis=-1)[..., None]
        against = self.p(np.broadcast_to(first, shape), np.broadcast_to(np.arange(shape[-1]), shape))
        matrix = np.full((*shape, shape[-1]), np.nan)  # the winner test looks at the leader's row alone
        np.put_along_axis(matrix, first[..., None], against[..., None, :], axis=-2)
        return np.where(holm(winner_p(self.means, matrix)) < ALPHA, first[..., 0], -1)

    def sets(self) -> np.ndarray:
        """Which rows may be best (experiments, columns, rows)."""
        shape = self.means.shape
        matrix = np.full((*shape, shape[-1]), np.nan)
        i, j = np.triu_indices(shape[-1], k=1)
        pairs = (*shape[:2], len(i))
        matrix[..., i, j] = matrix[..., j, i] = self.p(np.broadcast_to(i, pairs), np.broadcast_to(j, pairs))
        return may_be_best(self.means, matrix)


def draw(
    rng: np.random.Generator,
    leads: np.ndarray,
    *,
    runs: int,
    seeds: int | np.ndarray,
    ratio: float,
    top: float = 0.165,
    columns: int = 5,
    scaled: bool = True,
    mixed: bool = True,
) -> Columns:
    """Draw columns.

    Args:
        rng: Random numbers.
        leads: (rows,) how far each row is behind the best one, in `UNIT`s.
        runs: Experiments.
        seeds: Seeds of each row.
        ratio: Standard deviation of seeds over that of test sampling.
        top: True score of the best row.
        columns: Columns of one table.
        scaled: Whether the rules know the scale g; else they pool in points.
        mixed: Whether half of the rows, alternately, vary four times as much.
    """
    rows = len(leads)
    seeds = np.broadcast_to(seeds, rows)
    truth = np.clip(top - UNIT * leads, 0.005, None)
    g = truth * (1 - truth) / (top * (1 - top)) * UNIT
    rho = rng.uniform(0.5, 0.8, (runs, columns, 1))
    test = np.sqrt(rho) * rng.normal(size=(runs, columns, 1))
    test = test + np.sqrt((1 - rho) / 2) * rng.normal(size=(runs, columns, rows))
    variance = np.where(np.arange(rows) % 2 == 0, 1.6, 0.4) if mixed else np.ones(rows)
    noise = np.sqrt((1 - rho[..., None]) / 2 + ratio**2 * variance[:, None])
    alone = noise * rng.normal(size=(runs, columns, rows, int(seeds.max())))
    there = np.arange(int(seeds.max())) < seeds[:, None]
    mean_alone = np.sum(alone * there, axis=-1) / seeds
    deviations = (alone - mean_alone[..., None]) ** 2 * there
    means = truth + g * (test + mean_alone)
    freedom = np.asarray(seeds - 1, dtype=np.float64)
    scales = scale(means, fraction=scaled)
    own = g**2 * deviations.sum(axis=-1) / np.maximum(freedom, 1) / scales**2
    shared = pool(own, np.broadcast_to(freedom, own.shape))
    correlations = rho[..., None] + np.eye(rows) * ((1 - rho[..., None]) / 2)
    return Columns(
        truth=truth, means=means, covariance=correlations * g[:, None] * g[None, :],
        spread=seed_variance(shared, own, freedom, scales), shared=shared, freedom=freedom,
    )  # fmt: skip
