"""GET /v1/models: the base model and the adapters that are loaded."""

from typing import Any

from flask import Blueprint

from serve.api.context import context
from serve.api.errors import ApiError
from serve.engines.base import BASE

blueprint = Blueprint("models", __name__)
SERVING = "redraft"  # whatever serves, under whichever name


@blueprint.get("/v1/models")
def index() -> dict[str, Any]:
    """The base model and the adapters that are loaded."""
    return {"object": "list", "data": [_model(name) for name in _names()]}


@blueprint.get("/v1/models/<path:name>")
def show(name: str) -> dict[str, Any]:
    """One of them."""
    if name not in _names():
        raise ApiError(404, f"There is no model {name!r}.", param="model", code="model_not_found")
    return _model(name)


def wanted_adapter(model: str) -> str | None:
    """What the `model` of a request selects: what serves (None), the base, or a loaded adapter.

    Raises ApiError 404 that lists what there is.
    """
    engine = context().chat.engine
    if model in (SERVING, engine.model):
        return None
    if model == BASE or model in engine.adapters():
        return model
    known = ", ".join([engine.model, BASE, *engine.adapters()])
    raise ApiError(
        404, f"There is no model {model!r}. Known: {known}.", param="model", code="model_not_found"
    )


def _names() -> list[str]:
    engine = context().chat.engine
    return [engine.model, *engine.adapters()]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "redraft"}
