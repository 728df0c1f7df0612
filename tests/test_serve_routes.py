"""Every route of the API, and what another user, a reviewer or an admin gets of somebody's.

A route that is not listed here fails `test_every_route_is_listed`: say what strangers may do there.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from api_context import open_here
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from feedback import adapters, runs, sessions, users
from serve.api import create_app
from serve.api.context import Context
from serve.api.openapi import routes
from serve.api.operation import operation_of
from serve.settings import load_settings

SECRET = "only ada knows"
ANSWER = f"/say {SECRET} #### because"


@dataclass(frozen=True)
class Theirs:
    """What belongs to ada."""

    conversation: str
    turn: str
    completions: tuple[str, ...]
    feedback: str
    response: str
    item: str

    @property
    def ids(self) -> tuple[str, ...]:
        more = (self.feedback, self.response, self.item)
        return (self.conversation, self.turn, *self.completions, *more)

    @property
    def words(self) -> tuple[str, ...]:
        """What must be in no answer to anybody else."""
        return (SECRET, *self.ids)


Body = Callable[[Theirs], dict[str, Any]]
ASK = [{"role": "user", "content": "hi"}]
CHAT = {"model": "redraft", "messages": ASK}
HI = {"model": "base", "input": "hi"}


@dataclass(frozen=True)
class Own:
    """A route to one's own objects: `ids` are the path's, `bodies` name somebody else's."""

    ids: Callable[[Theirs], dict[str, str]] = lambda _: {}
    bodies: tuple[Body, ...] = (lambda _: {},)
    status: int = 404


PUBLIC, EVERYBODY = "public", "everybody"  # no user's objects: the same for all
MINE = "mine"  # a list of the caller's own

ROUTES: dict[tuple[str, str], Any] = {
    ("GET", "/health"): PUBLIC,
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
    ("POST", "/v1/session"): PUBLIC,
    ("GET", "/v1/session"): MINE,
    ("DELETE", "/v1/session"): EVERYBODY,
    ("GET", "/v1/models"): EVERYBODY,
    ("GET", "/v1/models/{name}"): EVERYBODY,
    ("POST", "/v1/completions"): EVERYBODY,
    ("POST", "/v1/rewrite"): EVERYBODY,
    ("POST", "/algorithm/ChatRest"): EVERYBODY,
    ("GET", "/v1/adapters"): EVERYBODY,
    ("GET", "/v1/adapters/{name}"): EVERYBODY,
    ("GET", "/v1/adapters/{name}/lineage"): "reviewer",
    ("POST", "/v1/adapters/{name}/promote"): "admin",
    ("POST", "/v1/adapters/{name}/canary"): "admin",
    ("POST", "/v1/adapters/{name}/retire"): "admin",
    ("POST", "/v1/adapters/rollback"): "admin",
    ("GET", "/metrics"): "reviewer",
    ("GET", "/v1/review-queue"): "reviewer",
    ("GET", "/v1/runs"): "reviewer",
    ("GET", "/v1/runs/{run_id}"): "reviewer",
    ("POST", "/v1/runs"): "admin",
    ("GET", "/v1/runs/{run_id}/learned"): "admin",
    ("GET", "/v1/runs/{run_id}/rows"): "admin",
    ("GET", "/v1/runs/{run_id}/report"): "admin",
    ("GET", "/v1/dashboard"): "admin",
    ("GET", "/v1/dashboard/rows"): "admin",
    ("GET", "/v1/dashboard/schedule"): "admin",
    ("GET", "/v1/conversations"): MINE,
    ("GET", "/v1/feedback"): MINE,
    ("GET", "/v1/feedback/reasons"): EVERYBODY,
    ("GET", "/v1/consent"): MINE,
    ("PUT", "/v1/consent"): EVERYBODY,
    ("GET", "/v1/conversations/{conversation_id}"): Own(
        lambda theirs: {"conversation_id": theirs.conversation}
    ),
    ("PATCH", "/v1/conversations/{conversation_id}"): Own(
        lambda theirs: {"conversation_id": theirs.conversation},
        (lambda _: {"title": "mine now"},),
    ),
    ("DELETE", "/v1/conversations/{conversation_id}"): Own(
        lambda theirs: {"conversation_id": theirs.conversation}
    ),
    ("POST", "/v1/conversations/{conversation_id}/restore"): Own(
        lambda theirs: {"conversation_id": theirs.conversation}
    ),
    ("GET", "/v1/conversations/{conversation_id}/export"): Own(
        lambda theirs: {"conversation_id": theirs.conversation}
    ),
    ("DELETE", "/v1/feedback/{feedback_id}"): Own(lambda theirs: {"feedback_id": theirs.feedback}),
    ("POST", "/v1/chat/completions"): Own(
        bodies=(
            lambda t: {**CHAT, "redraft": {"conversation_id": t.conversation}},
            lambda t: {**CHAT, "redraft": {"parent_turn_id": t.turn}},
            lambda t: {
                **CHAT,
                "stream": True,
                "redraft": {"conversation_id": t.conversation},
            },
        )
    ),
    ("POST", "/v1/chat/completions/{completion_id}/reasoning"): Own(
        lambda theirs: {"completion_id": theirs.completions[0]}
    ),
    ("POST", "/v1/responses"): Own(
        bodies=(
            lambda t: {**HI, "previous_response_id": t.response},
            lambda t: {**HI, "previous_response_id": t.response, "stream": True},
            lambda t: {**HI, "previous_response_id": t.response, "background": True},
            lambda t: {**HI, "input": [{"type": "item_reference", "id": t.item}, *ASK]},
        )
    ),
    ("GET", "/v1/responses/{response_id}"): Own(lambda t: {"response_id": t.response}),
    ("DELETE", "/v1/responses/{response_id}"): Own(lambda t: {"response_id": t.response}),
    ("POST", "/v1/responses/{response_id}/cancel"): Own(lambda t: {"response_id": t.response}),
    ("GET", "/v1/responses/{response_id}/input_items"): Own(lambda t: {"response_id": t.response}),
    ("POST", "/v1/feedback"): Own(
        bodies=(
            lambda t: {"kind": "rating", "completion_id": t.completions[0], "value": 1},
            lambda t: {
                "kind": "rating",
                "completion_id": t.completions[0],
                "value": 1,
                "part": "reasoning",
            },
            lambda t: {"kind": "correction", "completion_id": t.completions[0], "text": "x"},
            lambda t: {"kind": "copied", "completion_id": t.completions[0]},
            lambda t: {"kind": "regenerated", "completion_id": t.completions[0]},
            lambda t: {"kind": "abandoned", "completion_id": t.completions[0]},
            lambda t: {"kind": "rewrite", "turn_id": t.turn, "value": -1, "text": "x"},
            lambda t: {
                "kind": "comparison",
                "turn_id": t.turn,
                "shown": list(t.completions),
                "chosen": "tie",
            },
        )
    ),
}
STRANGERS = ("bob", "rex", "root", "local")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    settings = load_settings(home=tmp_path_factory.mktemp("home"), engine="echo")
    with open_here(settings) as context:
        yield replace(context, settings=settings.model_copy(update={"host": "0.0.0.0"}))


@pytest.fixture(scope="module")
def app(here: Context) -> Flask:
    return create_app(here)


@pytest.fixture(scope="module")
def keys(here: Context) -> dict[str, dict[str, str]]:
    """Headers of a person of each role."""
    roles = {"ada": "user", "bob": "user", "rex": "reviewer", "root": "admin", "local": "admin"}
    with here.database.session() as session:
        made = {name: users.new_key(session, name) for name in roles}
        for name, role in roles.items():
            users.set_role(session, name, role)
    return {name: {"Authorization": f"Bearer {key}"} for name, key in made.items()}


@pytest.fixture(scope="module")
def theirs(app: Flask, keys: dict[str, dict[str, str]]) -> Theirs:
    api, ada = app.test_client(), keys["ada"]
    body = {
        "model": "redraft",
        "messages": [{"role": "user", "content": ANSWER}],
        "n": 2,
        "redraft": {"reasoning": "on_demand"},
    }
    ours = api.post("/v1/chat/completions", json=body, headers=ada).json["redraft"]  # type: ignore[index]
    assert ours["reasoning"]["available"]  # so that there is one to take
    rating = {"kind": "rating", "completion_id": ours["completion_ids"][0], "value": 1}
    given = api.post("/v1/feedback", json=rating, headers=ada).json
    asked = {"model": "base", "input": ANSWER, "background": True}
    response = api.post("/v1/responses", json=asked, headers=ada).json["id"]  # type: ignore[index]
    items = api.get(f"/v1/responses/{response}/input_items", headers=ada).json
    return Theirs(
        ours["conversation_id"],
        ours["turn_id"],
        tuple(ours["completion_ids"]),
        given["id"],  # type: ignore[index]
        response,
        items["data"][0]["id"],  # type: ignore[index]
    )


def listed(kind: Any) -> list[tuple[str, str]]:
    return [key for key, found in ROUTES.items() if found == kind or type(found) is kind]


def filled(path: str, ids: dict[str, str]) -> str:
    names = {"name": "a-0001-none", "run_id": "r-none", "completion_id": "cmpl_none", **ids}
    return path.format(**names)


def ask(
    api: FlaskClient, route: tuple[str, str], headers: dict[str, str], **given: Any
) -> TestResponse:
    method, path = route
    return api.open(path, method=method, headers=headers, **given)


def test_every_route_is_listed(app: Flask) -> None:
    assert set(ROUTES) == {(method, path) for path, method, _ in routes(app)}


def test_each_route_asks_for_the_role_that_is_listed(app: Flask) -> None:
    for path, method, rule in routes(app):
        found, kind = operation_of(app.view_functions[rule.endpoint]), ROUTES[method, path]
        assert found.public is (kind == PUBLIC), path
        assert found.role == (kind if kind in users.ROLES else "user"), path


@pytest.mark.parametrize("route", list(ROUTES), ids=" ".join)
def test_without_a_key_only_what_is_public_answers(app: Flask, route: tuple[str, str]) -> None:
    api, (method, path) = app.test_client(), route
    ended = f"{sessions.PREFIX}ended"
    for headers in (
        {},
        {"Authorization": "Bearer rd-wrong"},
        {"Authorization": f"Bearer {ended}"},
        {"Authorization": "Basic cm9vdDpyb290"},
        {"Cookie": f"redraft_session={ended}"},
    ):
        answer = ask(api, (method, filled(path, IDS)), headers, json={})
        if ROUTES[route] == PUBLIC:
            assert answer.status_code in (200, 400)
        else:
            assert answer.status_code == 401, answer.text


IDS = {"conversation_id": "conv_none", "feedback_id": "fb_none", "response_id": "resp_none"}


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("route", listed(Own), ids=" ".join)
def test_what_is_somebodys_is_nobody_elses(
    app: Flask,
    keys: dict[str, dict[str, str]],
    theirs: Theirs,
    route: tuple[str, str],
    stranger: str,
) -> None:
    api, own = app.test_client(), ROUTES[route]
    path = filled(route[1], own.ids(theirs))
    before = kept(app, keys, theirs)
    for body in own.bodies:
        answer = ask(api, (route[0], path), keys[stranger], json=body(theirs))
        assert answer.status_code == own.status, answer.text
        assert SECRET not in answer.text
        unknown = unknown_ids(path, theirs), unknown_ids(json.dumps(body(theirs)), theirs)
        other = ask(api, (route[0], unknown[0]), keys[stranger], data=unknown[1])
        # An id of somebody else and one that there never was are not told apart.
        assert other.status_code == own.status, other.text
        assert unknown_ids(answer.text, theirs) == other.text
    assert kept(app, keys, theirs) == before


def unknown_ids(text: str, theirs: Theirs) -> str:
    for id in theirs.ids:
        text = text.replace(id.split("_")[1], "0" * 24)
    return text


def kept(app: Flask, keys: dict[str, dict[str, str]], theirs: Theirs) -> Any:
    """Ada's conversation and feedback as she sees them."""
    api = app.test_client()
    paths = (
        f"/v1/conversations/{theirs.conversation}",
        f"/v1/responses/{theirs.response}",
        f"/v1/responses/{theirs.response}/input_items",
        "/v1/feedback",
    )
    jobs = app.extensions["redraft-jobs"]
    if job := jobs.find(theirs.response):
        job.done.wait(30)
    found = [api.get(path, headers=keys["ada"]) for path in paths]
    assert [answer.status_code for answer in found] == [200] * len(paths)
    return [answer.json for answer in found]


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("route", listed(MINE), ids=" ".join)
def test_lists_hold_the_callers_own_alone(
    app: Flask,
    keys: dict[str, dict[str, str]],
    theirs: Theirs,
    route: tuple[str, str],
    stranger: str,
) -> None:
    api = app.test_client()
    for query in ("", "?limit=100", f"?after={theirs.conversation}", f"?after={theirs.feedback}"):
        answer = ask(api, (route[0], route[1] + query), keys[stranger])
        text = answer.text.replace(f"after is '{theirs.conversation}'", "")
        text = text.replace(f"after is '{theirs.feedback}'", "")  # what was asked for, said back
        assert not [word for word in theirs.words if word in text]
    found = api.get(f"/v1/conversations?q={SECRET.replace(' ', '+')}", headers=keys[stranger])
    assert found.json["data"] == []  # type: ignore[index]


@pytest.mark.parametrize("role", ["reviewer", "admin"])
def test_what_asks_for_a_role_is_closed_below_it(
    app: Flask, here: Context, keys: dict[str, dict[str, str]], role: str
) -> None:
    api = app.test_client()
    below = {"reviewer": ("ada", "bob"), "admin": ("ada", "bob", "rex")}[role]
    for method, path in listed(role):
        for name in below:
            answer = ask(api, (method, filled(path, {})), keys[name], json={})
            assert answer.status_code == 403, (path, answer.text)
            assert answer.json["error"]["code"] == f"not_{role}"  # type: ignore[index]
    with here.database.reading() as session:
        assert list(runs.list_runs(session)) == []


def test_what_is_for_everybody_shows_nobodys_words(
    app: Flask, keys: dict[str, dict[str, str]], theirs: Theirs
) -> None:
    api = app.test_client()
    for method, path in (*listed(EVERYBODY), *listed("reviewer")):
        if method == "GET":
            text = ask(api, (method, filled(path, {})), keys["root"]).text
            assert not [word for word in theirs.words if word in text], path


def test_a_demoted_admin_and_a_revoked_key_are_out_at_once(app: Flask, here: Context) -> None:
    api = app.test_client()
    with here.database.session() as session:
        headers = {"Authorization": f"Bearer {users.new_key(session, 'uma')}"}
        users.set_role(session, "uma", "admin")
    assert api.get("/v1/runs", headers=headers).status_code == 200
    with here.database.session() as session:
        users.set_role(session, "uma", "user")
    assert api.get("/v1/runs", headers=headers).status_code == 403
    with here.database.session() as session:
        [row] = [row for row, name in users.list_keys(session) if name == "uma"]
        users.revoke_key(session, row.id)
    answer = api.get("/v1/models", headers=headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (401, "invalid_api_key")  # type: ignore[index]


TRICKS = (
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fetc",
    "..\\..\\windows",
    "%00",
    "a-0001%00.txt",
    "....//....//etc",
    "/etc/passwd",
    "file:///etc/passwd",
    "~root",
    "%ff%fe",
    "%ed%a0%80",
    "'; DROP TABLE adapters; --",
    "{{7*7}}",
    "$(id)",
    "a" * 5000,
    "%F0%9F%A6%8A",
    "%",
    ".",
    "..",
)


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize(
    "path",
    ["/v1/adapters/{}", "/v1/adapters/{}/lineage", "/v1/adapters/{}/promote",
     "/v1/adapters/{}/canary", "/v1/adapters/{}/retire", "/v1/models/{}", "/v1/runs/{}",
     "/v1/conversations/{}", "/v1/responses/resp_{}", "/v1/chat/completions/{}/reasoning"],
)  # fmt: skip
def test_a_name_is_looked_up_and_never_a_path(
    app: Flask, here: Context, keys: dict[str, dict[str, str]], path: str, trick: str
) -> None:
    api = app.test_client()
    acts = path.endswith(("promote", "canary", "retire", "reasoning"))
    method = "POST" if acts else "GET"
    answer = ask(api, (method, path.format(trick)), keys["root"])
    assert answer.status_code in (404, 405, 308), answer.text
    assert "root:" not in answer.text
    assert len(answer.text) < 500 + (len(trick) if path.startswith("/v1/models") else 0)
    with here.database.reading() as session:
        assert list(adapters.list_adapters(session)) == []
