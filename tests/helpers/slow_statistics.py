"""The rules of `reports/` once more, written from their formulas with loops and scipy.stats: slow, and independent.

Nothing of hcbench is imported. One column: `values` is a list of arrays, one array of seeds per row; `replicates` the
same with a row of replicates per seed. Higher is better.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy import optimize, stats

D0 = 2.0


def g(mean: float, fraction: bool) -> float:
    return max(mean * (1 - mean), 0.001) if fraction else 1.0


class Column:
    """Everything of one column; `control[i]` rows are no part of the pool."""

    def __init__(self, values, replicates, control, *, fraction: bool = True, d0: float = D0, borrowed=None) -> None:
        self.size = len(values)
        self.m = [float(np.mean(v)) for v in values]
        self.r = replicates
        self.s = [len(v) for v in values]
        # A control whose seeds are all equal has neither variance nor degrees of freedom.
        self.still = [control[i] and len(set(values[i])) == 1 for i in range(self.size)]
        self.f = [0 if self.still[i] else self.s[i] - 1 for i in range(self.size)]
        self.g = [g(mean, fraction) for mean in self.m]
        self.u = [np.var(v, ddof=1) / self.g[i] ** 2 if self.f[i] else 0.0 for i, v in enumerate(values)]
        pool = [i for i in range(self.size) if not control[i]]
        self.d = sum(self.f[i] for i in pool)
        self.d0 = d0
        if borrowed is None:
            self.u0 = sum(self.f[i] * self.u[i] for i in pool) / self.d
        else:
            self.u0, self.d = borrowed

    def w(self, i: int) -> float:
        if self.still[i]:
            return 0.0
        moderated = (self.d0 * self.u0 + self.f[i] * self.u[i]) / (self.d0 + self.f[i])
        return self.g[i] ** 2 * moderated / self.s[i]

    def c(self, i: int, j: int) -> float:
        found = []
        for s, t in itertools.product(range(self.s[i]), range(self.s[j])):
            if i == j and s == t and self.s[i] > 1:
                continue
            found.append(np.cov(self.r[i][s], self.r[j][t], ddof=1)[0, 1])
        mean = float(np.mean(found))
        return max(0.0, mean) if i == j else mean

    def row_half_width(self, i: int, alpha: float = 0.05) -> float:
        v = min(self.d0 + self.f[i], self.d)
        z, t = stats.norm.ppf(1 - alpha / 2), stats.t.ppf(1 - alpha / 2, v)
        return float(np.sqrt(z**2 * self.c(i, i) + t**2 * self.w(i)))

    def pair_half_width(self, i: int, j: int, alpha: float) -> float:
        test = max(0.0, self.c(i, i) + self.c(j, j) - 2 * self.c(i, j))
        v = min(self.d0 + self.f[i] + self.f[j], self.d)
        z, t = stats.norm.isf(alpha / 2), stats.t.isf(alpha / 2, v)
        return float(np.sqrt(z**2 * test + t**2 * (self.w(i) + self.w(j))))

    def p(self, i: int, j: int) -> float:
        gap = abs(self.m[i] - self.m[j])
        low, high = np.log(2e-13), np.log(1 - 1e-12)

        def miss(log_alpha: float) -> float:
            return self.pair_half_width(i, j, float(np.exp(log_alpha))) - gap

        if miss(low) < 0:
            return 2e-13
        return float(np.exp(optimize.brentq(miss, low, high, xtol=1e-13))) if miss(high) < 0 else 1.0

    def best_set(self, rows: list[int]) -> set[int]:
        k = len(rows)
        out = {i for i in rows for j in rows if self.m[j] > self.m[i] and (k - 1) * self.p(i, j) / 2 <= 0.05}
        return set(rows) - out

    def winner(self, rows: list[int]) -> tuple[int, float]:
        a = max(rows, key=lambda i: self.m[i])
        return a, max(self.p(a, j) for j in rows if j != a)

    def ranks(self, rows: list[int]) -> dict[int, tuple[int, int]]:
        pairs = list(itertools.combinations(rows, 2))
        adjusted = dict(zip(pairs, holm([self.p(*pair) for pair in pairs]), strict=True))
        clear = {pair for pair, p in adjusted.items() if p < 0.05} | {
            (j, i) for (i, j), p in adjusted.items() if p < 0.05
        }
        return {
            i: (
                1 + sum((i, j) in clear and self.m[j] > self.m[i] for j in rows),
                len(rows) - sum((i, j) in clear and self.m[j] < self.m[i] for j in rows),
            )
            for i in rows
        }

    def ticks(self, rows: list[int], controls: list[int]) -> dict[int, str]:
        above = {i: all(self.m[i] > self.m[c] for c in controls) for i in rows}
        raw = [
            max(self.p(i, c) for c in controls)
            if above[i]
            else min(1.0, len(controls) * min(self.p(i, c) for c in controls if self.m[c] >= self.m[i]))
            for i in rows
        ]
        adjusted = holm(raw)
        return {
            i: "open" if p >= 0.05 else "above" if above[i] else "below" for i, p in zip(rows, adjusted, strict=True)
        }


def holm(p: list[float]) -> list[float]:
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, so_far = [0.0] * len(p), 0.0
    for step, i in enumerate(order):
        so_far = max(so_far, (len(p) - step) * p[i])
        adjusted[i] = min(1.0, so_far)
    return adjusted
