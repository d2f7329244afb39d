"""What a file is, told by its first bytes and by what an archive lists; nothing of it is executed or unpickled."""

from __future__ import annotations

import struct
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SAFETENSORS, TORCH, UNKNOWN = "safetensors", "torch", "unknown"
"""Kinds that are read, and the kind of bytes that nobody knows."""
_FETCH: Final = "Fetch the file itself again."
_CONVERT: Final = "Convert it to a file of tensors (safetensors, or a state dict of torch) where it was made."
_UNPACK: Final = "Unpack it, and name the weight file inside."
_LEAST: Final = 16
"""Bytes from which on the beginnings below say something."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file is.

    Attributes:
        kind: `SAFETENSORS`, `TORCH` (a file of `torch.save`, old or new, or another pickle), `UNKNOWN`, or "" for
            what is known and not read.
        what: In words, to follow "is"; empty for kinds that are read.
        hint: What to do about it.
    """

    kind: str = ""
    what: str = ""
    hint: str = ""


_BEGINNINGS: Final = (
    (
        b"version https://git-lfs",
        "a pointer of Git LFS, not the weights: the clone did not fetch them",
        "Run `git lfs pull` there.",
    ),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras and TensorFlow write (.h5)", _CONVERT),
    (b"GGUF", "a GGUF file (llama.cpp)", _CONVERT),
    (b"\x93NUMPY", "one NumPy array (.npy), without names of tensors", _CONVERT),
    (b"\x1f\x8b", "compressed with gzip", _UNPACK),
    (b"BZh", "compressed with bzip2", _UNPACK),
    (b"\xfd7zXZ", "compressed with xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"%PDF", "a PDF document", _FETCH),
    (b"\x89PNG", "a picture (PNG)", _FETCH),
    (b"\xff\xd8\xff", "a picture (JPEG)", _FETCH),
)
_ENDINGS: Final = (
    ((".onnx",), "an ONNX model: a graph of operations, not a network's tensors by name"),
    ((".pb",), "a graph of TensorFlow (.pb)"),
    ((".msgpack",), "a file of Flax (.msgpack)"),
    ((".ckpt.index", ".ckpt.meta", ".data-00000-of-00001"), "a part of a TensorFlow checkpoint"),
    ((".pdparams", ".pdiparams"), "a file of PaddlePaddle"),
    ((".mlmodel",), "a Core ML model"),
)
_PAGES: Final = (b"<!doctype", b"<html", b"<?xml", b"<head")


def kind_of(path: Path) -> FileKind:
    """What a file is; its ending counts only where its bytes say nothing."""
    size = path.stat().st_size
    if size == 0:
        return FileKind(what="empty (0 bytes)", hint=_FETCH)
    with path.open("rb") as file:
        head = file.read(512)
    if head[8:9] == b"{" and header_length(head) <= size - 8:
        return FileKind(SAFETENSORS)  # first of all: the length before the header may begin like anything below
    for beginning, what, hint in _BEGINNINGS:
        if head.startswith(beginning):
            return FileKind(what=what, hint=hint)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGES):
        return FileKind(
            what="a web page, saved in the place of the weights",
            hint="Open it to see what the server said (a log-in, a confirmation, an error), and fetch the file itself.",
        )
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    if head[257:262] == b"ustar":
        return FileKind(what=f"a tar archive{_holding(_in_tar(path))}", hint=_UNPACK)
    if head[4:8] == b"TFL3":
        return FileKind(what="a model of TensorFlow Lite", hint=_CONVERT)
    return _by_structure(path, head)


def _by_structure(path: Path, head: bytes) -> FileKind:
    name = path.name.lower()
    if head.startswith(b"\x80") and not name.endswith(".safetensors"):
        return FileKind(TORCH)
    for endings, what in _ENDINGS:
        if name.endswith(endings):
            return FileKind(what=what, hint=_CONVERT)
    if len(head) > _LEAST and head[0] == 8 and 0 < head[1] < 32 and head[2] == 0x12 and head[4 : 4 + head[3]].isascii():
        # ONNX: field 1 is the version, field 2 the producer's name, both in protobuf's encoding.
        return FileKind(what=f"{_ENDINGS[0][1]} (by its first bytes)", hint=_CONVERT)
    return FileKind(SAFETENSORS if name.endswith(".safetensors") else UNKNOWN)


def header_length(head: bytes) -> int:
    """What the first eight bytes of a safetensors file say about the length of its header; 0 where there are fewer."""
    return int(struct.unpack("<Q", head[:8])[0]) if len(head) >= 8 else 0


def _archive(path: Path) -> FileKind:
    """A zip: what torch writes today, or something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return FileKind(TORCH)  # cut short, most often: torch's own reader says what is wrong
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last:
        return FileKind(
            what="a TorchScript archive (torch.jit.save): a program with its weights, which is not run here",
            hint="Where you trust it: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth').",
        )
    if "data.pkl" in last:
        return FileKind(TORCH)
    if {"serialized_exported_program.json", "archive_format"} & last:
        return FileKind(what="an exported program of torch (torch.export, .pt2)", hint=_CONVERT)
    if "model.weights.h5" in last:
        return FileKind(what="a model of Keras (.keras)", hint=_CONVERT)
    if names and all(name.endswith(".npy") for name in names):
        return FileKind(what="an archive of NumPy arrays (.npz)", hint=_CONVERT)
    return FileKind(what=f"a zip archive{_holding(names)}", hint=_UNPACK)


def _in_tar(path: Path) -> list[str]:
    try:
        with tarfile.open(path) as archive:
            first = (archive.next() for _ in range(4))
            return [member.name for member in first if member is not None]
    except (tarfile.TarError, OSError):
        return []


def _holding(names: list[str]) -> str:
    return f" that holds {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}" if names else ""
