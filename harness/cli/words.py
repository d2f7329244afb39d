"""The words of a command line and of its environment, before anything reads them."""

from __future__ import annotations

import os
from collections.abc import MutableMapping, Sequence
from pathlib import Path

OWN_VARIABLES = "HCBENCH_"
"""Begins the names of the variables that hcbench reads."""


def expanded_words(words: Sequence[str]) -> list[str]:
    """Words with `~` as the home folder, also after the `=` of an option, where shells leave it as it is.

    Here and not in each option, so that none is forgotten: options, arguments, `--data NAME=~/x`, `--set key=~/x`.
    """
    return [expanded(word) for word in words]


def expand_variables(environment: MutableMapping[str, str]) -> None:
    """The same for hcbench's own variables, each of which may hold several paths."""
    for name, value in environment.items():
        if name.startswith(OWN_VARIABLES) and "~" in value:
            environment[name] = os.pathsep.join(expanded(part) for part in value.split(os.pathsep))


def expanded(word: str) -> str:
    """One word; what begins with `~` and is no one's home stays as it is.

    >>> expanded("--name=a~b")
    '--name=a~b'
    """
    head, equals, tail = ("", "", word) if word.startswith("~") else word.rpartition("=~")
    if equals:
        head, tail = f"{head}=", f"~{tail}"
    if not tail.startswith("~"):
        return word
    try:
        return f"{head}{Path(tail).expanduser()}"
    except RuntimeError:
        return word
