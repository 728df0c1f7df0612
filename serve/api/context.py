"""What every request needs, built once by `open_context` and found through `context()`."""

import logging
from dataclasses import dataclass

from flask import current_app, g, request

from feedback import users
from feedback.database import Database, open_database
from feedback.migrate import check
from feedback.tables import User
from prompts.answer_first import DELIMITER
from serve.api.errors import ApiError
from serve.engines import open_engine
from serve.engines.base import Options
from serve.engines.delimiter import find_delimiter
from serve.settings import Settings
from serve.turn.rewriting.rewriter import open_rewriter
from serve.turn.serving import Serving
from serve.turn.turn import Chat

log = logging.getLogger("redraft")


@dataclass(frozen=True)
class Context:
    settings: Settings
    database: Database
    chat: Chat
    serving: Serving


def open_context(settings: Settings) -> Context:
    """Open the record, the engine and the champion. Raises RecordError or EngineError."""
    database = open_database(settings.database_url)
    check(database)
    with database.session() as session:
        users.local_user(session)
    options = Options(settings.engine_url, settings.engine_api_key, settings.quantization)
    engine = open_engine(settings.engine, settings.model, settings.home, options)
    serving = Serving(engine, database, settings.drain_seconds)
    serving.start()
    log.info(find_delimiter(engine, DELIMITER).describe(settings.model))
    rewriter = open_rewriter(engine, settings.home, settings.rewrite_seconds)
    chat = Chat(engine, serving, database, settings, rewriter)
    return Context(settings, database, chat, serving)


def context() -> Context:
    """The application's context."""
    found: Context = current_app.extensions["redraft"]
    return found


def caller() -> User:
    """Who asks: the owner of the bearer key, else the local user. Raises ApiError 401."""
    if "user" not in g:
        g.user = _authenticate()
    user: User = g.user
    return user


def admin() -> User:
    """The caller, when an admin. Raises ApiError 403."""
    user = caller()
    if user.role != "admin":
        raise ApiError(
            403,
            f"{user.name} has the role {user.role}; this needs an admin. "
            f"`redraft user role {user.name} admin` makes one.",
            code="not_an_admin",
        )
    return user


def _authenticate() -> User:
    here = context()
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.startswith("rd-"):
        with here.database.reading() as session:
            user = users.user_of_key(session, key.strip())
        if user is None:
            raise ApiError(401, "This API key is not known or was revoked.", code="invalid_api_key")
        return user
    # OpenAI clients must send some key: on loopback one that is not ours is the local user's.
    if not here.settings.on_loopback:
        raise ApiError(
            401,
            "This server asks for an API key: `Authorization: Bearer rd-…`. "
            "`redraft key new --user NAME` makes one.",
            code="missing_api_key",
        )
    with here.database.reading() as session:
        return users.local_user(session)
