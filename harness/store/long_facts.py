"""Facts that are longer than a store takes: whole in a file of the run, `facts.json`, and cut where people look.

Older versions of hcbench cut them for good. What such a run still tells is read; what it was pre-trained with stands in
the job that lies beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hcbench.harness.jobs.atomic_files import read_json
from hcbench.harness.jobs.cell_folder import JOB

FILE = "facts.json"
MOST = {"params": 5900, "tags": 4900}
"""Characters that MLflow surely takes."""
_CUT = "..."


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Texts of a run as they are stored, and those that are too long for it.

    Attributes:
        short: Every text, cut where it is too long.
        whole: Those that were cut, whole.
    """

    short: Mapping[str, str]
    whole: Mapping[str, str] = field(default_factory=dict)


def fitted(values: Mapping[str, Any], kind: str) -> Facts:
    """Texts as a store takes them.

    Args:
        values: What is to be stored, by name.
        kind: "params" or "tags".
    """
    texts = {name: storable_text(str(value)) for name, value in values.items()}
    whole = {name: text for name, text in texts.items() if len(text) > MOST[kind]}
    mark = f"{_CUT} (whole in {FILE})"
    short = {name: text[: MOST[kind] - len(mark)] + mark for name, text in whole.items()}
    return Facts(short={**texts, **short}, whole=whole)


def storable_text(text: str) -> str:
    r"""Text that every database takes: bytes of file names that are no text, and NUL, are written as `\x..`."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def cut_long_ago(tags: Mapping[str, str]) -> list[str]:
    """Names of the tags that an older hcbench has cut."""
    return [name for name, text in tags.items() if len(text) == MOST["tags"] and text.endswith(_CUT)]


def restored(tags: Mapping[str, str], find: Callable[[str], Path | None]) -> dict[str, str]:
    """Tags that an older hcbench has cut, as the run's own job holds them; those that it does not hold stay cut.

    Args:
        tags: As they were read.
        find: Where a file of the run lies; None where it is gone.
    """
    cut = cut_long_ago(tags)
    path = find(JOB) if cut else None
    if path is None:
        return dict(tags)
    try:
        known = read_json(path)["facts"]["method"]
    except (OSError, ValueError, KeyError, TypeError):  # damaged as well: what is cut stays cut, and is told of
        return dict(tags)
    return {**tags, **{name: str(known[name]) for name in cut if name in known}}


def is_json(text: str) -> bool:
    """Whether a text can be read as JSON."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def whole_items(text: str) -> tuple[list[str], bool]:
    """The texts of a JSON list, and whether that is all of them: of one that was cut, those before the cut.

    >>> whole_items('["a", "b", "c...')
    (['a', 'b'], False)
    """
    if is_json(text):
        return [str(one) for one in json.loads(text)], True
    decoder, place, items = json.JSONDecoder(), 1, list[str]()
    while text.startswith("[") and place < len(text):
        place += len(text[place:]) - len(text[place:].lstrip(", \n"))
        try:
            item, place = decoder.raw_decode(text, place)
        except ValueError:
            break
        items.append(str(item))
    return items, False
