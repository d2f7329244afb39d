from __future__ import annotations

import torch
import torch.nn.functional as F

from hcbench.methods.solider.spread import koleo


def test_koleo_is_the_log_of_the_distance_to_the_nearest():
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    z = F.normalize(x, dim=1)
    distances = (z[:, None] - z[None]).norm(dim=2).fill_diagonal_(torch.inf)
    torch.testing.assert_close(koleo(x), -distances.amin(dim=1).log().mean())
    torch.testing.assert_close(koleo(5 * x), koleo(x))


def test_koleo_parts_what_is_close():
    x = (torch.ones(6, 4) + 0.01 * torch.randn(6, 4, generator=torch.Generator().manual_seed(0))).requires_grad_()
    before = koleo(x)
    (slope,) = torch.autograd.grad(before, x)
    assert koleo(x.detach() - 1e-4 * slope) < before - 1e-3


def test_koleo_of_equal_or_single_rows_is_finite():
    for x in (torch.ones(3, 4, requires_grad=True), torch.ones(1, 4, requires_grad=True)):
        koleo(x).backward()
        assert torch.isfinite(x.grad).all()
    assert koleo(torch.ones(1, 4)) == 0
