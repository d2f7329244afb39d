"""HAP's published weights (junkunyuan/HAP: `ckpt_default_pretrain_pose_mae_vit_base_patch16_LUPersonPose_399.pth`).

A training file: `epoch, arch, model, optimizer, scaler`; `model` holds the whole auto-encoder in timm's names, of which
the decoder is left out.
"""

from __future__ import annotations

from hcbench.methods.parts.weights.fitting import Adapted
from hcbench.methods.parts.weights.foreign import PATCHES, is_auto_encoder, vit
from hcbench.methods.parts.weights.reading import Tree
from hcbench.methods.parts.weights.wrappers import take


def adapt(tree: Tree, size: tuple[int, int]) -> Adapted:
    """The encoder of a HAP file; see `hcbench.methods.parts.weights.fitting.Adapter`."""
    taken = take(tree, PATCHES, prefer=("model",))
    heads = ("decoder_", "mask_token")
    return vit(taken, size, note="HAP auto-encoder, encoder only", heads=heads, trained_at=((256, 128),))


def recognises(names: frozenset[str], tree: Tree) -> bool:
    """MAE's auto-encoder, whose file calls its architecture a pose one."""
    return is_auto_encoder(names, tree) and "pose" in str(tree.get("arch", ""))
