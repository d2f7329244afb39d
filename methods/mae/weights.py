"""MAE's published weights (facebookresearch/mae: `mae_pretrain_vit_base.pth` and the files with decoder)."""

from __future__ import annotations

from hcbench.methods.parts.foreign import is_auto_encoder, vit
from hcbench.methods.parts.weights import Adapted, Tree, entry, tensors, without


def adapt(tree: Tree, size: tuple[int, int]) -> Adapted:
    """The encoder of an MAE file; see `hcbench.methods.parts.weights.Adapter`."""
    state, dropped = without(tensors(entry(tree, "model"), "module."), "decoder_", "mask_token")
    return vit(state, size, note="MAE auto-encoder, encoder only", dropped=dropped)


def recognises(names: frozenset[str], tree: Tree) -> bool:
    """An auto-encoder; a bare ViT may be of several projects, which disagree on the pixels."""
    return is_auto_encoder(names, tree) and "pose" not in str(tree.get("arch", ""))
