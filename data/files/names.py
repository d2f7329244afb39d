"""Names of files as text: what messages show of them, and whether every format can hold them."""

from __future__ import annotations

from collections.abc import Sequence

ADVICE = (
    "Rename them, for example: convmv -f GBK -t UTF-8 --notest -r FOLDER (GBK, Shift-JIS, latin1 ...: the encoding "
    "that they were written in)."
)
"""What to do about names that are not in UTF-8."""
_NAMED = 5


def is_text(name: str) -> bool:
    """Whether a name is text that UTF-8 can write; names in other encodings reach Python as lone surrogates."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(name: str) -> str:
    r"""A name on one line: bytes that are no UTF-8, line breaks and the like are written as escapes.

    >>> shown("a b.jpg"), shown("two\nlines.jpg"), shown("\udcd0\udcd0.jpg")
    ('a b.jpg', 'two\\nlines.jpg', '\\xd0\\xd0.jpg')
    """
    if name.isprintable():
        return name
    try:
        text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte: somebody wrote it into a json
        text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def some(names: Sequence[str], total: int | None = None) -> str:
    """The first few names as `shown`, and how many more there are.

    Args:
        names: The names, or the first of them.
        total: How many there are in all; None where `names` holds all of them.
    """
    more = (len(names) if total is None else total) - min(len(names), _NAMED)
    return ", ".join(map(shown, names[:_NAMED])) + (f" and {more} more" if more else "")
