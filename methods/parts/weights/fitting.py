"""Weight files of other projects: fitted to an encoder, with a report of what fits.

`reading.py` reads them as tensors only. What a file's entries mean is the business of adapters
(`methods/<name>/weights.py`, `foreign.py`); this module compares and loads. The grid of positions is no adapter's
business (`positions.py`): an adapter gives the table as the file has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from hcbench.errors import WeightsError
from hcbench.methods.parts.encoder import Encoder
from hcbench.methods.parts.weights.positions import Known, fit_positions
from hcbench.methods.parts.weights.reading import State, Tree, read_weights
from hcbench.methods.parts.weights.training_size import Size, told_sizes
from hcbench.methods.parts.weights.wrappers import chosen, contents

LEAST_SHARE: Final = 0.95
"""Share of an encoder's numbers, and of its tensors, that a file must bring; less is refused unless it is allowed.

Tensors are counted too: all norms, or all biases, are less than a hundredth of the numbers.
"""
_SHOWN: Final = 8
_TOWERS: Final = ("text.", "image_projection.")
_COUNTER: Final = "num_batches_tracked"
"""What batch norm's counters end in: they change no output, and older files have none."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """What an adapter makes of a file.

    Attributes:
        encoder: The architecture that the file was made for, untrained.
        weights: The file's tensors under the names of `weights_of(encoder)`.
        dropped: Names that the adapter knows and does not need (heads, decoders, optimisers' tensors).
        note: What the file is, for people to read.
        absent: Names of the encoder that the file was made without: what its knobs drive, begun so that it changes
            nothing.
        closed: Whether every name of the layout is known, so that any other refuses the file.
        said: What was done that a reader should know, a line each: the wrapper that was taken off, what lies beside.
        positions: Name of the table of positions, given as the file has it; where there is none, nothing is done.
        trained_at: Input sizes (height, width) that the project's own files were trained at, pixels.
    """

    encoder: Encoder
    weights: State
    dropped: tuple[str, ...] = ()
    note: str = "backbone only"
    absent: tuple[str, ...] = ()
    closed: bool = False
    said: tuple[str, ...] = ()
    positions: str = "pos_embed"
    trained_at: tuple[Size, ...] = ()


Adapter = Callable[[Tree, tuple[int, int]], Adapted]
"""Takes a file's content and the input size (height, width) in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a user says of a file, where it does not say it itself.

    Attributes:
        key: The part of the file to take, see `wrappers.chosen`; empty takes what the layout takes.
        size: Height and width that the weights were trained at, pixels; None where nobody says.
    """

    key: str = ""
    size: Size | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadReport:
    """How a file fits an encoder.

    Attributes:
        file: Its name.
        note: What it is.
        matched: Names that were loaded.
        missing: Names of the encoder that the file should hold and does not.
        unexpected: Names of the file that nobody knows.
        wrong_shape: Names whose shapes differ.
        dropped: Names of the file that are known and not needed.
        share: Share of the encoder's numbers that come from the file, 0..1.
        absent: See `Adapted.absent`; neither missing nor a part of `share`.
        closed: See `Adapted.closed`.
        said: See `Adapted.said`.
        not_finite: Names that hold NaN or infinity, each with how many of its numbers.
    """

    file: str
    note: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shape: tuple[str, ...]
    dropped: tuple[str, ...]
    share: float
    absent: tuple[str, ...] = ()
    closed: bool = False
    said: tuple[str, ...] = ()
    not_finite: tuple[str, ...] = ()

    @property
    def expected(self) -> int:
        """How many tensors the file should bring."""
        return len(self.matched) + len(self.missing) + len(self.wrong_shape)

    @property
    def complete(self) -> bool:
        """Whether everything fits: nothing missing, unknown or of another shape."""
        return not (self.missing or self.unexpected or self.wrong_shape)

    @property
    def refused(self) -> bool:
        """Whether the file is taken by leave alone.

        It brings less than `LEAST_SHARE` of the encoder's numbers or of its tensors, or tensors of other shapes, or, of
        a closed layout, unknown ones.
        """
        least = min(self.share, len(self.matched) / max(1, self.expected))
        return least < LEAST_SHARE or bool(self.wrong_shape) or (self.closed and bool(self.unexpected))

    def text(self, most: int = _SHOWN) -> str:
        """The report in a few lines, each with at most so many names."""
        matched = f"{len(self.matched)} of {self.expected} tensors matched"
        lines = [f"{self.file}: {self.note}; {matched}, {self.share:.1%} of the encoder"]
        lines += [f"  {line}" for line in self.said]
        for title, names in (
            ("missing", self.missing),
            ("wrong shape", self.wrong_shape),
            ("unexpected", self.unexpected),
            ("not needed", self.dropped),
            ("NaN or infinite", self.not_finite),
        ):
            if names:
                lines.append(f"  {title} ({len(names)}): {_some(names, most)}")
        return "\n".join(lines)


def load_foreign(
    path: Path, adapter: Adapter, size: tuple[int, int], *, allow_partial: bool = False, told: Told | None = None
) -> tuple[Encoder, LoadReport]:
    """Load a file of another project into the encoder that it was made for, in evaluation mode on the CPU.

    Args:
        path: The file.
        adapter: Knows the file's layout.
        size: Input height and width, pixels.
        allow_partial: Take a file that `LoadReport.refused` speaks of, too.
        told: What the user says of the file.

    Raises:
        WeightsError: The file cannot be read, is of another layout, fits too badly, holds numbers that are not finite,
            or does not say on which grid its positions lie.
    """
    return fitted(read_weights(path), path.name, adapter, size, allow_partial=allow_partial, told=told)


def fitted(
    tree: Tree,
    file: str,
    adapter: Adapter,
    size: tuple[int, int],
    *,
    allow_partial: bool = False,
    told: Told | None = None,
) -> tuple[Encoder, LoadReport]:
    """As `load_foreign`, of the content of a file that was read before; `file` is its name."""
    told = told or Told()
    try:
        adapted = adapter(chosen(tree, told.key), size)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error.message} {contents(tree)}", error.hint) from error
    try:
        adapted = _placed(adapted, tree, told)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error.message}", error.hint) from error
    report = compare(adapted, file)
    if not allow_partial and report.refused:
        raise WeightsError(
            f"{file} does not fit what it was named as.\n{report.text()}\n{contents(tree)}",
            "Name another architecture with --as, a part of the file with --weights-key, or add --allow-partial to "
            "score what there is.",
        )
    if report.not_finite:
        # Not by leave either: one such number makes every vector NaN.
        raise WeightsError(
            f"{file} holds NaN or infinity in {len(report.not_finite)} of the {len(report.matched)} tensors that the "
            f"network takes: {_some(report.not_finite)}. Every score would be undefined.",
            "The file is damaged, or its training diverged; fetch it again, or take an earlier one.",
        )
    encoder = adapted.encoder
    own = weights_of(encoder)
    fitting = own | {name: adapted.weights[name].to(own[name].dtype) for name in report.matched}
    encoder.load_weights({name: tensor for name, tensor in fitting.items() if not name.startswith(_TOWERS)})
    encoder.load_state_dict({n: t for n, t in fitting.items() if n.startswith(_TOWERS)}, strict=False)
    return encoder.eval(), report


def _placed(adapted: Adapted, tree: Tree, told: Told) -> Adapted:
    """With the positions on the grid of the input; see `positions.py`."""
    encoder, name = adapted.encoder, adapted.positions
    own = encoder.weights().get(name)
    if own is None or name not in adapted.weights:
        if told.size is not None:
            raise WeightsError(
                f"{adapted.note}: there is no table of positions, so the size of training decides nothing.",
                "Leave out --weights-size.",
            )
        return adapted
    pixels = encoder.input_size[0] // encoder.grid_size[0], encoder.input_size[1] // encoder.grid_size[1]
    known = Known(told.size, told_sizes(tree), adapted.trained_at)
    weights, said = fit_positions(adapted.weights, name, own, encoder.grid_size, pixels, known)
    return replace(adapted, weights=weights, said=(*adapted.said, *said))


def weights_of(encoder: Encoder) -> State:
    """All that a file may hold: the backbone's weights, and where there is a text tower its own and the projection's.

    The latter are called `text.*` and `image_projection.*`.
    """
    towers = {name: tensor for name, tensor in encoder.state_dict().items() if name.startswith(_TOWERS)}
    return {**encoder.weights(), **towers}


def compare(adapted: Adapted, file: str) -> LoadReport:
    """How the adapted weights fit their encoder, without loading them."""
    given = adapted.weights
    own = {name: w for name, w in weights_of(adapted.encoder).items() if name in given or not _spared(name, adapted)}
    common = [name for name in own if name in given]
    matched = tuple(name for name in common if own[name].shape == given[name].shape)
    total = sum(tensor.numel() for tensor in own.values())
    return LoadReport(
        file=file,
        note=adapted.note,
        matched=matched,
        missing=tuple(name for name in own if name not in given),
        unexpected=tuple(name for name in given if name not in own),
        wrong_shape=tuple(name for name in common if own[name].shape != given[name].shape),
        dropped=adapted.dropped,
        share=sum(own[name].numel() for name in matched) / max(1, total),
        absent=adapted.absent,
        closed=adapted.closed,
        said=adapted.said,
        not_finite=tuple(
            f"{name} ({bad} of {given[name].numel()})" for name in matched if (bad := _not_finite(given[name]))
        ),
    )


def _not_finite(tensor: Tensor) -> int:
    """How many numbers of a tensor are NaN or infinite."""
    if not tensor.is_floating_point():
        return 0
    # A sum tells at once for most tensors; where it overflows, every number is looked at.
    wide = tensor.float() if tensor.itemsize < 4 else tensor
    return 0 if bool(torch.isfinite(wide.sum())) else int((~torch.isfinite(wide)).sum())


def _spared(name: str, adapted: Adapted) -> bool:
    """Whether a file is whole without this name of the encoder."""
    return name in adapted.absent or name.endswith(_COUNTER)


def tensors(tree: Tree, *prefixes: str) -> State:
    """The tensors of one level, without any of the prefixes that every name or most names carry.

    Prefixes are taken off in the given order, each from the names that have it.
    """
    state = {str(name): value for name, value in tree.items() if isinstance(value, Tensor)}
    for prefix in prefixes:
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def without(state: State, *beginnings: str) -> tuple[State, tuple[str, ...]]:
    """The state without names that begin in one of these ways, and those names."""
    dropped = tuple(name for name in state if name.startswith(beginnings))
    return {name: value for name, value in state.items() if name not in dropped}, dropped


def require_names(state: State, names: Iterable[str], what: str) -> None:
    """Refuse a state that lacks the names by which its layout is known.

    Raises:
        WeightsError: One of them is missing.
    """
    missing = [name for name in names if name not in state]
    if missing:
        raise WeightsError(
            f"The file is no {what}: it has no {_some(missing)}, but "
            f"{_some([f'{name} {tuple(tensor.shape)}' for name, tensor in state.items()]) or 'no tensors'}.",
            "Name what it is with --as; `hcbench evaluate --help` lists the layouts.",
        )


def _some(names: Iterable[str], most: int = _SHOWN) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
