"""The registry of adapters, and what an admin does with it."""

from typing import Any

from flask import Blueprint, request

from feedback import adapters as registry
from feedback.moments import iso
from feedback.tables import Adapter
from serve.api.context import caller, context
from serve.api.errors import json_body
from serve.api.operation import operation

blueprint = Blueprint("adapters", __name__, url_prefix="/v1/adapters")

REASON = {"type": "object", "properties": {"reason": {"type": "string"}}}


@blueprint.get("")
def index() -> dict[str, Any]:
    """All adapters, and which one serves."""
    with context().database.reading() as session:
        data = [_describe(adapter) for adapter in registry.list_adapters(session)]
    return {"object": "list", "data": data, "serving": context().serving.adapter}


@blueprint.get("/<name>")
def show(name: str) -> dict[str, Any]:
    """One adapter."""
    with context().database.reading() as session:
        return _describe(registry.get_adapter(session, name))


@blueprint.get("/<name>/lineage")
@operation(role="reviewer")
def lineage(name: str) -> dict[str, Any]:
    """Where an adapter comes from: run, feedback, parents."""
    with context().database.reading() as session:
        return registry.lineage(session, name)


@blueprint.post("/<name>/promote")
@operation(body=REASON, body_required=False, role="admin")
def promote(name: str) -> dict[str, str]:
    """Put an adapter into service (admin)."""
    user = caller()
    previous = context().serving.promote(name, by=user.name, reason=_reason())
    return {"serving": context().serving.adapter, "previous": previous}


@blueprint.post("/rollback")
@operation(body=REASON, body_required=False, role="admin")
def rollback() -> dict[str, str]:
    """Put back what served before (admin)."""
    user = caller()
    previous = context().serving.rollback(by=user.name, reason=_reason())
    return {"serving": context().serving.adapter, "previous": previous}


def _describe(adapter: Adapter) -> dict[str, Any]:
    return {
        "name": adapter.name,
        "state": adapter.state,
        "base_model": adapter.base_model,
        "parent": adapter.parent,
        "run_id": adapter.run_id,
        "digest": adapter.digest,
        "created_at": iso(adapter.created_at),
    }


def _reason() -> str:
    return str(json_body().get("reason", "")) if request.get_data() else ""
