"""Who says what in scripts, chat logs and novels: what was said to a persona, and its reply.

In scripts and logs each turn has a speaker. In prose a speech is what stands between quotation
marks, and the clause beside it, in the same paragraph, says whose it is: the name next to a verb
of speaking. Speeches without such a clause are the other's of two who take turns, as readers take
them; an alternation that quote attribution rests on as well (Elson and McKeown 2010, AAAI).
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from retrain.corpus.stage import Row

QUOTED = re.compile(r"“([^”]+)”|\"([^\"]+)\"|「([^」]+)」|『([^』]+)』|«([^»]+)»")
VERBS = (
    "say|says|said|ask|asks|asked|reply|replies|replied|answer|answers|answered|cry|cries|cried|"
    "exclaim|exclaims|exclaimed|whisper|whispers|whispered|shout|shouts|shouted|continue|continued|"
    "add|adds|added|return|returned|murmur|murmured|begin|began|observe|observed|remark|remarked"
)
# What a Chinese clause ends with; 道 alone ends most of them (笑道, 说道, 问道).
HAN_VERBS = "说|道|问|答|喊|叫|曰|云|骂|叹"
NEAR = 2  # paragraphs between which one speech answers the other
OTHERS = 8  # speakers that an error names


@dataclass(frozen=True)
class Speech:
    """What somebody says; `place` counts the document's blocks."""

    text: str
    place: int
    own: bool = False  # of the persona
    known: bool = True  # whether the text says whose it is


def exchanges(document: Row, names: Sequence[str]) -> Iterator[dict[str, str]]:
    """`{question, answer}` of what is said just before the persona speaks, and what it says.

    `names` are all of the persona's own: Elizabeth, Lizzy, Miss Bennet.
    """
    before: Speech | None = None
    for one in _joined(_alternating(list(speeches(document, names)))):
        if one.own and before is not None and one.place - before.place <= NEAR:
            yield {"question": before.text, "answer": one.text}
        before = None if one.own else one


def speakers(document: Row) -> Counter[str]:
    """How often each of those that turns name speaks."""
    return Counter(b["speaker"] for b in document["blocks"] if b.get("speaker"))


def told(found: Counter[str]) -> str:
    """Those who speak most, for people."""
    return ", ".join(name for name, _ in found.most_common(OTHERS))


def speeches(document: Row, names: Sequence[str]) -> Iterator[Speech]:
    """All that is said, in order."""
    own = {name.casefold() for name in names}
    for place, block in enumerate(document["blocks"]):
        text = document["text"][block["start"] : block["end"]]
        if block["kind"] == "turn":
            speaker = block.get("speaker", "")
            said = text.removeprefix(f"{speaker}: ").strip()
            yield Speech(said, place, own=speaker.casefold() in own)
        elif block["kind"] == "paragraph":
            yield from _quoted(text, place, names)


def _quoted(text: str, place: int, names: Sequence[str]) -> Iterator[Speech]:
    """The speech of a paragraph: one, however often a clause breaks into it."""
    found = [next(filter(None, match.groups())).strip() for match in QUOTED.finditer(text)]
    if not found:
        return
    clauses = QUOTED.sub(" | ", text)
    own = any(_speaks(clauses, name) for name in names)
    known = own or re.search(rf"\b(?:{VERBS})\b|{HAN_VERBS}", clauses)
    yield Speech(" ".join(found), place, own=own, known=bool(known))


def _speaks(clauses: str, name: str) -> bool:
    """Whether the name stands next to a verb of speaking, and a speech next to both."""
    who = re.escape(name)
    if re.search(r"[㐀-鿿]", name):
        clause = rf"{who}[^，。！？；|]{{0,8}}?(?:{HAN_VERBS})"
        return bool(re.search(rf"{clause}\s*[：:，,]?\s*\||\|\s*{clause}", clauses))
    before = rf"\b{who}\s+(?:\w+\s+)?(?:{VERBS})\b[^.|]*\|"
    after = rf"\|[^.|]*?(?:\b(?:{VERBS})\s+{who}\b|\b{who}\s+(?:\w+\s+)?(?:{VERBS})\b)"
    return bool(re.search(f"{before}|{after}", clauses))


def _alternating(found: Sequence[Speech]) -> list[Speech]:
    """Speeches that the text says nothing of are the persona's where it spoke two before."""
    told = list(found)
    for at in range(2, len(told)):
        one, last, turn = told[at], told[at - 1], told[at - 2]
        adjacent = one.place - last.place == 1 and last.place - turn.place == 1
        if not one.known and adjacent and turn.own and not last.own:
            told[at] = replace(one, own=True)
    return told


def _joined(found: Sequence[Speech]) -> Iterator[Speech]:
    """Speeches of the persona that follow each other as one."""
    held: Speech | None = None
    for one in found:
        if held is not None and held.own and one.own and one.place - held.place <= NEAR:
            held = replace(held, text=f"{held.text}\n{one.text}", place=one.place)
            continue
        if held is not None:
            yield held
        held = one
    if held is not None:
        yield held
