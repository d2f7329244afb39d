"""`hcbench check` of data sets: the contract's checks, one line each."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from hcbench.data.catalogue import dataset, dataset_modules
from hcbench.data.dataset import Dataset
from hcbench.data.overlaps import plain
from hcbench.errors import ConfigError, did_you_mean
from hcbench.harness.cli.check import conclude, show_result
from hcbench.harness.contract.dataset_contract import DatasetResult, examine
from hcbench.harness.contract.dataset_under_test import DatasetUnderTest
from hcbench.harness.planning.data_roots import found_roots, root_of
from hcbench.harness.planning.registry import Registry


def chosen_data(
    registry: Registry, words: Sequence[str], plugins: Sequence[Path]
) -> tuple[list[Dataset], tuple[str, ...]]:
    """The data sets that are to be checked, those named or else those of the plug-ins, and the words that name none."""
    known = {plain(name): name for name in dataset_modules()}
    named = {word: known[plain(word)] for word in words if word not in registry.methods and plain(word) in known}
    if words:
        rest = tuple(word for word in words if word not in named)
        return [dataset(name) for name in dict.fromkeys(named.values())], rest
    files = {str(path.expanduser().resolve()) for path in plugins}
    return [one for name, one in registry.data.items() if registry.origins.get(f"data:{name}") in files], ()


def check_data_sets(
    console: Console, data_sets: Sequence[Dataset], roots: Mapping[str, str], workspace: Path
) -> bool:  # fmt: skip
    """Run every check on every data set, printing as they end; gives whether none failed.

    Args:
        console: Where it is printed.
        data_sets: What is checked.
        roots: Where they lie, by name (`--data`); of others, what the environment or `data.yaml` says.
        workspace: Its `data.yaml` may say where they lie.

    Raises:
        ConfigError: A root is one of no data set that is checked.
        DataError: A root is no folder.
    """
    names = [one.name for one in data_sets]
    for name in roots:
        if name not in names:
            raise ConfigError(f"--data {name}: {name} is not checked here.", did_you_mean(name, names))
    ambient = {name: root for override in found_roots(workspace, names) for name, root in override.value.items()}
    results: dict[str, list[DatasetResult]] = {}
    for data_set in data_sets:
        given = {**ambient, **roots}.get(data_set.name)
        root = None if given is None else root_of(data_set.name, Path(given), workspace)
        console.print(Text(data_set.name, style="bold"), Text(str(root or ""), style="dim"), soft_wrap=True)
        with tempfile.TemporaryDirectory(prefix="hcbench-check-") as folder:
            for result in examine(DatasetUnderTest(data_set, root, Path(folder))):
                results.setdefault(data_set.name, []).append(result)
                show_result(console, result)
    return conclude(console, results)
