"""Text-to-image ReID on frozen features: a linear image projection and a small text tower.

Training pairs are all (image, caption) of the training split; pairs of one identity are positives. Every caption of a
person is a query, all images of the split are the gallery, distractors included.

DEVIATION (PLIP's linear probe, CMPM of Zhang and Lu, ECCV 2018): cross-entropy of cosines, with uniform targets over
the pairs of an identity. CMPM is flat for most of so short a training, and scored how soon features left its plateau.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hcbench.benchmarks.base import FeatureTable, Inputs, Scores, Split, Task
from hcbench.benchmarks.heads import Standardiser, cosine_factor, head_generator, minibatches, one_thread, steps_for
from hcbench.benchmarks.metrics.bootstrap import resample_weights
from hcbench.benchmarks.metrics.text_reid import TextRankMetrics, rank_metrics_blockwise
from hcbench.benchmarks.readout import candidates, joined
from hcbench.benchmarks.scoring import best_trial, identity_codes, need, sample_columns, selection
from hcbench.benchmarks.text_reid.card import CARD
from hcbench.benchmarks.text_reid.tower import UNKNOWN, Tokenizer, TwoTowers
from hcbench.data.samples import Samples
from hcbench.errors import TaskError
from hcbench.methods.parts.losses import multi_positive_image_text

logger = logging.getLogger(__name__)

PASSES = 8.0
"""Passes over the (image, caption) pairs."""
SEARCH_SHARE = 0.25
"""Length of the runs that choose the readout, as a share of the full one."""
BATCH_SIZE = 64
TEMPERATURE = 0.1
"""Of the cosines in the loss; as in StableRep."""
LR = 5e-3
WEIGHT_DECAY = 0.5
WORD_DROPOUT = 0.05
"""Share of training words replaced by the unknown word, so that it is trained too."""
BLOCK = 1024
"""Queries whose similarities exist at a time."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """(Image, caption) pairs: tokens int64 (P, T), position of the image int64 (P,), its identity int64 (P,)."""

    tokens: Tensor
    image: Tensor
    identity: Tensor


@dataclass(frozen=True, slots=True)
class Probe:
    """Trained towers over one readout."""

    readout: str
    standardise: Standardiser
    towers: TwoTowers
    tokenizer: Tokenizer

    @torch.no_grad()
    def embed(self, features: FeatureTable, captions: tuple[tuple[str, ...], ...]) -> dict[str, NDArray[Any]]:
        """Unit embeddings: `image` (N, D), `text` (T, D), and `text_image` (T,), the image that a caption is of."""
        self.towers.eval()
        image = self.towers.encode_image(self.standardise(joined(features, self.readout)))
        flat = [caption for texts in captions for caption in texts]
        text = [self.towers.encode_text(self.tokenizer.encode(flat[i : i + 500])) for i in range(0, len(flat), 500)]
        return {
            "image": F.normalize(image, dim=1).numpy(),
            "text": F.normalize(torch.cat(text), dim=1).numpy(),
            "text_image": np.repeat(np.arange(len(captions)), [len(texts) for texts in captions]),
        }


class TextReid(Task):
    """The benchmark `text-reid`, protocol `frozen`."""

    card = CARD

    _probe: Probe

    @one_thread
    def fit(self, train: Split, val: Split) -> Mapping[str, Any]:
        """Choose the readout by validation mAP after short runs, then train on it at full length."""
        names = candidates(self.config.readout)
        tokenizer = Tokenizer.from_captions(text for texts in need(train.samples, "captions") for text in texts)
        pairs = caption_pairs(train.samples, tokenizer)
        share = SEARCH_SHARE if len(names) > 1 else 1.0
        probes = [self._train(train.features, pairs, tokenizer, name, share) for name in names]
        trials = [{"readout": probe.readout, **self._validate(probe, val).summary()} for probe in probes]
        best = best_trial(trials, "mAP")
        self._probe = probes[best]
        chosen = selection(trials, "mAP") | {"trial_length": share}
        if share < 1:
            self._probe = self._train(train.features, pairs, tokenizer, names[best], 1.0)
            chosen["final"] = self._validate(self._probe, val).summary()
        self._chosen = chosen
        return chosen

    @one_thread
    def predict(self, test: Inputs) -> Mapping[str, NDArray[Any]]:
        """`image` (N, D) and `text` (T, D), unit float32, and `text_image` (T,), the image that a caption is of."""
        if test.captions is None:
            raise TaskError("The test split came without captions.", "Text queries are its inputs: hand them over.")
        return self._probe.embed(test.features, test.captions)

    def score(self, predictions: Mapping[str, NDArray[Any]], truth: Samples) -> Scores:
        """Rank all images for each caption of a person; identities are resampled, the gallery stays."""
        metrics, rows = rank(predictions, truth)
        identity, captions = need(truth, "identity"), need(truth, "captions")
        image = predictions["text_image"][rows]
        weights = resample_weights(identity[image], replicates=self.config.replicates, seed=CARD.resample_seed)
        shared = shared_captions(captions, identity)
        if metrics.tied_share > 0.01:
            logger.warning("%.0f %% of text queries tie with a wrong image: collapsed?", 100 * metrics.tied_share)
        return Scores(
            summary=metrics.summary(),
            per_sample=sample_columns(truth, image) | metrics.per_sample(),
            replicates=metrics.replicates(weights),
            record={
                **metrics.protocol,
                "similarity": "cosine, float64",
                "direction": "text to image",
                "queries": "every caption of an image with an identity",
                "n_valid": metrics.n_valid,
                "n_skipped": metrics.n_skipped,
                "distractors": int((identity < 0).sum()),
                "captions_of_distractors": len(predictions["text_image"]) - len(rows),
                "queries_shared_by_identities": shared,
                "tied_share": metrics.tied_share,
                "reranking": "off",
                "split": truth.name,
                **self._record,
            },
            chosen=self._chosen,
        )

    def oracle(self, truth: Samples) -> Mapping[str, NDArray[Any]]:
        """Images and captions of a person in one direction; whom a caption was written for decides, not its words."""
        codes, captions = identity_codes(need(truth, "identity")), need(truth, "captions")
        owner = np.repeat(np.arange(len(captions)), [len(texts) for texts in captions])
        return {"image": codes, "text": codes[owner], "text_image": owner}

    def _validate(self, probe: Probe, val: Split) -> TextRankMetrics:
        embedded = probe.embed(val.features, need(val.samples, "captions"))
        return rank(embedded, val.samples)[0]

    def _train(self, features: FeatureTable, pairs: Pairs, tokenizer: Tokenizer, name: str, share: float) -> Probe:
        raw = joined(features, name)
        standardise = Standardiser.fit(raw)
        x = standardise(raw)
        seed = self.config.head_seed
        towers = TwoTowers(x.shape[1], len(tokenizer), generator=head_generator(seed, CARD.name, "init", name))
        decayed = [p for p in towers.parameters() if p.ndim > 1]
        plain = [p for p in towers.parameters() if p.ndim == 1]
        optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}],
            betas=(0.9, 0.98),
        )
        order = head_generator(seed, CARD.name, "order")
        steps = steps_for(len(pairs.image), BATCH_SIZE, PASSES * self.config.epochs * share)
        for step, index in enumerate(minibatches(len(pairs.image), BATCH_SIZE, steps, order)):
            tokens = pairs.tokens[index]
            unknown = (torch.rand(tokens.shape, generator=order) < WORD_DROPOUT) & (tokens > UNKNOWN)
            image = towers.encode_image(x[pairs.image[index]])
            text = towers.encode_text(tokens.masked_fill(unknown, UNKNOWN))
            identity = pairs.identity[index]
            loss = multi_positive_image_text(image, text, identity, identity, logit_scale=1 / TEMPERATURE)
            optimiser.zero_grad()
            loss.backward()
            for group in optimiser.param_groups:
                group["lr"] = LR * cosine_factor(step, steps)
            optimiser.step()
        return Probe(name, standardise, towers, tokenizer)


def caption_pairs(samples: Samples, tokenizer: Tokenizer) -> Pairs:
    """All (image, caption) pairs of images with an identity.

    Raises:
        TaskError: There are none.
    """
    captions, identity = need(samples, "captions"), need(samples, "identity")
    owner = [i for i, texts in enumerate(captions) if identity[i] >= 0 for _ in texts]
    if not owner:
        raise TaskError(f"{samples.name} has no captioned image with an identity.", "Choose data with captions.")
    tokens = tokenizer.encode([text for i, texts in enumerate(captions) if identity[i] >= 0 for text in texts])
    return Pairs(tokens, torch.tensor(owner), torch.from_numpy(identity[owner]))


def rank(predictions: Mapping[str, NDArray[Any]], samples: Samples) -> tuple[TextRankMetrics, NDArray[np.int64]]:
    """Rank all images of a split for each caption of an image with an identity.

    Args:
        predictions: `image`, `text` and `text_image` as `TextReid.predict` gives them.
        samples: The split.

    Returns:
        The metrics, and the rows of `text` that queried.
    """
    identity = need(samples, "identity")
    owner = predictions["text_image"]
    rows = np.flatnonzero(identity[owner] >= 0)
    gallery = predictions["image"].astype(np.float64).T

    def blocks() -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        for begin in range(0, len(rows), BLOCK):
            block = rows[begin : begin + BLOCK]
            yield predictions["text"][block].astype(np.float64) @ gallery, identity[owner[block]]

    return rank_metrics_blockwise(blocks(), identity), rows


def shared_captions(captions: tuple[tuple[str, ...], ...], identity: NDArray[np.int64]) -> int:
    """How many captions are word for word the same for more than one identity; rankings by them count as errors."""
    known = [(text, int(i)) for texts, i in zip(captions, identity, strict=True) if i >= 0 for text in texts]
    owners: dict[str, set[int]] = {}
    for text, person in known:
        owners.setdefault(text, set()).add(person)
    return sum(len(owners[text]) > 1 for text, _ in known)
