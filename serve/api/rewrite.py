"""POST /v1/rewrite: a follow-up as a standalone question."""

from typing import Any

from flask import Blueprint
from pydantic import Field

from serve.api.context import context
from serve.api.errors import json_body
from serve.api.operation import operation
from serve.api.parameters import Strict
from serve.api.schemas import ChatMessage, plain_messages

blueprint = Blueprint("rewrite", __name__)


class RewriteRequest(Strict):
    messages: list[ChatMessage] = Field(min_length=1)
    reason: bool = False


@blueprint.post("/v1/rewrite")
@operation(body=RewriteRequest, answers=True)
def create() -> dict[str, Any]:
    """The last message made standalone; with `reason: true` also the model's reasoning."""
    body = RewriteRequest.model_validate(json_body())
    messages = plain_messages(body.messages)
    found = context().chat.rewriter.rewrite(messages[:-1], messages[-1]["content"], body.reason)
    return {
        "query": found.query,
        "rewritten_query": found.rewritten_query,
        "changed": found.changed,
        "reason": found.reason,
        "fallback": found.fallback,
        "seconds": found.seconds,
    }
