"""Reading weight files as tensors only, by what their bytes are and not by how they are called.

A file is never unpickled freely: safetensors, or torch's `weights_only` reader with a short list of harmless classes
that published files hold beside their tensors. Anything else is named (`file_kinds`) and refused.
"""

from __future__ import annotations

import argparse
import pickle
import pickletools
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from hcbench.errors import WeightsError
from hcbench.methods.parts.weights.file_kinds import SAFETENSORS, UNKNOWN, header_length, kind_of
from hcbench.methods.parts.weights.shards import is_index, weight_map

Tree = Mapping[str, Any]
"""What a file holds: tensors and plain values by name, nested."""
State = dict[str, Tensor]

METADATA: Final = "__metadata__"
"""The entry of a tree that holds what a safetensors file says in words."""
_NUMBERS: Final = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
)  # fmt: skip
# NumPy's private maker of scalars: what pickles of its numbers call.
_SCALAR: Final[Any] = np.float64(0).__reduce__()[0]
ALLOWED: Final = (
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(name)) for name in _NUMBERS),
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),
)
"""Classes beside tensors that published training files hold: parsed arguments, and NumPy numbers in optimisers."""


def read_weights(path: Path) -> Tree:
    """Everything in a weight file, on the CPU, without running code that the file brings.

    An index of several files (`model.safetensors.index.json`) gives the tensors of all of them.

    Raises:
        WeightsError: There is no such file, it is damaged, of another kind, or it holds objects of other classes.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weight file {path}.", "Name a .safetensors, .pth, .pt or .tar file.")
    if is_index(path):
        return _of_shards(path)
    found = kind_of(path)
    if found.kind == UNKNOWN:
        with path.open("rb") as file:
            head = file.read(24)
        raise WeightsError(
            f"{path} is no weight file, or is damaged: it begins with {head!r}, as no file of tensors does.",
            "Look at what it is: a page of text may have been saved in its place. Or fetch it again.",
        )
    if not found.kind:
        raise WeightsError(f"{path} is no weight file that can be read: it is {found.what}.", found.hint)
    loaded = _safetensors(path) if found.kind == SAFETENSORS else _torch(path)
    if not isinstance(loaded, Mapping):
        raise WeightsError(
            f"{path} holds a {type(loaded).__name__}, not tensors by name.", "Save a state dict, not a model."
        )
    return loaded


def _of_shards(path: Path) -> Tree:
    """The tensors that an index names, each from its file."""
    where = weight_map(path)
    read = {file: read_weights(file) for file in sorted(set(where.values()))}
    lacking = [name for name, file in where.items() if not isinstance(read[file].get(name), Tensor)]
    if lacking:
        raise WeightsError(
            f"The index {path} names {len(lacking)} tensors that are not in their files, such as {lacking[0]} in "
            f"{where[lacking[0]].name}.",
            "Index and files are not of one download; fetch all of them again.",
        )
    return {name: read[file][name] for name, file in where.items()}


def _safetensors(path: Path) -> Tree:
    try:
        tensors: dict[str, Any] = load_file(path)
        with safe_open(path, framework="pt") as opened:
            words = opened.metadata()
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = header_length(file.read(8))
        if size < 8 or length > size - 8:
            why = f"its header should have {length:,} bytes, and the file has {size:,}"
        else:
            why = _first_line(error)
        raise WeightsError(
            f"{path} cannot be read as weights: {why}.", "It is damaged, or was cut short; fetch it again."
        ) from error
    return {**tensors, METADATA: dict(words)} if words else tensors


def _torch(path: Path) -> Any:
    try:
        # An open file: by its name, torch would choose another reader.
        with path.open("rb") as file, torch.serialization.safe_globals(list(ALLOWED)):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors, or is no weight file: {_refusal(error, path)}",
            "Nothing of it was executed. Ask for a file of tensors (safetensors), or convert it where you trust it: "
            "save the state dict alone.",
        ) from error
    except (KeyError, IndexError, TypeError, AttributeError, AssertionError, struct.error) as error:
        # What torch's reader of pickles meets in bytes that are none, or that end too soon.
        raise WeightsError(
            f"{path} is no weight file, or is damaged: reading it ended in a {type(error).__name__}.",
            "Look at what it is: a page of text may have been saved in its place. Or fetch it again.",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{path} cannot be read as weights: {_first_line(error)}", "It may be cut short; fetch it again."
        ) from error


def _refusal(error: BaseException, path: Path) -> str:
    """The class that torch's reader stumbled over, without its advice to read the file as code."""
    told = str(error)
    if found := re.search(r"Unsupported global: GLOBAL (\S+)", told):
        return f"it names {found[1]}, a class or function; tensors and plain values alone are read."
    if found := re.search(r"(?:but got|class) <?class '([^']+)'|Unsupported class (\S+)", told):
        return f"it holds objects of {found[1] or found[2]}."
    if classes := _classes(path):
        return f"it holds objects of {', '.join(classes[:3])}{' and others' if len(classes) > 3 else ''}."
    return "its pickle asks for what no file of tensors needs."


def _classes(path: Path) -> list[str]:
    """Classes and functions that a pickle names, other than those of tensors; read as text, not executed."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                content = archive.read(inside)
        else:
            content = path.read_bytes()
        named, strings = [], [""]
        for code, argument, _ in pickletools.genops(content):
            if code.name == "GLOBAL":
                named.append(str(argument).replace(" ", "."))
            elif code.name == "STACK_GLOBAL":
                named.append(".".join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    except (ValueError, OSError, StopIteration, zipfile.BadZipFile, UnicodeDecodeError):
        return []
    own = ("torch.", "collections.OrderedDict", "argparse.")
    return [name for name in dict.fromkeys(named) if not name.startswith(own)]


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
