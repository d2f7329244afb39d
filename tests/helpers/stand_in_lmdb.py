"""What the package lmdb gives of an LMDB, from a dictionary: enough of it to read, in keys' order as the real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Error(Exception):
    """As `lmdb.Error`."""


def module(content: dict[str, bytes], opened: list[Any]) -> Any:
    """A module `lmdb` whose every environment holds `content`; what it was opened with goes to `opened`."""

    class Environment:
        def begin(self, *, write: bool) -> Environment:
            assert not write
            return self

        def __enter__(self) -> Environment:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def get(self, key: bytes) -> bytes | None:
            return content.get(key.decode())

        def cursor(self) -> Environment:
            return self

        def iternext(self, *, keys: bool, values: bool) -> Iterator[bytes]:
            assert keys
            assert not values
            return iter(sorted(key.encode() for key in content))

        def close(self) -> None:
            pass

        def __reduce__(self) -> str:
            raise TypeError("an environment cannot be sent to another process")

    class Lmdb:
        Error = Error

        @staticmethod
        def open(path: str, **settings: bool) -> Environment:
            opened.append(settings)
            if not (Path(path) / "data.mdb").read_bytes().startswith(b"mdb"):
                raise Error("MDB_INVALID: File is not an LMDB file")
            return Environment()

    return Lmdb
