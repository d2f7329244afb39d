"""Yaml files of settings: a mapping, every key once, errors with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hcbench.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """A safe loader that does not let a key silently replace an earlier one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node; a repeated key is an error."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key!r} stands here twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a yaml file holds; an empty file is an empty mapping.

    Raises:
        ConfigError: There is no such file, it is no yaml, or it holds something else than a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise ConfigError(f"The settings file {path} cannot be read: {error.strerror}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"The settings file {path} is no UTF-8 text.", "Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{path}{where} is no valid yaml: {problem}.", "Mend that line.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} holds a {type(content).__name__}; expected sections with settings.", "See `hcbench config show`."
        )
    return {str(key): value for key, value in content.items()}
