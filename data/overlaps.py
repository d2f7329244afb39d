"""Which data sets share images or persons, and what that means for a score: clean, overlap or unknown.

What something was trained on is written `name` or `name:split`. Unknown is not clean: a data set that nothing is known
of, or nothing said at all, is told as unknown. The cards of `hcbench data explain` tell the same table.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

Status = Literal["clean", "overlap", "unknown"]
NOTHING = "nothing"
"""What an untrained network was trained on."""

_HELD_OUT = ("val", "test", "query", "gallery", "all")
"""How the splits begin that hold images for scoring."""


_ALIASES = {"market": "market1501", "cuhk03": "cuhk03np", "cuhk03npdetected": "cuhk03np", "dukemtmcreid": "dukemtmc",
            "rap": "rapv1", "aichallenger": "aic", "mscoco": "coco"}  # fmt: skip


@functools.cache
def plain(name: str) -> str:
    """A data set's name without capitals, hyphens and the like, one spelling for each.

    >>> plain("CUHK-PEDES"), plain("Market")
    ('cuhkpedes', 'market1501')
    """
    bare = re.sub(r"[^a-z0-9]", "", name.lower())
    return _ALIASES.get(bare, bare)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two data sets that are not independent.

    Attributes:
        one: A data set, as `hcbench data list` or the field writes it.
        other: Another one.
        relation: How they hang together, a clause that is true beside either name.
        verified: Whether that was checked against files or the authors' own words.
    """

    one: str
    other: str
    relation: str
    verified: bool = True

    @property
    def names(self) -> frozenset[str]:
        """Both, as `plain` writes them."""
        return frozenset({plain(self.one), plain(self.other)})

    def text(self) -> str:
        """The relation, with the doubt where there is one."""
        return self.relation if self.verified else f"{self.relation} (not verified)"


def _reported(one: str, other: str, relation: str) -> Overlap:
    return Overlap(one, other, relation, verified=False)


def _among(names: Iterable[str], relation: str) -> tuple[Overlap, ...]:
    return tuple(Overlap(one, other, relation) for one, other in combinations(names, 2))


_PETA = ("peta", "peta-persons", "peta-zs")
_RAP2 = ("rapv2", "rapzs")
_CUHK03 = ("cuhk03-np", "cuhk03-np-labeled")

OVERLAPS = (
    Overlap("market1501", "PRW", "they are cut from the same videos, under other person numbers"),
    Overlap("cuhk-pedes", "PRW", "CUHK-PEDES holds images of Market-1501, which is cut from PRW's videos"),
    Overlap("cuhk-pedes", "market1501", "CUHK-PEDES is collected from Market-1501 in part"),
    *(Overlap("cuhk-pedes", name, "CUHK-PEDES is collected from CUHK03 in part") for name in _CUHK03),
    Overlap("cuhk-pedes", "CUHK01", "CUHK-PEDES is collected from CUHK01 in part"),
    _reported("cuhk-pedes", "CUHK-SYSU", "CUHK-PEDES is reported to be collected from CUHK-SYSU in part"),
    *_among(_CUHK03, "they are the same scenes and persons, in boxes of a detector and in boxes drawn by hand"),
    Overlap("icfg-pedes", "msmt17", "the images of ICFG-PEDES are MSMT17's, of both of its folders"),
    Overlap("rstpreid", "msmt17", "the images of RSTPReid are MSMT17's"),
    Overlap("icfg-pedes", "rstpreid", "both take their images from MSMT17"),
    Overlap("dukemtmc", "occluded-duke", "they are the same images, split otherwise"),
    *_among(_PETA, "they are the same images, split otherwise"),
    *(Overlap(name, "VIPeR", "VIPeR is one of the ten sources of PETA") for name in _PETA),
    *(_reported(name, other, "one of the ten sources of PETA is a set of CUHK, perhaps with images that are in both")
      for name in _PETA for other in ("CUHK01", "cuhk-pedes")),
    *_among(_RAP2, "RAPzs is a part of RAPv2's images, split otherwise"),
    *(_reported("rapv1", name, "RAPv2 is reported to extend RAPv1") for name in _RAP2),
    Overlap("synth-pedes", "luperson-nl", "SYNTH-PEDES is built from images of LUPerson-NL"),
    Overlap("synth-pedes", "LPW", "SYNTH-PEDES is built from images of LPW"),
    _reported("luperson", "luperson-nl", "both are cut from street videos of one collection"),
    _reported("luperson", "synth-pedes", "both go back to street videos of one collection"),
    *(_reported("crowdpose", name, f"CrowdPose is reported to be built in part from the images of {title}")
      for name, title in (("coco", "COCO"), ("mpii", "MPII"), ("aic", "AI Challenger"))),
    _reported("lip", "coco", "the images of LIP are reported to be crops of COCO's persons"),
)  # fmt: skip
"""Pairs of different data sets."""

RELATED_SPLITS = {
    "peta": "its random partitions have the same persons in training and test; peta-persons and peta-zs have not",
}
"""Data sets whose own training split is no stranger to their test split."""

SCORED_ON_VAL = frozenset({"coco", "mpii", "aic", "lip", "cihp"})
"""Data sets whose test split the owners keep: the field scores on val, which `trainval` holds."""

NEVER_TRAINED_ON = {"ochuman": "it is for scoring alone; what is scored on it is trained on COCO"}
"""Data sets without a training split, and what stands in its place."""

_ALONE = frozenset({"people", "pa100k", "ochuman", "cihp"})
"""Data sets that share nothing with another one, as far as it was looked up."""

UNKNOWABLE = {"image-folder": "nobody but its owner knows what lies in a folder"}
"""Loaders of which no table can know anything, and why."""

KNOWN = frozenset().union(*(pair.names for pair in OVERLAPS)) | _ALONE
"""Data sets of which it was looked up what they are made of: no pair above means no overlap that is known."""


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


def sisters(name: str) -> Mapping[str, str]:
    """The data sets that share images or persons with one, and how; what every card tells as `sister_sets`.

    >>> sisters("luperson")["luperson-nl"]
    'both are cut from street videos of one collection (not verified)'
    """
    own = plain(name)
    pairs = [pair for pair in OVERLAPS if own in pair.names]
    found = {pair.other if plain(pair.one) == own else pair.one: pair.text() for pair in pairs}
    itself = RELATED_SPLITS.get(own) or NEVER_TRAINED_ON.get(own)
    return {**found, name: itself} if itself else found


def is_held_out(split: str) -> bool:
    """Whether a split, of whatever data set, holds images that somebody is scored on.

    >>> is_held_out("val2017"), is_held_out("labeled/gallery"), is_held_out("trainval")
    (True, True, False)
    """
    return split.rpartition("/")[2].startswith(_HELD_OUT)


def _judge_one(trained: str, test: str) -> Verdict:
    name, _, split = trained.partition(":")
    one, other = plain(name), plain(test)
    if one == NOTHING:
        return Verdict("clean")
    if one == other:
        return _same(name, split)
    for pair in OVERLAPS:
        if pair.names == {one, other}:
            return Verdict("overlap", f"{name} and {test}: {pair.text()}")
    for bare, spelled in ((one, name), (other, test)):
        if bare not in KNOWN:
            reasons = {plain(loader): reason for loader, reason in UNKNOWABLE.items()}
            return Verdict("unknown", reasons.get(bare, f"nothing is known of {spelled or 'an unnamed source'}"))
    return Verdict("clean")


def _same(name: str, split: str) -> Verdict:
    own = plain(name)
    if own == "people":
        return Verdict("clean")  # persons, poses and cameras of its splits are disjoint by construction
    if reason := NEVER_TRAINED_ON.get(own):
        return Verdict("overlap", f"{name}: {reason}")
    if not split:
        return Verdict("unknown", f"nobody says which split of {name} it was trained on")
    if is_held_out(split) or (split == "trainval" and own in SCORED_ON_VAL):
        return Verdict("overlap", f"trained on {name}'s own split {split}")
    if related := RELATED_SPLITS.get(own):
        return Verdict("overlap", f"{name}: {related}")
    if not split.rpartition("/")[2].startswith("train"):
        return Verdict("unknown", f"nothing is known of the split {split} of {name}")
    return Verdict("clean")
