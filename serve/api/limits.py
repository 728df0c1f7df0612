"""How many requests a user and a key may make, and how many answers a user may have open at once;
more is OpenAI's error 429."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from flask import Flask, Response, current_app, g, request
from flask_limiter import ApplicationLimit, Limiter, RequestLimit

from feedback import users
from serve.api.authentication import credential
from serve.api.errors import ApiError
from serve.api.operation import operation_of
from serve.settings import Settings

BACKGROUND = "redraft.background"  # the extension that counts them


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
    _limit_open_answers(app, settings.max_streams_user)
    app.extensions[BACKGROUND] = Open(settings.max_streams_user)


def count_background() -> Callable[[], None]:
    """Count an answer that outlives this request; the function given back counts it out.

    Raises ApiError 429 where that is too many. They are counted apart from the open ones, so that
    who has that many can still ask what has become of them.
    """
    if _is_unlimited():
        return lambda: None
    answers: Open = current_app.extensions[BACKGROUND]
    answers.enter(_user())
    return partial(answers.leave, _user())


class Open:
    """The answers that each user has open."""

    def __init__(self, most: int) -> None:
        self._most, self._open = most, Counter[str]()
        self._lock = threading.Lock()

    def enter(self, user_id: str) -> None:
        """Count one more. Raises ApiError 429 where that is too many."""
        with self._lock:
            if self._open[user_id] >= self._most:
                raise _too_many_open(self._most)
            self._open[user_id] += 1

    def leave(self, user_id: str) -> None:
        """Count one less."""
        with self._lock:
            self._open[user_id] -= 1
            if not self._open[user_id]:
                del self._open[user_id]


def _limit_open_answers(app: Flask, most: int) -> None:
    """After the other limits: what they refuse is not counted."""
    answers = Open(most)

    @app.before_request
    def _enter() -> None:
        if request.endpoint is None or _is_unlimited():
            return
        if operation_of(app.view_functions[request.endpoint]).answers:
            answers.enter(_user())
            g.has_open = _user()

    @app.after_request
    def _leave_at_its_end(response: Response) -> Response:
        if "has_open" in g and response.is_streamed:
            response.call_on_close(partial(answers.leave, g.has_open))
        elif "has_open" in g:
            answers.leave(g.has_open)
        return response


def _too_many_open(most: int) -> ApiError:
    return ApiError(
        429,
        f"This user has {most} answers open, and no more are written at once. Wait until one has "
        "ended, close one, or have REDRAFT_MAX_STREAMS_USER raised.",
        kind="requests",
        code="rate_limit_exceeded",
        headers={"Retry-After": "1"},
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
