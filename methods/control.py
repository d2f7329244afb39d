"""`Control`: a row of every table that is not trained."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from hcbench.errors import MethodError
from hcbench.methods.base import Batch, Method, Objective, Step, Views


class Control(Method):
    """A method without stages; asking it to train is a mistake of the caller."""

    def views(self, batch: Batch, generator: torch.Generator) -> Views:
        """Refuse: there is nothing to train on."""
        raise self._untrained()

    def objectives(self, views: Views, step: Step) -> Iterator[Objective]:
        """Refuse: there is nothing to minimise."""
        raise self._untrained()

    def _untrained(self) -> MethodError:
        return MethodError(
            f"The control {self.card.name!r} is not trained.", "Evaluate its encoder; it has no training stages."
        )
