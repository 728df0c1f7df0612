"""The votes on a canary and on the champion beside it, as a test of the two may count them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from feedback.adapters import BASE, Canary, champion
from feedback.kinds.comparison import NO_WINNER
from feedback.parts import REASONING
from feedback.split import takes_canary
from feedback.tables import Completion, Conversation, Feedback, User

KINDS = ("rating", "correction", "comparison")


@dataclass(frozen=True)
class Vote:
    """The verdict of one conversation."""

    user_id: str
    on_canary: bool
    good: bool
    role: str = "user"  # of the user


def canary_votes(session: Session, canary: Canary) -> list[Vote]:
    """The first verdict of each conversation that began beside the canary, in order of arrival.

    Later verdicts of a conversation do not count, nor do changes and withdrawals of the first: they
    would rewrite what the test has already seen, and a test that may stop at any look must not be.
    """
    serving = champion(session)
    arms = {True: canary.name, False: serving.name if serving else BASE}
    given = (
        select(Feedback, Completion.adapter, User.role)
        .join(User, User.id == Feedback.user_id)
        .join(Conversation, Conversation.id == Feedback.conversation_id)
        # A comparison is about a turn, whose drafts have one adapter.
        .join(Completion, Completion.turn_id == Feedback.turn_id)
        .where(Conversation.created_at >= canary.since, Feedback.kind.in_(KINDS))
        .where(Completion.draft == 0)
        .order_by(Feedback.seq)
    )
    return list(_first(session.execute(given), canary, arms))


def _first(rows: Any, canary: Canary, arms: dict[bool, str]) -> Iterator[Vote]:
    seen: set[str] = set()
    for row, adapter, role in rows:
        on_canary = takes_canary(row.conversation_id, canary.name, canary.share)
        # Somebody who asks for an adapter by name was not given it by chance.
        if adapter != arms[on_canary] or row.conversation_id in seen:
            continue
        if row.payload.get("part") != REASONING:
            seen.add(row.conversation_id)
            yield Vote(row.user_id, on_canary, is_good(row.kind, row.payload), role)


def is_good(kind: str, payload: dict[str, Any]) -> bool:
    """Whether the user could do with what was answered: a correction says no, a pick yes."""
    if kind == "rating":
        return bool(payload["value"] == 1)
    return kind == "comparison" and payload["chosen"] != NO_WINNER[1]
