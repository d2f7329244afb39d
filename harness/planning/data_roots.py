"""Where real data lie on this machine: environment variables and a `data.yaml`, for those who tire of `--data`.

    HCBENCH_DATA_MARKET1501=/data/market1501        in the environment
    market1501: /data/market1501                    a line of data.yaml in the workspace

A configuration file (`run: data: ...`) goes before both, `--data name=ROOT` before everything, name by name.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hcbench.errors import ConfigError, DataError, did_you_mean
from hcbench.harness.planning.yaml_file import read_yaml

if TYPE_CHECKING:
    from hcbench.harness.planning.config import Override

PREFIX = "HCBENCH_DATA_"
FILE = "data.yaml"

log = logging.getLogger(__name__)


def found_roots(workspace: Path, known: Iterable[str], environment: Mapping[str, str] | None = None) -> list[Override]:
    """Roots that nobody has to repeat, as overrides of `run.data`; later ones win.

    Args:
        workspace: Folder that may hold a `data.yaml`.
        known: Names of everything that can have a root.
        environment: Variables; None takes those of the process.

    Raises:
        ConfigError: `data.yaml` cannot be read, or holds something else than names and folders.
        DataError: It names what nothing here can read. A variable that does is only warned of: it may be another's.
    """
    from hcbench.harness.planning.config import Override

    names = {_plain(name): name for name in known}
    overrides = []
    for variable, root in sorted((os.environ if environment is None else environment).items()):
        if not variable.startswith(PREFIX) or not root:
            continue
        name = names.get(_plain(variable.removeprefix(PREFIX)))
        if name is None:
            log.warning("%s names no data set that is known here; it is not used", variable)
            continue
        overrides.append(Override("run.data", {name: root}, variable))
    path = workspace / FILE
    if path.is_file():
        overrides.append(Override("run.data", read_roots(path, names), str(path)))
    return overrides


def read_roots(path: Path, names: Mapping[str, str]) -> dict[str, str]:
    """The roots of a `data.yaml`, by name; relative ones are below the file's folder.

    Args:
        path: The file.
        names: Plain spelling of every known name to the name.
    """
    roots = {}
    for written, root in read_yaml(path).items():
        if not isinstance(root, str):
            raise ConfigError(
                f"{path}: {written} is {root!r}, expected a folder.", "Write for example\n  coco: /data/coco"
            )
        name = names.get(_plain(str(written)))
        if name is None:
            raise DataError(
                f"{path} names {written!r}, which nothing here can read.", did_you_mean(written, names.values())
            )
        roots[name] = str(path.absolute().parent / Path(root).expanduser())
    return roots


def rooted_names(further: Iterable[str] = ()) -> list[str]:
    """Names of everything built in that can have a root, and `further`."""
    from hcbench.data.catalogue import dataset_modules
    from hcbench.harness.planning.imagenet_weights import IMAGENET

    return [*dataset_modules(), IMAGENET, *further]


def root_of(name: str, root: Path | None, workspace: Path) -> Path:
    """The folder of a data set that a command was given, or that is known from elsewhere.

    Raises:
        DataError: Nobody has said where it lies.
    """
    from hcbench.harness.planning.corpora import data_root

    if root is not None:
        return data_root(name, {name: str(root)})
    roots: dict[str, str] = {}
    for override in found_roots(workspace, [name, *rooted_names()]):
        roots |= override.value
    if name not in roots:
        variable = f"{PREFIX}{name.upper().replace('-', '_')}"
        raise DataError(
            f"Nobody has said where {name} lies.",
            f"Name the folder, or set {variable}, or write `{name}: /its/folder` into {workspace / FILE}.",
        )
    return data_root(name, roots)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").removesuffix(".parquet")
