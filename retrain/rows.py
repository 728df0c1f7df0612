"""Rows of a snapshot, as `feedback.reads.training_rows` gives them, and questions to one."""

import json
from typing import Any

Row = dict[str, Any]
NO_WINNER = ("tie", "both_bad")


def is_train(row: Row) -> bool:
    return bool(row["split"] == "train")


def completion(row: Row, id: str | None = None) -> Row | None:
    """The stored answer of that id; without one, the answer that the row is about."""
    wanted = id or row["completion_id"]
    return next((c for c in row["completions"] if c["id"] == wanted), None)


def judged(row: Row) -> list[Row]:
    """The answers that the row judges: those shown in a comparison, else the one it is about."""
    if row["kind"] == "comparison":
        found = [completion(row, id) for id in row["payload"]["shown"]]
    else:
        found = [completion(row)]
    return [c for c in found if c is not None]


def picked(row: Row) -> tuple[Row, list[Row]] | None:
    """(the chosen draft, the other ones with another text) of a decided comparison, else None."""
    if row["kind"] != "comparison" or row["payload"]["chosen"] in NO_WINNER:
        return None
    chosen = completion(row, row["payload"]["chosen"])
    if chosen is None:
        return None
    others = {c["text"]: c for c in judged(row) if c["text"] != chosen["text"]}
    return (chosen, list(others.values())) if others else None


def finished(c: Row) -> bool:
    """Whether a stored answer came to its end, and was not cut off."""
    return bool(c["finish_reason"] == "stop")


def unfinished(row: Row) -> bool:
    """Whether the row compares answers of which none came to its end.

    Which of two torsos a user picks says nothing about how an answer should end, and little about
    how long it should be.
    """
    return row["kind"] == "comparison" and not any(map(finished, judged(row)))


def prompt_key(row: Row) -> str:
    """The prompt as a string: equal for turns of which the engine saw the same messages."""
    return json.dumps(row["messages"], sort_keys=True, ensure_ascii=False)


def answer(text: str, finish_reason: str = "stop") -> list[dict[str, str]]:
    """An answer in TRL's conversational form; one that was cut off has no end to learn."""
    return [{"role": "assistant", "content": text, "finish_reason": finish_reason}]


def draft(c: Row) -> list[dict[str, str]]:
    """A stored answer in TRL's conversational form."""
    return answer(c["text"], c["finish_reason"])


def counts(rows: list[Row], *keys: str) -> dict[str, int]:
    """How many rows there are of each value of the keys, such as {"train rating": 3}."""
    found: dict[str, int] = {}
    for row in rows:
        name = " ".join(str(row[key]) for key in keys)
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))
