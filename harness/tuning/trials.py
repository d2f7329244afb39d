"""Finished trials, in Optuna's SQLite file of the workspace, and the only file that knows it.

A study per method and set of conditions. Only trials that ended are written, each whole and at once; what a running
trial needs follows from the plan, and its work lies in the folder of its cell. So an interruption leaves nothing half
done here, and the same command finds the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcbench.errors import CacheError
from hcbench.harness.store.database import opening, sqlite_address
from hcbench.harness.store.troubles import FULL, LOCKED, trouble_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

COUNTED = ("done", "failed", "diverged")
"""Ways to end that say something of the settings. Others (interrupted, out of memory) are tried again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """How a trial ended.

    Attributes:
        status: One of `events.STATUSES`.
        reason: Why, where it is not done.
        objective: What trials are ordered by; None where it is not done, which is worse than any number.
        scores: Validation scores: benchmark to main metric to value.
        seconds: Pre-training and scoring.
        images_seen: Source images drawn in training.
    """

    status: str
    reason: str = ""
    objective: float | None = None
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    seconds: float = 0.0
    images_seen: int = 0

    @property
    def counts(self) -> bool:
        """Whether it is one of the trials that every method gets."""
        return self.status in COUNTED


class TrialStore:
    """The trials of one study.

    Args:
        path: The database; made where it does not exist.
        study: Name of the study.

    Raises:
        CacheError: The database cannot be used.
    """

    def __init__(self, path: Path, study: str) -> None:
        self._path = path
        with self._optuna() as optuna, opening(path):
            storage = optuna.storages.RDBStorage(sqlite_address(path))
            self._study: Study = optuna.create_study(
                storage=storage, study_name=study, direction="maximize", load_if_exists=True
            )

    def finished(self) -> dict[tuple[int, str], Tried]:
        """What is known, by number of the trial and fingerprint of its cell."""
        with self._optuna():
            trials = self._study.get_trials(deepcopy=False)
        return {
            (int(one.user_attrs["trial"]), str(one.user_attrs["cell"])): Tried(
                objective=one.value,
                **{name: one.user_attrs[name] for name in ("status", "reason", "scores", "seconds", "images_seen")},
            )
            for one in trials
        }

    def add(
        self, number: int, cell: str, settings: Mapping[str, Any], space: Mapping[str, BaseDistribution], tried: Tried
    ) -> None:
        """Write a trial that counts."""
        with self._optuna() as optuna:
            states = optuna.trial.TrialState
            self._study.add_trial(
                optuna.trial.create_trial(
                    state=states.FAIL if tried.objective is None else states.COMPLETE,
                    value=tried.objective,
                    params=dict(settings),
                    distributions=dict(space),
                    user_attrs={
                        "trial": number,
                        "cell": cell,
                        "status": tried.status,
                        "reason": tried.reason,
                        "scores": {name: dict(values) for name, values in tried.scores.items()},
                        "seconds": tried.seconds,
                        "images_seen": tried.images_seen,
                    },
                )
            )

    @property
    def reference(self) -> Mapping[str, Mapping[str, float]]:
        """Validation scores of the untrained network that objectives start from; empty before the first trial."""
        with self._optuna():
            found: Mapping[str, Mapping[str, float]] = self._study.user_attrs.get("reference", {})
        return found

    @reference.setter
    def reference(self, scores: Mapping[str, Mapping[str, float]]) -> None:
        with self._optuna():
            self._study.set_user_attr("reference", {name: dict(values) for name, values in scores.items()})

    @contextlib.contextmanager
    def _optuna(self) -> Iterator[Any]:
        """The module optuna with its log silenced and its errors turned into `CacheError`."""
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            yield optuna
        except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__).removesuffix(".")
            trouble = trouble_of(error)
            meaning = f"{trouble.what} ({reason})" if trouble and trouble.what else reason
            away = "Or move the file away: trials are then taken up from the store of results."
            waits = trouble in (LOCKED, FULL)
            hint = trouble.hint if trouble and waits else f"See that you may read and write it. {away}"
            raise CacheError(f"The trials in {self._path} cannot be used: {meaning}.", hint) from error
        finally:
            optuna.logging.set_verbosity(before)
