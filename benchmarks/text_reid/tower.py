"""The text side of the probe: a word list, and two 1-D convolutions over word embeddings.

Shape suffixes: B captions, T words of the longest caption, V words of the vocabulary, C channels, K features.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAD, UNKNOWN = 0, 1
"""Token ids that stand for no word."""
_WORD = re.compile(r"[^\W_]+", re.UNICODE)


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """Words to numbers, by a fixed word list.

    Attributes:
        words: The vocabulary, sorted; word i has the number i + 2, after padding and the unknown word.

    >>> Tokenizer.from_captions(["A red coat.", "a RED hat"]).encode(["a blue hat"]).tolist()
    [[2, 1, 4]]
    """

    words: tuple[str, ...]

    @classmethod
    def from_captions(cls, captions: Iterable[str]) -> Tokenizer:
        """The sorted words of some captions."""
        return cls(tuple(sorted({word for caption in captions for word in split_words(caption)})))

    def __len__(self) -> int:
        return len(self.words) + 2

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Token numbers int64 (B, T), padded on the right; a caption without words is one unknown word."""
        number = {word: index + 2 for index, word in enumerate(self.words)}
        rows = [[number.get(word, UNKNOWN) for word in split_words(caption)] or [UNKNOWN] for caption in captions]
        tokens = torch.full((len(rows), max(map(len, rows), default=1)), PAD)
        for row, line in zip(tokens, rows, strict=True):
            row[: len(line)] = torch.tensor(line)
        return tokens


def split_words(caption: str) -> list[str]:
    """Lower-case words and numbers; punctuation separates.

    >>> split_words("Dark-blue jeans, 2 bags.")
    ['dark', 'blue', 'jeans', '2', 'bags']
    """
    return _WORD.findall(caption.lower())


class TwoTowers(nn.Module):
    """A linear projection of frozen image features and a text tower into one space.

    The first convolution over word embeddings is linear in the words, so it is computed once per vocabulary word and
    looked up; this is the same function as a convolution over the embedded caption at a fraction of its cost.

    Args:
        features: Image features K.
        vocabulary: Token numbers V.
        generator: Source of the initial weights.
        word_dim: Size of a word embedding.
        channels: Channels of the first and the second convolution.
        dim: Size of the common space.
    """

    def __init__(
        self,
        features: int,
        vocabulary: int,
        *,
        generator: torch.Generator,
        word_dim: int = 64,
        channels: tuple[int, int] = (48, 64),
        dim: int = 128,
    ) -> None:
        super().__init__()

        def weight(*shape: int, fan_in: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator) / math.sqrt(fan_in))

        self.image = weight(features, dim, fan_in=features)
        self.image_bias = nn.Parameter(torch.zeros(dim))
        self.words = weight(vocabulary, word_dim, fan_in=1)
        self.conv1 = weight(word_dim, 3 * channels[0], fan_in=3 * word_dim)
        self.bias1 = nn.Parameter(torch.zeros(channels[0]))
        self.conv2 = weight(3 * channels[0], channels[1], fan_in=3 * channels[0])
        self.bias2 = nn.Parameter(torch.zeros(channels[1]))
        self.text = weight(channels[1], dim, fan_in=channels[1])
        self.text_bias = nn.Parameter(torch.zeros(dim))

    def encode_image(self, features_BK: Tensor) -> Tensor:
        """Image embeddings (B, dim) of standardised features, not normalised."""
        return torch.addmm(self.image_bias, features_BK, self.image)

    def encode_text(self, tokens_BT: Tensor) -> Tensor:
        """Caption embeddings (B, dim), not normalised."""
        taps_V3C = self.words @ self.conv1
        # Padding is silence, not a word: its row is zero, so that a caption reads the same beside a longer one.
        taps_V3C = torch.cat([torch.zeros_like(taps_V3C[:1]), taps_V3C[1:]])
        before, centre, after = F.embedding(tokens_BT, taps_V3C).chunk(3, dim=2)
        here_BT1 = (tokens_BT != PAD).unsqueeze(2)
        x_BTC = F.relu(_shifted(before, 1) + centre + _shifted(after, -1) + self.bias1) * here_BT1
        # The same convolution as one matrix product: several times faster than conv1d on so few channels.
        x_BTC = torch.cat([_shifted(x_BTC, 1), x_BTC, _shifted(x_BTC, -1)], dim=2) @ self.conv2 + self.bias2
        # Zero is the least that relu gives, so zeroed padding never wins the maximum.
        pooled_BC = (F.relu(x_BTC) * here_BT1).amax(dim=1)
        return torch.addmm(self.text_bias, pooled_BC, self.text)


def _shifted(x_BTC: Tensor, by: int) -> Tensor:
    """Each word's vector moved one place on (by = 1) or back (by = -1); zeros come in."""
    return F.pad(x_BTC, (0, 0, 1, 0))[:, :-1] if by > 0 else F.pad(x_BTC, (0, 0, 0, 1))[:, 1:]
