"""Which draft of a turn is best.

{kind: "comparison", turn_id, shown: [ids in the order shown], chosen: id, "tie" or "both_bad"}
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from feedback import fields
from feedback.errors import Invalid
from feedback.kinds import VERDICT, Payload, Resolved
from feedback.owned import own_turn
from feedback.tables import Completion, Turn, User

NO_WINNER = ("tie", "both_bad")

GROUP = VERDICT
REQUIRED = ("turn_id", "shown", "chosen")
SCHEMA = {
    "turn_id": {"type": "string"},
    "shown": {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 2,
        "uniqueItems": True,
    },
    "chosen": {"type": "string"},
}


def validate(session: Session, user: User, body: Mapping[str, Any]) -> Resolved:
    """A comparison of drafts of one of the user's turns."""
    fields.only(body, SCHEMA)
    turn = own_turn(session, user, fields.required(body, "turn_id"))
    shown = _shown(session, turn, fields.required(body, "shown"))
    chosen = fields.required(body, "chosen")
    if chosen not in (*shown, *NO_WINNER):
        raise Invalid(
            "chosen",
            f"chosen is {fields.show(chosen)}; it must be one of the drafts in shown, tie or "
            "both_bad.",
        )
    return Resolved(
        turn.id, turn.id, None, turn.conversation_id, {"shown": shown, "chosen": chosen}
    )


def outcomes(payload: Payload, adapters: Mapping[str, str]) -> set[tuple[str, str]]:
    """Won, lost, tie or both_bad for each adapter with a draft in it; which place was picked.

    An adapter whose two drafts were compared won: one of them was good enough to be picked.
    """
    chosen, shown = payload["chosen"], payload["shown"]
    if chosen in NO_WINNER:
        return {(adapter, chosen) for adapter in adapters.values()}
    winner = adapters.get(chosen)
    found = {(a, "won" if a == winner else "lost") for a in adapters.values()}
    return found | {("", "first_picked" if chosen == shown[0] else "later_picked")}


def _shown(session: Session, turn: Turn, shown: object) -> list[str]:
    if not isinstance(shown, list) or not all(isinstance(id, str) for id in shown):
        raise Invalid(
            "shown",
            f"shown is {fields.show(shown)}; it must be the ids of the drafts in the order shown.",
        )
    if len(shown) < 2 or len(set(shown)) < len(shown):
        raise Invalid(
            "shown", f"shown is {fields.show(shown)}; it must name at least two drafts, each once."
        )
    drafts = set(session.scalars(select(Completion.id).where(Completion.turn_id == turn.id)))
    for id in shown:
        if id not in drafts:
            raise Invalid(
                "shown", f"shown names {fields.show(id)}, which is not a draft of {turn.id}."
            )
    return shown
