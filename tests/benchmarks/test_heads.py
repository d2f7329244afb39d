import itertools

import pytest
import torch

from hcbench.benchmarks.heads import (
    BatchedAdamW,
    Standardiser,
    cosine_factor,
    head_generator,
    minibatches,
    steps_for,
)
from hcbench.errors import TaskError


def test_generators_depend_on_seed_and_names_alone():
    def draw(*args):
        return torch.rand(4, generator=head_generator(*args))

    assert torch.equal(draw(0, "a", "b"), draw(0, "a", "b"))
    assert not torch.equal(draw(0, "a", "b"), draw(1, "a", "b"))
    assert not torch.equal(draw(0, "a", "b"), draw(0, "a", "c"))


@pytest.mark.parametrize("shape", [(50, 6), (50, 6, 3, 2)])
def test_standardised_features_have_mean_0_and_deviation_1(shape):
    features = 5 + 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    features[:, 2] = 7.0  # does not vary, and is left out
    ready = Standardiser.fit(features)(features)
    assert ready.shape == (shape[0], 5, *shape[2:])
    others = [dim for dim in range(len(shape)) if dim != 1]
    torch.testing.assert_close(ready.mean(others), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(ready.std(others, correction=0), torch.ones(5), atol=1e-5, rtol=0)


def test_the_standardiser_keeps_what_training_measured():
    train, test = torch.tensor([[0.0], [2.0]]), torch.tensor([[5.0]])
    assert Standardiser.fit(train)(test).item() == pytest.approx(4.0)


def test_the_standardiser_refuses_what_no_head_can_learn_from():
    with pytest.raises(TaskError, match="1 of 4 feature values"):
        Standardiser.fit(torch.tensor([[1.0, 2.0], [torch.nan, 3.0]]))
    with pytest.raises(TaskError, match="None of the 2 features"):
        Standardiser.fit(torch.ones(3, 2))
    fitted = Standardiser.fit(torch.tensor([[0.0], [1.0]]))
    with pytest.raises(TaskError, match="not finite"):
        fitted(torch.tensor([[torch.inf]]))


def test_minibatches_visit_everything_once_a_pass():
    generator = torch.Generator().manual_seed(0)
    batches = list(minibatches(10, 3, 7, generator))
    assert [len(batch) for batch in batches] == [3] * 7
    for begin in (0, 3):
        assert len(torch.cat(batches[begin : begin + 3]).unique()) == 9
    assert not torch.equal(batches[0], batches[3])
    assert [sorted(batch.tolist()) for batch in minibatches(2, 5, 2, generator)] == [[0, 1], [0, 1]]


def test_steps_for_counts_whole_batches():
    assert steps_for(10, 3, 2.0) == 6
    assert steps_for(2, 5, 4.0) == 4
    assert steps_for(1000, 10, 1e-9) == 1


def test_the_schedule_rises_then_falls_to_zero():
    factors = [cosine_factor(step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))
    assert factors[-1] < 1e-3


def test_batched_adamw_equals_torch_adamw_for_each_head():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 4, generator=generator), torch.randn(20, 3, generator=generator)
    settings = ((1e-2, 0.1), (3e-2, 1.0))
    lr, decay = torch.tensor(settings).unbind(1)
    weight, bias = (torch.zeros(2, 4, 3, requires_grad=True), torch.zeros(2, 3, requires_grad=True))
    batched = BatchedAdamW((weight, bias), lr=lr, weight_decay=decay)
    for step in range(15):
        ((x @ weight + bias[:, None] - y) ** 2).sum().backward()
        batched.step(cosine_factor(step, 15))
    for head, (own_lr, own_decay) in enumerate(settings):
        w, b = torch.zeros(4, 3, requires_grad=True), torch.zeros(3, requires_grad=True)
        alone = torch.optim.AdamW(
            [{"params": [w], "weight_decay": own_decay}, {"params": [b], "weight_decay": 0.0}], betas=(0.9, 0.99)
        )
        for step in range(15):
            for group in alone.param_groups:
                group["lr"] = own_lr * cosine_factor(step, 15)
            alone.zero_grad()
            ((x @ w + b - y) ** 2).sum().backward()
            alone.step()
        torch.testing.assert_close(weight[head], w)
        torch.testing.assert_close(bias[head], b)
