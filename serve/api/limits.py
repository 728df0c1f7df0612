"""How many requests a user and a key may make; more is OpenAI's error 429."""

import math
import time
from collections.abc import Callable
from functools import partial

from flask import Flask, g
from flask_limiter import ApplicationLimit, Limiter, RequestLimit

from feedback import users
from serve.api.authentication import credential
from serve.api.errors import ApiError
from serve.settings import Settings


def install(app: Flask, settings: Settings) -> None:
    """Limit all endpoints of `app` together; call it after the hook that authenticates."""
    limits: list[str | Callable[[], str] | ApplicationLimit] = [
        ApplicationLimit(
            limit_provider=text,
            key_function=key,
            scope=whose,
            exempt_when=_is_unlimited,
            on_breach=partial(_refuse, whose),
        )
        for text, key, whose in (
            (settings.rate_limit_key, _key, "key"),
            (settings.rate_limit_user, _user, "user"),
        )
        if text
    ]
    if limits:
        Limiter(
            _user,
            app=app,
            application_limits=limits,
            strategy="moving-window",
            storage_uri="memory://",
        )


def _is_unlimited() -> bool:
    # Public endpoints have no user; the local one is this machine's own.
    return "user" not in g or (not credential() and g.user.name == users.LOCAL)


def _user() -> str:
    return str(g.user.id)


def _key() -> str:
    return users.digest(credential())


def _refuse(whose: str, limit: RequestLimit) -> None:
    seconds = max(1, math.ceil(limit.window.reset_time - time.time()))
    raise ApiError(
        429,
        f"This {whose} has made its {limit.limit}. Try again in {seconds} s.",
        kind="requests",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(seconds)},
    )
