"""DINO's published weights for ViTs (facebookresearch/dino: backbone files, and full checkpoints).

A full checkpoint holds `student` and `teacher` with `backbone.*` and `head.*`; the teacher is taken.
"""

from __future__ import annotations

from hcbench.methods.parts.weights.fitting import Adapted
from hcbench.methods.parts.weights.foreign import PATCHES, vit
from hcbench.methods.parts.weights.reading import Tree
from hcbench.methods.parts.weights.wrappers import take


def adapt(tree: Tree, size: tuple[int, int]) -> Adapted:
    """The teacher's backbone of a DINO file; see `hcbench.methods.parts.weights.fitting.Adapter`."""
    taken = take(tree, PATCHES, prefer=("teacher", "student", "state_dict"))
    # Files of a backbone alone are the teacher's.
    whose = "student" if "student" in taken.wrapper and "teacher" not in taken.wrapper else "teacher"
    return vit(taken, size, note=f"DINO {whose}, backbone only")


def recognises(names: frozenset[str], tree: Tree) -> bool:
    """A ViT, as student and as teacher."""
    return "patch_embed.proj.weight" in names and "teacher" in tree and "student" in tree
