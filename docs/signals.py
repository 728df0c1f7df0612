"""The README's table of what feedback becomes: the datasets, built from each kind of it."""

from collections.abc import Iterator
from typing import Any

from retrain import datasets, recipe

Row = dict[str, Any]
ASKED = [{"role": "user", "content": "How long is the refund window?"}]
EARLIER = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]


def table() -> str:
    """Rows: what people say. Columns: the datasets, and what each makes of it."""
    names = datasets.names()
    eaters = {
        name: [t for t in recipe.trainers() if recipe.dataset_of(t) == name] for name in names
    }
    heads = [
        f"`{name}` → {', '.join(eaters[name]) or '`redraft retrain rewriter`'}" for name in names
    ]
    lines = ["| You do | " + " | ".join(heads) + " |", "| --- " * (len(names) + 1) + "|"]
    for said, rows in feedback():
        cells = [_cell(name, datasets.build(name, rows)) for name in names]
        lines.append(f"| {said} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def feedback() -> Iterator[tuple[str, list[Row]]]:
    """(in the words of a user, the rows that it is recorded as)."""
    up, down = {"value": 1}, {"value": -1}
    yield "👍", [_on("rating", up)]
    yield "👎", [_on("rating", down)]
    yield "👍, and a reviewer 👎 the same", [_on("rating", up), _on("rating", down, by="reviewer")]
    yield "a correction in substance", [_on("correction", {"text": "Forty-five days."})]
    yield "a correction of a comma", [_on("correction", {"text": "I cannot tell, sorry."})]
    comma = _on("correction", {"text": "I cannot tell, sorry."})
    yield "the same after 👎", [_on("rating", down), comma]
    yield "the same after 👍", [_on("rating", up), comma]
    yield "a pick of three drafts", [_among("b")]
    yield "a pick of three that were cut off", [_among("b", finish_reason="length")]
    other = _row("rating", down, [_draft("c", "Draft c.", {})], "c")
    yield "a pick of three drafts, and 👎 on another", [_among("b"), other]
    yield "a tie, or both bad", [_among("tie"), _among("both_bad")]
    why = {"text": " It says so.", "finish_reason": "stop", "token_ids": None, "logprobs": None}
    part = {"reasoning": why, "stopped_by": "####"}
    yield "👍 on a reasoning", [_on("rating", {**up, "part": "reasoning"}, **part)]
    yield "👎 on a reasoning", [_on("rating", {**down, "part": "reasoning"}, **part)]
    better = {"text": "Our terms name it.", "part": "reasoning"}
    yield "a correction of a reasoning", [_on("correction", better, **part)]
    yield "👍 on how a follow-up was understood", [_understood({"value": 1, "text": None})]
    own = {"value": -1, "text": "How long may I return a lamp?"}
    yield "a wording of how it was meant", [_understood(own)]


def _cell(name: str, examples: list[Row]) -> str:
    return {
        "sft": lambda: ", ".join(f"weight {e['weight']:g}" for e in examples),
        "kto": lambda: ", ".join(str(e["label"]).lower() for e in examples),
        "grpo": lambda: ", ".join(_rewards(e) for e in examples),
    }.get(name, lambda: _many(len(examples), "pair" if name == "preference" else "row"))() or "–"


def _rewards(group: Row) -> str:
    return "rewards " + " ".join(f"{draft['reward']:g}" for draft in group["completions"])


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}" if count else ""


def _on(kind: str, payload: Row, by: str = "user", **own: Any) -> Row:
    """A rating or correction of one answer; a reviewer is another user."""
    answer = _draft("a", "I cannot tell sorry.", own)
    return _row(kind, payload, [answer], "a") | {"role": by, "user_id": by}


def _among(chosen: str, **own: Any) -> Row:
    drafts = [_draft(id, f"Draft {id}.", own) for id in ("a", "b", "c")]
    return _row("comparison", {"shown": ["a", "b", "c"], "chosen": chosen}, drafts, None)


def _understood(payload: Row) -> Row:
    return _row("rewrite", payload, [], None) | {
        "messages": EARLIER + ASKED,
        "query": "And for lamps?",
        "rewritten_query": "How long is the refund window for lamps?",
        "preparation": None,
        "position": 1,
    }


def _row(kind: str, payload: Row, drafts: list[Row], about: str | None) -> Row:
    return {
        "feedback_id": "fb_1",
        "kind": kind,
        "payload": payload,
        "user_id": "user",
        "role": "user",
        "conversation_id": "conv_1",
        "messages": ASKED,
        "completion_id": about,
        "completions": drafts,
    }


def _draft(id: str, text: str, own: Row) -> Row:
    return {
        "id": id,
        "text": text,
        "token_ids": [1],
        "logprobs": [-1.0],
        "adapter": "base",
        "sampling": {"temperature": 0.7},
        "finish_reason": "stop",
        "stopped_by": None,
        "reasoning": None,
        **own,
    }
