"""Liveness and readiness."""

from typing import Any

from flask import Blueprint
from sqlalchemy import text

from serve.api.context import context
from serve.api.operation import operation

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@blueprint.get("/health")
@operation(public=True)
def alive() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@blueprint.get("/readyz")
@operation(public=True)
def ready() -> dict[str, Any]:
    """Ready when the record answers; says what serves, and why when it is not the champion."""
    here = context()
    with here.database.reading() as session:
        session.execute(text("SELECT 1"))
    return {
        "status": "ready",
        "model": here.chat.engine.model,
        "engine": here.chat.engine.name,
        "adapter": here.serving.adapter,
        "problem": here.serving.problem,
    }
