"""StableRep's published weights (google-research/syn-rep-learn, folder StableRep: `checkpoint-<epoch>.pth`).

A training file: `model, optimizer, epoch, scaler, args`; `model` holds `visual.*`, a timm ViT, and `image_mlp.*`, the
projector; StableRep+ files also hold a text tower. Only `visual.*` is taken.
"""

from __future__ import annotations

from hcbench.errors import WeightsError
from hcbench.methods.parts.foreign import vit
from hcbench.methods.parts.weights import Adapted, Tree, entry, tensors


def adapt(tree: Tree, size: tuple[int, int]) -> Adapted:
    """The image tower of a StableRep file; see `hcbench.methods.parts.weights.Adapter`.

    Raises:
        WeightsError: The file holds no `visual.*`.
    """
    everything = tensors(entry(tree, "model"), "module.")
    state = {name.removeprefix("visual."): value for name, value in everything.items() if name.startswith("visual.")}
    if not state:
        raise WeightsError(
            "The file is no StableRep checkpoint: no name begins with visual.", "Name what it is with --as."
        )
    dropped = tuple(name for name in everything if not name.startswith("visual."))
    return vit(state, size, note="StableRep, image tower only", dropped=dropped)


def recognises(names: frozenset[str], tree: Tree) -> bool:
    """An image tower below `visual.` beside StableRep's projector."""
    return "visual.patch_embed.proj.weight" in names and any(name.startswith("image_mlp.") for name in names)
