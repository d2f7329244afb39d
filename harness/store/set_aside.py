"""What the store does not take is set aside under its name, so that it stops no other, now or in later runs.

`refused/<cell>/` in the workspace holds the cell's folder with `refused.json`, which says why;
`refused/<cell>/evaluations/<evaluation>/` a single evaluation. A run with the cell in its matrix tries it again: it
imports what lies there, and computes anew what is refused once more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hcbench.errors import CacheError
from hcbench.harness.jobs.atomic_files import remove, write_json
from hcbench.harness.jobs.cell_folder import CHECKPOINT, EVALUATIONS, JOB, STATUS
from hcbench.harness.store.troubles import FULL, RefusedError, trouble_of
from hcbench.harness.store.workspace import Workspace

REASON = "refused.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SetAside:
    """A cell or an evaluation that could not be stored.

    Attributes:
        cell: Fingerprint of the cell.
        evaluation: Of the evaluation; empty for a whole cell.
        reason: Why.
        place: The folder where it lies now.
    """

    cell: str
    evaluation: str = ""
    reason: str
    place: Path

    @property
    def told(self) -> str:
        """The whole story in a sentence."""
        what = (
            f"Evaluation {self.evaluation[:8]} of cell {self.cell[:8]}" if self.evaluation else f"Cell {self.cell[:8]}"
        )
        return (
            f"{what} is set aside in {self.place}: {self.reason} It is tried again by the next run that asks for it; "
            "the folder may be deleted."
        )


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Files that are missing or damaged are a reason to set aside what they belong to, and no end of the run.

    Raises:
        RefusedError: They cannot be read.
        CacheError: The disk is full, so that nothing more can be done.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if trouble_of(error) is FULL:
            raise CacheError(f"{what} cannot be read: {FULL.what}.", FULL.hint) from error
        words = " ".join(str(error).split())[:300].removesuffix(".")
        raise RefusedError(f"{what} cannot be read ({type(error).__name__}: {words}).") from error


def set_cell_aside(workspace: Workspace, folder: Path, error: RefusedError) -> SetAside:
    """Move a cell's folder out of the way."""
    place = workspace.refused / folder.name
    _move(folder, place, error)
    return SetAside(cell=folder.name, reason=error.message, place=place)


def set_evaluation_aside(workspace: Workspace, cell: str, source: Path, error: RefusedError) -> SetAside:
    """Move the folder of one evaluation out of the way; its cell and the other evaluations stay."""
    place = workspace.refused / cell / EVALUATIONS / source.name
    _move(source, place, error)
    return SetAside(cell=cell, evaluation=source.name, reason=error.message, place=place)


def _move(source: Path, place: Path, error: RefusedError) -> None:
    remove(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    source.rename(place)
    write_json(place / REASON, {"reason": error.message})


def bring_back(workspace: Workspace, cell: str) -> bool:
    """Put a cell that was set aside where cells wait for their import, to be tried again; whether there was one."""
    place, folder = workspace.refused / cell, workspace.cell(cell)
    ended = (place / JOB).is_file() and ((place / CHECKPOINT).is_dir() or (place / STATUS).is_file())
    if not ended or folder.exists():
        return False
    (place / REASON).unlink(missing_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    place.rename(folder)
    return True
