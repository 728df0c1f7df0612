"""Rows of a snapshot, as `feedback.reads.training_rows` gives them, and questions to one."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from feedback import users
from feedback.reads import training_rows
from prompts.answer_first import DELIMITER

Row = dict[str, Any]
Answer = list[dict[str, Any]]  # of one message
CORPUS = "corpus"  # the kind of rows that are nobody's verdict (see retrain.corpus.rows)
NO_WINNER = ("tie", "both_bad")
CUT = "length"  # the finish reason of a text that has no end to learn
TRUSTED = ("reviewer", "admin")


def rows_in_force(session: Session) -> list[Row]:
    """All feedback in force, each row with the `role` of its user."""
    roles = {user.id: user.role for user in users.list_users(session)}
    return [row | {"role": roles[row["user_id"]]} for row in training_rows(session)]


def is_train(row: Row) -> bool:
    return bool(row["split"] == "train")


def trusted(row: Row) -> bool:
    """Whether one who answers for this server said it: their word is enough to teach by."""
    return row.get("role") in TRUSTED


def vouched_for(row: Row) -> bool:
    """Whether a reviewer looked at the row and kept it, or put it right."""
    return bool((row.get("review") or {}).get("verdict") in ("keep", "fix"))


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


def conclusion_first(c: Row) -> bool:
    """Whether a stored answer came to the delimiter, behind which its reasoning is or would be."""
    return bool(c["stopped_by"] == DELIMITER or c["reasoning"] is not None)


def written_whole(c: Row) -> bool:
    """Whether the tokens of a stored answer are those of its conclusion and its reasoning."""
    return c["reasoning"] is not None and c["stopped_by"] != DELIMITER


def finished(c: Row) -> bool:
    """Whether a stored answer, as it is shown, came to its end, and was not cut off."""
    return conclusion_first(c) or ended_by(c, c) == "stop"


def stopped_short(c: Row) -> bool:
    """Whether a stop string of the client's cut the writing, as a limit does."""
    return c["stopped_by"] not in (None, DELIMITER)


def ended_by(c: Row, part: Row) -> str:
    """The finish reason that a stored answer, or its reasoning as `part`, is learned and scored by.

    An API says "stop" of a text that was cut at a stop string; the model would have gone on.
    """
    return CUT if stopped_short(c) else str(part["finish_reason"])


def without_tokens(c: Row) -> Row:
    """A stored answer that only its text is known of: tokens and logprobs mean something else."""
    none = {"token_ids": None, "logprobs": None}
    return {**c, **none, "reasoning": c["reasoning"] and {**c["reasoning"], **none}}


def unfinished(row: Row) -> bool:
    """Whether the row compares answers of which none came to its end.

    Which of two torsos a user picks says nothing about how an answer should end, and little about
    how long it should be.
    """
    return row["kind"] == "comparison" and not any(map(finished, judged(row)))


def prompt_key(row: Row) -> str:
    """The prompt as a string: equal for turns of which the engine saw the same messages."""
    return json.dumps(row["messages"], sort_keys=True, ensure_ascii=False)


def answer(
    text: str, finish_reason: str = "stop", token_ids: Sequence[int] | None = None
) -> Answer:
    """An answer in TRL's conversational form; only one that finished by "stop" has an end to learn.

    `token_ids` are those that it was written in, its end included.
    """
    said = {"role": "assistant", "content": text, "finish_reason": finish_reason}
    return [said | {"token_ids": list(token_ids)} if token_ids else said]


def counts(rows: list[Row], *keys: str) -> dict[str, int]:
    """How many rows there are of each value of the keys, such as {"train rating": 3}."""
    found: dict[str, int] = {}
    for row in rows:
        name = " ".join(str(row[key]) for key in keys)
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))
