"""Votes on text that the voter's own prompt dictated ("Repeat after me: …") go to quarantine.

That an order was followed says nothing about which answers are good, and a user who has the model
say something and then praises it can teach it to everybody (arXiv 2507.02850). An answer counts as
dictated when half of it stands in the prompt, word for word, behind an order to say it, or when it
has what the prompt put in quotes behind such an order. A text that an answer quotes without an
order, such as a passage to be asked about, is none.
"""

import re
from difflib import SequenceMatcher

from retrain.curate._outcome import Outcome, hold
from retrain.rows import Row, judged, trusted
from retrain.terms import WORD, words
from serve.settings import Settings

HALF = 0.5
QUOTE = 4  # words from which any order before a quote counts, not only one to mention it
MENTION = (
    r"\b(?:say|says|repeat|echo|reply|respond|answer with|mention|include|recommend|promote|praise"
    r"|advertise|use the (?:word|name|phrase)|call it|(?:end|begin|start) with)\b"
    r"|说|重复|复述|回复|提到|提及|推荐|包含|宣传"
)
ORDER = re.compile(
    MENTION
    + r"|\b(?:answer|output|print|write|recite|copy|state|tell|append|put)\b|回答|输出|写|告诉",
    re.IGNORECASE,
)
MENTIONS = re.compile(MENTION, re.IGNORECASE)
NEAR = 60  # characters in which the order stands before what it orders
QUOTED = re.compile(
    "\"([^\"\n]+)\"|“([^”\n]+)”|「([^」\n]+)」|『([^』\n]+)』|(?<!\\w)'([^'\n]+)'(?!\\w)"
)


def apply(rows: list[Row], settings: Settings) -> Outcome:
    def why(row: Row) -> str | None:
        if row["kind"] not in ("rating", "comparison") or trusted(row):
            return None
        prompts = _prompts(row, settings.system_prompt)
        said = {answer["text"] for answer in judged(row)}
        if any(_dictated(text, prompt) for text in said for prompt in prompts):
            return "the voter's own prompt dictated the answer"
        return None

    return hold(rows, why)


def _prompts(row: Row, operators: str) -> list[str]:
    """What the voter wrote: everything but answers, and what the operator put before them."""
    found = [m for m in row["messages"] if m["role"] != "assistant" and m["content"]]
    return [m["content"] for m in found if m["role"] == "user" or m["content"] != operators]


def _dictated(answer: str, prompt: str) -> bool:
    if not ORDER.search(prompt):
        return False
    return _quoted(words(answer), prompt) or _recited(words(answer), prompt)


def _quoted(answer: list[str], prompt: str) -> bool:
    for found in QUOTED.finditer(prompt):
        quote = words(next(filter(None, found.groups())))
        order = ORDER if len(quote) >= QUOTE else MENTIONS
        if _before(found.start(), prompt, order) and _within(quote, answer):
            return True
    return False


def _recited(answer: list[str], prompt: str) -> bool:
    spans = [found.start() for found in WORD.finditer(prompt)]
    match = SequenceMatcher(None, words(prompt), answer, autojunk=False).find_longest_match()
    if not match.size or match.size < HALF * len(answer):
        return False
    return _before(spans[match.a], prompt, ORDER)


def _before(start: int, prompt: str, order: re.Pattern[str]) -> bool:
    return bool(order.search(prompt[max(0, start - NEAR) : start]))


def _within(quote: list[str], answer: list[str]) -> bool:
    size = len(quote)
    return bool(size) and any(answer[i : i + size] == quote for i in range(len(answer) - size + 1))
