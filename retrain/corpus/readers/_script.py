"""Scripts in plain text: `NAME: what they say`, or the name on a line of its own above it."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from retrain.corpus.document import Block

NAMED = re.compile(r"^([^\W\d_][^:：.?!]{0,39}?)\s*[:：]\s*(\S.*)$")
SCENE = re.compile(r"^(?:INT|EXT|EST|I/E)[./ ]")
ASIDE = ("(", "[", "（", "【")
LONGEST = 40  # characters of a name
LEAST, SHARE = 4, 0.4  # turns, and their share of the blocks, that make a text a script


def turns(text: str) -> list[Block] | None:
    """The turns of a script, and what else stands there as paragraphs; None for another text."""
    lines = [line.strip() for line in text.split("\n")]
    named = (_named(*pair)[0] for pair in pairwise([*lines, ""]))
    often = Counter(filter(None, named))
    cast = {name for name, count in often.items() if count > 1}
    found = list(_blocks(lines, cast)) if len(cast) > 1 else []
    spoken = sum(block.kind == "turn" for block in found)
    return found if spoken >= max(LEAST, SHARE * len(found)) else None


def _named(line: str, after: str) -> tuple[str, str]:
    """(who speaks, what the same line has of it); nobody where the line names none."""
    if line.isupper() and len(line) <= LONGEST and not SCENE.match(line) and after:
        return line, ""
    found = NAMED.match(line)
    return (found[1].strip(), found[2].strip()) if found else ("", line)


def _blocks(lines: Sequence[str], cast: set[str]) -> Iterator[Block]:
    speaker, said = "", list[str]()
    for line, after in pairwise([*lines, "", ""]):
        name, rest = _named(line, after)
        aside = line.startswith(ASIDE)
        if name in cast or aside or not line:
            yield from _block(speaker, said)
            said = []
        if name in cast:
            speaker, said = name, [rest] if rest else []
        elif aside:  # whoever speaks goes on behind it
            yield Block("paragraph", line)
        elif line:
            said.append(line)
        else:
            speaker = ""


def _block(speaker: str, said: Sequence[str]) -> Iterator[Block]:
    text = "\n".join(said)
    if said and speaker:
        yield Block("turn", f"{speaker}: {text}", speaker=speaker)
    elif said:
        yield Block("paragraph", text)
