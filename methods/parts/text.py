"""The text side of an encoder: a BERT of any size, and the image's way into the space of its vectors.

Shapes: B texts, L tokens of the longest, D width of the tower, K width of the shared space (D without a projection).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hcbench.errors import ConfigError
from hcbench.methods.parts.encoder import Features
from hcbench.methods.parts.heads import Projector
from hcbench.methods.parts.tokenizer import Tokenizer

_PIECE = 25
"""Texts that a CPU reads at once."""
TEXT_POOLS = ("mean", "pooler")
IMAGE_POOLS = ("cls", "mean", "max")


@dataclass(frozen=True, kw_only=True, slots=True)
class TextSpec:
    """Which text tower to build.

    Attributes:
        dim: Width D.
        layers: Blocks.
        heads: Attention heads.
        mlp_dim: Width of the blocks' hidden layer.
        max_tokens: Positions; longer texts are cut by the tokenizer.
        pool: "mean" of all tokens but padding, or BERT's "pooler" on [CLS].
        projection: Width of a linear map after pooling, 0 = none.
        hidden: Widths of hidden layers, which make that map a `Projector`.
        dropout: Of blocks and attention; BERT's 0.1 is for a larger tower that reads longer.
        spread: Standardised vectors' first deviation in each dimension, see `standardiser`; 0 leaves them as they are.
    """

    dim: int = 256
    layers: int = 4
    heads: int = 4
    mlp_dim: int = 1024
    max_tokens: int = 64
    pool: str = "mean"
    projection: int = 0
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0
    spread: float = 0.0

    def __post_init__(self) -> None:
        if self.pool not in TEXT_POOLS:
            raise ConfigError(f"A text tower pools by {self.pool!r}.", f"Use one of: {', '.join(TEXT_POOLS)}.")
        if self.dim % self.heads:
            raise ConfigError(f"A text tower of width {self.dim} has {self.heads} heads.", "Heads divide the width.")
        if self.max_tokens < 3:
            raise ConfigError(f"A text tower has {self.max_tokens} positions.", "[CLS], a word and [SEP] need 3.")


class TextTower(nn.Module):
    """transformers' `BertModel` from random weights, with its tokenizer.

    Args:
        spec: Its size.
        tokenizer: Gives the numbers that the tower understands.
    """

    def __init__(self, spec: TextSpec, tokenizer: Tokenizer) -> None:
        # A second's import that image-only methods do without.
        from transformers import BertConfig, BertModel

        super().__init__()
        self.spec, self.tokenizer = spec, tokenizer
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=spec.dim,
            num_hidden_layers=spec.layers,
            num_attention_heads=spec.heads,
            intermediate_size=spec.mlp_dim,
            max_position_embeddings=spec.max_tokens,
            hidden_dropout_prob=spec.dropout,
            attention_probs_dropout_prob=spec.dropout,
            pad_token_id=0,
        )
        self.bert: nn.Module = BertModel(config, add_pooling_layer=spec.pool == "pooler")
        self.projection: nn.Module = nn.Identity()
        if spec.projection:
            mlp = Projector(spec.dim, (*spec.hidden, spec.projection)) if spec.hidden else None
            self.projection = unbiased(spec.dim, spec.projection) if mlp is None else mlp
        self.norm = standardiser(self.dim, spec.spread) if spec.spread else nn.Identity()

    @property
    def dim(self) -> int:
        """Width K of what `encode` gives."""
        return self.spec.projection or self.spec.dim

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode tokens.

        Args:
            input_ids: int64 (B, L).
            attention_mask: bool or int (B, L), 0 = padding.

        Returns:
            The tokens' last hidden states (B, L, D), and one vector per text (B, K), not normalised.
        """
        hidden, pooled = self._read(input_ids, attention_mask)
        return hidden, self.norm(self.projection(pooled))

    def states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The tokens' last hidden states alone (B, L, D): texts that no vector's statistics should know."""
        return self._read(input_ids, attention_mask)[0]

    def _read(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states (B, L, D) and what they are pooled to (B, D), by pieces of texts of similar length.

        Captions differ by half in their length, and padding costs as much as words do. Nothing sees the padding, so
        the pieces change no number but its rounding. What stands in the place of padding means nothing.
        """
        lengths = attention_mask.sum(dim=1)
        if input_ids.device.type != "cpu" or len(lengths) <= _PIECE:  # an accelerator has its own threads to fill
            return self._piece(input_ids, attention_mask)
        order = lengths.argsort(descending=True, stable=True)
        hidden, pooled = [], []
        for piece in order.split(_PIECE):
            length = int(lengths[piece].max())
            states, vectors = self._piece(input_ids[piece, :length], attention_mask[piece, :length])
            hidden.append(F.pad(states, (0, 0, 0, input_ids.shape[1] - length)))
            pooled.append(vectors)
        back = order.argsort()
        return torch.cat(hidden)[back], torch.cat(pooled)[back]

    def _piece(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        out = self.bert(input_ids=input_ids, attention_mask=attention_mask.long())
        hidden: Tensor = out.last_hidden_state
        return hidden, out.pooler_output if self.spec.pool == "pooler" else masked_mean(hidden, attention_mask)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Vectors of texts in evaluation mode, float32 (N, K) on the CPU, not normalised."""
        was_training = self.training
        self.eval()
        device = next(self.parameters()).device
        parts = [torch.zeros(0, self.dim)]
        try:
            for start in range(0, len(texts), batch_size):
                tokens = self.tokenizer(texts[start : start + batch_size]).to(device)
                parts.append(self(tokens.ids, tokens.mask)[1].float().cpu())
        finally:
            self.train(was_training)
        return torch.cat(parts)


class ImageProjection(nn.Module):
    """The image's way into the shared space: pooling, then a map.

    Args:
        dim: Width of the encoder.
        out: Width K of the shared space.
        pool: "cls" takes the encoder's pooled vector ([CLS] where there is one), "mean" and "max" that of the grid.
        bias: Whether the map has one; a `Projector` always does.
        hidden: Widths of hidden layers, which make the linear map a `Projector`.
        spread: Standardised vectors' first deviation in each dimension, see `standardiser`; 0 leaves them as they are.
    """

    def __init__(
        self,
        dim: int,
        out: int,
        *,
        pool: str = "cls",
        bias: bool = True,
        hidden: Sequence[int] = (),
        spread: float = 0.0,
    ) -> None:
        super().__init__()
        if pool not in IMAGE_POOLS:
            raise ConfigError(f"An image projection pools by {pool!r}.", f"Use one of: {', '.join(IMAGE_POOLS)}.")
        self.dim, self.out, self.pool, self.spread = dim, out, pool, spread
        self.bias, self.hidden = bias, tuple(hidden)
        self.linear: nn.Module
        if self.hidden:
            self.linear = Projector(dim, (*self.hidden, out))
        elif bias:
            self.linear = nn.Linear(dim, out)
            nn.init.xavier_uniform_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
        else:
            self.linear = unbiased(dim, out)
        self.norm = standardiser(out, spread) if spread else nn.Identity()

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments, of json types, that build the same map."""
        return {
            "dim": self.dim,
            "out": self.out,
            "pool": self.pool,
            "bias": self.bias,
            "hidden": list(self.hidden),
            "spread": self.spread,
        }

    def forward(self, features: Features) -> Tensor:
        """Image vectors (B, K), not normalised."""
        if self.pool == "cls":
            pooled = features.pooled
        else:
            grid = features.grid.flatten(2)
            pooled = grid.mean(dim=2) if self.pool == "mean" else grid.amax(dim=2)
        out: Tensor = self.norm(self.linear(pooled))
        return out


def masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean over tokens (B, L, D) that are no padding, (B, D), at least float32.

    >>> masked_mean(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]]))
    tensor([[2.]])
    """
    weight = mask.float()[..., None]
    return (hidden.float() * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


def unbiased(dim: int, out: int) -> nn.Linear:
    """CLIP's projection: no bias, deviation dim^-1/2 (StableRep models/StableRep.py)."""
    linear = nn.Linear(dim, out, bias=False)
    nn.init.normal_(linear.weight, std=dim**-0.5)
    return linear


def standardiser(dim: int, spread: float) -> nn.BatchNorm1d:
    """Every dimension to mean 0 and deviation `spread` in a batch, in evaluation by running statistics.

    From random weights all images have nearly one vector, and so have all texts. A contrast of both falls fastest by
    making them one entirely; standardised vectors cannot become that. The deviations are learned, means stay 0: what
    all vectors share tells nothing.

    Args:
        dim: Dimensions.
        spread: First deviation of each. Where it is small the contrast's similarities are, too: it then has little
            chance agreement to undo before it learns.
    """
    norm = nn.BatchNorm1d(dim)
    nn.init.constant_(norm.weight, spread)
    norm.bias.requires_grad_(False)
    return norm
