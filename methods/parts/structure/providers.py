"""Structure providers by name."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

from hcbench.errors import ConfigError, did_you_mean
from hcbench.methods.parts.structure.base import GROUP, NoStructure, StructureProvider
from hcbench.methods.parts.structure.capsules import CHANNELS, CapsuleProvider
from hcbench.methods.parts.structure.lifting import ParamsProvider
from hcbench.methods.parts.structure.rendered import RenderedProvider

FORMS = (*CHANNELS, "rendered:<dir>", "params:<npz>", "entrypoint:<name>", "none")


def structure_provider(name: str, ids: Sequence[str]) -> StructureProvider:
    """The provider called `name`, one of `FORMS`.

    Args:
        name: As in the settings.
        ids: Names of the images of the corpus view, in its order.

    Raises:
        ConfigError: There is no such provider.
        DataError: Its files are missing or not as they should be.
    """
    kind, _, where = name.partition(":")
    if name in CHANNELS:
        return CapsuleProvider(name)
    if name == "none":
        return NoStructure()
    if where and kind == "rendered":
        return RenderedProvider(Path(where).expanduser(), ids)
    if where and kind == "params":
        return ParamsProvider(Path(where).expanduser(), ids)
    if where and kind == "entrypoint":
        return _from_entry_point(where, ids)
    raise ConfigError(f"Unknown source of structure {name!r}.", did_you_mean(name, FORMS))


def _from_entry_point(name: str, ids: Sequence[str]) -> StructureProvider:
    """A user's own provider: the entry point is called with the names of the images."""
    points = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    if name not in points:
        hint = did_you_mean(name, points) if points else "No installed package has one."
        raise ConfigError(f"No entry point of the group {GROUP} is called {name!r}.", hint)
    provider = points[name].load()(ids)
    if not isinstance(provider, StructureProvider):
        raise ConfigError(
            f"The entry point {name!r} ({points[name].value}) gives a {type(provider).__name__}.",
            "It must give a StructureProvider (hcbench.methods.parts.structure.base).",
        )
    return provider
