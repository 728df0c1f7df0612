"""Liveness, readiness and metrics."""

from typing import Any

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import text

from feedback.database import Database
from feedback.errors import RecordError
from serve import metrics
from serve.api.context import context
from serve.api.operation import TEXT, operation
from serve.engines.base import Engine, Reporting

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@blueprint.get("/health")
@operation(public=True)
def alive() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@blueprint.get("/readyz")
@operation(public=True)
def ready() -> tuple[dict[str, Any], int]:
    """Ready when record and engine answer; `degraded` while the champion does not serve.

    503 with the `problems` where no question can be answered now.
    """
    here = context()
    problems = {
        "database": _of_database(here.database),
        "engine": _of_engine(here.chat.engine),
        "adapter": here.serving.problem,
    }
    out = bool(problems["database"] or problems["engine"])
    degraded = "degraded" if problems["adapter"] else "ready"
    return {
        "status": "not ready" if out else degraded,
        "problems": {name: problem for name, problem in problems.items() if problem},
        "model": here.chat.engine.model,
        "engine": here.chat.engine.name,
        "adapter": here.serving.adapter,
        "canary": here.serving.canary.name if here.serving.canary else None,
        "problem": here.serving.problem,
    }, 503 if out else 200


@blueprint.get("/metrics")
@operation(role="reviewer", media=(TEXT,))
def tell_metrics() -> Response:
    """Prometheus metrics: requests, tokens, times, answers under way, feedback, what serves."""
    here = context()
    engine, canary = here.chat.engine, here.serving.canary
    shares = {canary.name: canary.share} if canary else {}
    told = metrics.exposition(here.serving.adapter, engine.model, engine.name, shares)
    return Response(told, content_type=CONTENT_TYPE_LATEST)


def _of_database(database: Database) -> str | None:
    try:
        with database.reading() as session:
            session.execute(text("SELECT 1"))
    except RecordError as error:
        return str(error)
    return None


def _of_engine(engine: Engine) -> str | None:
    return engine.problem() if isinstance(engine, Reporting) else None
