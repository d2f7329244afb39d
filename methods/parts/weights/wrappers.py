"""What projects wrap around a network's tensors: found by the network's own names, taken off, and named.

Training files nest a state dict in entries (`state_dict`, `model`, `ema.shadow` ...) and in prefixes of its names
(`module.`, `_orig_mod.`, `model.backbone.` ...), several deep and in any order. No list of such words could be whole,
so the network's own names are looked for: what stands before them is the wrapper.

Where a file holds the network more than once, one is taken by this rule, and the others are named in the load report:

1. the entry or prefix that the user names (`--weights-key`);
2. the one that the layout's project uses (DINO and SOLIDER: the teacher);
3. the weights themselves before an average of them (EMA, a momentum encoder);
4. `state_dict`, then `model`, then other entries; a network that is neither teacher nor student, then the teacher,
   then the student; then the order in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from hcbench.errors import WeightsError
from hcbench.methods.parts.weights.reading import State, Tree

_DEEPEST: Final = 6
_ANCHORS: Final = 12
"""So many of a network's names are looked for; all of them in every entry would take long."""
_ENTRIES, _PAIR = ("state_dict", "model"), ("teacher", "student")
_TRAINING: Final = ("optim", "sched", "lr_sched", "scaler", "loss_scal", "grad_scal", "callbacks")
"""What entries begin with that hold the state of training; an optimiser's tensors are no network's."""
_AVERAGES: Final = frozenset(("ema", "modelema", "shadow", "average", "averaged", "swa", "momentum", "polyak", "k"))
"""Parts of the words by which averaged weights are called: `model_ema`, `averaged_model`, `encoder_k`."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A network's tensors, out of their wrapping.

    Attributes:
        state: Tensors of the network without wrapper, and those beside it in the same entry that are not its own.
        dropped: Names of the other times that the network stands in the same entry.
        wrapper: Words of the entries and prefixes that were taken off, from outside to inside.
        beside: Names in `state` that stand beside the network in its entry: heads, or tensors nobody knows.
        said: What was taken, and what lies beside it; for the load report.
    """

    state: State
    dropped: tuple[str, ...] = ()
    wrapper: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """One time that the network stands in a file: below a path of entries, behind a prefix of names."""

    path: tuple[str, ...]
    level: Mapping[str, Tensor]
    prefix: str
    anchors: int

    @property
    def words(self) -> tuple[str, ...]:
        return (*self.path, *(word for word in self.prefix.split(".") if word))

    @property
    def key(self) -> str:
        """What `--weights-key` takes."""
        return ".".join(self.words)


def levels(tree: Tree) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Every entry that holds tensors by name, with the path to it; what an optimiser holds is left out."""
    yield from _levels(tree, ())


def _levels(tree: Tree, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    here = {str(name): value for name, value in tree.items() if isinstance(value, Tensor)}
    if here:
        yield path, here
    if len(path) < _DEEPEST:
        for name, value in tree.items():
            if isinstance(value, Mapping) and not str(name).lower().startswith(_TRAINING):
                yield from _levels(value, (*path, str(name)))


def take(tree: Tree, names: Sequence[str], prefer: Sequence[str] = ()) -> Taken:
    """The network that has these names, out of whatever a file wraps around it.

    Args:
        tree: What the file holds.
        names: Names of the network's tensors that no other part of a file ends in; one is enough.
        prefer: Words of entries or prefixes that the project uses, the best first.

    Returns:
        The network; where none of the names is found anywhere, the first entry of the usual ones as it is, so that the
        caller can say what it holds.
    """
    places = _places(tree, names)
    if not places:
        path, level = next(iter(sorted(levels(tree), key=lambda found: _usual(found[0]))), ((), {}))
        return Taken(dict(level), wrapper=path)
    order = sorted(range(len(places)), key=lambda i: (_rank(places[i], prefer), i))
    best, *others = [places[i] for i in order]
    within = tuple(one.prefix for one in others if one.path == best.path and one.prefix)
    state: State = {}
    beside: dict[str, Tensor] = {}
    dropped = []
    for name, tensor in best.level.items():
        if any(name.startswith(prefix) and len(prefix) > len(best.prefix) for prefix in within):
            dropped.append(_outside(name, best.prefix))
        elif name.startswith(best.prefix):
            state[name.removeprefix(best.prefix)] = tensor
        elif name.startswith(within):
            dropped.append(_outside(name, best.prefix))
        else:
            beside[_outside(name, best.prefix)] = tensor
    return Taken({**beside, **state}, tuple(dropped), best.words, tuple(beside), _said(best, others))


def _places(tree: Tree, names: Sequence[str]) -> list[_Place]:
    """Where the network stands, at least half as complete as where it is most complete."""
    step = max(1, len(names) // _ANCHORS)
    anchors = list(names)[::step]
    places = []
    for path, level in levels(tree):
        prefixes: dict[str, int] = {}
        for anchor in anchors:
            for name in level:
                if name == anchor or name.endswith(f".{anchor}"):
                    prefix = name.removesuffix(anchor)
                    prefixes[prefix] = prefixes.get(prefix, 0) + 1
        places += [_Place(path, level, prefix, count) for prefix, count in prefixes.items()]
    most = max((place.anchors for place in places), default=0)
    return [place for place in places if 2 * place.anchors >= most]


def _rank(place: _Place, prefer: Sequence[str]) -> tuple[int, int, tuple[int, int]]:
    preferred = next((i for i, word in enumerate(prefer) if word in place.words), len(prefer))
    average = any(_AVERAGES & set(word.lower().split("_")) for word in place.words)
    return preferred, int(average), _usual(place.words)


def _usual(words: Sequence[str]) -> tuple[int, int]:
    """The place of a wrapper in the order of rule 4; neither a teacher nor a student goes before either of them."""
    entry = next((i for i, word in enumerate(_ENTRIES) if word in words), len(_ENTRIES))
    return entry, next((i for i, word in enumerate(_PAIR, 1) if word in words), 0)


def _outside(name: str, prefix: str) -> str:
    """A name that is not behind the whole prefix, without the part of it that it has."""
    for word in prefix.split("."):
        if not word or not name.startswith(f"{word}."):
            break
        name = name.removeprefix(f"{word}.")
    return name


def _said(best: _Place, others: Sequence[_Place]) -> tuple[str, ...]:
    parts = [f"the entry {'.'.join(best.path)}"] if best.path else []
    if best.prefix:
        parts.append(f"names below {best.prefix}")
    taken = ", ".join(parts) or "the tensors at the top"
    said = (f"taken: {taken}",) if parts or others else ()
    if not others:
        return said
    beside = ", ".join(other.key or "the tensors at the top" for other in others[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    keyed = next((other.key for other in others if other.key), "")
    how = f"; --weights-key {keyed} takes it instead" if keyed else ""
    return (*said, f"beside it: {beside}{more}{how}")


def chosen(tree: Tree, key: str) -> Tree:
    """The part of a file that the user names, with what the file says in plain values.

    Args:
        tree: What the file holds.
        key: Names of entries, the outermost first, then a prefix of names; joined by dots, such as `state_dict_ema` or
            `state_dict.teacher`. Empty takes the whole file.

    Raises:
        WeightsError: The file has no such part.
    """
    if not key:
        return tree
    plain = {
        name: value
        for name, value in tree.items()
        if not isinstance(value, Tensor)
        and not (isinstance(value, Mapping) and (str(name).lower().startswith(_TRAINING) or any(levels(value))))
    }
    found = _entry_at(tree, key)
    if found is not None and any(levels(found)):
        return {**plain, key: found}
    for path, level in levels(tree):
        start = "".join(f"{word}." for word in path)
        prefix = f"{key.removeprefix(start)}."
        below = {name: tensor for name, tensor in level.items() if name.startswith(prefix)}
        if key.startswith(start) and below:
            return {**plain, ".".join(path) or "tensors": below}
    listed = [".".join(path) for path, _ in levels(tree) if path]
    raise WeightsError(
        f"The file has no part {key!r}. {contents(tree)}",
        f"--weights-key takes an entry ({', '.join(listed[:6]) or 'this file has none'}), or a prefix of names.",
    )


def _entry_at(tree: Tree, key: str) -> Tree | None:
    """The entry of a key of names joined by dots; names may hold dots themselves."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            if str(name) == key:
                return value
            inner = _entry_at(value, key.removeprefix(f"{name}.")) if key.startswith(f"{name}.") else None
            if inner is not None:
                return inner
    return None


def contents(tree: Tree, most: int = 4) -> str:
    """What a file holds, in a few sentences: its entries, how many tensors, and the first of them with their shapes."""
    found = list(levels(tree))
    count = sum(len(level) for _, level in found)
    entries = [_entry_told(str(name), value) for name, value in tree.items() if not isinstance(value, Tensor)]
    more = f" and {len(entries) - 12} more" if len(entries) > 12 else ""
    told = [f"It holds the entries {', '.join(entries[:12])}{more}."] if entries else []
    if not count:
        return " ".join([*told, "It holds no tensors by name."])
    path, level = max(found, key=lambda one: len(one[1]))
    first = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in list(level.items())[:most])
    where = f" in {'.'.join(path)}" if path else ""
    told.append(f"It holds {count} tensors; the first{where}: {first}{' ...' if len(level) > most else ''}.")
    return " ".join(told)


def _entry_told(name: str, value: object) -> str:
    if isinstance(value, Mapping):
        count = sum(len(level) for _, level in levels({name: value}))
        return f"{name} ({count} tensors)" if count else f"{name} ({len(value)} values)"
    if isinstance(value, list | tuple):
        return f"{name} (a list of {len(value)})"
    return f"{name} ({type(value).__name__})"
