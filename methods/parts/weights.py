"""Weight files of other projects: read as tensors only, fitted to an encoder, with a report of what fits.

A file is never unpickled freely: safetensors, or torch's `weights_only` reader with a short list of harmless classes
that published files hold beside their tensors. What a file's entries mean is the business of adapters
(`methods/<name>/weights.py`, `foreign.py`); this module reads, compares and loads.
"""

from __future__ import annotations

import argparse
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hcbench.errors import WeightsError
from hcbench.methods.parts.encoder import Encoder

Tree = Mapping[str, Any]
"""What a file holds: tensors and plain values by name, nested."""
State = dict[str, Tensor]

LEAST_SHARE: Final = 0.95
"""Share of an encoder's numbers, and of its tensors, that a file must bring; less is refused unless it is allowed.

Tensors are counted too: all norms, or all biases, are less than a hundredth of the numbers.
"""
_SHOWN: Final = 8
_TOWERS: Final = ("text.", "image_projection.")
_COUNTER: Final = "num_batches_tracked"
"""What batch norm's counters end in: they change no output, and older files have none."""

# NumPy's private maker of scalars: what pickles of its numbers call.
_SCALAR: Final[Any] = np.float64(0).__reduce__()[0]
ALLOWED: Final = (
    argparse.Namespace,
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Int64DType,
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),
)
"""Classes beside tensors that published training files hold: parsed arguments, and NumPy numbers in optimisers."""


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
    """

    encoder: Encoder
    weights: State
    dropped: tuple[str, ...] = ()
    note: str = "backbone only"
    absent: tuple[str, ...] = ()
    closed: bool = False


Adapter = Callable[[Tree, tuple[int, int]], Adapted]
"""Takes a file's content and the input size (height, width) in pixels."""


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
        for title, names in (
            ("missing", self.missing),
            ("wrong shape", self.wrong_shape),
            ("unexpected", self.unexpected),
            ("not needed", self.dropped),
        ):
            if names:
                lines.append(f"  {title} ({len(names)}): {_some(names, most)}")
        return "\n".join(lines)


def read_weights(path: Path) -> Tree:
    """Everything in a weight file, on the CPU, without running code that the file brings.

    Raises:
        WeightsError: There is no such file, it is damaged, or it holds objects of other classes.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weight file {path}.", "Name a .safetensors, .pth, .pt or .tar file.")
    try:
        if path.suffix == ".safetensors":
            tensors: State = load_file(path)
            return tensors
        with torch.serialization.safe_globals(list(ALLOWED)):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors, or is no weight file: {_refusal(error)}",
            "Nothing of it was executed. Ask for a file of tensors (safetensors), or convert it where you trust it.",
        ) from error
    except (KeyError, IndexError, TypeError, AttributeError, AssertionError, struct.error) as error:
        # What torch's reader of pickles meets in bytes that are none, or that end too soon.
        raise WeightsError(
            f"{path} is no weight file, or is damaged: reading it ended in a {type(error).__name__}.",
            "Look at what it is: a page of text may have been saved in its place. Or fetch it again.",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile, SafetensorError) as error:
        raise WeightsError(
            f"{path} cannot be read as weights: {_first_line(error)}", "It may be cut short; fetch it again."
        ) from error
    if not isinstance(loaded, Mapping):
        raise WeightsError(
            f"{path} holds a {type(loaded).__name__}, not tensors by name.", "Save a state dict, not a model."
        )
    return loaded


def load_foreign(
    path: Path, adapter: Adapter, size: tuple[int, int], *, allow_partial: bool = False
) -> tuple[Encoder, LoadReport]:
    """Load a file of another project into the encoder that it was made for, in evaluation mode on the CPU.

    Args:
        path: The file.
        adapter: Knows the file's layout.
        size: Input height and width, pixels.
        allow_partial: Take a file that `LoadReport.refused` speaks of, too.

    Raises:
        WeightsError: The file cannot be read, is of another layout, or fits too badly.
    """
    return fitted(read_weights(path), path.name, adapter, size, allow_partial=allow_partial)


def fitted(
    tree: Tree, file: str, adapter: Adapter, size: tuple[int, int], *, allow_partial: bool = False
) -> tuple[Encoder, LoadReport]:
    """As `load_foreign`, of the content of a file that was read before; `file` is its name."""
    adapted = adapter(tree, size)
    report = compare(adapted, file)
    if not allow_partial and report.refused:
        raise WeightsError(
            f"{file} does not fit what it was named as.\n{report.text()}",
            "Name another architecture with --as, or add --allow-partial to score what there is.",
        )
    encoder = adapted.encoder
    own = weights_of(encoder)
    fitting = own | {name: adapted.weights[name].to(own[name].dtype) for name in report.matched}
    encoder.load_weights({name: tensor for name, tensor in fitting.items() if not name.startswith(_TOWERS)})
    encoder.load_state_dict({n: t for n, t in fitting.items() if n.startswith(_TOWERS)}, strict=False)
    return encoder.eval(), report


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
    )


def _spared(name: str, adapted: Adapted) -> bool:
    """Whether a file is whole without this name of the encoder."""
    return name in adapted.absent or name.endswith(_COUNTER)


def entry(tree: Tree, *names: str) -> Tree:
    """The first of the named entries that the file has, else the file itself."""
    for name in names:
        if isinstance(tree.get(name), Mapping):
            return dict(tree[name])
    return tree


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
            f"The file is no {what}: it has no {_some(missing)}, but {_some(list(state)) or 'no tensors'}.",
            "Name what it is with --as; `hcbench evaluate --help` lists the layouts.",
        )


def _some(names: Iterable[str], most: int = _SHOWN) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _refusal(error: BaseException) -> str:
    """What torch's reader stumbled over, without its advice to read the file as code."""
    reasons = [
        line for line in map(str.strip, str(error).splitlines()) if re.match("Unsupported|WeightsUnpickler", line)
    ]
    return reasons[0].partition(" Please")[0] if reasons else _first_line(error)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
