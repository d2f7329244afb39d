"""Which data sets share images or persons, and what that means for a score: clean, overlap or unknown.

What something was trained on is written `name` or `name:split`. Unknown is not clean: a data set that nothing is known
of, or nothing said at all, is told as unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Status = Literal["clean", "overlap", "unknown"]
NOTHING = "nothing"
"""What an untrained network was trained on."""

HELD_OUT = ("val", "test", "query", "gallery")
"""How the splits begin that nothing may be trained on before it is scored there."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two data sets that are not independent.

    Attributes:
        names: Both, as `plain` writes them.
        relation: How they hang together.
        verified: Whether that was checked against files or the authors' own words.
    """

    names: frozenset[str]
    relation: str
    verified: bool = True


def _pair(one: str, other: str, relation: str, *, verified: bool = True) -> Overlap:
    return Overlap(frozenset({one, other}), relation, verified)


OVERLAPS = (
    _pair("prw", "market1501", "cut from the same videos, under other person numbers"),
    _pair("icfgpedes", "msmt17", "its images are MSMT17's, of both of its folders"),
    _pair("rstpreid", "msmt17", "its images are MSMT17's"),
    _pair("icfgpedes", "rstpreid", "both take their images from MSMT17"),
    _pair("cuhkpedes", "market1501", "collected from it in part"),
    _pair("cuhkpedes", "cuhk03np", "collected from it in part"),
    _pair("cuhkpedes", "cuhk01", "collected from it in part"),
    _pair("cuhkpedes", "cuhksysu", "reported to be collected from it in part", verified=False),
    _pair("synthpedes", "lupersonnl", "built from it"),
    _pair("synthpedes", "lpw", "built from it"),
    _pair("dukemtmc", "occludedduke", "the same images, split anew"),
    _pair("peta", "petazs", "the same images, split by person"),
    _pair("rapv1", "rapv1zs", "the same images, split by person"),
    _pair("rapv2", "rapv2zs", "the same images, split by person"),
    _pair("crowdpose", "coco", "reported to be built from its images in part", verified=False),
    _pair("crowdpose", "mpii", "reported to be built from its images in part", verified=False),
    _pair("crowdpose", "aic", "reported to be built from its images in part", verified=False),
    _pair("luperson", "lupersonnl", "both are cut from street videos of one collection", verified=False),
)
"""Pairs of different data sets."""

RELATED_SPLITS = {
    "peta": "its random partitions have the same persons in training and test; the zero-shot ones have not",
}
"""Data sets whose own training split is no stranger to their test split."""

KNOWN = frozenset().union(*(pair.names for pair in OVERLAPS)) | {
    "people", "coco", "ochuman", "mpii", "aic", "pa100k", "peta", "rapv1", "rapv2", "lip", "cihp", "luperson",
    "market1501", "msmt17", "cuhk03np",
}  # fmt: skip
"""Data sets of which it was looked up what they are made of: no pair above means no overlap that is known."""

_ALIASES = {"market": "market1501", "cuhk03": "cuhk03np", "dukemtmcreid": "dukemtmc", "rap": "rapv1",
            "aichallenger": "aic"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a score may be read as one on unseen data, and why."""

    status: Status
    why: str = ""


def judge(trained_on: Iterable[str], test: str) -> Verdict:
    """What training data mean for a score.

    Args:
        trained_on: Everything that a network has seen, as `name` or `name:split`; nothing said = nothing known.
        test: The data set whose test split it is scored on.

    Returns:
        The worst of all verdicts: overlap, then unknown, then clean.

    >>> judge(["luperson"], "market1501").status
    'clean'
    >>> judge(["msmt17:train"], "icfg-pedes").status
    'overlap'
    >>> judge([], "reid").status
    'unknown'
    """
    verdicts = [_judge_one(name, test) for name in trained_on]
    if not verdicts:
        return Verdict("unknown", "nobody says what it was trained on")
    order: tuple[Status, ...] = ("overlap", "unknown", "clean")
    worst = min((verdict.status for verdict in verdicts), key=order.index)
    return Verdict(worst, "; ".join(dict.fromkeys(v.why for v in verdicts if v.status == worst and v.why)))


def plain(name: str) -> str:
    """A data set's name without capitals, hyphens and the like, one spelling for each.

    >>> plain("CUHK-PEDES"), plain("Market")
    ('cuhkpedes', 'market1501')
    """
    bare = re.sub(r"[^a-z0-9]", "", name.lower())
    return _ALIASES.get(bare, bare)


def _judge_one(trained: str, test: str) -> Verdict:
    name, _, split = trained.partition(":")
    one, other = plain(name), plain(test)
    if one == NOTHING:
        return Verdict("clean")
    if one == other:
        return _same(name, split)
    for pair in OVERLAPS:
        if pair.names == {one, other}:
            doubt = "" if pair.verified else " (not verified)"
            return Verdict("overlap", f"{name} and {test}: {pair.relation}{doubt}")
    for unknown, spelled in ((one, name), (other, test)):
        if unknown not in KNOWN:
            return Verdict("unknown", f"nothing is known of {spelled or 'an unnamed source'}")
    return Verdict("clean")


def _same(name: str, split: str) -> Verdict:
    if plain(name) == "people":
        return Verdict("clean")  # persons, poses and cameras of its splits are disjoint by construction
    if not split:
        return Verdict("unknown", f"nobody says which split of {name} it was trained on")
    if split.startswith(HELD_OUT):
        return Verdict("overlap", f"trained on {name}'s own split {split}")
    if related := RELATED_SPLITS.get(plain(name)):
        return Verdict("overlap", f"{name}: {related}")
    return Verdict("clean")
