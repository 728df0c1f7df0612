"""Signing in with name and password, for a time; who is signed in; signing out."""

from typing import Any

from flask import Blueprint, Response, jsonify, request
from pydantic import Field

from feedback import passwords, sessions, users
from feedback.tables import User
from serve.api.authentication import COOKIE, credential, csrf_token
from serve.api.callers import client_address, is_encrypted, is_same_origin
from serve.api.context import caller, context, lockout
from serve.api.errors import ApiError, json_body
from serve.api.operation import operation
from serve.api.parameters import Strict

blueprint = Blueprint("session", __name__, url_prefix="/v1/session")


class Credentials(Strict):
    name: str = Field(max_length=1000)
    password: str = Field(max_length=1000)


@blueprint.post("")
@operation(body=Credentials, public=True)
def sign_in() -> Response:
    """Sign in: sets the session's cookie. 401 for a wrong name or password, 429 after many."""
    here = context()
    if not is_same_origin():
        raise ApiError(403, "Another web site cannot sign in here.", code="cross_origin")
    given = Credentials.model_validate(json_body())
    user, token = _opened(given, client_address(here.settings.trusted_proxies))
    response = jsonify(_describe(user, token))
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(here.settings.session_hours * 3600),
        httponly=True,
        samesite="Lax",
        secure=is_encrypted(here.settings.trusted_proxies),
    )
    return response


@blueprint.get("")
def show() -> dict[str, Any]:
    """Who the caller is; with a session also the token that unsafe requests must send along."""
    return _describe(caller(), request.cookies.get(COOKIE, ""))


@blueprint.delete("")
@operation(status=204)
def sign_out() -> Response:
    """End the session that the request is made in."""
    with context().database.session() as session:
        sessions.close_session(session, credential())
    response = Response(status=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="Lax")
    return response


def _opened(given: Credentials, address: str) -> tuple[User, str]:
    """(user, token of a new session). Raises ApiError, the same for names that do not exist."""
    here, name = context(), given.name.strip()
    succeeded = lockout().attempt(name, address)
    with here.database.reading() as session:
        user = users.user_named(session, name) if name.isprintable() else None
    if not passwords.fits(given.password, user.password if user else None) or user is None:
        raise ApiError(401, "Name or password is wrong.", code="wrong_credentials")
    succeeded()
    with here.database.session() as session:
        token = sessions.open_session(session, user.id, here.settings.session_hours)
    return user, token


def _describe(user: User, token: str) -> dict[str, Any]:
    return {
        "object": "session",
        "user": {
            "id": user.id,
            "name": user.name,
            "role": user.role,
            "consent": user.consent,
        },
        "asks_for_login": context().settings.asks_for_login,
        "csrf_token": csrf_token(token) if token else None,
    }
