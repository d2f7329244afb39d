"""What code a module stands on: its normalised syntax tree and those of all modules that it imports, transitively.

Comments, docstrings, formatting and type-checking imports do not count; imports inside functions do.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModuleSource:
    """One file: the hash of its normalised code and the dotted names that it imports."""

    digest: str
    imports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Closure:
    """A module with everything below it.

    Attributes:
        modules: Module name to the hash of its code, for the packages that were followed.
        foreign: Top-level names of everything else that is imported.
    """

    modules: dict[str, str]
    foreign: frozenset[str]


def closure(roots: Iterable[str], *, packages: Iterable[str] = ("hcbench",), without: Iterable[str] = ()) -> Closure:
    """Follow the static imports of `roots` through `packages` (and the roots' own top-level packages).

    Args:
        roots: Dotted names of modules.
        packages: Top-level packages whose modules are followed.
        without: Modules and packages that are left out, with what only they import.

    Raises:
        FileNotFoundError: A root has no source file.
    """
    barred = tuple(without)
    pending = list(roots)
    followed = {*packages, *(name.partition(".")[0] for name in pending)}
    for root in pending:
        if find_source(root) is None:
            raise FileNotFoundError(f"The module {root} has no source file.")
    modules: dict[str, str] = {}
    foreign: set[str] = set()
    while pending:
        name = pending.pop()
        if name in modules or any(name == out or name.startswith(f"{out}.") for out in barred):
            continue
        top = name.partition(".")[0]
        if top not in followed:
            foreign.add(top)
            continue
        path = find_source(name)
        if path is None:  # a name inside a module: `from hcbench.errors import ConfigError`
            continue
        source = read_source(path, name)
        modules[name] = source.digest
        # Importing a.b.c runs a and a.b as well. The top package holds the version alone, which is no code.
        parents = (name.rsplit(".", level)[0] for level in range(1, name.count(".") + 1))
        pending += [*source.imports, *parents]
    modules.pop("hcbench", None)
    return Closure(modules, frozenset(foreign))


def find_source(name: str) -> Path | None:
    """The file of a module, found without importing more than its top two packages; None where there is none."""
    head, *rest = name.split(".")
    top = _top_level(head)
    if top is None:
        return None
    folder, file = top
    if not rest:
        return file
    if folder is None:
        return None
    base = folder.joinpath(*rest)
    for candidate in (base / "__init__.py", base.with_name(base.name + ".py")):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def _top_level(name: str) -> tuple[Path | None, Path | None] | None:
    """Folder and file of a top-level module."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    file = Path(spec.origin)
    return (file.parent if spec.submodule_search_locations else None), file


def read_source(path: Path, name: str) -> ModuleSource:
    """Digest and imports of one file, cached as long as it does not change."""
    stat = os.stat(path)
    return _read_source(path, name, path.name == "__init__.py", stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4096)
def _read_source(path: Path, name: str, is_package: bool, mtime_ns: int, size: int) -> ModuleSource:
    return analyse(path.read_text(encoding="utf-8"), name, is_package=is_package)


def analyse(text: str, name: str, *, is_package: bool = False) -> ModuleSource:
    """Digest and imports of a module's text.

    >>> analyse("x = 1  # one", "m").digest == analyse("x  =  1", "m").digest
    True
    """
    tree = ast.parse(text)
    normal = _Normalise().visit(tree)
    code = ast.dump(normal, annotate_fields=False)
    imports = tuple(dict.fromkeys(_imports(normal, name, is_package)))
    return ModuleSource(hashlib.sha256(code.encode()).hexdigest(), imports)


class _Normalise(ast.NodeTransformer):
    """Drops what changes no behaviour: bare strings (docstrings) and imports for the type checker."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """A string that stands alone is documentation."""
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        """`if TYPE_CHECKING:` never runs."""
        name = node.test.attr if isinstance(node.test, ast.Attribute) else getattr(node.test, "id", "")
        if name == "TYPE_CHECKING":
            return [self.visit(statement) for statement in node.orelse]
        return self.generic_visit(node)


def _imports(tree: ast.AST, name: str, is_package: bool) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                depth = node.level - is_package
                base = name.rsplit(".", depth)[0] if depth else name
                module = f"{base}.{module}" if module else base
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
