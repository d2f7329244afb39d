"""Hashes of files and folders, so that a setting that names one counts by what is there, not by where.

Settings that name files, folders or entry points are `Source` in a card's rules.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import replace
from pathlib import Path

from hcbench.data.files.contents import path_contents
from hcbench.data.files.hash_index import forget
from hcbench.harness.planning.cell import Cell
from hcbench.harness.planning.config import Resolved
from hcbench.harness.planning.corpora import is_manifest
from hcbench.methods.parts.weights.shards import files_of
from hcbench.methods.rules import Rules, Source


def with_content_hashes(cell: Cell, rules: Rules) -> Cell:
    """The cell with hashes in the settings that name files; `Cell.settings` has them as they were written.

    Args:
        cell: Of any method; those whose settings name no file stay as they are.
        rules: Of the method's settings.
    """
    config, places = dict(cell.method_config), {}
    for name, rule in rules.items():
        kind, colon, where = str(config.get(name)).partition(":")
        if isinstance(rule, Source) and colon and (kind in rule.files or kind in rule.named):
            content = sha256(Path(where).expanduser()) if kind in rule.files else _installed(where, rule.named[kind])
            places[f"{cell.method}.{name}"] = config[name]
            config[name] = f"{kind}:{content}"
    return replace(cell, method_config=config, roots={**cell.roots, **places}) if places else cell


def read_again(resolved: Resolved) -> None:
    """Let every file of the data on disk that a configuration names be read again, changed or not."""
    manifests = [corpus.name for corpus in resolved.corpora if is_manifest(corpus.name)]
    for path in (*resolved.run.data.values(), *manifests):
        forget(Path(path).expanduser())


def _installed(name: str, group: str) -> str:
    """An entry point with the package that it is of, and its version; the name alone where no package has it."""
    for point in importlib.metadata.entry_points(group=group, name=name):
        if point.dist is not None:
            return f"{name} ({point.dist.name} {point.dist.version})"
    return name


def sha256(path: Path) -> str:
    """The first 16 digits of a file's hash; for a folder, a hash of all files in it with their names below it.

    Raises:
        DataError: It cannot be read.
    """
    return path_contents(path).digest


def weights_hash(path: Path) -> str:
    """`sha256` of a weight file or folder; of an index, that of the files that it names, too.

    Raises:
        WeightsError: It is an index that cannot be followed.
    """
    hashes = [sha256(path)] if path.is_dir() else [sha256(file) for file in files_of(path)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]
