"""Person ReID without any choice: nearest neighbours of the pooled vector.

Under `frozen` nothing is trained either, but validation chooses the readout; here not even that is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from hcbench.benchmarks.base import Inputs, Split
from hcbench.benchmarks.readout import candidates
from hcbench.benchmarks.reid.task import Reid, normalised


class ZeroShotReid(Reid):
    """The benchmark `reid`, protocol `zero-shot`."""

    zero_shot = True

    def fit(self, train: Split, val: Split) -> Mapping[str, Any]:
        """Nothing is fitted or chosen."""
        return {}

    def predict(self, test: Inputs) -> Mapping[str, NDArray[Any]]:
        """As `Reid.predict`, of the pooled vector where `evaluate.readout` names nothing else."""
        readout = "cls" if self.config.readout == "auto" else candidates(self.config.readout)[0]
        self._record = {"readout": readout}
        return {"features": normalised(test.features, readout)}
