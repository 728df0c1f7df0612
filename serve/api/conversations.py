"""Conversations of the caller: list, show, rename, delete, bring back, export."""

from typing import Any

from flask import Blueprint, Response, json, request

from feedback import reads, record
from serve.api.context import caller, context
from serve.api.errors import json_body
from serve.api.operation import JSON, MARKDOWN, operation
from serve.api.paging import PAGE, list_object, page_arguments
from serve.api.transcript import as_markdown

blueprint = Blueprint("conversations", __name__, url_prefix="/v1/conversations")

FORMATS = {"markdown": MARKDOWN, "json": JSON}
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


@blueprint.post("/<conversation_id>/restore")
def restore(conversation_id: str) -> dict[str, Any]:
    """Take its deletion back; one that is not deleted stays as it is."""
    user = caller()
    with context().database.session() as session:
        record.restore_conversation(session, user, conversation_id)
    return show(conversation_id)


@blueprint.get("/<conversation_id>/export")
@operation(
    query={"format": {"type": "string", "enum": list(FORMATS), "default": "markdown"}},
    media=(MARKDOWN, JSON),
)
def export(conversation_id: str) -> Response:
    """The whole conversation as a file: Markdown to read, or JSON with all ids and verdicts."""
    wanted = request.args.get("format", "markdown")
    found = show(conversation_id)
    text = as_markdown(found) if wanted == "markdown" else json.dumps(found, indent=2)
    ending = "md" if wanted == "markdown" else "json"
    answer = Response(text, mimetype=FORMATS[wanted])
    answer.headers.set("Content-Disposition", "attachment", filename=f"{found['id']}.{ending}")
    return answer
