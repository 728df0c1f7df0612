"""Who asks: the holder of a key, a person who signed in, or on loopback the local user."""

import hashlib
import hmac

from flask import request

from feedback import sessions, users
from feedback.database import Database
from feedback.tables import User
from serve.api.callers import is_local
from serve.api.errors import ApiError
from serve.processes import ProcessError
from serve.settings import Settings

COOKIE = "redraft_session"
CSRF_HEADER = "X-CSRF-Token"
SAFE = ("GET", "HEAD", "OPTIONS")


def authenticate(settings: Settings, database: Database) -> User:
    """The user of the key, the session or the local one. Raises ApiError 401 or 403.

    A session's token may also come as a bearer: no browser sends that by itself.
    """
    given = _bearer()
    local = not settings.asks_for_login and is_local(settings.trusted_proxies)
    # OpenAI clients must send some key: on loopback one that is not ours is the local user's.
    if given.startswith(("rd-", sessions.PREFIX)) or (given and not local):
        return _of_bearer(database, given)
    if token := request.cookies.get(COOKIE):
        if user := _of_session(database, token):
            _check_csrf(token)
            return user
        if not local:
            raise _expired()
    if local:
        return _local_user(database)
    raise _nobody(settings)


def csrf_token(token: str) -> str:
    """What a page must send along with the cookie: other sites can send the cookie, not this."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def credential() -> str:
    """The key or the session's token that the request came with, empty without one of ours."""
    given = _bearer()
    if given.startswith(("rd-", sessions.PREFIX)):
        return given
    return request.cookies.get(COOKIE, "")


def require_users(settings: Settings, database: Database) -> None:
    """Raises ProcessError when the server would ask for a login that nobody has."""
    if not settings.asks_for_login:
        return
    with database.reading() as session:
        if any(user.name != users.LOCAL for user in users.list_users(session)):
            return
    why = "which other machines reach" if not settings.on_loopback else "and REDRAFT_LOGIN always"
    raise ProcessError(
        f"REDRAFT_HOST is {settings.host}, {why}, and there are no users. Make one with "
        "`redraft user add NAME --role admin`, or leave REDRAFT_HOST at 127.0.0.1 and "
        "REDRAFT_LOGIN at auto."
    )


def _bearer() -> str:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def _local_user(database: Database) -> User:
    with database.reading() as session:
        if found := users.user_named(session, users.LOCAL):
            return found
    with database.session() as session:  # it was forgotten since the start
        return users.local_user(session)


def _of_bearer(database: Database, given: str) -> User:
    if given.startswith(sessions.PREFIX):
        if user := _of_session(database, given):
            return user
        raise _expired()
    with database.reading() as session:
        user = users.user_of_key(session, given)
    if user is None:
        raise ApiError(401, "This API key is not known or was revoked.", code="invalid_api_key")
    return user


def _of_session(database: Database, token: str) -> User | None:
    with database.reading() as session:
        return sessions.user_of_session(session, token)


def _check_csrf(token: str) -> None:
    given = request.headers.get(CSRF_HEADER, "")
    if request.method in SAFE or hmac.compare_digest(given.encode(), csrf_token(token).encode()):
        return
    raise ApiError(
        403,
        f"A request with a session cookie needs the header {CSRF_HEADER}; GET /v1/session has its "
        "value. A request with a key in the Authorization header needs none.",
        code="csrf_token_missing",
    )


def _expired() -> ApiError:
    return ApiError(401, "This session has ended. Sign in again.", code="session_expired")


def _nobody(settings: Settings) -> ApiError:
    message = (
        "This server asks for an API key, `Authorization: Bearer rd-…`, or for a sign-in at POST "
        "/v1/session. `redraft key new --user NAME` makes a key."
    )
    if not settings.asks_for_login:
        message = (
            "Without a key only programs and pages of this machine are served; this request came "
            "from another one, through a proxy or from a web site. " + message
        )
    return ApiError(401, message, code="missing_api_key")
