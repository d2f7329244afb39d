"""What a method promises the loop, one function per promise.

Each takes a `MethodUnderTest` and gives a note for the screen; where the promise is broken, it raises a MethodError
that says what was found, what was expected and what to do next. `contract.py` runs them.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from hcbench.errors import MethodError, did_you_mean
from hcbench.harness.contract.card import check_card
from hcbench.harness.contract.method_under_test import MethodUnderTest, Run
from hcbench.harness.training.figures import sheet
from hcbench.harness.training.health import diagnose
from hcbench.methods.base import Figure, Method
from hcbench.methods.parts.checkpoint import load_encoder, save_encoder
from hcbench.methods.parts.diagnostics import COLLAPSE
from hcbench.methods.parts.encoder import encode_all

FALL_STEPS, FALL = 20, 0.03
"""Steps in which a loss must fall, and by which share."""


class Skipped(Exception):
    """A check that does not apply, and why."""


def complete_card(tested: MethodUnderTest) -> str:
    """The card is complete."""
    return check_card(tested.card)


def buildable_class(tested: MethodUnderTest) -> str:
    """The class is a Method and can be built."""
    cls = tested.cls
    if not inspect.isclass(cls) or not issubclass(cls, Method):
        found = f"a class over {cls.__bases__[0].__name__}" if inspect.isclass(cls) else f"a {type(cls).__name__}"
        raise MethodError(
            f"{tested.card.implementation} is {found}; expected one over Method.",
            "Write `class ...(Method)`, with Method from hcbench.methods.base.",
        )
    if missing := sorted(cls.__abstractmethods__):
        raise MethodError(f"{cls.__name__} lacks {' and '.join(missing)}.", "See hcbench/methods/base.py.")
    if getattr(getattr(cls, "card", None), "name", None) != tested.card.name:
        raise MethodError(f"{cls.__name__}.card is not the card.", "Write `card = CARD` in the class.")
    method = tested.build()
    count = sum(p.numel() for p in method.parameters() if p.requires_grad)
    return f"{count / 1e6:.1f} M trainable parameters"


def stages_and_optimisers(tested: MethodUnderTest) -> str:
    """Stages share the whole run; every trainable parameter belongs to one optimiser."""
    method = tested.build()
    stages = method.stages()
    total = sum(stage.share for stage in stages)
    if not stages or abs(total - 1) > 1e-6 or any(stage.share <= 0 for stage in stages):
        raise MethodError(
            f"The stages have the shares {[stage.share for stage in stages]}; expected numbers above 0 that add up to "
            "1.",
            "See `stages`.",
        )
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise MethodError(f"Two stages share a name: {names}.", "Give each its own.")
    return _check_optimisers(method, names)


def _check_optimisers(method: Method, stages: list[str]) -> str:
    specs = method.param_groups()
    owners: dict[int, str] = {}
    for spec in specs:
        for name in spec.stages:
            if name not in stages:
                raise MethodError(f"Optimiser {spec.name!r} works in a stage {name!r}.", did_you_mean(name, stages))
        for parameter in (p for group in spec.groups for p in group.params):
            if id(parameter) in owners:
                raise MethodError(
                    f"{_name_of(method, parameter)} is in {owners[id(parameter)]} and again in {spec.name}.",
                    "Every parameter belongs to one group of one optimiser.",
                )
            owners[id(parameter)] = spec.name
    left = [name for name, p in method.named_parameters() if p.requires_grad and id(p) not in owners]
    if left:
        raise MethodError(
            f"No optimiser trains {_some(left)}.", "Name them in `param_groups`, or freeze them: requires_grad_(False)."
        )
    return f"{' > '.join(stages)}; {', '.join(spec.name for spec in specs)}"


def views_of_a_generator(tested: MethodUnderTest) -> str:
    """Views draw their random numbers from the generator that they are given."""
    method = tested.build().train()
    batch, _ = tested.one_batch(tested.loop(method))

    def draw(seed: int, surroundings: int, images: Tensor = batch.images) -> dict[str, Tensor]:
        torch.manual_seed(surroundings)
        with torch.no_grad():
            views = method.views(dataclasses.replace(batch, images=images), torch.Generator().manual_seed(seed))
        return dict(tensors_of(views, "views"))

    first, again, other = draw(5, 1), draw(5, 2), draw(6, 1)
    hint = "Draw every random number with generator=generator, the argument of `views`; augment() takes it too."
    for name, value in first.items():
        if name not in again or not _same(value, again[name]):
            raise MethodError(f"{name} differs between two calls with the same generator.", hint)
    if any(name not in other or not _same(value, other[name]) for name, value in first.items()):
        return ", ".join(first)
    copies = draw(5, 1, batch.images[:1].expand_as(batch.images).contiguous())
    for name, value in copies.items():
        # Copies of one picture differ only where random numbers are used; a few views of each may differ by design.
        rows = value.flatten(0, -4).flatten(1) if value.ndim >= 4 and value.is_floating_point() else None
        if rows is not None and len(torch.unique(rows, dim=0)) > len(batch.images) / 2:
            raise MethodError(f"{name} is random, but the same for every generator.", hint)
    return "no random numbers are used"


def finite_losses(tested: MethodUnderTest) -> str:
    """A short training ends with finite losses."""
    rows = tested.first.trained.losses.rows
    last = {row[3].removesuffix(".loss"): row[4] for row in rows if row[3].endswith(".loss")}
    return ", ".join(f"{name} {value:.3f}" for name, value in last.items())


def gradients_arrive(tested: MethodUnderTest) -> str:
    """Gradients reach every trained parameter of the encoder."""
    run = tested.first
    method = run.method
    held = {id(p) for spec in method.param_groups() for group in spec.groups for p in group.params}
    names = [name for name, p in method.encoder.named_parameters() if id(p) in held]
    if not names:
        return _follows(tested, run)
    if not run.pushed:
        raise MethodError(
            "No gradient reaches the encoder: all of its parameters stay as they are.",
            "Look for .detach(), torch.no_grad(), or a loss that does not use self.encoder.",
        )
    if missing := [name for name in names if name not in run.reached]:
        raise MethodError(
            f"No gradient reaches {_some(missing)} of the encoder ({len(missing)} of {len(names)} parameters).",
            "Use what these make, or freeze them: requires_grad_(False).",
        )
    return f"all {len(names)} parameters"


def _follows(tested: MethodUnderTest, run: Run) -> str:
    """No optimiser holds the encoder: it must be moved by the method, as a teacher's moving average is."""
    start = dict(tested.build().encoder.named_parameters())
    moved = [name for name, p in run.method.encoder.named_parameters() if not torch.equal(p, start[name])]
    if not moved:
        raise MethodError(
            "No optimiser holds the encoder's parameters, and nothing else moves them.",
            "Name them in `param_groups`, or let the encoder follow a student in `after_step`.",
        )
    return f"{len(moved)} parameters follow another network"


def loss_falls(tested: MethodUnderTest) -> str:
    """The loss falls on one and the same batch."""
    method = tested.build()
    history = tested.overfit(FALL_STEPS)
    encoder = {id(p) for p in method.encoder.parameters()}
    holders = [s.name for s in method.param_groups() if any(id(p) in encoder for g in s.groups for p in g.params)]
    name = next((name for name in history if name in holders), next(iter(history)))
    losses = history[name]
    start, end = sum(losses[:2]) / 2, sum(losses[-4:]) / 4
    if not end < start - FALL * abs(start):
        raise MethodError(
            f"The {name} loss was {start:.4f} and is {end:.4f} after {FALL_STEPS} steps on one and the same batch; "
            f"expected a fall of {FALL:.0%}.",
            "A learning rate that is too high or too low, or a loss that the trained parameters hardly decide.",
        )
    return f"{name} {start:.3f} > {end:.3f}"


def same_seed(tested: MethodUnderTest) -> str:
    """Two trainings with one seed give the same numbers."""
    _compare(
        tested.first,
        tested.second,
        "A second training with the same seed",
        "Numbers from elsewhere: NumPy's or Python's global generator, the clock, the order of a set, "
        "uninitialised memory.",
    )
    return f"{tested.first.trained.ledger.steps} steps, twice"


def odd_batches(tested: MethodUnderTest) -> str:
    """Batches of odd sizes work."""
    loop = tested.loop(tested.build())
    sizes = (tested.batch_units, *((13, 7) if tested.single else (3, 2)))
    for size, (_, step) in zip(sizes, loop.remaining(), strict=False):
        try:
            loop.take_step(size, step)
        except Exception as error:
            error.add_note(f"in a batch of {size} {'images' if tested.single else 'groups'}")
            raise
    return f"batches of {', '.join(str(size) for size in sizes)} {'images' if tested.single else 'groups'}"


def complete_state(tested: MethodUnderTest) -> str:
    """A fresh method with a trained one's state gives its losses."""
    trained, fresh = tested.second.method, tested.build(seed=1)  # the first training stays as it ended
    loop = tested.loop(trained)
    batch, step = tested.one_batch(loop)
    try:
        fresh.load_state_dict(trained.state_dict())
    except (RuntimeError, KeyError) as error:
        raise MethodError(
            f"A fresh method does not take the state of a trained one: {first_line(error)}",
            "Register everything in __init__, whatever happens in training later.",
        ) from error
    for plan in loop.plans:
        stage = dataclasses.replace(step, stage=plan.name, stage_total=len(plan.batches))
        views = loop.views(batch, stage)
        numbers = [_numbers(method, views, stage) for method in (trained, fresh)]
        for (name, before), (_, after) in zip(*numbers, strict=True):
            if before != after and not (math.isnan(before) and math.isnan(after)):
                raise MethodError(
                    f"In stage {plan.name}, {name} is {before:.6g} for a trained method and {after:.6g} for a fresh "
                    "one with its state.",
                    "Something that decides it is not in state_dict(): register_buffer keeps tensors there.",
                )
    return f"{len(trained.state_dict())} tensors"


def exact_resume(tested: MethodUnderTest) -> str:
    """A training that is interrupted and goes on gives the numbers of an undisturbed one."""
    steps = tested.first.trained.ledger.steps
    stops = (max(1, steps // 3), max(1, steps // 3))
    _compare(
        tested.first,
        tested.again("resumed", stops),
        "A training that was interrupted and went on",
        "What changes in training must be in state_dict(): register_buffer for tensors, get_extra_state for the rest.",
    )
    return f"stopped after {stops[0]} and {sum(stops)} of {steps} steps"


def collapse_shows(tested: MethodUnderTest) -> str:
    """Something that is logged tells a collapse."""
    run = tested.first
    names = {name.partition(".")[2] for name in run.trained.losses.names()}
    if not any(name.endswith(COLLAPSE) for name in names):
        raise MethodError(
            f"Nothing that is logged tells a collapse; there is {', '.join(sorted(names - {'lr'}))}.",
            'Log for example parts={"feature_variance": diagnostics.feature_variance(features)}, with diagnostics from '
            "hcbench.methods.parts.",
        )
    values = diagnose(run.method, tested.view, run.trained.losses, tested.cell.seed).values
    for name, value in values.items():
        if not math.isfinite(value):
            raise MethodError(f"The diagnostic {name!r} is {value} after training.", "Features or its code are broken.")
    return f"effective rank {values['effective_rank']:.1f} of {run.method.encoder.dim}"


def figures_are_pictures(tested: MethodUnderTest) -> str:
    """Figures can be laid out."""
    method = tested.second.method
    batch, _ = tested.one_batch(tested.loop(method))
    with torch.no_grad():
        figures = method.eval().figures(batch, torch.Generator().manual_seed(0))
    for name, figure in figures.items():
        if not isinstance(figure, Figure):
            raise MethodError(
                f"The figure {name!r} is a {type(figure).__name__}; expected a Figure.",
                "Put its tiles into hcbench.methods.base.Figure.",
            )
        sheet(name, figure)
    if not figures:
        raise Skipped("it draws none")
    return ", ".join(figures)


def checkpoint_restores(tested: MethodUnderTest) -> str:
    """A saved encoder gives the same features when it is loaded."""
    encoder = tested.first.method.encoder if tested.card.trains else tested.build().encoder
    if encoder.oracle:
        raise Skipped("it has no features: its predictions are the truth")
    features = encode_all(encoder.eval(), tested.view.images).pooled
    if features.shape != (len(tested.view), encoder.dim) or not torch.isfinite(features).all():
        raise MethodError(
            f"The encoder gives features {tuple(features.shape)}; expected finite ones, "
            f"({len(tested.view)}, {encoder.dim}).",
            "See `hcbench.methods.parts.encoder`.",
        )
    save_encoder(encoder, tested.folder / "checkpoint")
    restored = encode_all(load_encoder(tested.folder / "checkpoint"), tested.view.images).pooled
    if not torch.equal(features, restored):
        error = float((features - restored).abs().max())
        raise MethodError(
            f"Features differ by up to {error:.2g} after the encoder was saved and loaded.",
            "The encoder keeps something outside its state.",
        )
    return f"{encoder.dim} features"


def tensors_of(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor and number inside dictionaries, sequences and dataclasses, with its place."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, bool | int | float):
        yield name, torch.tensor(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors_of(item, f"{name}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from tensors_of(item, f"{name}[{index}]")
    elif dataclasses.is_dataclass(value):
        for item in dataclasses.fields(value):
            yield from tensors_of(getattr(value, item.name), f"{name}.{item.name}")


def _compare(first: Run, second: Run, what: str, hint: str) -> None:
    """Raise a MethodError where two trainings differ in a logged number or in what they leave."""
    for one, two in zip(first.trained.losses.rows, second.trained.losses.rows, strict=True):
        if one != two and not (math.isnan(one[4]) and math.isnan(two[4])):
            raise MethodError(f"{what} differs at step {one[0]}: {one[3]} is {two[4]:.9g} after {one[4]:.9g}.", hint)
    before, after = (dict(tensors_of(dict(run.method.state_dict()), "state")) for run in (first, second))
    different = [name for name, value in before.items() if name not in after or not _same(value, after[name])]
    if different:
        raise MethodError(f"{what} leaves other values in {_some(different)}.", hint)


def _numbers(method: Method, views: dict[str, Any], step: Any) -> list[tuple[str, float]]:
    """Losses of one step by optimiser, without minimising them."""
    torch.manual_seed(0)
    method.train()
    return [(f"the {o.optimiser} loss", float(o.loss.detach())) for o in method.objectives(views, step)]


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first.nan_to_num(), second.nan_to_num())


def _some(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _name_of(method: Method, parameter: Tensor) -> str:
    return next((name for name, p in method.named_parameters() if p is parameter), "a parameter")


def first_line(error: Exception) -> str:
    """An error in a line."""
    return " ".join(str(error).split())[:200]
