"""Feedback: a 2xx means that the row is durable."""

from typing import Any

from flask import Blueprint, Response, request
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug.routing import BaseConverter

from feedback import reads, reasons, record
from feedback.kinds import kinds
from feedback.moments import now
from serve import metrics
from serve.api.context import caller, context
from serve.api.errors import json_body
from serve.api.operation import operation
from serve.api.paging import PAGE, list_object, page_arguments

blueprint = Blueprint("feedback", __name__, url_prefix="/v1/feedback")


class FeedbackId(BaseConverter):
    """Any id but the name of a list beside it, or that list would claim to be deleted."""

    regex = r"(?!reasons$)[^/]+"


@blueprint.record_once
def _know_ids(state: BlueprintSetupState) -> None:
    state.app.url_map.converters["feedback"] = FeedbackId


FEEDBACK = {
    "oneOf": [{"$ref": f"#/components/schemas/feedback_{kind}"} for kind in kinds()],
    "discriminator": {
        "propertyName": "kind",
        "mapping": {kind: f"#/components/schemas/feedback_{kind}" for kind in kinds()},
    },
}


@blueprint.post("")
@operation(
    body=FEEDBACK,
    status=201,
    headers={"Idempotency-Key": "The same again gives the first row."},
)
def create() -> tuple[dict[str, Any], int]:
    """Feedback of any kind; 201 means durable. `Idempotency-Key` is honoured.

    Verdicts are rating, comparison, correction and rewrite; one with `part: "reasoning"` is about
    the reasoning behind the answer. A review, of a reviewer or admin, is about somebody's verdict.
    copied, regenerated and abandoned say what somebody did, and are never learned from as verdicts.
    """
    user, body, began = caller(), json_body(), now()
    with context().database.session() as session:
        row = record.record_feedback(session, user, body, request.headers.get("Idempotency-Key"))
    if row.created_at >= began:  # not the first row again
        metrics.FEEDBACK.labels(row.kind, row.payload.get("value", "")).inc()
    return reads.describe(row), 201


@blueprint.get("")
@operation(query={**PAGE, "kind": {"type": "string", "enum": [*kinds()]}})
def index() -> dict[str, Any]:
    """The caller's verdicts in force, or feedback of one `kind`, the newest first."""
    user, (limit, after) = caller(), page_arguments()
    with context().database.reading() as session:
        page = reads.list_feedback(session, user, limit, after, request.args.get("kind"))
    return list_object(page.items, page.has_more, page.last_id)


@blueprint.get("/reasons")
def list_reasons() -> dict[str, Any]:
    """The keys that `tags` of a rating take, with labels by language; `value` is the thumb."""
    return {"object": "list", "data": reasons.reasons()}


@blueprint.delete("/<feedback:feedback_id>")
@operation(status=204)
def withdraw(feedback_id: str) -> Response:
    """Take a row of feedback back."""
    user = caller()
    with context().database.session() as session:
        record.withdraw_feedback(session, user, feedback_id)
    return Response(status=204)
