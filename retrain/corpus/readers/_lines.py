"""Lines of a page put together to a paragraph."""

import re
from collections.abc import Sequence

from retrain.terms import CJK

WIDE = re.compile(f"[{CJK}\u3000-\u303f\uff00-\uffef“”‘’]")
BROKEN = re.compile(r"([^\W\d_]+)[-\u00ad\u2010]$")
BEGIN = re.compile(r"^[^\W\d_]+")


def joined(lines: Sequence[str], known: str = "") -> str:
    """One text: no space between Chinese characters, words that a line end hyphenated whole again.

    Whether the hyphen is the word's own is told by `known`, the text of the document.
    """
    text = lines[0].strip()
    for line in map(str.strip, lines[1:]):
        text = _join(text, line, known)
    return text


def _join(text: str, line: str, known: str) -> str:
    head, tail = BROKEN.search(text), BEGIN.match(line)
    if head:
        whole = tail is not None and tail[0].islower()
        own = tail is not None and f"{head[1]}-{tail[0]}" in known
        return text + line if own or not whole else text[:-1] + line
    if text.endswith("-") or (WIDE.match(text[-1:]) and WIDE.match(line[:1])):
        return text + line
    return f"{text} {line}"
