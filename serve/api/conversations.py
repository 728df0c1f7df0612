"""Conversations of the caller: list, show, rename, delete."""

from typing import Any

from flask import Blueprint, Response, request

from feedback import reads, record
from serve.api.context import caller, context
from serve.api.errors import json_body
from serve.api.operation import operation
from serve.api.paging import PAGE, list_object, page_arguments

blueprint = Blueprint("conversations", __name__, url_prefix="/v1/conversations")

TITLE = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}


@blueprint.get("")
@operation(query={**PAGE, "q": {"type": "string"}})
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
@operation(body=TITLE)
def rename(conversation_id: str) -> dict[str, Any]:
    """Give it another `title`."""
    user, title = caller(), json_body().get("title")
    with context().database.session() as session:
        record.rename_conversation(session, user, conversation_id, title)
    return show(conversation_id)


@blueprint.delete("/<conversation_id>")
@operation(status=204)
def delete(conversation_id: str) -> Response:
    """Hide it, and leave it out of every later snapshot."""
    user = caller()
    with context().database.session() as session:
        record.delete_conversation(session, user, conversation_id)
    return Response(status=204)
