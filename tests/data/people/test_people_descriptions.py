"""Descriptions of single pictures, and where the phrases of any caption stand."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from hcbench.data.people import captions, descriptions, motion, wardrobe
from hcbench.data.people.dataset import pretraining_view
from hcbench.data.people.figure import PART
from hcbench.data.people.spec import DETAILS, LEVELS, SPLITS, Draws, PeopleSpec, factor_keys
from hcbench.data.samples import Phrase

SHOWN = ("hair", "hat", "glasses", "upper", "lower", "shoes", "bag")


def _truth(groups, split="pretrain", layout="identities", detail="everything"):
    spec = PeopleSpec(split=split, layout=layout, caption_detail=detail)
    g, v = np.repeat(np.arange(groups), 5), np.tile(np.arange(5), groups)
    keys = factor_keys(spec, g, v)
    person = wardrobe.draw_person(keys, split, spec.style)
    pose = motion.draw_pose(Draws(keys["action"]), Draws(keys["pose"]))
    return captions.facts(person, pose), keys["template"]


def _level(truth, detail):
    return np.full(len(truth), LEVELS.index(detail))


def _describe(truth, keys, noise=0.0, hidden=()):
    shown = {name: np.full(len(truth), name not in hidden) for name in SHOWN}
    return descriptions.describe(truth, shown, keys, noise)


def test_every_description_names_what_shows_in_three_styles():
    truth, keys = _truth(60)
    said = _describe(truth, keys)
    assert all(len(several) == 3 for several in said.captions)
    for i, several in enumerate(said.phrases):
        f = truth.of(i)
        expected = {"gender", "head", "upper", "lower", "shoes"} | ({"belongings"} if f["bag"] else set())
        for style, (text, phrases) in enumerate(zip(said.captions[i], several, strict=True)):
            assert {phrase.slot for phrase in phrases} == expected
            named = {phrase.slot: text[phrase.start : phrase.end] for phrase in phrases}
            assert wardrobe.UPPERS[f["upper"]] in named["upper"]
            assert wardrobe.LOWERS[f["lower"]] in named["lower"]
            assert named["gender"].endswith("woman" if f["woman"] else "man")
            assert captions.doing(f) in text or style == 0
            assert text == " ".join(text.split())
            assert not set(text) & set("{}\x02\x03\x1f")
    telegram = said.captions[0][1]
    assert not {"a", "an", "is", "who"} & set(captions.words_of(telegram.replace(captions.doing(truth.of(0)), "")))


def test_phrases_do_not_overlap_and_stand_in_order():
    truth, keys = _truth(40)
    for layout, detail in (("captions", "action"), ("poses", "garments"), ("captions", "everything")):
        said = captions.write(truth, keys, "pretrain", _level(truth, detail), 2)
        slots = {phrase.slot for several in said.phrases for phrases in several for phrase in phrases}
        assert slots <= set(descriptions.SLOTS), layout
        assert ("upper" in slots) == (detail != "action")
    for said in (_describe(truth, keys, 1.0), captions.write(truth, keys, "test", _level(truth, "everything"), 2)):
        for several, phrased in zip(said.captions, said.phrases, strict=True):
            for text, phrases in zip(several, phrased, strict=True):
                edges = [edge for phrase in phrases for edge in (phrase.start, phrase.end)]
                assert edges == sorted(edges)
                assert all(phrase.start < phrase.end <= len(text) for phrase in phrases)
                for phrase in phrases:
                    part = text[phrase.start : phrase.end]
                    assert part == part.strip(" ,")
                    assert text[phrase.end : phrase.end + 1] in ("", " ", ",")


@pytest.mark.parametrize(
    ("thing", "slot"), [("upper", "upper"), ("lower", "lower"), ("shoes", "shoes"), ("bag", "belongings")]
)
def test_what_is_hidden_is_not_said(thing, slot):
    truth, keys = _truth(40)
    said = _describe(truth, keys, hidden=(thing,))
    assert slot not in {phrase.slot for several in said.phrases for phrases in several for phrase in phrases}
    nothing = _describe(truth, keys, hidden=SHOWN)
    for several in nothing.captions:
        for text in several:
            assert not text.startswith(",")
            assert captions.words_of(text)[-1] not in {",", "with", "in", "and", "wearing", "carrying"}


def test_what_shows_is_read_from_the_part_mask():
    truth, _ = _truth(1)
    truth = captions.Facts({name: values[:4].copy() for name, values in truth.columns.items()})
    truth.columns["lower"][:] = [wardrobe.LOWERS.index(name) for name in ("trousers", "skirt", "shorts", "trousers")]
    truth.columns["upper"][:] = wardrobe.UPPERS.index("shirt")
    truth.columns["hair"][:] = wardrobe.HAIR_STYLES.index("long")
    truth.columns["hair"][3] = wardrobe.HAIR_STYLES.index("shaved")
    parts = np.zeros((4, 32, 16), np.uint8)
    parts[:, 20:24] = PART["left_shin"]
    parts[1, 10:14] = PART["skirt"]
    parts[0, 0, 0] = PART["bag"]  # one pixel of 512 is more than one in a thousand
    parts[3, 0:3] = PART["head"]
    parts[2, 5:9] = PART["torso"]
    keypoints = np.zeros((4, 17, 3), np.float32)
    keypoints[2, 1, 2], keypoints[3, 0, 2] = 2, 1
    shown = descriptions.showing([parts[:1], parts[1:]], keypoints, truth)
    assert shown["lower"].tolist() == [True, True, False, True]
    assert shown["bag"].tolist() == [True, False, False, False]
    assert shown["hair"].tolist() == [False, False, False, True]
    assert shown["upper"].tolist() == [False, False, True, False]
    assert shown["glasses"].tolist() == [False, False, True, False]
    assert not shown["shoes"].any()
    truth.columns["upper"][1] = wardrobe.UPPERS.index("dress")
    assert descriptions.showing([parts], keypoints, truth)["upper"][1]


def test_wrong_words_have_their_rate_and_differ_between_captions():
    truth, keys = _truth(400)
    rates = {}
    for noise in (0.0, 1.0):
        wrong = total = 0
        for i, several in enumerate(_describe(truth, keys, noise).captions):
            right = wardrobe.UPPERS[truth.of(i)["upper"]]
            wrong += sum(right not in captions.words_of(text) for text in several)
            total += 3
        rates[noise] = wrong / total
    assert rates[0.0] == 0
    assert rates[1.0] == pytest.approx(captions.WORD_NOISE, abs=0.015)
    noisy = _describe(truth, keys, 1.0).captions
    sexes = [[("woman" in captions.words_of(text)) for text in several] for several in noisy]
    assert any(len(set(row)) == 2 for row in sexes)
    assert noisy == _describe(truth, keys, 1.0).captions


def test_some_colours_are_left_out():
    truth, keys = _truth(300)
    said = _describe(truth, keys)
    lower = [
        text[phrase.start : phrase.end]
        for several, phrased in zip(said.captions, said.phrases, strict=True)
        for text, phrases in zip(several, phrased, strict=True)
        for phrase in phrases
        if phrase.slot == "lower"
    ]
    bare = np.mean([not set(captions.words_of(text)) & set(wardrobe.COLOURS) for text in lower])
    assert bare == pytest.approx(descriptions.DROPPED_COLOUR, abs=0.03)


def test_words_are_shared_and_sentences_are_not():
    truth, keys = _truth(900)
    words = {w for several in _describe(truth, keys, 1.0).captions for text in several for w in captions.words_of(text)}
    assert words == set(captions.VOCABULARY)
    others = {" ".join(t.split()) for split in SPLITS for t in captions.TEMPLATES[split]}
    for style in descriptions.STYLES.values():
        assert len(set(style)) == len(style)
        assert not {" ".join(clauses) for clauses in style} & others


def test_captions_of_benchmarks_are_those_of_their_version():
    """Every letter of them: they change with the version of the data alone (here the wardrobe of v2)."""
    found = {}
    for split in ("train", "val", "test"):
        truth, keys = _truth(60, split=split)
        said = captions.write(truth, keys, split, _level(truth, "everything"), 2)
        found[split] = hashlib.sha256(repr(said.captions).encode()).hexdigest()[:16]
    assert found == {"train": "84f134f7f0c1bcde", "val": "caf077162355bb2b", "test": "9d238def56ca94d3"}


@pytest.mark.parametrize("detail", DETAILS)
def test_descriptions_ignore_the_caption_detail(detail):
    plain = pretraining_view(PeopleSpec(height=32, width=16), np.arange(3), cache=None)
    other = pretraining_view(PeopleSpec(height=32, width=16, caption_detail=detail), np.arange(3), cache=None)
    assert other.captions == plain.captions
    assert other.phrases == plain.phrases
    assert len({text for several in plain.captions for text in several}) > 30


def test_marks_are_found_again():
    text = f"{captions.mark('upper', 'a red coat')}{captions.mark('hat', '')} and {captions.mark('lower', 'jeans')}"
    plain, phrases = captions.unmark(text)
    assert plain == "a red coat and jeans"
    assert phrases == (Phrase("upper", 0, 10), Phrase("lower", 15, 20))
    assert captions.unmark("a coat") == ("a coat", ())
