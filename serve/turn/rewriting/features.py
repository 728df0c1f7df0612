"""What the detector looks at in an English question and its history: plain counts, no model."""

import re
from collections.abc import Iterator, Mapping, Sequence

Message = Mapping[str, str]
LOOKED_AT = 2000  # characters of a message; more would cost time and tell nothing

CLASSES: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "personal": "he she him her they them",
        "it": "it itself",
        "possessive": "his her hers its their theirs",
        "demonstrative": "this that these those",
        "place": "there here then where",
        "one": "one ones",
        "other": "other others another else more also too instead similar same such besides",
        "both": "both either neither former latter each all any some none",
        "ordinal": "first second third fourth fifth last next previous two three",
        "compared": "better best worse cheaper bigger smaller older newer faster than most",
        "wh": "what who when where why how which whose",
        "auxiliary": "did does do was were is are has have had can could would will should",
        "connective": "and but so or then also",
        "self": "i me my we us our mine",
        "thanks": "thank thanks bye goodbye great good perfect nice hello hi",
        "yes_no": "yes no not nope yeah yep ok okay sure",
        "dont_care": "care matter mind any anything don't dont",
        "wanted": "want need like looking find book tell give show",
    }.items()
}
STOP = frozenset(
    "a an the of in on at for to from by with about as and or but if so than then that this these "
    "those is are was were be been do does did has have had can could would will should may might "
    "i me my we us our you your he she him her his they them their it its what who when where why "
    "how which whose there here not no yes any some one other more most also too please s t".split()
)
OPENERS = ("what about", "how about", "and ", "but ", "or ", "so ", "then ", "what else", "why not")
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


def words_of(text: str) -> list[str]:
    return [word.replace("’", "'") for word in WORD.findall(text[:LOOKED_AT])]


def features(history: Sequence[Message], query: str) -> dict[str, float]:
    """Feature name → value; names with a colon are words and openings of the query."""
    words = words_of(query)
    lower = [word.lower() for word in words]
    return {
        **dict(_shape(query, words, lower)),
        **dict(_against(history, words, lower)),
        **dict(_words(lower)),
    }


def _shape(query: str, words: Sequence[str], lower: Sequence[str]) -> Iterator[tuple[str, float]]:
    for name, members in CLASSES.items():
        if any(word.partition("'")[0] in members or word in members for word in lower):
            yield name, 1.0
    for length in (1, 2, 3, 4, 5, 6, 8, 10, 14, 20):
        if len(words) <= length:
            yield f"at most {length} words", 1.0
    if query.strip().lower().startswith(OPENERS):
        yield "opener", 1.0
    if query.rstrip().endswith("?"):
        yield "question mark", 1.0
    if not any(word in CLASSES["auxiliary"] for word in lower):
        yield "no auxiliary", 1.0
    if any(char.isdigit() for char in query[:LOOKED_AT]):
        yield "number", 1.0
    if "the" in lower:
        yield "definite", 1.0


def _against(
    history: Sequence[Message], words: Sequence[str], lower: Sequence[str]
) -> Iterator[tuple[str, float]]:
    said = {w.lower() for message in history[-8:] for w in words_of(message["content"])}
    content = [word for word in lower if word not in STOP]
    names = [word for word in words[1:] if word[:1].isupper() and word != "I"]
    yield "names", min(len(names), 3) / 3
    if not names:
        yield "no name", 1.0
    yield "known names", sum(name.lower() in said for name in names) / max(len(names), 1)
    yield "known content", sum(word in said for word in content) / max(len(content), 1)
    yield "content words", min(len(content), 8) / 8
    if len(content) <= 2:
        yield "little content", 1.0
    yield "turns", min(len(history), 10) / 10
    last = history[-1] if history else {"role": "user", "content": ""}
    if last["role"] == "assistant":
        yield "after an answer", 1.0
        if last["content"].rstrip().endswith("?"):
            yield "after a question back", 1.0


def _words(lower: Sequence[str]) -> Iterator[tuple[str, float]]:
    for word in lower:
        yield f"word:{word}", 1.0
    for pair in zip(lower, lower[1:], strict=False):
        yield f"pair:{' '.join(pair)}", 1.0
    yield f"start:{' '.join(lower[:2])}", 1.0
    yield f"start:{' '.join(lower[:1])}", 1.0
    yield f"end:{' '.join(lower[-1:])}", 1.0
