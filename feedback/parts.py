"""The part of an answer that a verdict is about: the answer as shown, or the reasoning behind it.

An answer that puts its conclusion first, `conclusion #### reasoning`, is shown as its conclusion;
what follows the delimiter is its reasoning. The two are targets of their own, so a user's verdicts
on both are in force at once.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from feedback.errors import Conflict, Invalid
from feedback.fields import show
from feedback.tables import Completion, Reasoning

CONCLUSION, REASONING = "conclusion", "reasoning"
PARTS = (CONCLUSION, REASONING)
SCHEMA = {"enum": [*PARTS, None]}


def part_of(body: Mapping[str, Any]) -> str | None:
    """The field `part`, None where it is left out: the answer as shown. Raises Invalid."""
    part = body.get("part")
    if part is not None and part not in PARTS:
        raise Invalid("part", f"part is {show(part)}; it must be {' or '.join(PARTS)}.")
    return part


def target(session: Session, completion: Completion, part: str | None) -> str:
    """The target id of a verdict on that part; raises Conflict for a reasoning never recorded."""
    if part != REASONING:
        return completion.id
    if session.get(Reasoning, completion.id) is None:
        raise Conflict(
            f"No reasoning of the answer {completion.id} is recorded, so there is none to judge. "
            "Have it made first, where the answer's redraft.reasoning is available, or leave out "
            "part."
        )
    return reasoning_target(completion.id)


def reasoning_target(completion_id: str) -> str:
    """What a verdict on the completion's reasoning is about."""
    return f"{completion_id}.{REASONING}"


def said_of(part: str | None) -> dict[str, str]:
    """What a payload says of its part: nothing where the body did not either."""
    return {} if part is None else {"part": part}


def told_apart(payload: Mapping[str, Any], outcome: str) -> str:
    """The outcome by another name where it is about the reasoning."""
    return f"{REASONING}_{outcome}" if payload.get("part") == REASONING else outcome
