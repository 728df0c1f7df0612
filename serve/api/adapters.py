"""The registry of adapters, and what an admin does with it."""

from typing import Annotated, Any, Literal, TypeVar

from flask import Blueprint, request
from pydantic import BaseModel, ConfigDict, Field

from feedback import adapters as registry
from feedback.adapters import Canary
from feedback.lineage import lineage as lineage_of
from feedback.moments import iso
from feedback.tables import Adapter
from serve.api.context import caller, context
from serve.api.errors import json_body
from serve.api.operation import operation

blueprint = Blueprint("adapters", __name__, url_prefix="/v1/adapters")
Given = TypeVar("Given", bound="Action")
JudgedAgainst = Annotated[
    str | None,
    Field(
        description="What the adapter was judged against, `base` where no adapter served. Where "
        "neither that nor the adapter itself serves now, nothing is done: 409, `champion_changed`."
    ),
]


class Action(BaseModel):
    """Why: kept in the record."""

    model_config = ConfigDict(extra="forbid")
    reason: str = ""


class Decision(Action):
    facts: dict[str, Any] | None = None  # the numbers that it stands on


class Promotion(Decision):
    expected: Literal["canary"] | None = None  # the state in which it has to be
    champion: JudgedAgainst = None


class CanaryAction(Action):
    share: float | None = None  # of the conversations; None: REDRAFT_CANARY_SHARE
    champion: JudgedAgainst = None


@blueprint.get("")
def index() -> dict[str, Any]:
    """All adapters, and which one serves."""
    with context().database.reading() as session:
        data = [_describe(adapter) for adapter in registry.list_adapters(session)]
    serving = context().serving
    canary = _canary(serving.canary) if serving.canary else None
    return {"object": "list", "data": data, "serving": serving.adapter, "canary": canary}


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
        return lineage_of(session, name)


@blueprint.post("/<name>/promote")
@operation(body=Promotion, body_required=False, role="admin")
def promote(name: str) -> dict[str, str]:
    """Put an adapter into service; 409 when not `expected` or another `champion` serves (admin)."""
    user, given = caller(), _given(Promotion)
    previous = context().serving.promote(name, by=user.name, **given.model_dump())
    return {"serving": context().serving.adapter, "previous": previous}


@blueprint.post("/<name>/canary")
@operation(body=CanaryAction, body_required=False, role="admin")
def put_canary(name: str) -> dict[str, Any]:
    """Give an adapter a `share` of the conversations that begin from now on (admin)."""
    user, given = caller(), _given(CanaryAction)
    share = context().settings.canary_share if given.share is None else given.share
    canary = context().serving.put_canary(
        name, share, by=user.name, reason=given.reason, champion=given.champion
    )
    return {"serving": context().serving.adapter, "canary": _canary(canary)}


@blueprint.post("/<name>/retire")
@operation(body=Decision, body_required=False, role="admin")
def retire(name: str) -> dict[str, str]:
    """Take the canary of that name out: the champion answers its conversations (admin)."""
    user, given = caller(), _given(Decision)
    context().serving.retire(name, by=user.name, **given.model_dump())
    return {"serving": context().serving.adapter, "previous": name}


@blueprint.post("/rollback")
@operation(body=Action, body_required=False, role="admin")
def rollback() -> dict[str, str]:
    """Take back what came last: the canary, else the champion for the one before (admin)."""
    user, given = caller(), _given(Action)
    previous = context().serving.rollback(by=user.name, reason=given.reason)
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


def _canary(canary: Canary) -> dict[str, Any]:
    return {"name": canary.name, "share": canary.share, "since": iso(canary.since)}


def _given(form: type[Given]) -> Given:
    return form.model_validate(json_body() if request.get_data() else {})
