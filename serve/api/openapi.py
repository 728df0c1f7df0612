"""GET /openapi.json: the API described from its routes, their docstrings and the schemas."""

import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from flask import Blueprint, Flask, current_app
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from feedback import kinds
from serve.api.authentication import COOKIE
from serve.api.operation import (
    EVENTS,
    HTML,
    JSON,
    MARKDOWN,
    TEXT,
    Operation,
    Schema,
    operation,
    operation_of,
)

blueprint = Blueprint("openapi", __name__)

REF = "#/components/schemas/{model}"
ERROR = {"$ref": REF.format(model="Error")}
EVENT = {  # OpenAPI 3.1 has no word for a stream's items: its tools take this for each event
    "type": "object",
    "description": "Each event of the stream: its `data` is JSON, or `[DONE]` at the end.",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}
NULLABLE_TEXT = {"type": ["string", "null"]}
ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {
                    "type": "string",
                    "enum": ["invalid_request_error", "server_error", "requests"],
                },
                "param": NULLABLE_TEXT,
                "code": NULLABLE_TEXT,
            },
        }
    },
}


@blueprint.get("/openapi.json")
@operation(public=True)
def show() -> dict[str, Any]:
    """This API in OpenAPI 3.1."""
    return document(current_app)


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of every route of `app`."""
    paths: dict[str, dict[str, Any]] = {}
    for path, method, rule in routes(app):
        view = app.view_functions[rule.endpoint]
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, rule, view)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Redraft", "version": version("redraft")},
        "paths": paths,
        "components": {
            "schemas": {
                **_schemas(app),
                **{f"feedback_{kind}": kinds.schema(kind) for kind in kinds.kinds()},
                "Error": ERROR_SCHEMA,
            },
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def routes(app: Flask) -> Iterator[tuple[str, str, Rule]]:
    """(path with {names}, method, rule) of every endpoint, in the order of the paths."""
    for rule in sorted(app.url_map.iter_rules(), key=_path):
        if rule.endpoint != "static":
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield _path(rule), method, rule


def _path(rule: Rule) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def _operation(path: str, method: str, rule: Rule, view: Any) -> dict[str, Any]:
    found = operation_of(view)
    first, _, rest = (view.__doc__ or "").strip().partition("\n")
    made: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_"),
        "summary": first.removesuffix("."),
        "description": rest.strip(),
        "tags": [rule.endpoint.partition(".")[0]],
        "parameters": list(_parameters(rule, found)),
        "requestBody": _body(found),
        "responses": {
            str(found.status): _answer(found),
            "default": {"description": "What is wrong", "content": _json(found.error or ERROR)},
        },
        "security": [] if found.public else [{"key": []}, {"session": []}, {}],  # {}: on loopback
        "x-role": None if found.public else found.role,
    }
    return {name: value for name, value in made.items() if value or name == "security"}


def _parameters(rule: Rule, found: Operation) -> Iterator[dict[str, Any]]:
    for name in sorted(rule.arguments):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    for name, schema in (found.query or {}).items():
        yield {"name": name, "in": "query", "schema": schema}
    for name, text in (found.headers or {}).items():
        yield {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}


def _body(found: Operation) -> dict[str, Any] | None:
    if found.body is None:
        return None
    schema = found.body
    if isinstance(schema, type):
        schema = {"$ref": REF.format(model=schema.__name__)}
    return {"required": found.body_required, "content": _json(schema)}


def _answer(found: Operation) -> dict[str, Any]:
    schemas: dict[str, Schema] = {
        JSON: {"type": "object"},
        EVENTS: EVENT,
        TEXT: {"type": "string"},
        MARKDOWN: {"type": "string"},
        HTML: {"type": "string"},
    }
    content = {media: {"schema": schemas[media]} for media in found.media}
    answer: dict[str, Any] = {"description": "Done"}
    return answer if found.status == 204 else {**answer, "content": content}


def _json(schema: Schema) -> dict[str, Any]:
    return {JSON: {"schema": schema}}


def _schemas(app: Flask) -> dict[str, Any]:
    """The schemas of all request bodies, and of what they are made of."""
    bodies = (operation_of(app.view_functions[rule.endpoint]).body for _, _, rule in routes(app))
    models: set[type[BaseModel]] = {body for body in bodies if isinstance(body, type)}
    _, found = models_json_schema([(model, "validation") for model in models], ref_template=REF)
    return dict(found.get("$defs", {}))
