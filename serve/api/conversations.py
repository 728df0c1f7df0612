"""Conversations of the caller: list, show, rename, delete."""

from typing import Any

from flask import Blueprint, Response, request

from feedback import reads, record
from serve.api.context import caller, context
from serve.api.errors import json_body
from serve.api.paging import list_object, page_arguments

blueprint = Blueprint("conversations", __name__, url_prefix="/v1/conversations")


@blueprint.get("")
def index() -> dict[str, Any]:
    """The caller's conversations, the one used last first; `limit`, `after`, `q`."""
    user, (limit, after) = caller(), page_arguments()
    with context().database.reading() as session:
        page = reads.list_conversations(
            session, user.id, limit, after, request.args.get("q") or None
        )
    return list_object(page.items, page.has_more, page.last_id)


@blueprint.get("/<conversation_id>")
def show(conversation_id: str) -> dict[str, Any]:
    """A conversation with its turns, drafts and feedback in force."""
    user = caller()
    with context().database.reading() as session:
        return reads.get_conversation(session, user, conversation_id)


@blueprint.patch("/<conversation_id>")
def rename(conversation_id: str) -> dict[str, Any]:
    """Give it another `title`."""
    user, title = caller(), json_body().get("title")
    with context().database.session() as session:
        record.rename_conversation(session, user, conversation_id, title)
    return show(conversation_id)


@blueprint.delete("/<conversation_id>")
def delete(conversation_id: str) -> Response:
    """Hide it, and leave it out of every later snapshot."""
    user = caller()
    with context().database.session() as session:
        record.delete_conversation(session, user, conversation_id)
    return Response(status=204)
