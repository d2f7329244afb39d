"""Around every command: its words before anything reads them, its errors as plain text, its exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from hcbench.errors import HcbenchError
from hcbench.harness.cli.console import (
    CLOSED_PIPE,
    INTERRUPTED,
    OK,
    USAGE_ERROR,
    console,
    is_closed_pipe,
    let_go_of_output,
)

OWN_VARIABLES = "HCBENCH_"
"""Begins the names of the variables that hcbench reads."""


class Commands(TyperGroup):
    """The commands, with errors as plain text and tracebacks only where asked for."""

    def main(self, args: Any = None, prog_name: str | None = None, *rest: Any, **named: Any) -> Any:
        """Run a command line; exits with one of the codes of `console` unless `standalone_mode` is False."""
        line = expanded_words(sys.argv[1:] if args is None else args)
        expand_variables(os.environ)
        debug = "--debug" in line
        _set_logging(debug)
        standalone = named.pop("standalone_mode", True)
        try:
            code = super().main([word for word in line if word != "--debug"], "hcbench", standalone_mode=False, **named)
            sys.stdout.flush()
        except typer.Abort:
            code = INTERRUPTED
        except KeyboardInterrupt:
            code = INTERRUPTED
        except (BrokenPipeError, SystemExit) as error:
            if not is_closed_pipe(error):
                raise
            let_go_of_output()
            code = CLOSED_PIPE
        except Exception as error:
            if debug or not _show_user_error(error):
                raise
            code = USAGE_ERROR
        code = code if isinstance(code, int) else OK
        if code == INTERRUPTED:
            typer.echo("Interrupted. Run the same command again to go on.", err=True)
        if standalone:
            sys.exit(code)
        return code


def _show_user_error(error: Exception) -> bool:
    """Tell the user what they can mend; False for errors that are the program's own."""
    if isinstance(error, HcbenchError):
        from hcbench.harness.cli.tables import show_error

        show_error(console(stderr=True), error)
        return True
    if isinstance(error, PermissionError) and error.filename is not None:
        from hcbench.harness.cli.tables import show_error

        told = HcbenchError(
            f"{error.filename} may not be read or written: {error.strerror}.", "Change its permissions."
        )
        show_error(console(stderr=True), told)
        return True
    show = getattr(error, "show", None)  # the command line's own usage errors
    if show is None or not hasattr(error, "exit_code"):
        return False
    show()
    return True


def _set_logging(debug: bool) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("hcbench").setLevel(logging.DEBUG if debug else logging.WARNING)
    if not debug:  # before anything can be planned it may read for minutes, once
        logging.getLogger("hcbench.data.files.hash_index").setLevel(logging.INFO)


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
