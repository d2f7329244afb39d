"""HAP's published weights (junkunyuan/HAP: `ckpt_default_pretrain_pose_mae_vit_base_patch16_LUPersonPose_399.pth`).

A training file: `epoch, arch, model, optimizer, scaler`; `model` holds the whole auto-encoder in timm's names, of which
the decoder is left out.
"""

from __future__ import annotations

from hcbench.methods.parts.foreign import is_auto_encoder, vit
from hcbench.methods.parts.weights import Adapted, Tree, entry, tensors, without


def adapt(tree: Tree, size: tuple[int, int]) -> Adapted:
    """The encoder of a HAP file; see `hcbench.methods.parts.weights.Adapter`."""
    state, dropped = without(tensors(entry(tree, "model"), "module."), "decoder_", "mask_token")
    return vit(state, size, note="HAP auto-encoder, encoder only", dropped=dropped)


def recognises(names: frozenset[str], tree: Tree) -> bool:
    """MAE's auto-encoder, whose file calls its architecture a pose one."""
    return is_auto_encoder(names, tree) and "pose" in str(tree.get("arch", ""))
