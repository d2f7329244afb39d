from __future__ import annotations

import dataclasses

import numpy as np

from hcbench.data.samples import Phrase
from hcbench.harness.training.batches import make_batch


def test_phrases_are_those_of_the_caption_that_was_drawn(view):
    number = len(view)
    told = tuple(tuple(f"image {i} text {k}" for k in range(3)) for i in range(number))
    phrases = tuple(tuple((Phrase(f"{i}/{k}", 0, 5),) for k in range(3)) for i in range(number))
    samples = dataclasses.replace(view, captions=told, phrases=phrases)
    indices = np.array([4, 0, 31, 7, 4])
    needs = frozenset({"captions", "phrases"})
    drawn = set()
    for step in range(8):
        batch = make_batch(samples, indices, needs, seed=0, step=step)
        for i, text, (phrase,) in zip(indices, batch.captions, batch.phrases, strict=True):
            k = int(text[-1])
            assert text == f"image {i} text {k}"
            assert phrase.slot == f"{i}/{k}"
            drawn.add(k)
        hidden = make_batch(samples, indices, frozenset({"captions"}), seed=0, step=step)
        assert hidden.phrases is None
        assert hidden.captions == batch.captions
    assert drawn == {0, 1, 2}


def test_attributes_are_handed_to_those_who_need_them(view):
    labels = np.arange(2 * len(view), dtype=np.int8).reshape(len(view), 2) % 3 - 1
    samples = dataclasses.replace(view, attributes=labels, attribute_names=("hat", "bag"))
    indices = np.array([5, 0, 5])
    batch = make_batch(samples, indices, frozenset({"attributes"}), seed=0, step=0)
    np.testing.assert_array_equal(batch.attributes, labels[indices])
    assert make_batch(samples, indices, frozenset({"identity"}), seed=0, step=0).attributes is None
