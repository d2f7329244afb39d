"""Position tables of weight files: which grid they were learned on, and how they come to the grid of the input.

A table says how many positions it has, not how they lie: 192 are 16 x 12 (256x192 at patch 16) and 24 x 8 (384x128).
Read on the wrong grid, every row is another one and the scores are wrong without a word. So the grid is found from, in
this order:

1. the table's own shape where it has four axes (1, h, w, D);
2. the size that the user says the weights were trained at (`--weights-size HxW`);
3. the size that the file tells: `img_size`, `input_size`, `height` and `width` and the like among its arguments, where
   exactly one of them fits the number of positions;
4. the size that the layout's authors, or timm for this name, trained at, where it fits;
5. the number alone, where it is a grid of one of the shapes of the field: square, 2:1, 3:1 or 4:3 (height to width), or
   the input's own grid, and no second of these fits;
6. where several fit, the table itself: neighbours in a learned table are alike, so on the true grid each row is nearer
   to the next one than on any other, and clearly (`_CLEARLY`) so.

What is still open is refused with the candidates and the option to use, also where one of them is the input's own grid:
nothing says that weights are scored at the size that they were trained at. What was found stands in the load report.

Between grids, positions are resampled as timm does (`resample_abs_pos_embed`: bicubic, antialiased).
DEVIATION (facebookresearch/mae util/pos_embed.py:interpolate_pos_embed, facebookresearch/dino
vision_transformer.py:interpolate_pos_encoding): both are bicubic without antialiasing, which differs where an axis
shrinks. DEVIATION (damo-cv/TransReID vit_pytorch.py:resize_pos_embed): bilinear. One rule for all files keeps their
rows comparable, and it is what timm does for inputs of another size in training and in scoring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from hcbench.errors import WeightsError
from hcbench.methods.parts.weights.reading import State
from hcbench.methods.parts.weights.training_size import Size

_SHAPES: Final = ((1, 1), (2, 1), (3, 1), (4, 3))
"""Height to width of the inputs of the field: square images, and crops of persons (256x128, 384x128, 256x192)."""
_CLEARLY: Final = 0.8
"""A grid is the true one where the mean squared step between its rows is below this share of the next best grid's.

Random numbers come to about 1. Sin-cos tables (16 to 384 numbers wide) were told right with noise of up to .6
of their deviation, and never wrong up to 1; learned tables of published files were not at hand.
"""
_PREFIXES: Final = (1, 0, 2, 5)
"""Positions that come before those of patches, where file and network do not say: [CLS]; none; [CLS] and a
distillation token (DeiT); [CLS] and four registers."""
_REGISTERS: Final = ("reg_token", "register_tokens")
_PLAIN: Final = "as their number says"
_ALIKE: Final = "neighbours in the table say (they are alike on this grid alone)"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the size that weights were trained at, pixels.

    Attributes:
        user: What the user said; None where nothing.
        file: What the file says, with where it says so.
        layout: What the authors of the layout, or timm for the name, trained at.
    """

    user: Size | None = None
    file: Mapping[Size, str] | None = None
    layout: Sequence[Size] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    grid: Size
    prefix: int
    why: str


def fit_positions(
    state: State, name: str, own: Tensor, target: Size, pixels: Size, known: Known
) -> tuple[State, tuple[str, ...]]:
    """A state with its position table brought to the grid of the input.

    Args:
        state: The file's tensors; `cls_token` is changed where the network gives [CLS] no position and the file does
            (as timm does for DINOv2 with registers: the sum is the same).
        name: Of the table, (1, prefix + h * w, D), (prefix + h * w, D) or (1, h, w, D).
        own: The network's table.
        target: Rows and columns of the network's grid.
        pixels: Height and width of a position, pixels.
        known: See `Known`.

    Returns:
        The state, and what was done in words, empty where nothing was to be decided or done.

    Raises:
        WeightsError: The grid of the table cannot be told, or is not what the user says.
    """
    table = state[name]
    flat = own.ndim == 2
    rows = table[None] if table.ndim == 2 else table
    if rows.ndim == 4 and own.ndim == 3:
        found = _Found((rows.shape[1], rows.shape[2]), 0, "by the table's own shape")
        rows = rows.flatten(1, 2)
    elif rows.ndim == 3:
        found = _grid(rows, state, own.shape[-2] - target[0] * target[1], target, pixels, known)
    else:
        return state, ()
    resampled: Tensor = resample_abs_pos_embed(
        rows, list(target), old_size=list(found.grid), num_prefix_tokens=found.prefix, interpolation="bicubic"
    )
    state = dict(state)
    state[name] = resampled
    _fit_prefix(state, name, found.prefix, own.shape[-2] - target[0] * target[1])
    if flat:
        state[name] = state[name][0]
    done = "taken as they are" if found.grid == target else f"resampled to the input's {target[0]} x {target[1]}"
    if found.grid == target and found.why == _PLAIN:
        return state, ()
    return state, (f"positions: a grid of {found.grid[0]} x {found.grid[1]}, {found.why}; {done}",)


def _fit_prefix(state: State, name: str, given: int, needed: int) -> None:
    """Bring the positions before those of patches to the number that the network has."""
    table = state[name]
    if given == needed:
        return
    if needed == 0:
        start = 0
        for token in ("cls_token", "reg_token"):
            if token in state and state[token].ndim == 3 and start + state[token].shape[1] <= given:
                end = start + state[token].shape[1]
                state[token] = state[token] + table[:, start:end].to(state[token].dtype)
                start = end
        state[name] = table[:, given:]
    elif given > needed:
        state[name] = torch.cat([table[:, :needed], table[:, given:]], dim=1)
    else:
        none = table.new_zeros(1, needed - given, table.shape[-1])
        state[name] = torch.cat([table[:, :given], none, table[:, given:]], dim=1)


def _grid(rows: Tensor, state: State, own_prefix: int, target: Size, pixels: Size, known: Known) -> _Found:
    count = rows.shape[1]
    # The network's own habit first; else the file's class tokens, and then its registers, which mostly have none.
    classes, registers = (_tokens(state, *names) for names in (("cls_token", "dist_token"), _REGISTERS))
    order = dict.fromkeys((own_prefix, classes, classes + registers, *_PREFIXES))
    prefixes = [one for one in order if one < count]
    if known.user is not None:
        grid = _cells(known.user, pixels)
        if count - grid[0] * grid[1] not in prefixes:
            raise WeightsError(
                f"Weights trained at {_px(known.user)} have {grid[0]} x {grid[1]} = {grid[0] * grid[1]} positions; the "
                f"table of the file has {count}, also when those of extra tokens are left out.",
                f"Say the size of training with --weights-size. {_all_grids(count - prefixes[0], pixels)}",
            )
        return _Found(grid, count - grid[0] * grid[1], f"trained at {_px(known.user)} as was said")
    said = {
        (_cells(size, pixels), count - _area(_cells(size, pixels))): f"as the file says ({where})"
        for size, where in (known.file or {}).items()
        if count - _area(_cells(size, pixels)) in prefixes
    }
    if len(said) == 1:
        (grid, prefix), why = next(iter(said.items()))
        return _Found(grid, prefix, why)
    if len(said) > 1:
        grids = [grid for grid, _ in said]
        prefix = next(prefix for _, prefix in said)
        smooth = _smoothest(rows[0, prefix:], grids) if all(one == prefix for _, one in said) else None
        if smooth is None:
            raise _refused(count - prefix, grids, pixels, "and the file names sizes of several of them")
        return _Found(smooth, prefix, f"{said[smooth, prefix]}, {_ALIKE}")
    for size in known.layout:
        grid = _cells(size, pixels)
        if count - _area(grid) in prefixes:
            why = _PLAIN if _likely(_area(grid), target) == [grid] else f"as this layout's {_px(size)}"
            return _Found(grid, count - _area(grid), why)
    for prefix in prefixes:
        likely = _likely(count - prefix, target)
        if len(likely) == 1:
            return _Found(likely[0], prefix, _PLAIN if _usual(likely[0]) else "as the input has, and no usual shape")
        if likely:
            smooth = _smoothest(rows[0, prefix:], likely)
            if smooth is None:
                raise _refused(count - prefix, likely, pixels, "and nothing in the file says which")
            return _Found(smooth, prefix, f"as {_ALIKE}")
    raise WeightsError(
        f"A table of {count} positions, {count - prefixes[0]} of them of patches, is no grid that is square, 2:1, 3:1 "
        "or 4:3 (height to width), and the file does not say at which size it was trained.",
        f"Say it with --weights-size HxW. {_all_grids(count - prefixes[0], pixels)}",
    )


def _tokens(state: State, *names: str) -> int:
    """How many learned tokens of these names a file has."""
    return sum(state[name].shape[-2] for name in names if name in state and state[name].ndim >= 2)


def _area(grid: Size) -> int:
    return grid[0] * grid[1]


def _usual(grid: Size) -> bool:
    return any(grid[0] * wide == grid[1] * high for high, wide in _SHAPES)


def _cells(size: Size, pixels: Size) -> Size:
    """The grid of an input; what is left over at the edges has no position."""
    return size[0] // pixels[0], size[1] // pixels[1]


def _likely(count: int, target: Size) -> list[Size]:
    """Grids of so many positions in the shapes of the field, and the input's own where it has as many."""
    found = [] if count < 1 else [
        (high * side, wide * side)
        for high, wide in _SHAPES
        if count % (high * wide) == 0 and (side := round((count / (high * wide)) ** 0.5)) ** 2 * high * wide == count
    ]  # fmt: skip
    return list(dict.fromkeys([*found, target])) if _area(target) == count else found


def _smoothest(patches: Tensor, grids: Sequence[Size]) -> Size | None:
    """The grid on which each row of a table (h * w, D) is clearly nearer to the next than on the others; None if none.

    Nor is it one where a grid that is not asked about, such as a wide one, has nearer rows.

    >>> rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(12.0), indexing="ij")
    >>> _smoothest(torch.stack([rows, columns], dim=-1).flatten(0, 1), [(24, 8), (16, 12)])
    (16, 12)
    """
    table = patches.float()
    if not torch.isfinite(table).all():
        return None

    def step(wide: int) -> float:
        return (table[wide:] - table[:-wide]).square().mean().item()

    steps = sorted((step(wide), (high, wide)) for high, wide in grids)
    count = len(table)
    # Up to four times as high as wide or the reverse: of narrower ones, steps along a row would be taken for rows.
    others = [step(wide) for wide in range(1, count + 1) if count % wide == 0 and 1 / 4 <= count / wide**2 <= 4]
    return steps[0][1] if steps[0][0] < _CLEARLY * steps[1][0] and steps[0][0] <= min(others, default=1e9) else None


def _refused(count: int, grids: Sequence[Size], pixels: Size, why: str) -> WeightsError:
    listed = " or ".join(f"{high} x {wide} ({_px((high * pixels[0], wide * pixels[1]))})" for high, wide in grids)
    sizes = [f"--weights-size {_px((high * pixels[0], wide * pixels[1]))}" for high, wide in grids]
    return WeightsError(
        f"{count} positions may be a grid of {listed}, {why}. On the wrong one every score would be wrong.",
        f"Say at which size the weights were trained: {' or '.join(sizes)}.",
    )


def _all_grids(count: int, pixels: Size) -> str:
    """The sizes that a count of positions may be of, up to four times as high as wide."""
    pairs = [(count // wide, wide) for wide in range(1, count + 1) if count % wide == 0]
    near = [pair for pair in pairs if pair[1] <= pair[0] <= 4 * pair[1]]
    sizes = [_px((high * pixels[0], wide * pixels[1])) for high, wide in near[::-1]]
    return f"{count} positions fit {', '.join(sizes)}." if sizes else f"{count} positions fit no size of persons."


def _px(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
