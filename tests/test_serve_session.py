"""The door: signing in and out, lockout, forged requests, and who counts as local."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from api_context import open_here
from argon2 import PasswordHasher
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from feedback import erasure, passwords, users
from serve.api import create_app
from serve.api.callers import client_address
from serve.api.context import Context
from serve.api.errors import ApiError
from serve.api.lockout import MANY, Lockout
from serve.settings import SettingsError, load_settings

PASSWORD = "correct horse"
ADA = {"name": "ada", "password": PASSWORD}


@pytest.fixture(scope="module", autouse=True)
def light_hashes() -> Iterator[None]:
    """The real ones take 64 MiB each; tests/test_feedback_users.py has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_HASHER", PasswordHasher(1, 8, 1))
        yield


@pytest.fixture(scope="module")
def here(light_hashes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    settings = load_settings(home=tmp_path_factory.mktemp("home"), engine="echo")
    with open_here(settings) as context:
        with context.database.session() as session:
            for name, role in (("ada", "user"), ("rex", "reviewer"), ("keyed", "user")):
                users.add_user(session, name, role)
            for name in ("ada", "rex"):
                users.set_password(session, name, PASSWORD)
        yield context


def opened(here: Context, **settings: Any) -> FlaskClient:
    """A client of an API that asks for a login."""
    changed = here.settings.model_copy(update={"host": "0.0.0.0", **settings})
    return create_app(replace(here, settings=changed)).test_client()


@pytest.fixture
def door(here: Context) -> FlaskClient:
    return opened(here)


def sign_in(door: FlaskClient, name: str = "ada", **more: Any) -> TestResponse:
    return door.post("/v1/session", json={"name": name, "password": PASSWORD}, **more)


def code(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.json["error"]["code"]  # type: ignore[index]


def test_a_session_is_a_cookie_until_it_is_signed_out(door: FlaskClient) -> None:
    assert code(door.get("/v1/session")) == (401, "missing_api_key")
    answer = sign_in(door)
    assert answer.status_code == 200
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/" in cookie
    assert "Secure" not in cookie and "Max-Age=604800" in cookie
    who = door.get("/v1/session").json
    assert who == answer.json
    assert who["user"]["name"] == "ada" and who["asks_for_login"] is True  # type: ignore[index]
    token = {"X-CSRF-Token": who["csrf_token"]}  # type: ignore[index]
    stolen = door.get_cookie("redraft_session")
    assert stolen is not None
    assert door.delete("/v1/session", headers=token).status_code == 204
    assert door.get_cookie("redraft_session") is None
    door.set_cookie("redraft_session", stolen.value)
    assert code(door.get("/v1/conversations")) == (401, "session_expired")


@pytest.mark.parametrize(
    ("headers", "secure"),
    [({"X-Forwarded-Proto": "https"}, True), ({"X-Forwarded-Proto": "http"}, False), ({}, False)],
)
def test_behind_tls_the_cookie_is_secure(
    door: FlaskClient, headers: dict[str, str], secure: bool
) -> None:
    assert ("Secure" in sign_in(door, headers=headers).headers["Set-Cookie"]) is secure


def test_a_request_with_the_cookie_alone_changes_nothing(door: FlaskClient) -> None:
    token = sign_in(door).json["csrf_token"]  # type: ignore[index]
    ask = {"model": "redraft", "messages": [{"role": "user", "content": "hi"}]}
    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": "\xff"}):
        refused = door.post("/v1/chat/completions", json=ask, headers=headers)
        assert code(refused) == (403, "csrf_token_missing")
    assert door.get("/v1/conversations").json["data"] == []  # type: ignore[index]
    answer = door.post("/v1/chat/completions", json=ask, headers={"X-CSRF-Token": token})
    assert answer.status_code == 200
    bearer = door.get_cookie("redraft_session")
    assert bearer is not None
    door.delete_cookie("redraft_session")
    headers = {"Authorization": f"Bearer {bearer.value}"}
    assert door.post("/v1/chat/completions", json=ask, headers=headers).status_code == 200


def test_a_token_of_another_session_does_not_do(here: Context) -> None:
    ours, theirs = opened(here), opened(here)
    sign_in(ours)
    token = sign_in(theirs).json["csrf_token"]  # type: ignore[index]
    refused = ours.delete("/v1/session", headers={"X-CSRF-Token": token})
    assert code(refused) == (403, "csrf_token_missing")


def test_a_session_ends_by_itself(here: Context) -> None:
    door = opened(here, session_hours=1e-9)
    answer = sign_in(door)
    door.set_cookie("redraft_session", answer.headers["Set-Cookie"].split("=")[1].split(";")[0])
    assert code(door.get("/v1/models")) == (401, "session_expired")
    assert door.get("/v1/models").headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "given",
    [
        {"name": "ada", "password": "wrong password"},
        {"name": "nobody", "password": PASSWORD},
        {"name": "keyed", "password": PASSWORD},
        {"name": "local", "password": ""},
        {"name": "a\0da", "password": PASSWORD},
        {"name": "", "password": ""},
        {"name": "ADA", "password": PASSWORD},
    ],
)
def test_what_is_wrong_with_a_sign_in_is_not_told(
    door: FlaskClient, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[str | None] = []
    fits = passwords.fits
    monkeypatch.setattr(
        passwords, "fits", lambda word, kept: (worked.append(kept), fits(word, kept))[1]
    )
    answer = door.post("/v1/session", data=json.dumps(given))
    assert code(answer) == (401, "wrong_credentials")
    assert answer.json["error"]["message"] == "Name or password is wrong."  # type: ignore[index]
    assert "Set-Cookie" not in answer.headers
    assert len(worked) == 1  # as much work as for a name that exists


@pytest.mark.parametrize("body", [{}, {"name": "ada"}, {"name": 1, "password": 2}, {**ADA, "x": 1}])
def test_a_sign_in_without_its_fields_is_a_400(door: FlaskClient, body: dict[str, Any]) -> None:
    assert door.post("/v1/session", json=body).status_code == 400


def test_failed_sign_ins_lock_the_name_at_that_address(here: Context) -> None:
    door = opened(here, login_failures=2, login_lockout_minutes=10)
    wrong = {"name": "ada", "password": "wrong password"}
    for _ in range(2):
        assert door.post("/v1/session", json=wrong).status_code == 401
    locked = sign_in(door)  # with the right password
    assert code(locked) == (429, "sign_in_locked")
    assert locked.json["error"]["type"] == "requests"  # type: ignore[index]
    assert "Try again in " in locked.json["error"]["message"]  # type: ignore[index]
    assert 0 < int(locked.headers["Retry-After"]) <= 600
    assert sign_in(door, "rex").status_code == 200
    assert sign_in(door, headers={"X-Forwarded-For": "192.0.2.9"}).status_code == 200


def test_a_lockout_ends_and_a_success_starts_anew() -> None:
    now = 1000.0
    lockout = Lockout(2, 60, lambda: now)
    lockout.attempt("ada", "a")
    lockout.attempt("ada", "a")()
    lockout.attempt("ada", "a")
    now = 1030
    lockout.attempt("ada", "a")
    with pytest.raises(ApiError, match="Try again in 1 minute") as caught:
        lockout.attempt("ada", "a")
    assert caught.value.headers == {"Retry-After": "30"}
    now = 1060
    lockout.attempt("ada", "a")


@pytest.mark.parametrize("spread", ["names", "addresses"])
def test_many_names_or_addresses_do_not_help(spread: str) -> None:
    lockout = Lockout(2, 60, lambda: 0.0)
    for i in range(2 * MANY):
        lockout.attempt(*(("ada", f"{i}") if spread == "addresses" else (f"{i}", "a")))
    with pytest.raises(ApiError):
        lockout.attempt("ada", "another" if spread == "addresses" else "a")
    lockout.attempt("bob", "elsewhere")


def test_many_tries_at_once_are_counted_before_they_fail() -> None:
    lockout = Lockout(5, 60)

    def attempt(_: int) -> bool:
        try:
            lockout.attempt("ada", "a")
        except ApiError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(64))) == 5


def test_another_site_cannot_sign_in(door: FlaskClient) -> None:
    assert code(sign_in(door, headers={"Origin": "https://evil.test"})) == (403, "cross_origin")
    assert sign_in(door, headers={"Origin": "null"}).status_code == 403
    assert sign_in(door, headers={"Origin": "http://localhost"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "192.0.2.9"},
        {"X-Forwarded-For": "127.0.0.1, 192.0.2.9"},
        {"X-Forwarded-For": "nonsense"},
        {"Host": "evil.test"},
        {"Host": "evil.test:8000"},
        {"X-Forwarded-Host": "chat.test"},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1.evil.test"},
        {"Origin": "http://wiki"},
        {"Origin": "http://["},
        {"Host": "["},
        {"Host": "192.0.2.5:8000", "Origin": "http://192.0.2.5:8000"},
    ],
)
def test_the_local_user_is_nobody_elses(api: FlaskClient, headers: dict[str, str]) -> None:
    answer = api.post("/v1/adapters/rollback", headers=headers)
    assert code(answer) == (401, "missing_api_key")
    assert "through a proxy or from a web site" in answer.json["error"]["message"]  # type: ignore[index]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:8000"},
        {"Host": "[::1]:8000"},
        {"Host": "my-box:8000", "Origin": "http://my-box:8000"},
        {"Origin": "http://localhost:7860"},
        {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "127.0.0.1:7860"},
        {"Cookie": "redraft_session=rs-of-another-server"},
    ],
)
def test_on_loopback_nobody_signs_in(api: FlaskClient, headers: dict[str, str]) -> None:
    who = api.get("/v1/session", headers=headers).json
    assert who["user"]["name"] == "local" and who["asks_for_login"] is False  # type: ignore[index]


def test_a_login_can_be_asked_for_on_loopback_too(here: Context) -> None:
    door = opened(here, host="127.0.0.1", login="always")
    assert code(door.get("/v1/models")) == (401, "missing_api_key")
    assert sign_in(door).status_code == 200


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "10.0.0.1", "192.0.2.1"),  # nobody said that this peer is to be believed
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7"),
        ("172.18.0.2", "198.51.100.1, 192.0.2.7, 172.18.0.3", "192.0.2.7"),
        ("::ffff:127.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", " , ,", "127.0.0.1"),
    ],
)
def test_the_client_is_the_last_that_is_no_trusted_proxy(
    api: FlaskClient, peer: str, forwarded: str, found: str
) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    with api.application.test_request_context(headers=headers, environ_base={"REMOTE_ADDR": peer}):
        assert client_address("172.18.0.0/16, 10.9.9.9") == found


def test_a_proxy_that_is_no_network_is_refused() -> None:
    with pytest.raises(SettingsError, match="REDRAFT_TRUSTED_PROXIES is 'caddy'"):
        load_settings(trusted_proxies="caddy")


def test_reviewers_see_runs_and_users_do_not(here: Context) -> None:
    user, reviewer = opened(here), opened(here)
    sign_in(user)
    sign_in(reviewer, "rex")
    assert code(user.get("/v1/runs")) == (403, "not_reviewer")
    assert reviewer.get("/v1/runs").status_code == 200
    token = reviewer.get("/v1/session").json["csrf_token"]  # type: ignore[index]
    refused = reviewer.post("/v1/runs", headers={"X-CSRF-Token": token})
    assert code(refused) == (403, "not_admin")


def test_a_local_user_who_was_forgotten_is_made_anew_while_the_server_runs(here: Context) -> None:
    api = create_app(here).test_client()
    erasure.forget_user(here.database, users.LOCAL)
    asked = {"model": "redraft", "messages": [{"role": "user", "content": "hi"}]}
    assert api.post("/v1/chat/completions", json=asked).status_code == 200
    ids = {api.get("/v1/session").json["user"]["id"] for _ in range(2)}  # type: ignore[index]
    assert len(ids) == 1
    assert len(api.get("/v1/conversations").json["data"]) == 1  # type: ignore[index]
