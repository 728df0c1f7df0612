"""The HTTP API: a Flask application factory, one blueprint file per feature."""

import importlib

from flask import Flask

from serve.api import errors
from serve.api.context import Context

FEATURES = (
    "health", "chat", "responses", "completions", "chat_rest", "rewrite", "models",
    "conversations", "feedback", "adapters", "runs", "openapi",
)  # fmt: skip


def create_app(context: Context) -> Flask:
    """The WSGI application over an open engine and an open database; opens nothing itself."""
    app = Flask("redraft")
    app.config["MAX_CONTENT_LENGTH"] = int(context.settings.max_body_mb * 1_000_000)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.extensions["redraft"] = context
    errors.install(app)
    for feature in FEATURES:
        app.register_blueprint(importlib.import_module(f"serve.api.{feature}").blueprint)
    return app
