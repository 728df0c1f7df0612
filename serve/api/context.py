"""What every request needs, built once by `open_context` and found through `context()`."""

import logging
from dataclasses import dataclass

from flask import current_app, g

from feedback import users
from feedback.database import Database, open_database
from feedback.migrate import check
from feedback.tables import User
from prompts.answer_first import DELIMITER
from serve.api.authentication import authenticate
from serve.api.errors import ApiError
from serve.api.lockout import Lockout
from serve.api.operation import Operation
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
    options = Options(**settings.engine_options)
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


def lockout() -> Lockout:
    """Failed sign-ins at this application."""
    found: Lockout = current_app.extensions["redraft.lockout"]
    return found


def caller() -> User:
    """Who asks: of a key, of a session, or the local user. Raises ApiError 401."""
    if "user" not in g:
        g.user = authenticate(context().settings, context().database)
    user: User = g.user
    return user


def require(found: Operation) -> None:
    """Let the request in when its caller may ask for the operation. Raises ApiError 401 or 403."""
    if found.public:
        return
    user = caller()
    if users.ROLES.index(user.role) < users.ROLES.index(found.role):
        raise ApiError(
            403,
            f"{user.name} has the role {user.role}; this needs the role {found.role}. "
            f"`redraft user role {user.name} {found.role}` gives it.",
            code=f"not_{found.role}",
        )
