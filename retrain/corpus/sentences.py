"""Where sentences end, in English, Chinese and what is written alike."""

import re
from collections.abc import Iterator

Span = tuple[int, int]

# A full stop ends a sentence before a space and no small letter, unless a known word or a single
# letter stands before it; the Chinese ones do so anywhere.
END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s+[^\sa-z])|[。！？；…]+[”’」』）】\"]*|\n+")
SHORT = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|cf|al|No|Nr|Fig|Eq|Sec|Ch|Vol|"
    r"pp?|approx|ca|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|Inc|Ltd|Co)\.$"
)


def sentences(text: str) -> Iterator[Span]:
    """The sentences in order, without the white space between them."""
    begin = 0
    for match in END.finditer(text):
        if text[match.end() - 1] == "." and SHORT.search(text, begin, match.end()):
            continue
        yield from _trimmed(text, begin, match.end())
        begin = match.end()
    yield from _trimmed(text, begin, len(text))


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    said = text[start:end]
    start += len(said) - len(said.lstrip())
    if said.strip():
        yield start, start + len(said.strip())
