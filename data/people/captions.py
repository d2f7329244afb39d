"""Sentences about people: a small grammar, its vocabulary, and how much a caption names.

**How the default detail was chosen** (before any method was compared, see `spec.PeopleSpec.caption_detail`). It is a
mixture of levels in the shares of real captions. We read the 115 COCO captions of 23 photographs in which somebody is
labelled, and counted by hand, caption by caption. 76 of them speak of a person ("a skateboarder", "a family" count;
"buses on a road" do not). Of these 76

- 69 name what the person does (a verb: riding, holding, waiting; not "is on" or "with"),
- 42 name a thing that is held, used or ridden (a phone, a skateboard, a horse),
- 8 name a garment or a colour worn ("a boy in a white t-shirt", "a smiling man in green"), 5 of these a colour, 2
  garments above and below,
- 1 names garments above and below and something more (a white shirt, black pants and a hat).

Where a caption names several, the fullest level counts: 68 `action` (things are part of it: "talking on a phone",
"riding a bicycle"), 7 `garments`, 1 `everything` (`spec.DETAIL_WEIGHTS`). So of a mixture's groups nine in ten hold the
action alone fixed. (Captions written for person search are a different text: they always name clothes. That is
`everything`, which the benchmark splits always use.)

Sentence templates of two splits are disjoint while the words are shared: every function word below occurs in the
templates of every split, and every content word can occur in every split.

What names an attribute of the person (gender, head, upper, lower, shoes, belongings) is a *phrase*, and where it stands
in its caption is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hcbench.data.people import wardrobe
from hcbench.data.people.motion import FAMILIES, Pose
from hcbench.data.people.spec import LEVELS, Draws, Keys
from hcbench.data.samples import Phrase

WORD_NOISE: Final = 0.075
"""Share of content words (slots) that are wrong at noise 1."""

ACTIONS: Final[dict[str, tuple[str, str, str]]] = {
    "stand": ("standing with feet together", "standing", "standing with legs apart"),
    "walk": ("walking slowly", "walking", "walking with long steps"),
    "run": ("jogging", "running", "sprinting"),
    "sit": ("sitting and leaning forward", "sitting on a chair", "sitting upright"),
    "crouch": ("squatting slightly", "crouching", "crouching down low"),
    "bend": ("bending slightly forward", "bending over", "bending down low"),
    "reach": ("reaching up", "reaching up", "reaching up high"),
    "wave": ("waving a low hand", "waving", "waving a hand high"),
    "phone": ("talking on a phone", "talking on a phone", "talking on a phone"),
    "text": ("looking at a phone", "looking at a phone", "looking at a phone"),
    "crossed": ("standing with arms crossed",) * 2 + ("standing with arms crossed and legs apart",),
    "hips": ("standing with a hand on the hip",) * 2 + ("standing with a hand on the hip and legs apart",),
    "arms_up": ("spreading both arms", "raising both arms", "raising both arms high"),
    "point": ("pointing low", "pointing", "pointing high"),
    "carry": ("carrying a bundle",) * 3,
    "lunge": ("taking a small lunge", "lunging", "lunging down low"),
    "jump": ("hopping", "jumping", "jumping high"),
    "kick": ("kicking low", "kicking", "kicking high"),
    "ride": ("riding a bicycle",) * 3,
}
"""Phrases by family and manner (slight, plain, strong)."""

TEMPLATES: Final[dict[str, tuple[str, ...]]] = {
    "pretrain": (
        "{who} is {doing} , wearing {outfit}",
        "there is {who} who is {doing} in {outfit}",
        "{who} in {outfit} is {doing}",
        "seen here is {who} wearing {outfit} and {doing}",
    ),
    "train": (
        "{who} wearing {outfit} is {doing}",
        "there is {who} in {outfit} who is {doing}",
        "in {outfit} , {who} is seen here {doing}",
        "here is {who} {doing} and wearing {outfit}",
    ),
    "val": (
        "wearing {outfit} , {who} is {doing}",
        "{who} is seen {doing} in {outfit}",
        "{who} who is {doing} is wearing {outfit}",
        "there , {who} is here and is {doing} , wearing {outfit}",
    ),
    "test": (
        "here , {who} in {outfit} is seen {doing}",
        "{who} is wearing {outfit} and is {doing}",
        "there is {who} {doing} in {outfit}",
        "{who} who is wearing {outfit} is {doing}",
    ),
}
_ACTION_TEMPLATES: Final = ("{who} is {doing}", "there is {who} {doing}", "{who} {doing}", "{who} is seen here {doing}")

_LENGTHS: Final = {
    "shaved": "a shaved head", "short": "short {c} hair", "parted": "parted {c} hair", "curly": "curly {c} hair",
    "bob": "a {c} bob", "long": "long {c} hair", "ponytail": "a {c} ponytail", "bun": "a {c} bun",
}  # fmt: skip


_MARKED: Final = re.compile("\x02(\\w+)\x1f(.*?)\x03")


@dataclass(frozen=True, slots=True)
class Facts:
    """What may be said of N images: int64 (N,) indices into the tuples of `motion` and `wardrobe`."""

    columns: dict[str, NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.columns["woman"])

    def of(self, image: int) -> dict[str, int]:
        """The facts of one image."""
        return {name: int(values[image]) for name, values in self.columns.items()}


@dataclass(frozen=True, slots=True)
class Said:
    """Captions and their attribute phrases, as the fields of `Samples` hold them."""

    captions: tuple[tuple[str, ...], ...]
    phrases: tuple[tuple[tuple[Phrase, ...], ...], ...]


_SIZES: Final[dict[str, int]] = {
    "woman": 2, "elder": 2, "family": len(FAMILIES), "manner": 3, "upper": len(wardrobe.UPPERS),
    "upper_colour": len(wardrobe.COLOURS), "lower": len(wardrobe.LOWERS), "lower_colour": len(wardrobe.COLOURS),
    "pattern": len(wardrobe.PATTERNS), "lower_pattern": len(wardrobe.LOWER_PATTERNS), "hair": len(wardrobe.HAIR_STYLES),
    "hair_colour": len(wardrobe.HAIR_COLOURS), "hat": len(wardrobe.HATS), "hat_colour": len(wardrobe.COLOURS),
    "glasses": 2, "shoes": len(wardrobe.SHOES), "shoe_colour": len(wardrobe.COLOURS), "bag": len(wardrobe.BAGS),
    "bag_colour": len(wardrobe.COLOURS), "pattern_colour": len(wardrobe.COLOURS),
}  # fmt: skip


def facts(person: wardrobe.Person, pose: Pose) -> Facts:
    """Collect what may be said."""
    columns = {}
    for name in _SIZES:
        source = pose if name in ("family", "manner") else person
        columns[name] = np.asarray(getattr(source, name)).astype(np.int64)
    return Facts(columns)


def with_wrong_words(truth: Facts, keys: Keys, noise: float) -> Facts:
    """Replace each fact by another value of its kind with probability WORD_NOISE * noise."""
    draws = Draws(keys)
    columns = {}
    for name, values in truth.columns.items():
        wrong = draws.flag(f"wrong/{name}", min(1.0, WORD_NOISE * noise))
        other = (values + 1 + (draws.uniform(f"other/{name}") * (_SIZES[name] - 1)).astype(np.int64)) % _SIZES[name]
        columns[name] = np.where(wrong, other, values)
    return Facts(columns)


def article(noun: str) -> str:
    """The noun with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def mark(slot: str, phrase: str) -> str:
    """The phrase between marks that `unmark` finds again, wherever a template puts it; nothing stays nothing."""
    return f"\x02{slot}\x1f{phrase}\x03" if phrase else ""


def unmark(text: str) -> tuple[str, tuple[Phrase, ...]]:
    """A caption without its marks, and where they stood.

    >>> unmark(f"{mark('gender', 'a man')} in a coat")
    ('a man in a coat', (Phrase(slot='gender', start=0, end=5),))
    """
    plain, phrases = "", []
    pieces = _MARKED.split(text)
    for before, slot, phrase in zip(pieces[0::3], pieces[1::3], pieces[2::3], strict=False):
        plain += before
        phrases.append(Phrase(slot, len(plain), len(plain) + len(phrase)))
        plain += phrase
    return plain + pieces[-1], tuple(phrases)


def who(f: Mapping[str, int]) -> str:
    """Gender and age."""
    noun = "woman" if f["woman"] else "man"
    return f"an elderly {noun}" if f["elder"] else f"a {noun}"


def doing(f: Mapping[str, int]) -> str:
    """The action."""
    return ACTIONS[FAMILIES[f["family"]]][f["manner"]]


def upper(f: Mapping[str, int], colour: str, *, pattern: bool = True) -> str:
    """What is worn above, in a colour (empty: left out); `pattern` names that of the cloth."""
    patterned = pattern and f["pattern"]
    words = f"{colour} {wardrobe.PATTERNS[f['pattern']] if patterned else ''} {wardrobe.UPPERS[f['upper']]}"
    text = article(" ".join(words.split()))
    return f"{text} with {wardrobe.COLOURS[f['pattern_colour']]}" if patterned and colour else text


def lower(f: Mapping[str, int], colour: str, *, pattern: bool = True) -> str:
    """What is worn below; see `upper`."""
    name = wardrobe.LOWERS[f["lower"]]
    patterned = wardrobe.LOWER_PATTERNS[f["lower_pattern"]] if pattern and f["lower_pattern"] else ""
    text = " ".join(f"{colour} {patterned} {name}".split())
    return article(text) if name == "skirt" else text


def shoes(f: Mapping[str, int], colour: str) -> str:
    """What is on the feet."""
    return f"{colour} {wardrobe.SHOES[f['shoes']]}".strip()


def hair(f: Mapping[str, int], colour: str) -> str:
    """Cut and colour of the hair."""
    return " ".join(_LENGTHS[wardrobe.HAIR_STYLES[f["hair"]]].format(c=colour).split())


def hat(f: Mapping[str, int], colour: str) -> str:
    """What covers the head; empty where nothing does."""
    return article(f"{colour} {wardrobe.HATS[f['hat']]}".strip()) if f["hat"] else ""


def bag(f: Mapping[str, int], colour: str) -> str:
    """What is carried; empty where nothing is."""
    return article(f"{colour} {wardrobe.BAGS[f['bag']]}".strip()) if f["bag"] else ""


def _outfit(f: Mapping[str, int], everything: bool) -> str:
    colours = wardrobe.COLOURS
    above = mark("upper", upper(f, colours[f["upper_colour"]], pattern=everything))
    below = mark("lower", lower(f, colours[f["lower_colour"]], pattern=everything))
    text = f"{above} and {below}"
    return text + _extras(f) if everything else text


def _extras(f: Mapping[str, int]) -> str:
    colours = wardrobe.COLOURS
    items = [
        mark("shoes", shoes(f, colours[f["shoe_colour"]])),
        mark("head", hair(f, wardrobe.HAIR_COLOURS[f["hair_colour"]])),
        mark("head", hat(f, colours[f["hat_colour"]])),
        mark("belongings", bag(f, colours[f["bag_colour"]])),
        mark("head", "glasses" if f["glasses"] else ""),
    ]
    *first, last = [item for item in items if item]
    return f" , with {' , '.join(first)} and {last}"


def write(said: Facts, template_keys: Keys, split: str, levels: NDArray[np.int64], sentences: int = 1) -> Said:
    """`sentences` captions per image, each from a template of its own.

    Args:
        said: What is said.
        template_keys: uint64 (N,), of the factor "template".
        split: Whose templates.
        levels: int64 (N,), how much each caption names: an index of `spec.LEVELS`.
        sentences: Captions per image.
    """
    first = Draws(template_keys).uniform("sentence")
    written = []
    for i in range(len(said)):
        f, level = said.of(i), LEVELS[levels[i]]
        templates = _ACTION_TEMPLATES if level == "action" else TEMPLATES[split]
        words = {"who": mark("gender", who(f)), "doing": doing(f)}
        if level != "action":
            words["outfit"] = _outfit(f, level == "everything")
        written.append(
            [templates[(int(first[i] * len(templates)) + k) % len(templates)].format(**words) for k in range(sentences)]
        )
    return finish(written)


def finish(marked: Iterable[Iterable[str]]) -> Said:
    """Captions as they are handed out, from marked ones: tidy, with their phrases."""
    both = [[unmark(_tidy(text)) for text in several] for several in marked]
    return Said(
        tuple(tuple(text for text, _ in several) for several in both),
        tuple(tuple(phrases for _, phrases in several) for several in both),
    )


def _tidy(text: str) -> str:
    return re.sub(r"\s+,", ",", text).strip()


def words_of(text: str) -> list[str]:
    """The words of a caption as the tokenizer sees them.

    >>> words_of("a man is walking, wearing a red t-shirt")
    ['a', 'man', 'is', 'walking', ',', 'wearing', 'a', 'red', 't-shirt']
    """
    return re.findall(r"[a-z]+(?:-[a-z]+)*|,", text.lower())


def _vocabulary() -> tuple[str, ...]:
    texts = [t.replace("{who}", "").replace("{doing}", "").replace("{outfit}", "")
             for group in (*TEMPLATES.values(), _ACTION_TEMPLATES) for t in group]  # fmt: skip
    texts += [phrase for phrases in ACTIONS.values() for phrase in phrases]
    texts += [t.replace("{c}", "") for t in _LENGTHS.values()]
    for values in (wardrobe.COLOURS, wardrobe.UPPERS, wardrobe.LOWERS, wardrobe.PATTERNS[1:],
                   wardrobe.LOWER_PATTERNS[1:], wardrobe.HAIR_COLOURS, wardrobe.HATS[1:], wardrobe.SHOES,
                   wardrobe.BAGS[1:]):  # fmt: skip
        texts += values
    texts += ["a an and with elderly man woman glasses"]
    return tuple(sorted({word for text in texts for word in words_of(text)}))


VOCABULARY: Final[tuple[str, ...]] = _vocabulary()
"""Every word the grammar can say, sorted; the tokenizer's word list."""
