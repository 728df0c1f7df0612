"""Writes and reads of responses, and the chains they form."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from feedback.errors import NotFound
from feedback.fields import mended_json
from feedback.moments import now
from feedback.owned import is_erased, own_response
from feedback.tables import Response, User

BATCH = 200
UNDER_WAY = ("queued", "in_progress")


def record_response(
    session: Session,
    *,
    conversation_id: str,
    turn_id: str,
    input: Sequence[Mapping[str, Any]],
    resource: Mapping[str, Any],
) -> Response:
    """A response as it is shown. Ownership is the caller's to check.

    It is not kept where the texts of its conversation were erased while it was written.
    """
    response = Response(
        conversation_id=conversation_id,
        turn_id=turn_id,
        previous_id=resource["previous_response_id"],
        input=mended_json(input),
        created_at=now(),
        **_shown(resource),
    )
    if not is_erased(session, conversation_id):
        session.add(response)
        session.flush()
    return response


def change_response(session: Session, resource: Mapping[str, Any]) -> None:
    """What a response has become; one that was deleted meanwhile stays so."""
    values = _shown(resource)
    session.execute(update(Response).where(Response.id == values["id"]).values(values))


def delete_response(session: Session, user: User, id: str) -> None:
    """Remove the response with all its content; its turn stays. Raises NotFound."""
    session.delete(own_response(session, user, id))


def chain_of(session: Session, user: User, id: str) -> list[Response]:
    """The response and all that it goes on from, the oldest first.

    Raises NotFound, also when one of them was deleted: what was said is not whole without it.
    """
    newest = own_response(session, user, id)
    rows = select(Response.id, Response.previous_id).where(
        Response.conversation_id == newest.conversation_id
    )
    previous = {row.id: row.previous_id for row in session.execute(rows)}
    ids: list[str] = []
    wanted: str | None = newest.id
    while wanted is not None:
        if wanted not in previous:
            raise NotFound("response", wanted)
        ids.append(wanted)
        wanted = previous[wanted]
    found = _by_id(session, ids)
    return [found[wanted] for wanted in reversed(ids)]


def _by_id(session: Session, ids: Sequence[str]) -> dict[str, Response]:
    found: dict[str, Response] = {}
    for start in range(0, len(ids), BATCH):
        rows = select(Response).where(Response.id.in_(ids[start : start + BATCH]))
        found |= {row.id: row for row in session.scalars(rows)}
    return found


def _shown(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": resource["id"], "status": resource["status"], "resource": mended_json(resource)}
