"""Every error as OpenAI's `{"error": {message, type, param, code}}`, translated once, here."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, current_app, jsonify, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from feedback.errors import (
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    Invalid,
    NotFound,
    Overtaken,
    RecordError,
    Unstorable,
)
from serve.engines.base import AdapterError, EngineError, Unavailable, Unsupported
from serve.strict_json import read_json
from serve.turn.window import WindowError

log = logging.getLogger("redraft")


class ApiError(Exception):
    """A refusal with its HTTP status."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.kind = status, param, code, kind
        self.headers = headers or {}


STATUS: dict[type[Exception], int] = {
    NotFound: 404,
    Invalid: 400,
    Forbidden: 403,
    Overtaken: 409,
    Conflict: 409,
    DatabaseUnavailable: 503,
    Unstorable: 400,
    RecordError: 500,
    WindowError: 400,
    AdapterError: 409,
    Unsupported: 400,
    Unavailable: 503,
    EngineError: 500,
}
CODES: dict[type[Exception], str] = {
    NotFound: "not_found",
    Forbidden: "not_reviewer",
    Overtaken: "champion_changed",
    WindowError: "context_length_exceeded",
    AdapterError: "adapter_unusable",
    Unsupported: "unsupported",
    Unavailable: "engine_unavailable",
}


def error_body(error: Exception) -> tuple[dict[str, Any], int]:
    """The body and status of an error of ours; anything unknown is a 500 without details."""
    if isinstance(error, ApiError):
        return _body(str(error), error.status, error.param, error.code, error.kind)
    if isinstance(error, ValidationError):
        return _invalid_body(error)
    if isinstance(error, HTTPException):
        return _http_body(error)
    for kind, status in STATUS.items():
        if isinstance(error, kind):
            if status >= 500 or kind is Unstorable:  # whose cause may be a column of ours
                log.error("%s: %s", type(error).__name__, error)
            return _body(str(error), status, getattr(error, "param", None), CODES.get(kind))
    log.error("Unexpected %s", type(error).__name__, exc_info=error)
    message = f"The server failed ({type(error).__name__}). Its log has the details; try again."
    return _body(message, 500, None, "internal_error")


def install(app: Flask) -> None:
    """Route every exception of `app` through `error_body`."""

    app.register_error_handler(Exception, error_answer)


def error_answer(error: Exception) -> tuple[Response, int, dict[str, str]]:
    """The answer to an error."""
    body, status = error_body(error)
    return jsonify(body), status, error_headers(error)


def error_headers(error: Exception) -> dict[str, str]:
    """What the answer to an error carries beside its body: how to come in, when to come again."""
    if isinstance(error, MethodNotAllowed):
        return {"Allow": ", ".join(error.valid_methods or ())}
    if not isinstance(error, ApiError):
        return {}
    challenge = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    return {**challenge, **error.headers}


def json_body() -> dict[str, Any]:
    """The request's JSON object. Raises ApiError 400 that says where it breaks."""
    try:
        body = read_json(request.get_data().decode("utf-8"))
    except UnicodeDecodeError:
        raise ApiError(400, "The body is not UTF-8.", code="invalid_json") from None
    except json.JSONDecodeError as error:
        raise ApiError(400, f"The body is not JSON: {error}.", code="invalid_json") from None
    except ValueError as error:
        raise ApiError(400, f"The body cannot be taken: {error}.", code="invalid_json") from None
    if not isinstance(body, dict):
        kind = type(body).__name__
        raise ApiError(400, f"The body must be a JSON object, not {kind}.", code="invalid_json")
    return body


def _body(
    message: str, status: int, param: str | None, code: str | None, kind: str | None = None
) -> tuple[dict[str, Any], int]:
    kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}, status


def _http_body(error: HTTPException) -> tuple[dict[str, Any], int]:
    status = error.code or 500
    message = error.description or error.name
    if isinstance(error, RequestEntityTooLarge):
        limit = current_app.config["MAX_CONTENT_LENGTH"] / 1e6
        message = (
            f"The body has {(request.content_length or 0) / 1e6:.1f} MB; at most {limit:g} MB "
            "are taken. Send less, or raise REDRAFT_MAX_BODY_MB."
        )
    elif status == 404:
        message = f"There is no {request.method} {request.path}."
    elif status == 405:
        message = f"{request.path} does not take {request.method}."
    return _body(message, status, None, None)


def _invalid_body(error: ValidationError) -> tuple[dict[str, Any], int]:
    found = error.errors()
    # One that is not there may be a misspelling of one that is missing.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    param = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        message = f"There is no parameter {param!r} here. Leave it out."
        return _body(message, 400, param, "unknown_parameter")
    if first["type"] == "missing":
        hint = " `GET /v1/models` lists what there is." if param == "model" else ""
        return _body(f"{param} is missing.{hint}", 400, param, "missing_required_parameter")
    got = repr(first.get("input"))
    got = got if len(got) < 80 else got[:77] + "…"
    return _body(f"{param}: {first['msg']} (got {got}).", 400, param, "invalid_value")
