"""What a rewrite must not do to a question; any of it, and the user's own words stay."""

import re
from collections.abc import Mapping, Sequence

from prompts.answer_first import DELIMITER
from serve.turn.rewriting.features import STOP, words_of

Message = Mapping[str, str]
MARKS = re.compile(r"<\||\|>|</?s>|\b(?:user|assistant|system|question|answer)\s*:|^[QA]:|=>", re.I)
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
LATIN = re.compile(r"[A-Za-z]")
QUOTED = re.compile(r"[《「“\"]([^》」”\"]{1,60})[》」”\"]")
ANSWERS = re.compile(
    r"(sure|certainly|of course|i'm sorry|i am sorry|sorry,|as an ai|here (?:is|are)|yes,|no,"
    r"|the answer|i don't know|i do not know|当然|抱歉|对不起|好的|作为)", re.I
)  # fmt: skip
ASKS = re.compile(
    r"(who|whom|whose|what|when|where|why|how|which|is|are|was|were|do|does|did|has|have|had|can|could"
    r"|will|would|should|may|tell|describe|compare|explain|give|show|list|name|find)\b", re.I
)  # fmt: skip
ASKS_ZH = re.compile(r"[吗呢么谁哪几多怎何]|什么|是否|为何")


def find_fault(history: Sequence[Message], query: str, rewrite: str) -> str | None:
    """Why `rewrite` cannot stand for `query`, in words, or None."""
    if not rewrite.strip():
        return "the rewrite was empty"
    if DELIMITER in rewrite or MARKS.search(_without(rewrite, query)):
        return "the rewrite held marks of a dialogue"
    if "\n" in rewrite and "\n" not in query:
        return "the rewrite was more than one line"
    if _size(rewrite) > 40 + 2 * _size(query):
        return "the rewrite was far too long"
    if loops(rewrite):
        return "the rewrite repeated itself"
    return (
        _other_language(query, rewrite)
        or _answers(query, rewrite)
        or _lost(query, rewrite)
        or _made_up(history, query, rewrite)
    )


def _without(rewrite: str, query: str) -> str:
    """The rewrite without the marks that the user wrote themselves."""
    for mark in MARKS.findall(query):
        rewrite = rewrite.replace(mark, "")
    return rewrite


def _size(text: str) -> int:
    return len(CJK.findall(text)) + len(words_of(CJK.sub(" ", text)))


def loops(text: str) -> bool:
    """Whether a run of three words, or of four characters without spaces, comes four times."""
    words = text.lower().split()
    units, run = (words, 3) if len(words) > 6 else (list(text), 4)
    runs = [tuple(units[i : i + run]) for i in range(len(units) - run + 1)]
    return any(runs.count(one) >= 4 for one in set(runs))


def _other_language(query: str, rewrite: str) -> str | None:
    asked, given = len(CJK.findall(query)), len(CJK.findall(rewrite))
    if asked > len(LATIN.findall(query)) and given < asked / 2:
        return "the rewrite left the user's language"
    letters = [char for char in query if char.isalpha()]
    foreign = [char for char in letters if not (char.isascii() or CJK.match(char))]
    if len(foreign) > len(letters) / 2 and sum(c in rewrite for c in foreign) < len(foreign) / 2:
        return "the rewrite left the user's language"
    if not asked and given > 3 and letters:
        return "the rewrite left the user's language"
    return None


def _answers(query: str, rewrite: str) -> str | None:
    found = ANSWERS.match(rewrite.strip())
    if found and not query.strip().lower().startswith(found.group().lower()):
        return "the rewrite answered"
    if is_question(query) and not is_question(rewrite):
        return "the rewrite answered"
    return None


def is_question(text: str) -> bool:
    """Whether a text asks: by its mark, a Chinese question word, or how a sentence begins."""
    if text.rstrip().endswith(("?", "？", "؟")) or ASKS_ZH.search(text):
        return True
    sentences = re.split(r"[.,!;]\s+|\b(?:and|so|but)\s+", text.strip())
    return any(ASKS.match(sentence) for sentence in sentences)


def _lost(query: str, rewrite: str) -> str | None:
    kept = rewrite.lower()
    for kind, things in (("number", NUMBER.findall(query)), ("name", _names(query))):
        for thing in things:
            if thing.lower() not in kept:
                return f"the rewrite lost the {kind} {thing}"
    content = [word for word in map(str.lower, words_of(query)) if word not in STOP]
    missing = [word for word in content if word[:4] not in kept]
    if len(content) >= 3 and len(missing) > len(content) * 0.7:
        return "the rewrite lost what the user asked"
    return None


def _names(text: str) -> list[str]:
    """Quoted titles, and capitalised words that do not open a sentence."""
    inside = re.findall(r"(?<=[^\s.!?:\"“'…-])[\"'”]?\s+([A-Z][\w’'-]*)", text)
    names = [name.removesuffix("'s").removesuffix("’s").rstrip("'’-") for name in inside]
    if text.upper() == text:  # somebody shouts
        names = []
    titles = [title.strip(".,!?") for title in QUOTED.findall(text)]
    return titles + [name for name in names if name != "I" and not name.startswith("I'")]


def _made_up(history: Sequence[Message], query: str, rewrite: str) -> str | None:
    """Numbers and names that nobody said."""
    said = " ".join([*(message["content"] for message in history), query]).lower()
    for number in NUMBER.findall(rewrite):
        if number not in said:
            return f"the rewrite made up {number}"
    for name in _names(rewrite):
        if name[:5].lower() not in said:
            return f"the rewrite made up {name}"
    return None
