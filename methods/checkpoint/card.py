"""Facts of weights that come from a file."""

from __future__ import annotations

from dataclasses import dataclass

from hcbench.errors import WeightsError, did_you_mean
from hcbench.methods.card import MethodCard
from hcbench.methods.weight_layout import WeightLayout, known_layouts

OWN = "hcbench"
"""The layout of hcbench's own checkpoint folders."""
TIMM = "timm:"
"""What a layout begins with that is the name of a timm model."""
RESNET = WeightLayout(
    name="resnet",
    title="ResNet",
    adapter="hcbench.methods.parts.weights.foreign:resnet",
    recognises="hcbench.methods.parts.weights.foreign:is_resnet",
    published_on="imagenet",
)
"""The one layout that is no method's: torchvision's names, also inside MoCo's files."""

NORMALISATIONS = {"imagenet": "ImageNet's mean and std", "half": "mean and std .5"}
"""How pixels may be normalised for a file's weights (`--normalise NAME`), where not as its layout says."""

WEIGHTS, VOCABULARY = "weights", "vocabulary"
"""Names of the files that a cell may be given (`Context.files`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Which file; `hcbench evaluate` fills it in.

    Attributes:
        layout: A name of `weight_layout.known_layouts`, `timm:NAME`, or hcbench's own.
        sha256: Of the file, its first 16 digits; empty for the random control of its architecture.
        vocabulary: The same of a word list for the text tower; empty where there is none.
        allow_partial: Whether a file that fits too badly is taken.
        normalise: A name of `NORMALISATIONS`; empty where the layout is to say.
        knobs: Whether the encoder has the knobs of its layout's method; a SOLIDER file may lack the controller.
        weights_key: The part of the file to take (`--weights-key`); empty takes what the layout takes.
        weights_size: What the weights were trained at as HEIGHTxWIDTH (`--weights-size`); empty where nobody says.
        random: The control: the same architecture with random weights.
    """

    layout: str = ""
    sha256: str = ""
    vocabulary: str = ""
    allow_partial: bool = False
    normalise: str = ""
    knobs: bool = True
    weights_key: str = ""
    weights_size: str = ""
    random: bool = False


CARD = MethodCard(
    name="checkpoint",
    title="Checkpoint",
    summary="Weights of a file, trained elsewhere; `hcbench evaluate FILE` scores them.",
    needs=frozenset({"images"}),
    layout="identities",
    supervision="given",
    config=Config,
    implementation="hcbench.methods.checkpoint.method:Checkpoint",
    sampling="images",
    trains=False,
    text_tower="vocabulary",
    weight_layouts=(RESNET,),
    layout_setting="layout",
)


def check_layout(layout: str) -> None:
    """Raise a WeightsError where a layout of files is none; names of timm models are not looked up here."""
    if layout not in known_layouts() and not (layout.startswith(TIMM) and layout != TIMM):
        names = [*known_layouts(), f"{TIMM}NAME"]
        raise WeightsError(f"No layout of weight files is called {layout!r}.", did_you_mean(layout, names))


def layout_title(layout: str) -> str:
    """How tables write the layout of a file: a layout's title, or `timm:NAME` as it is."""
    return known_layouts()[layout].title if layout in known_layouts() else layout
