"""Rows of {history, query, rewrite} as training examples, and the part that is never trained on."""

import difflib
import hashlib
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prompts import Prompt
from prompts.answer_first import join_answer
from prompts.rewriting import rewriting_messages

Row = Mapping[str, Any]
NOTHING = "nothing to resolve"
SHOWN = 3  # steps of reasoning
TURN = re.compile(r"(_[0-9]+)*(_[a-z])?$")


def source_of(row: Row) -> str:
    """Where a row comes from: the letters that its id opens with; "own" without an id."""
    found = re.match(r"[a-z]+", str(row.get("id", "")))
    return found.group() if found else "own"


def dialogue_of(row: Row) -> str:
    """What a row shares with the others of its conversation: the id without the turn's numbers.

    iKAT tells one topic for several personas, which count as one conversation here.
    """
    if "id" in row:
        return re.sub(r"^(ikat\w*-\d+)-\d+$", r"\1", TURN.sub("", str(row["id"])))
    return str(row["history"][0]["content"]) if row["history"] else str(row["query"])


def is_held_out(row: Row, share: float) -> bool:
    """Whether the row's conversation is kept for measuring: a stable hash, alike in every run."""
    digest = hashlib.sha256(f"rewriter/{dialogue_of(row)}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32 < share


def split(rows: Iterable[Row], share: float) -> tuple[list[Row], list[Row]]:
    """(to train on, to measure on); rows without a history need no rewriter and are in neither."""
    told = [row for row in rows if row["history"]]
    return (
        [row for row in told if not is_held_out(row, share)],
        [row for row in told if is_held_out(row, share)],
    )


def example(prompt: Prompt, row: Row) -> dict[str, Any]:
    """The SFT row: `{prompt, completion}`, answering `standalone question #### reasoning`."""
    query, rewrite = row["query"].strip(), row["rewrite"].strip()
    answer = join_answer(rewrite, reasoning(query, rewrite))
    return {
        "prompt": rewriting_messages(prompt, row["history"], query),
        "completion": [{"role": "assistant", "content": answer}],
    }


def reasoning(query: str, rewrite: str) -> str:
    """What a rewrite did to a query, in the words of the two: "he → Arthur Wellesley"."""
    old, new = query.split(), rewrite.split()
    matcher = difflib.SequenceMatcher(None, _bare(old), _bare(new), autojunk=False)
    steps = []
    for kind, i, j, k, m in matcher.get_opcodes():
        before, after = " ".join(_trimmed(old[i:j])), " ".join(_trimmed(new[k:m]))
        if kind == "equal" or before == after:
            continue
        steps.append(f"{before} → {after}" if before and after else _one_sided(before, after))
    return "; ".join(steps[:SHOWN]) or NOTHING


def _one_sided(before: str, after: str) -> str:
    return f"+ {after}" if after else f"- {before}"


def _bare(words: Sequence[str]) -> list[str]:
    return [word.lower().strip(".,?!") for word in words]


def _trimmed(words: Sequence[str]) -> list[str]:
    return [word.strip(".,?!") for word in words]


def stream(rows: Sequence[Row], epochs: float, seed: int = 7) -> list[Row]:
    """The rows in the order of training: `epochs` times all, scarce sources more often.

    A source's copies go with the square root of how much rarer it is than the largest one, three
    at the most. Every stretch of the stream is a fair sample, so that it may be cut anywhere.
    """
    draw = random.Random(seed)  # noqa: S311 - an order, not a secret
    by_source: dict[str, list[Row]] = {}
    for row in rows:
        by_source.setdefault(source_of(row), []).append(row)
    most = max(map(len, by_source.values()))
    placed = []
    for own in by_source.values():
        copies = epochs * min(3.0, (most / len(own)) ** 0.5)
        placed += [pair for row in own for pair in _places(draw, row, copies)]
    return [row for _, row in sorted(placed, key=lambda pair: pair[0])]


def _places(draw: random.Random, row: Row, copies: float) -> list[tuple[float, Row]]:
    """Copies of a row spread evenly over the stream, from a random beginning."""
    count = int(copies) + (draw.random() < copies % 1)
    start = draw.random()
    return [((start + index / count) % 1, row) for index in range(count)]
