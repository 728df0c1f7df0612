"""What a row says of an answer that may put its conclusion first, in TRL's conversational form.

Feedback on such an answer is about its conclusion, up to the delimiter and without an end of turn:
there the model stopped, and goes on only when asked. Feedback on the reasoning is about what
follows, given the conclusion: the prompt ends in the assistant's message `conclusion ####`, so no
loss covers it. Where the engine's own tokens are known, messages carry them as `token_ids`: read
again, a text may come in other tokens than it was written in.
"""

from collections.abc import Sequence
from typing import Any

from prompts.answer_first import DELIMITER, open_answer, split_answer
from retrain.rows import (
    Answer,
    Row,
    answer,
    completion,
    conclusion_first,
    ended_by,
    finished,
    picked,
    written_whole,
)

Subject = tuple[str, str | None, bool]
AT_DELIMITER = "delimiter"  # the finish reason of a message that is to be gone on with


def on_reasoning(row: Row) -> bool:
    """Whether the row is about the reasoning of an answer, not about the answer as shown."""
    return bool(row["payload"].get("part") == "reasoning")


def subject(row: Row) -> Subject:
    """Whose verdict it is, and on what: equal for rows of one user on one part of an answer."""
    return row["user_id"], row["completion_id"], on_reasoning(row)


def stood_for(row: Row) -> Subject | None:
    """The subject of the stored answer that the row picks or rates up; None for other rows."""
    if pick := picked(row):
        return row["user_id"], pick[0]["id"], False
    up = row["kind"] == "rating" and row["payload"]["value"] > 0
    return subject(row) if up else None


def disowns(row: Row) -> bool:
    """Whether the row says that its subject was wrong, by correcting it or rating it down."""
    down = row["kind"] == "rating" and row["payload"]["value"] < 0
    return row["kind"] == "correction" or bool(down)


def prompt(row: Row) -> list[dict[str, Any]]:
    """What the text that the row is about follows."""
    c = completion(row) if on_reasoning(row) else None
    return [*row["messages"], *draft(c)] if c else row["messages"]


def draft(c: Row) -> Answer:
    """A stored answer as it was shown, with its delimiter where it has one."""
    return _conclusion(c) if conclusion_first(c) else answer(c["text"], ended_by(c, c))


def alike(drafts: Sequence[Row]) -> list[Answer]:
    """Drafts of one turn in one form: all with the delimiter if one has it.

    People compare conclusions; nobody sees the delimiter, so nobody prefers one for having it.
    """
    as_one = _conclusion if any(map(conclusion_first, drafts)) else draft
    return [as_one(c) for c in drafts]


def judged_part(row: Row, c: Row) -> Answer:
    """The part of a stored answer that the row rates or corrects."""
    if not on_reasoning(row):
        return draft(c)
    made = c["reasoning"]
    return answer(made["text"], ended_by(c, made), made["token_ids"])


def corrected(row: Row) -> Answer:
    """The user's own text in the place of what it corrects."""
    c, text = completion(row), row["payload"]["text"]
    if on_reasoning(row):
        return answer(f" {text.strip()}")  # the space that `join_answer` puts there
    if c is None or not conclusion_first(c):
        return answer(text)
    return answer(open_answer(split_answer(text)[0]), AT_DELIMITER)


def words(said: Answer) -> str:
    """What an answer says, without the delimiter that it may end in."""
    return str(said[0]["content"]).strip().removesuffix(DELIMITER).strip()


def _conclusion(c: Row) -> Answer:
    if not finished(c):
        return answer(c["text"], ended_by(c, c))
    if not conclusion_first(c):
        return answer(open_answer(c["text"]), AT_DELIMITER)
    token_ids = None if written_whole(c) else c["token_ids"]
    return answer(c["text"] + DELIMITER, AT_DELIMITER, token_ids)
