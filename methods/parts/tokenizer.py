"""A WordPiece tokenizer with a vocabulary that is written down, not trained.

Training one is not deterministic (huggingface/tokenizers issue 1794), and a corpus whose word list is known needs none.
The same words give the same file in every process, and a checkpoint keeps that file: its weights depend on the numbers.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcbench.errors import WeightsError

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNKNOWN, CLS, SEP, MASK = range(len(SPECIALS))
_REMEMBERED = 1 << 17
"""Texts whose tokens are kept, half a kilobyte each."""
_CHARACTERS = frozenset(string.ascii_lowercase + string.digits + string.punctuation)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of B texts, padded on the right to the longest of them (L).

    Attributes:
        ids: int64 (B, L).
        mask: bool (B, L), where a token is.
        spans: int64 (B, L, 2), first character of each token and the one after its last; 0, 0 for special tokens.
    """

    ids: Tensor
    mask: Tensor
    spans: Tensor

    def to(self, device: torch.device) -> Tokens:
        """The tokens on `device`."""
        return Tokens(self.ids.to(device), self.mask.to(device), self.spans.to(device))


class Tokenizer:
    """Texts to numbers: lower case, split at white space and punctuation, words outside the list spelled out.

    Args:
        backend: A `tokenizers.Tokenizer` that knows `SPECIALS`, [PAD] as number 0, and a truncation; see `from_words`,
            `from_vocabulary`, `from_json`.
    """

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self._remembered: dict[str, NDArray[np.int32]] = {}

    @classmethod
    def from_words(cls, words: Sequence[str], *, max_tokens: int) -> Tokenizer:
        """Special tokens, characters, characters that go on with a word, and the words; each part sorted.

        Args:
            words: Word list of a corpus; a word with punctuation inside counts as several.
            max_tokens: Where texts are cut, [CLS] and [SEP] included.
        """
        from transformers import BertTokenizer

        plain = BertTokenizer(vocab={name: i for i, name in enumerate(SPECIALS)}, do_lower_case=True).backend_tokenizer
        split = plain.pre_tokenizer.pre_tokenize_str
        pieces = {piece for word in words for piece, _ in split(plain.normalizer.normalize_str(word))}
        characters = sorted(_CHARACTERS.union(*pieces))
        entries = [*SPECIALS, *characters, *(f"##{c}" for c in characters), *sorted(p for p in pieces if len(p) > 1)]
        vocabulary = {entry: number for number, entry in enumerate(entries)}
        tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=max_tokens)
        tokenizer.backend_tokenizer.enable_truncation(max_tokens)
        return cls(tokenizer.backend_tokenizer)

    @classmethod
    def from_vocabulary(cls, entries: Sequence[str], *, max_tokens: int) -> Tokenizer:
        """BERT's own vocabulary, the lines of a `vocab.txt`; a token's number is that of its line, from 0.

        Args:
            entries: Lines of the file.
            max_tokens: Where texts are cut, [CLS] and [SEP] included.

        Raises:
            WeightsError: A token stands there twice, or a special one is missing or in another order.
        """
        from transformers import BertTokenizer

        vocabulary = {entry: number for number, entry in enumerate(entries)}
        if len(vocabulary) < len(entries):
            raise WeightsError("A vocabulary names a token twice.", "Take the vocab.txt that the model came with.")
        _check_specials({name: vocabulary.get(name) for name in SPECIALS})
        tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=max_tokens)
        tokenizer.backend_tokenizer.enable_truncation(max_tokens)
        return cls(tokenizer.backend_tokenizer)

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """Read what `to_json` wrote, or any `tokenizer.json` of BERT's kind.

        Raises:
            WeightsError: It is none, or its special tokens are others.
        """
        from tokenizers import Tokenizer as Backend

        try:
            backend = Backend.from_str(text)
        except Exception as error:  # the library has no class of its own
            raise WeightsError(f"A tokenizer cannot be read: {error}", "Restore the checkpoint's file.") from error
        _check_specials({name: backend.token_to_id(name) for name in SPECIALS})
        return cls(backend)

    def to_json(self) -> str:
        """All that the tokenizer is, in the format of the tokenizers library (`tokenizer.json`)."""
        return str(self.backend.to_str())

    @property
    def sha256(self) -> str:
        """Hash of `to_json`."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def __len__(self) -> int:
        return int(self.backend.get_vocab_size())

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Tokens of texts, on the CPU."""
        encoded = [self._encode(text) for text in texts]
        length = max(map(len, encoded), default=0)
        table = np.zeros((len(encoded), length, 3), np.int64)
        for row, one in enumerate(encoded):
            table[row, : len(one)] = one
        ids = torch.from_numpy(np.ascontiguousarray(table[..., 0]))
        return Tokens(ids, ids != PAD, torch.from_numpy(np.ascontiguousarray(table[..., 1:])))

    def _encode(self, text: str) -> NDArray[np.int32]:
        """Number, start and end of each token of a text, (L, 3); captions come again and again in training."""
        if text not in self._remembered:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            one = self.backend.encode(text)  # one at a time: the library's threads would disturb those of torch
            self._remembered[text] = np.column_stack([one.ids, one.offsets]).astype(np.int32)
        return self._remembered[text]


def _check_specials(numbers: Mapping[str, int | None]) -> None:
    """[PAD] is 0, as masks rely on it, and the others follow in the order of `SPECIALS`, as BERT has them."""
    found = sorted((number, name) for name, number in numbers.items() if number is not None)
    if tuple(name for _, name in found) != SPECIALS or found[0][0] != PAD:
        raise WeightsError(
            f"A tokenizer has the special tokens {', '.join(name for _, name in found) or '(none)'} from number "
            f"{found[0][0] if found else '-'} on; expected {', '.join(SPECIALS)} from number {PAD} on.",
            "Restore the file that the weights came with.",
        )
