"""Feedback: a 2xx means that the row is durable."""

from typing import Any

from flask import Blueprint, Response, request

from feedback import reads, record
from feedback.kinds import kinds
from feedback.moments import now
from serve import metrics
from serve.api.context import caller, context
from serve.api.errors import json_body
from serve.api.operation import operation
from serve.api.paging import PAGE, list_object, page_arguments

blueprint = Blueprint("feedback", __name__, url_prefix="/v1/feedback")

FEEDBACK = {  # the file of each kind says what else it takes
    "type": "object",
    "required": ["kind"],
    "properties": {"kind": {"type": "string", "enum": kinds()}},
}


@blueprint.post("")
@operation(
    body=FEEDBACK,
    status=201,
    headers={"Idempotency-Key": "The same again gives the first row."},
)
def create() -> tuple[dict[str, Any], int]:
    """A rating, comparison or correction; 201 means durable. `Idempotency-Key` is honoured.

    A rating or correction with `part: "reasoning"` is about the reasoning behind the answer.
    """
    user, body, began = caller(), json_body(), now()
    with context().database.session() as session:
        row = record.record_feedback(session, user, body, request.headers.get("Idempotency-Key"))
    if row.created_at >= began:  # not the first row again
        metrics.FEEDBACK.labels(row.kind, row.payload.get("value", "")).inc()
    return reads.describe(row), 201


@blueprint.get("")
@operation(query=PAGE)
def index() -> dict[str, Any]:
    """The caller's feedback in force, the newest first."""
    user, (limit, after) = caller(), page_arguments()
    with context().database.reading() as session:
        page = reads.list_feedback(session, user, limit, after)
    return list_object(page.items, page.has_more, page.last_id)


@blueprint.delete("/<feedback_id>")
@operation(status=204)
def withdraw(feedback_id: str) -> Response:
    """Take a row of feedback back."""
    user = caller()
    with context().database.session() as session:
        record.withdraw_feedback(session, user, feedback_id)
    return Response(status=204)
