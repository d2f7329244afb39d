"""StableRep's published weights (google-research/syn-rep-learn, folder StableRep: `checkpoint-<epoch>.pth`).

A training file: `model, optimizer, epoch, scaler, args`; `model` holds `visual.*`, a timm ViT, and `image_mlp.*`, the
projector; StableRep+ files also hold a text tower. Only `visual.*` is taken.
"""

from __future__ import annotations

from dataclasses import replace

from hcbench.errors import WeightsError
from hcbench.methods.parts.weights.fitting import Adapted
from hcbench.methods.parts.weights.foreign import PATCHES, vit
from hcbench.methods.parts.weights.reading import Tree
from hcbench.methods.parts.weights.wrappers import take


def adapt(tree: Tree, size: tuple[int, int]) -> Adapted:
    """The image tower of a StableRep file; see `hcbench.methods.parts.weights.fitting.Adapter`.

    Raises:
        WeightsError: The file holds no `visual.*`.
    """
    taken = take(tree, PATCHES, prefer=("model",))
    if "visual" not in taken.wrapper:
        raise WeightsError(
            "The file is no StableRep checkpoint: no name begins with visual.", "Name what it is with --as."
        )
    # Projector, text tower and scales: known and not needed.
    own = {name: tensor for name, tensor in taken.state.items() if name not in taken.beside}
    taken = replace(taken, state=own, dropped=taken.beside + taken.dropped)
    return vit(taken, size, note="StableRep, image tower only")


def recognises(names: frozenset[str], tree: Tree) -> bool:
    """An image tower below `visual.` beside StableRep's projector."""
    return "visual.patch_embed.proj.weight" in names and any(name.startswith("image_mlp.") for name in names)
