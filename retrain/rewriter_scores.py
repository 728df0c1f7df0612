"""How near a rewrite comes to a person's: insert-F1, exact match, unchanged turns kept."""

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prompts import Prompt
from prompts.answer_first import DELIMITER
from prompts.rewriting import rewriting_messages
from retrain.rewriter_rows import source_of
from serve.engines.base import Engine, likeliest

TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
ROOM = 48  # tokens beyond twice the question's
Row = Mapping[str, Any]


def rewritten(engine: Engine, prompt: Prompt, row: Row, adapter: str | None) -> str:
    """The adapter's own words, without the checks that serving adds."""
    messages = rewriting_messages(prompt, row["history"], row["query"])
    room = ROOM + 2 * len(engine.encode(row["query"]))
    return likeliest(engine, messages, room, adapter, stop=(DELIMITER,)).strip()


def tokens(text: str) -> list[str]:
    """Words in lower case without punctuation; a Chinese character is a word."""
    return TOKEN.findall(text.lower())


def same(one: str, other: str) -> bool:
    return tokens(one) == tokens(other)


def insert_f1(query: str, rewrite: str, person: str) -> float:
    """F1 of the tokens that are in the rewrite and not in the query, against the person's."""
    asked = Counter(tokens(query))
    given, wanted = Counter(tokens(rewrite)) - asked, Counter(tokens(person)) - asked
    if not given and not wanted:
        return 1.0
    return 2 * (given & wanted).total() / (given.total() + wanted.total())


def adds(row: Row) -> bool:
    """Whether the person put a word in: the rows that insert-F1 is taken over."""
    return bool(Counter(tokens(row["rewrite"])) - Counter(tokens(row["query"])))


def unchanged(row: Row) -> bool:
    return same(row["query"], row["rewrite"])


def score(rows: Sequence[Row], rewrites: Sequence[str]) -> dict[str, Any]:
    """Means over rows: insert_f1 over those where words were added, exact over all, kept over those
    that the person left alone; None where there is no such row."""
    pairs = list(zip(rows, rewrites, strict=True))
    return {
        "rows": len(pairs),
        "insert_f1": _mean(insert_f1(r["query"], w, r["rewrite"]) for r, w in pairs if adds(r)),
        "exact": _mean(same(w, r["rewrite"]) for r, w in pairs),
        "kept": _mean(same(w, r["query"]) for r, w in pairs if unchanged(r)),
    }


def score_by_source(rows: Sequence[Row], rewrites: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`score` per source, and of "all"."""
    pairs = list(zip(rows, rewrites, strict=True))
    found = {}
    for source in sorted({source_of(row) for row in rows}):
        own = [(r, w) for r, w in pairs if source_of(r) == source]
        found[source] = score([r for r, _ in own], [w for _, w in own])
    return found | {"all": score(rows, rewrites)}


def _mean(values: Iterable[float]) -> float | None:
    found = [float(value) for value in values]
    return round(statistics.fmean(found), 3) if found else None
