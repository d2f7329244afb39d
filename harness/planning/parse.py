"""Typed reading of settings: a value of a yaml file or a text of the command line becomes what the field declares."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from hcbench.errors import ConfigError

_TRUE, _FALSE, _NONE = ("true", "yes", "on"), ("false", "no", "off"), ("none", "null", "~")


def parse_value(key: str, value: Any, kind: Any, origin: str) -> Any:
    """The value as an instance of `kind`.

    Args:
        key: Full name of the setting, for the message.
        value: What a yaml file holds, or a text.
        kind: The annotation: bool, int, float, str, a Literal, a tuple, a mapping, a union of these.
        origin: Where the value comes from, for the message.

    Raises:
        ConfigError: The value is of another type.

    >>> parse_value("pretrain.lr", "3e-4", float, "--set")
    0.0003
    >>> parse_value("run.seeds", "0,1", tuple[int, ...], "--seeds")
    (0, 1)
    """
    try:
        return _convert(value, kind)
    except ValueError as error:
        detail = f" ({error})" if str(error) else ""
        raise ConfigError(
            f"{key} in {origin} is {value!r}; expected {describe(kind)}{detail}.",
            f"For example: {key}: {example(kind)}"
            if origin.endswith(".yaml")
            else f"For example: {key}={example(kind)}",
        ) from error


def split_sweep(text: str) -> list[str]:
    """Split a text at its commas outside brackets: the values of a sweep.

    >>> split_sweep("1,[2,3]")
    ['1', '[2,3]']
    """
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def describe(kind: Any) -> str:
    """A type in words."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(option) for option in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(describe(option) for option in get_args(kind))
    if get_origin(kind) is tuple:
        arguments = get_args(kind)
        if arguments[-1] is Ellipsis:
            return f"a list of {_PLURALS.get(arguments[0], describe(arguments[0]))}"
        return f"a list of {len(arguments)} values"
    if get_origin(kind) in (dict, Mapping):
        return "a mapping"
    return _WORDS.get(kind, str(kind))


def example(kind: Any) -> str:
    """A value of a type, as one would write it."""
    if get_origin(kind) is Literal:
        return str(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return example(get_args(kind)[0])
    if get_origin(kind) is tuple:
        return "[" + ", ".join(example(option) for option in get_args(kind) if option is not Ellipsis) + "]"
    return {bool: "true", int: "4", float: "0.5", str: "name"}.get(kind, "none")


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "none"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}


def _convert(value: Any, kind: Any) -> Any:
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin is Literal:
        matching = [option for option in get_args(kind) if str(option) == str(value)]
        if not matching:
            raise ValueError
        return matching[0]
    if origin in (Union, types.UnionType):
        return _convert_union(value, get_args(kind))
    if origin is tuple:
        return _convert_tuple(value, get_args(kind))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ValueError
        _, inner = get_args(kind)
        return {str(name): _convert(item, inner) for name, item in value.items()}
    return _convert_scalar(value, kind)


def _convert_scalar(value: Any, kind: Any) -> Any:
    text = value.strip() if isinstance(value, str) else None
    if kind is type(None):
        if value is None or (text is not None and text.lower() in _NONE):
            return None
    elif kind is bool:
        if isinstance(value, bool):
            return value
        if text is not None and text.lower() in (*_TRUE, *_FALSE):
            return text.lower() in _TRUE
    elif kind is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if text is not None and text.lstrip("+-").isdecimal():
            return int(text)
    elif kind is float:
        number = _as_float(value)  # yaml 1.1 reads 1e-3 as a text
        if number is not None:
            return number
    elif kind is str:
        if text is not None:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    else:
        raise TypeError(f"Settings cannot hold {kind!r}.")
    raise ValueError


def _as_float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _convert_union(value: Any, options: Sequence[Any]) -> Any:
    # None and numbers first: every text would pass as a str.
    for option in sorted(options, key=lambda option: option is str):
        try:
            return _convert(value, option)
        except ValueError:
            continue
    raise ValueError


def _convert_tuple(value: Any, arguments: Sequence[Any]) -> tuple[Any, ...]:
    if isinstance(value, str):
        inner = value.strip()
        if inner[:1] in "[(" and inner[-1:] in "])":
            inner = inner[1:-1]
        value = [part for part in split_sweep(inner) if part]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, Sequence):
        raise ValueError
    if arguments[-1] is Ellipsis:
        return tuple(_convert(item, arguments[0]) for item in value)
    if len(value) != len(arguments):
        raise ValueError(f"found {len(value)} values")
    return tuple(_convert(item, kind) for item, kind in zip(value, arguments, strict=True))
