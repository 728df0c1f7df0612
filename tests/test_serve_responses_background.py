"""Responses that are written while nobody waits."""

import json
import threading
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from responses_api import MODEL, ask, events_of, refused, text_of, whole

from feedback.tables import Completion, Response
from serve.api import create_app
from serve.api.context import Context

LONG = "/slow 0.05 " + "word " * 1000


def background(api: FlaskClient, input: str, **body: Any) -> dict[str, Any]:
    made = ask(api, input, background=True, **body)
    assert (made["status"], made["output"]) == ("queued", [])
    return made


def followed(api: FlaskClient, made: dict[str, Any], after: int | None = None) -> Any:
    """The events of a background response until its end."""
    after_it = "" if after is None else f"&starting_after={after}"
    return events_of(api.get(f"/v1/responses/{made['id']}?stream=true{after_it}").text)


def test_a_background_response_is_polled_and_followed(api: FlaskClient) -> None:
    made = background(api, "/say one two")
    events = followed(api, made)
    assert [e["type"].removeprefix("response.") for e in events[:3]] == [
        "created", "queued", "in_progress",
    ]  # fmt: skip
    found = api.get(f"/v1/responses/{made['id']}").json
    whole(found)
    assert (found["status"], text_of(found)) == ("completed", "one two")
    assert events[-1]["response"] == found
    assert followed(api, made, after=5) == events[6:]
    assert followed(api, made, after=len(events)) == []
    assert text_of(ask(api, "more", previous_response_id=made["id"])) == "You said: more"


def test_a_background_stream_outlives_its_listener(api: FlaskClient) -> None:
    body = {"model": MODEL, "input": "/slow 0.01 a b c", "background": True, "stream": True}
    answer = api.post("/v1/responses", json=body, buffered=False)
    first = json.loads(bytes(next(iter(answer.response))).decode().split("data: ")[1])
    answer.close()
    events = followed(api, first["response"])
    assert events[-1]["type"] == "response.completed"
    assert text_of(events[-1]["response"]) == "a b c"


def test_a_background_response_is_cancelled(api: FlaskClient, here: Context) -> None:
    made = background(api, LONG)
    running = {"model": MODEL, "input": "x", "previous_response_id": made["id"]}
    refused(api.post("/v1/responses", json=running), 409, made["id"])
    stopped = api.post(f"/v1/responses/{made['id']}/cancel")
    assert stopped.status_code == 200 and stopped.json["status"] == "cancelled"
    whole(stopped.json)
    assert api.post(f"/v1/responses/{made['id']}/cancel").json == stopped.json
    assert api.get(f"/v1/responses/{made['id']}").json == stopped.json
    with here.database.reading() as session:
        completion = session.get(Completion, made["redraft"]["completion_ids"][0])
    assert completion is not None and completion.finish_reason == "cancelled"


def test_one_is_cancelled_also_while_its_engine_says_nothing(api: FlaskClient) -> None:
    made = background(api, "/slow 60 word")
    answer = api.get(f"/v1/responses/{made['id']}?stream=true", buffered=False)
    parts = iter(answer.response)
    assert "response.in_progress" in "".join(bytes(next(parts)).decode() for _ in range(3))
    stopped = api.post(f"/v1/responses/{made['id']}/cancel").json
    assert stopped["status"] == "cancelled"
    assert b"".join(map(bytes, parts)) == b"data: [DONE]\n\n"


def test_one_is_cancelled_while_it_is_queued(
    api: FlaskClient, here: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.api.responses.background.AT_ONCE", 1)
    first, second, third = (background(api, LONG) for _ in range(3))
    assert api.get(f"/v1/responses/{second['id']}").json["status"] == "queued"
    stopped = api.post(f"/v1/responses/{second['id']}/cancel").json
    whole(stopped)
    assert (stopped["status"], stopped["output"]) == ("cancelled", [])
    assert followed(api, second)[-1]["type"] == "response.created"
    with here.database.reading() as session:
        assert session.get_one(Response, second["id"]).status == "cancelled"
        draft = session.get_one(Completion, second["redraft"]["completion_ids"][0])
        assert (draft.finish_reason, draft.text) == ("cancelled", "")
    for running in (third, first):
        assert api.post(f"/v1/responses/{running['id']}/cancel").json["status"] == "cancelled"


def test_as_many_threads_write_as_there_are_places(
    api: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.api.responses.background.AT_ONCE", 2)
    made = [background(api, f"/slow 0.01 {word} b c") for word in "abcdefgh"]
    names = {thread.name for thread in threading.enumerate()}
    assert len(names & {one["id"] for one in made}) <= 2
    for one in made:
        assert followed(api, one)[-1]["type"] == "response.completed"


def test_deleting_a_background_response_stops_it(api: FlaskClient, here: Context) -> None:
    made = background(api, LONG)
    assert api.delete(f"/v1/responses/{made['id']}").status_code == 200
    refused(api.get(f"/v1/responses/{made['id']}"), 404)
    with here.database.reading() as session:
        completion = session.get(Completion, made["redraft"]["completion_ids"][0])
    assert completion is not None and completion.finish_reason == "cancelled"


def test_a_background_response_that_breaks_is_failed(api: FlaskClient) -> None:
    made = background(api, "/fail half")
    assert followed(api, made)[-1]["type"] == "response.failed"
    assert api.get(f"/v1/responses/{made['id']}").json["status"] == "failed"


def test_a_stopped_server_leaves_no_response_under_way(app: Flask, here: Context) -> None:
    made = background(app.test_client(), LONG)
    restarted = create_app(here).test_client()
    lost = restarted.get(f"/v1/responses/{made['id']}").json
    assert lost["status"] == "failed" and "stopped" in lost["error"]["message"]
    whole(lost)
    refused(restarted.get(f"/v1/responses/{made['id']}?stream=true"), 400, "not kept")
    app.test_client().post(f"/v1/responses/{made['id']}/cancel")


def test_only_background_responses_are_cancelled_and_followed(api: FlaskClient) -> None:
    made = ask(api, "at once")
    path = f"/v1/responses/{made['id']}"
    refused(api.post(f"{path}/cancel"), 400, "background: true")
    refused(api.get(f"{path}?stream=true"), 400, "not kept")
    refused(api.get(f"{path}?stream=yes"), 400, "stream")
    refused(api.get(f"{path}?starting_after=3"), 400, "needs stream")
    again = background(api, "x")
    refused(api.get(f"/v1/responses/{again['id']}?stream=true&starting_after=-1"), 400, "-1")
