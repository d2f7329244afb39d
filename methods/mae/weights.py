"""MAE's published weights (facebookresearch/mae: `mae_pretrain_vit_base.pth` and the files with decoder)."""

from __future__ import annotations

from hcbench.methods.parts.weights.fitting import Adapted
from hcbench.methods.parts.weights.foreign import PATCHES, is_auto_encoder, vit
from hcbench.methods.parts.weights.reading import Tree
from hcbench.methods.parts.weights.wrappers import take


def adapt(tree: Tree, size: tuple[int, int]) -> Adapted:
    """The encoder of an MAE file; see `hcbench.methods.parts.weights.fitting.Adapter`."""
    taken = take(tree, PATCHES, prefer=("model",))
    heads = ("decoder_", "mask_token")
    return vit(taken, size, note="MAE auto-encoder, encoder only", heads=heads)


def recognises(names: frozenset[str], tree: Tree) -> bool:
    """An auto-encoder; a bare ViT may be of several projects, which disagree on the pixels."""
    return is_auto_encoder(names, tree) and "pose" not in str(tree.get("arch", ""))
