"""Whether a question leans on what was said before: cheap (well under 2 ms), no language model."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from serve.turn.rewriting import chinese
from serve.turn.rewriting.checks import CJK, LATIN
from serve.turn.rewriting.features import CLASSES, features, words_of

Message = Mapping[str, str]
WEIGHTS = Path(__file__).with_name("detector.json")  # made by bench/train_detector.py
LONGEST = 800  # characters; a longer message brings its own context


@dataclass(frozen=True)
class Verdict:
    """`score` is the probability that a person would rewrite; `reason` says why, in words."""

    needed: bool
    score: float
    reason: str


def needs_rewrite(history: Sequence[Message], query: str) -> Verdict:
    """Whether `query` needs `history` to be understood. Never raises, whatever the text."""
    turns = [
        {"role": str(m["role"]), "content": str(m["content"])}
        for m in history
        if m.get("role") in ("user", "assistant") and str(m.get("content") or "").strip()
    ]
    text = query.strip()
    if not turns:
        return Verdict(False, 0.0, "there is no history")
    if len(text) > LONGEST:
        return Verdict(False, 0.0, "a long message brings its own context")
    if len(CJK.findall(text)) * 2 > len(LATIN.findall(text)) and CJK.search(text):
        return _chinese(text)
    if not any(char.isalpha() for char in text):
        return Verdict(False, 0.0, "there are no words")
    if not LATIN.search(text):
        return _unknown(text)
    return _english(turns, text)


def _chinese(text: str) -> Verdict:
    found = chinese.leans_on(text)
    if found is None:
        return Verdict(False, 0.1, "nothing to resolve")
    return Verdict(True, 0.9, f"{found[0]} “{found[1]}”")


def _unknown(text: str) -> Verdict:
    """A script without rules: a fragment leans on the history, a sentence may stand."""
    if len(text.split()) <= 4:
        return Verdict(True, 0.6, "a fragment")
    return Verdict(False, 0.3, "no rules for this script")


def _english(history: Sequence[Message], text: str) -> Verdict:
    model, found = _model(), features(history, text)
    weights = model["weights"]
    total = model["bias"] + sum(weights.get(name, 0.0) * value for name, value in found.items())
    score = 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))
    if score < model["threshold"]:
        return Verdict(False, score, "nothing to resolve")
    return Verdict(True, score, _why(text, found))


def _why(text: str, found: Mapping[str, float]) -> str:
    words = words_of(text)
    for why, name in (
        ("pronoun", "personal"),
        ("pronoun", "it"),
        ("possessive", "possessive"),
        ("demonstrative", "demonstrative"),
        ("ordinal", "ordinal"),
        ("comparison", "other"),
        ("ellipsis", "one"),
    ):
        if name in found:
            said = next(w for w in words if w.lower().partition("'")[0] in CLASSES[name])
            return f"{why} “{said}”"
    return "ellipsis" if "opener" in found or len(words) <= 6 else "leans on what was said before"


@cache
def _model() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    return found
