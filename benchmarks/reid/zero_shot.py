"""Person ReID without a head or any choice: nearest neighbours of the vector that the method itself compares.

Of an encoder with a text tower that is the image's vector in the space shared with texts, on which its contrast was
taken (Zuo et al., PLIP, NeurIPS 2024: "visual embeddings"); of any other the pooled vector. The protocol
`frozen` learns a metric on training persons; here nothing is learned, and validation is not even looked at. Another
readout is scored by its name (`evaluate.readout=cls,mean,cls+stripes`); which of them is best on validation stands in
the record of `frozen` (`nearest_neighbour_mAP`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from numpy.typing import NDArray

from hcbench.benchmarks.base import Inputs, Split
from hcbench.benchmarks.readout import candidates
from hcbench.benchmarks.reid.task import Reid, normalised

PROJECTED = "projected into the space of the encoder's texts"


class ZeroShotReid(Reid):
    """The benchmark `reid`, protocol `zero-shot`."""

    zero_shot = True

    def fit(self, train: Split, val: Split) -> Mapping[str, Any]:
        """Nothing is fitted or chosen."""
        return {}

    def predict(self, test: Inputs) -> Mapping[str, NDArray[Any]]:
        """As `Reid.predict`, of the encoder's own vector where `evaluate.readout` names nothing else."""
        if self.config.readout != "auto":
            readout = candidates(self.config.readout)[0]
        elif test.embedded is not None:
            self._record = {"readout": PROJECTED}
            return {"features": F.normalize(test.embedded.image, dim=1).numpy()}
        else:
            readout = "cls"
        self._record = {"readout": readout}
        return {"features": normalised(test.features, readout)}
