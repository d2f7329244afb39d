"""DINO's published weights for ViTs (facebookresearch/dino: backbone files, and full checkpoints).

A full checkpoint holds `student` and `teacher` with `backbone.*` and `head.*`; the teacher is taken.
"""

from __future__ import annotations

from hcbench.methods.parts.foreign import vit
from hcbench.methods.parts.weights import Adapted, Tree, entry, tensors, without


def adapt(tree: Tree, size: tuple[int, int]) -> Adapted:
    """The teacher's backbone of a DINO file; see `hcbench.methods.parts.weights.Adapter`."""
    state, dropped = without(tensors(entry(tree, "teacher", "student", "state_dict"), "module.", "backbone."), "head.")
    return vit(state, size, note="DINO teacher, backbone only", dropped=dropped)


def recognises(names: frozenset[str], tree: Tree) -> bool:
    """A ViT, as student and as teacher."""
    return "patch_embed.proj.weight" in names and "teacher" in tree and "student" in tree
