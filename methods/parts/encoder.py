"""`Encoder`: one interface over every backbone, and feature extraction through it.

Backbones stand in `backbones.py`; saving and loading in `checkpoint.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from hcbench.data.augment import normalise
from hcbench.data.samples import ImageArray
from hcbench.errors import MethodError

if TYPE_CHECKING:
    from hcbench.methods.parts.text import ImageProjection, TextTower

__all__ = ["READOUTS", "TOKEN_READOUTS", "Encoder", "Features", "encode_all", "grid_of", "normalise"]

READOUTS = ("cls", "mean", "cls+stripes")
"""What every encoder offers, and validation chooses from."""
TOKEN_READOUTS = ("pose", "cls+pose")
"""What encoders with a token [POSE] offer besides; never chosen, only named."""


def grid_of(size: tuple[int, int], cell: int) -> tuple[int, int]:
    """Rows and columns of square cells of about `cell` pixels that cover an input, at least one each way."""
    return max(1, round(size[0] / cell)), max(1, round(size[1] / cell))


@dataclass(frozen=True, slots=True)
class Features:
    """What an encoder says of a batch.

    Attributes:
        pooled: (B, D), [CLS] after the final norm where there is one, else the mean of the grid.
        grid: (B, D, h, w), the token grid after the final norm.
        tokens: Extra tokens by name, each (B, D).
    """

    pooled: Tensor
    grid: Tensor
    tokens: dict[str, Tensor] = field(default_factory=dict)


class Encoder(nn.Module, ABC):
    """A backbone behind one interface.

    Attributes:
        dim: Length D of the pooled vector.
        grid_size: Rows and columns (h, w) of the token grid at the input size.
        input_size: Height and width of the input that the encoder was built for, pixels.
        text: The text tower that was trained beside the backbone, None for image-only methods.
        image_projection: From features to the space of the text tower's vectors; None without a tower.
        oracle: Whether evaluations take the truth as predictions and ask for no features.
    """

    dim: int
    grid_size: tuple[int, int]
    input_size: tuple[int, int]
    text: TextTower | None
    image_projection: ImageProjection | None
    oracle: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.register_module("text", None)
        self.register_module("image_projection", None)

    @abstractmethod
    def forward(self, images: Tensor, **knobs: float) -> Features:
        """Encode normalised images, float (B, 3, H, W).

        Args:
            images: See `normalise`.
            knobs: Settings of the forward pass by name, for encoders that have some (SOLIDER's lambda);
                an encoder without knobs refuses them.
        """

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments, of json types, from which `from_arguments` builds the same architecture."""

    @classmethod
    def from_arguments(cls, arguments: dict[str, Any]) -> Encoder:
        """Build the encoder that `arguments` describes; its weights are still to be loaded."""
        return cls(**arguments)

    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint stores; backbones store the plain state dict of their library, text has its own file."""
        towers = ("text.", "image_projection.")
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith(towers)}

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Take what `weights` gave; a name too many or too few is an error."""
        self.load_state_dict(weights)

    def join_text(self, tower: TextTower, projection: ImageProjection) -> None:
        """Put a text tower beside the backbone; both become part of the encoder and of its checkpoint."""
        self.text, self.image_projection = tower, projection

    def embed_image(self, images: Tensor, **knobs: float) -> Tensor:
        """Image vectors (B, K) in the space shared with texts, not normalised; compare by cosine.

        Args:
            images: float (B, 3, H, W), see `normalise`.
            knobs: Passed to the encoder.

        Raises:
            MethodError: The encoder has no text tower.
        """
        _, projection = self.towers()
        embedded: Tensor = projection(self(images, **knobs))
        return embedded

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """Text vectors (N, K), float32 on the CPU, in evaluation mode, not normalised; compare by cosine.

        Raises:
            MethodError: The encoder has no text tower.
        """
        tower, _ = self.towers()
        return tower.encode(texts)

    def towers(self) -> tuple[TextTower, ImageProjection]:
        """The text tower, and the image's way into the space of its vectors.

        Raises:
            MethodError: There are none.
        """
        if self.text is None or self.image_projection is None:
            raise MethodError(
                "This encoder has no text tower: its method did not train one.",
                "Choose a method with texts, such as plip, or stablerep with stablerep.language=true.",
            )
        return self.text, self.image_projection

    def knob_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that knobs of the forward pass drive; none where there are no knobs."""
        return iter(())

    @property
    def device(self) -> torch.device:
        """Where the encoder computes; the CPU if it has neither parameters nor buffers."""
        tensors = [*self.parameters(), *self.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")


@torch.no_grad()
def encode_all(encoder: Encoder, images: ImageArray, batch_size: int = 250, **knobs: float) -> Features:
    """Features of all images in evaluation mode, float32 on the CPU.

    Args:
        encoder: Left in the mode (training or evaluation) it was in.
        images: uint8 (N, 3, H, W), RGB, an array or anything that gives one for a slice of indices.
        batch_size: Images per forward pass.
        knobs: Passed to the encoder.
    """
    was_training = encoder.training
    encoder.eval()
    device = encoder.device
    parts: list[Features] = []
    try:
        for start in range(0, len(images), batch_size):
            pixels = torch.from_numpy(images[start : start + batch_size].copy()).to(device)
            out = encoder(normalise(pixels), **knobs)
            tokens = {name: token.float().cpu() for name, token in out.tokens.items()}
            parts.append(Features(out.pooled.float().cpu(), out.grid.float().cpu(), tokens))
    finally:
        encoder.train(was_training)
    if not parts:
        return Features(torch.zeros(0, encoder.dim), torch.zeros(0, encoder.dim, *encoder.grid_size))
    names = parts[0].tokens
    return Features(
        torch.cat([part.pooled for part in parts]),
        torch.cat([part.grid for part in parts]),
        {name: torch.cat([part.tokens[name] for part in parts]) for name in names},
    )
