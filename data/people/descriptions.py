"""Descriptions of single pictures: the captions of the layout that holds a person fixed, and no caption.

They stand for the captions of SYNTH-PEDES (PLIP, arXiv 2305.08386): of what shows in one picture, the six fields
gender, head, upper, lower, shoes and belongings are told in three styles, one sentence from a prompt, one like a
telegram and one of relative clauses. What is hidden, or outside the picture, is not said. Every description has wrong
words of its own, and leaves some colours out. Grammar and words are those of `captions`; the sentences are none of a
benchmark's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hcbench.data.people import captions, wardrobe
from hcbench.data.people.captions import Facts, Said, mark
from hcbench.data.people.figure import PARTS
from hcbench.data.people.spec import Draws, Keys, constant, mix

SLOTS: Final = ("gender", "head", "upper", "lower", "shoes", "belongings")
"""The attributes that phrases name, in the order of SYNTH-PEDES."""

LEAST_SHARE: Final = 1 / 1000
"""Share of the picture that a part must cover to be told of: 8 of 64 x 128 pixels."""
DROPPED_COLOUR: Final = 0.1
"""Share of the colours that are not told."""

Flags = NDArray[np.bool_]
Clauses = tuple[str, ...]
"""A sentence in parts; one of which nothing is known is left out."""

PROMPTS: Final[tuple[Clauses, ...]] = (
    ("{who}", "with {head}", "is wearing {clothes}", ", carrying {bag}"),
    ("there is {who}", "wearing {clothes}", ", with {head}", ", carrying {bag}"),
    ("seen here is {who}", "in {clothes}", ", with {head}", "and with {bag}"),
)
TELEGRAMS: Final[tuple[Clauses, ...]] = (
    ("{who}", ", {doing}", ", {upper}", ", {lower}", ", {shoes}", ", {head}", ", {bag}"),
    ("{who}", ", {head}", ", {upper}", ", {lower}", ", {bag}", ", {shoes}", ", {doing}"),
    ("{upper}", ", {lower}", ", {shoes}", ", {bag}", ", {who}", ", {head}", ", {doing}"),
)
RELATIVES: Final[tuple[Clauses, ...]] = (
    ("{who}", "who is {doing}", "and who is wearing {clothes}", ", with {things}"),
    ("here is {who}", "who is {doing}", "and who is seen in {clothes}", ", with {things}"),
    ("{who}", "with {things}", "who is seen here {doing}", ", wearing {clothes}"),
)
STYLES: Final = {"prompt": PROMPTS, "telegram": TELEGRAMS, "relative": RELATIVES}

_COLOURS: Final = {
    "upper": ("upper_colour", wardrobe.COLOURS), "lower": ("lower_colour", wardrobe.COLOURS),
    "shoes": ("shoe_colour", wardrobe.COLOURS), "hair": ("hair_colour", wardrobe.HAIR_COLOURS),
    "hat": ("hat_colour", wardrobe.COLOURS), "bag": ("bag_colour", wardrobe.COLOURS),
}  # fmt: skip
_COVERS: Final = {
    "hair": ("hair",), "head": ("head",), "hat": ("hat",), "bag": ("bag",), "shoes": ("left_shoe", "right_shoe"),
    "upper": ("torso", "left_upper_arm", "right_upper_arm"), "skirt": ("skirt",),
    "thighs": ("left_thigh", "right_thigh"), "shins": ("left_shin", "right_shin"),
}  # fmt: skip
"""Parts of the mask that show a thing; `skirt` is also that of a dress or coat."""


def showing(parts: Sequence[NDArray[np.uint8]], keypoints: NDArray[np.float32], truth: Facts) -> dict[str, Flags]:
    """What shows in N pictures, each bool (N,): hair, hat, glasses, upper, lower, shoes, bag.

    Args:
        parts: Part masks uint8 (n, H, W) of `figure.PARTS`, in pieces that make N together.
        keypoints: float32 (N, 17, 3), without noise; v = 2 is visible.
        truth: What is worn.
    """
    counts = np.concatenate([part_counts(piece) for piece in parts])
    pixels = {name: counts[:, [PARTS.index(p) for p in among]].sum(axis=1) for name, among in _COVERS.items()}
    columns = truth.columns
    below, above = wardrobe.LOWERS, wardrobe.UPPERS
    skirt, shorts = columns["lower"] == below.index("skirt"), columns["lower"] == below.index("shorts")
    long_upper = np.isin(columns["upper"], (above.index("coat"), above.index("dress")))
    legs = np.where(shorts, pixels["thighs"], pixels["thighs"] + pixels["shins"])
    shaved = columns["hair"] == wardrobe.HAIR_STYLES.index("shaved")
    covered = {
        "hair": np.where(shaved, pixels["head"], pixels["hair"]),
        "hat": pixels["hat"],
        "upper": pixels["upper"] + np.where(long_upper, pixels["skirt"], 0),
        "lower": np.where(skirt, pixels["skirt"], legs),
        "shoes": pixels["shoes"],
        "bag": pixels["bag"],
    }
    least = LEAST_SHARE * parts[0].shape[1] * parts[0].shape[2]
    eyes = (keypoints[:, :3, 2] == 2).any(axis=1)  # glasses are worn where nose and eyes are
    return {name: count >= least for name, count in covered.items()} | {"glasses": eyes}


def part_counts(parts: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels of each part, int64 (N, len(PARTS)), in masks uint8 (N, H, W)."""
    number = len(PARTS)
    codes = parts.reshape(len(parts), -1) + number * np.arange(len(parts))[:, None]
    return np.bincount(codes.ravel(), minlength=number * len(parts)).reshape(len(parts), number)


def describe(truth: Facts, shown: Mapping[str, Flags], keys: Keys, noise: float) -> Said:
    """Three captions per image: prompt, telegram, relative clauses.

    Args:
        truth: What is so.
        shown: What shows; see `showing`.
        keys: uint64 (N,), of the factor "template".
        noise: Scale of the wrong words.
    """
    own = {style: mix(keys ^ constant("description", style)) for style in STYLES}
    said = {style: captions.with_wrong_words(truth, key, noise) for style, key in own.items()}
    first = {style: Draws(own[style]).choice("sentence", np.ones(len(STYLES[style]))) for style in STYLES}
    coloured = {
        style: {name: ~Draws(own[style]).flag(f"no colour/{name}", DROPPED_COLOUR) for name in _COLOURS}
        for style in STYLES
    }
    written = []
    for i in range(len(truth)):
        seen = {name: bool(flags[i]) for name, flags in shown.items()}
        texts = []
        for style, sentences in STYLES.items():
            told = {name: bool(flags[i]) for name, flags in coloured[style].items()}
            phrases = _phrases(said[style].of(i), seen, told)
            texts.append(_sentence(sentences[int(first[style][i])], phrases, bare=style == "telegram"))
        written.append(texts)
    return captions.finish(written)


def _phrases(f: Mapping[str, int], seen: Mapping[str, bool], told: Mapping[str, bool]) -> dict[str, list[str]]:
    """Phrases by the name that sentences use; an empty list where nothing is known, or there is nothing."""
    colour = {name: among[f[column]] if told[name] else "" for name, (column, among) in _COLOURS.items()}
    head = [
        captions.hair(f, colour["hair"]) if seen["hair"] else "",
        captions.hat(f, colour["hat"]) if seen["hat"] else "",
        "glasses" if f["glasses"] and seen["glasses"] else "",
    ]
    return {
        "who": [captions.who(f)],
        "doing": [captions.doing(f)],
        "head": [text for text in head if text],
        "upper": [captions.upper(f, colour["upper"])] if seen["upper"] else [],
        "lower": [captions.lower(f, colour["lower"])] if seen["lower"] else [],
        "shoes": [captions.shoes(f, colour["shoes"])] if seen["shoes"] else [],
        "bag": [captions.bag(f, colour["bag"])] if f["bag"] and seen["bag"] else [],
    }


_NAMED: Final = re.compile(r"\{(\w+)\}")
_SLOT_OF: Final = {"who": "gender", "bag": "belongings"}
"""Slots whose sentences use another name."""


def _sentence(clauses: Clauses, phrases: Mapping[str, list[str]], *, bare: bool) -> str:
    """The clauses of which everything is known, filled with marked phrases; `bare` leaves articles out."""
    marked = {}
    for name, texts in phrases.items():
        plain = [re.sub(r"^an? ", "", text) for text in texts] if bare else texts
        # An action is no attribute of the person.
        marked[name] = plain if name == "doing" else [mark(_SLOT_OF.get(name, name), text) for text in plain]
    words = {name: " , ".join(texts) if bare else _listed(texts) for name, texts in marked.items()}
    words["clothes"] = _listed(marked["upper"] + marked["lower"] + marked["shoes"])
    words["things"] = _listed(marked["head"] + marked["bag"])
    kept = [clause.format(**words) for clause in clauses if words[_NAMED.findall(clause)[0]]]
    return " ".join(kept).removeprefix(", ")


def _listed(texts: list[str]) -> str:
    """Several things in a row: a , b and c."""
    return " and ".join(filter(None, (" , ".join(texts[:-1]), *texts[-1:])))
