"""The HTTP API: a Flask application factory, one blueprint file per feature."""

import importlib

from flask import Flask, request

from serve.api import errors, limits, observing
from serve.api.context import Context, require
from serve.api.lockout import Lockout
from serve.api.operation import operation_of
from serve.api.query import check_query
from serve.engines.hangup import LINE

FEATURES = (
    "health", "session", "consent", "chat", "responses", "completions", "chat_rest", "rewrite",
    "models", "conversations", "feedback", "adapters", "runs", "learned", "review_queue",
    "dashboard", "openapi",
)  # fmt: skip


def create_app(context: Context) -> Flask:
    """The WSGI application over an open engine and an open database; opens nothing itself."""
    app = Flask("redraft", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = int(context.settings.max_body_mb * 1_000_000)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.extensions["redraft"] = context
    settings = context.settings
    app.extensions["redraft.lockout"] = Lockout(
        settings.login_failures, settings.login_lockout_minutes * 60
    )
    observing.install(app)
    errors.install(app)
    for feature in FEATURES:
        app.register_blueprint(importlib.import_module(f"serve.api.{feature}").blueprint)
    _guard(app)
    limits.install(app, settings)
    return app


def _guard(app: Flask) -> None:
    """Check every request against what its endpoint asks for, before the endpoint runs."""

    @app.before_request
    def _check() -> None:
        LINE.set(request.environ.get("redraft.line"))
        if request.endpoint is not None:  # none: no such path or method, answered as that
            asked = operation_of(app.view_functions[request.endpoint])
            require(asked)
            check_query(asked)
