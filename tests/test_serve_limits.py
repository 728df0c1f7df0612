"""Rate limits by user and key, and requests that are too large to be read."""

import contextvars
import json
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import openai
import pytest
from argon2 import PasswordHasher
from conftest import Redraft
from flask.testing import FlaskClient
from sqlalchemy import func, select

from feedback import passwords, users
from feedback.tables import Turn
from serve.api import create_app
from serve.api.context import Context
from serve.api.server import FILES, connection_limit
from serve.settings import SettingsError, load_settings


def limited(here: Context, **settings: Any) -> FlaskClient:
    changed = here.settings.model_copy(update=settings)
    return create_app(replace(here, settings=changed)).test_client()


def keys(here: Context, name: str, count: int) -> list[dict[str, str]]:
    with here.database.session() as session:
        made = [users.new_key(session, name) for _ in range(count)]
    return [{"Authorization": f"Bearer {key}"} for key in made]


def statuses(api: FlaskClient, headers: dict[str, str], times: int) -> list[int]:
    paths = ("/v1/models", "/v1/conversations", "/v1/feedback")  # they share one limit
    return [api.get(paths[i % 3], headers=headers).status_code for i in range(times)]


def test_a_key_has_its_limit_and_a_second_one_its_own(here: Context) -> None:
    api = limited(here, rate_limit_key="3 per minute", rate_limit_user="5 per minute")
    first, second = keys(here, "ada", 2)
    assert statuses(api, first, 4) == [200, 200, 200, 429]
    assert statuses(api, second, 3) == [200, 200, 429]  # the fifth of the user was the last
    [other] = keys(here, "bob", 1)
    assert statuses(api, other, 1) == [200]


def test_one_too_many_is_told_as_openai_does(here: Context) -> None:
    api = limited(here, rate_limit_key="1 per minute")
    [ada] = keys(here, "ada", 1)
    statuses(api, ada, 1)
    answer = api.get("/v1/models", headers=ada)
    error = answer.json["error"]  # type: ignore[index]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert "This key has made its 1 per 1 minute. Try again in" in error["message"]
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    envelope = api.post("/algorithm/ChatRest", json={"prompt": "hi"}, headers=ada)
    assert (envelope.status_code, envelope.json["code"]) == (429, "429")  # type: ignore[index]
    assert "Retry-After" in envelope.headers


def test_openais_client_knows_the_error(here: Context) -> None:
    import httpx

    changed = here.settings.model_copy(update={"rate_limit_key": "1 per minute"})
    transport = httpx.WSGITransport(app=create_app(replace(here, settings=changed)))
    key = keys(here, "ada", 1)[0]["Authorization"].removeprefix("Bearer ")
    with httpx.Client(transport=transport) as http:
        client = openai.OpenAI(
            base_url="http://redraft/v1", api_key=key, http_client=http, max_retries=0
        )
        client.models.list()
        with pytest.raises(openai.RateLimitError, match="1 per 1 minute"):
            client.models.list()


def test_a_limit_by_day_and_one_by_minute_hold_together(here: Context) -> None:
    api = limited(here, rate_limit_key="", rate_limit_user="10 per minute; 2 per day")
    [ada] = keys(here, "cyd", 1)
    assert statuses(api, ada, 3) == [200, 200, 429]


def test_the_local_user_and_what_is_public_have_none(here: Context) -> None:
    api = limited(here, rate_limit_key="1 per minute", rate_limit_user="1 per minute")
    assert statuses(api, {}, 5) == [200] * 5
    [ada] = keys(here, "ada", 1)
    assert [api.get("/healthz", headers=ada).status_code for _ in range(5)] == [200] * 5


def test_a_session_counts_for_its_user(here: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(1, 8, 1))  # the real one is slow
    with here.database.session() as session:
        users.add_user(session, "dee")
        users.set_password(session, "dee", "correct horse")
    api = limited(here, host="0.0.0.0", rate_limit_key="2 per minute")
    api.post("/v1/session", json={"name": "dee", "password": "correct horse"})
    assert statuses(api, {}, 3) == [200, 200, 429]


SLOW = {"model": "redraft", "messages": [{"role": "user", "content": "/slow 0.02 a b c"}]}


class Stream:
    """An answer that is open, in a context of its own, as it has in a thread of the server."""

    def __init__(self, api: FlaskClient, headers: dict[str, str]) -> None:
        self._context = contextvars.copy_context()
        given = {"json": {**SLOW, "stream": True}, "headers": headers, "buffered": False}
        self._answer = self._context.run(partial(api.post, "/v1/chat/completions", **given))
        assert self._answer.status_code == 200

    def rest(self) -> str:
        """All of it, to the end."""
        text: str = self._context.run(lambda: self._answer.text)
        self.close()
        return text

    def close(self) -> None:
        """As a server does behind the last byte, or when the client hangs up."""
        self._context.run(self._answer.close)


def test_a_user_has_so_many_answers_open_at_once_over_all_keys(here: Context) -> None:
    api = limited(here, max_streams_user=2)
    first, second = keys(here, "eve", 2)
    [other] = keys(here, "fay", 1)
    read, left = Stream(api, first), Stream(api, second)
    for path, asked in (
        ("/v1/chat/completions", SLOW),
        ("/v1/completions", {"model": "redraft", "prompt": "a"}),
        ("/v1/responses", {"model": "redraft", "input": "a"}),
    ):
        refused = api.post(path, json=asked, headers=first)
        error = refused.json["error"]  # type: ignore[index]
        assert (refused.status_code, error["code"]) == (429, "rate_limit_exceeded")
        assert "has 2 answers open" in error["message"]
        assert "REDRAFT_MAX_STREAMS_USER" in error["message"]
        assert refused.headers["Retry-After"] == "1"
    assert api.post("/algorithm/ChatRest", json={"prompt": "a"}, headers=first).status_code == 429
    asked = {"messages": SLOW["messages"]}
    assert api.post("/v1/rewrite", json=asked, headers=first).status_code == 429
    assert api.get("/v1/models", headers=first).status_code == 200  # no answer
    Stream(api, other).close()  # of somebody else
    assert "[DONE]" in read.rest()
    third = Stream(api, first)
    left.close()  # in the middle
    Stream(api, second).close()
    ask = partial(api.post, "/v1/chat/completions", headers=first, buffered=True)
    refusals = [ask(json={**SLOW, "temperature": "hot"}) for _ in range(4)]
    assert {one.status_code for one in refusals} == {400}  # a refusal counts until it is told
    assert ask(json=SLOW).status_code == 200
    third.close()


def test_a_user_has_so_many_answers_under_way_in_the_background(here: Context) -> None:
    api = limited(here, max_streams_user=2)
    first, second = keys(here, "gil", 2)
    [other] = keys(here, "hal", 1)
    asked = {"model": "redraft", "input": "/slow 0.05 " + "word " * 1000, "background": True}
    made = [api.post("/v1/responses", json=asked, headers=first).json for _ in range(2)]
    with here.database.reading() as session:
        turns = session.scalar(select(func.count()).select_from(Turn))
    refused = api.post("/v1/responses", json=asked, headers=second)
    error = refused.json["error"]  # type: ignore[index]
    assert (refused.status_code, error["code"]) == (429, "rate_limit_exceeded")
    assert "has 2 answers open" in error["message"]
    with here.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Turn)) == turns
    paths = [f"/v1/responses/{one['id']}" for one in made]  # type: ignore[index]
    assert [api.get(path, headers=second).status_code for path in paths] == [200, 200]
    more = [api.post("/v1/responses", json=asked, headers=other).json]
    assert api.post(f"{paths[0]}/cancel", headers=first).status_code == 200
    broken = {**asked, "model": "none"}
    assert api.post("/v1/responses", json=broken, headers=first).status_code == 404
    more.append(api.post("/v1/responses", json=asked, headers=first).json)
    for one, headers in zip([*more, made[1]], [other, first, first], strict=True):
        api.post(f"/v1/responses/{one['id']}/cancel", headers=headers)  # type: ignore[index]


def test_the_local_user_may_open_any_number(here: Context) -> None:
    api = limited(here, max_streams_user=1)
    for stream in [Stream(api, {}) for _ in range(3)]:
        stream.close()


@pytest.mark.parametrize("given", ["many", "10", "10 per fortnight", "; "])
def test_a_limit_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(SettingsError, match="REDRAFT_RATE_LIMIT_KEY"):
        load_settings(rate_limit_key=given)


def test_a_process_that_may_open_more_files_does_and_else_takes_fewer_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = {"at": (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["at"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: limits.update(at=both))
    assert connection_limit(64) == 1064
    assert limits["at"] == (1328, 4096)
    limits["at"] = (1024, 1024)
    assert connection_limit(64) == 1024 - 64 - FILES
    limits["at"] = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert connection_limit(1024) == 2024


@pytest.mark.slow
def test_connections_that_are_kept_open_keep_nobody_out(
    make_redraft: Callable[..., Redraft],
) -> None:
    server = make_redraft(engine="echo", threads=8).start("--no-page", "--no-scheduler")
    with ExitStack() as stack:
        for _ in range(600):
            address = ("127.0.0.1", server.port)
            stack.enter_context(socket.create_connection(address, timeout=20))
        assert server.http.get("/healthz", timeout=20).status_code == 200


def everything(client: socket.socket) -> bytes:
    """What the server says until it ends its side."""
    said = b""
    while part := client.recv(65536):
        said += part
    return said


@pytest.mark.slow
def test_a_header_bomb_is_refused_and_the_next_is_served(
    make_redraft: Callable[..., Redraft],
) -> None:
    server = make_redraft(engine="echo").start("--no-page", "--no-scheduler")
    begin = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
    answers: list[bytes] = []
    for bomb in (
        begin + b"X-Bomb: " + b"x" * 100_000 + b"\r\n\r\n",
        begin + b"".join(b"X-%d: x\r\n" % i for i in range(10_000)) + b"\r\n",
        begin + b"X-Endless: " + b"x" * 10_000_000,
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        begin + b"Cookie: " + b"; ".join(b"c%d=x" % i for i in range(9000)) + b"\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(bomb)
            answers.append(everything(client))
        assert server.http.get("/healthz").status_code == 200
    for said in answers:
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 431 Request Header Fields Too Large")
        assert "32 KiB" in json.loads(body)["error"]["message"]


@pytest.mark.slow
def test_a_refusal_arrives_while_the_client_still_sends(
    make_redraft: Callable[..., Redraft],
) -> None:
    server = make_redraft(engine="echo").start("--no-page", "--no-scheduler")
    for _ in range(5):
        sent = b"x" * 25_000_000  # more than is read at all
        said = server.http.post("/v1/feedback", content=sent)
        assert said.status_code == 413
        assert "REDRAFT_MAX_BODY_MB" in said.json()["error"]["message"]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: nine\r\n\r\n")
        said = everything(client)
        assert said.startswith(b"HTTP/1.1 400"), said
        assert b"cannot be read as a request" in said
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nabc")
        said = everything(client)
        assert said.startswith(b"HTTP/1.1 501") and b"Transfer-Encoding" in said, said
