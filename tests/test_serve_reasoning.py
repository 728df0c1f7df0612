"""Answers with the conclusion first: where they stop, what goes on, what is refused."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from feedback import adapters, users
from prompts.answer_first import join_answer, split_answer
from serve.api import create_app
from serve.api.context import Context
from serve.engines import open_engine
from serve.engines.delimiter import find_delimiter

ANSWER = "42 #### because six times seven is forty-two."


def post(api: FlaskClient, reasoning: str | None, text: str = ANSWER, **body: Any) -> TestResponse:
    options = {"redraft": {"reasoning": reasoning}} if reasoning else {}
    messages = [{"role": "user", "content": f"/say {text}"}]
    given = {"model": "redraft", "messages": messages, **options, **body}
    return api.post("/v1/chat/completions", json=given)


def events(answer: TestResponse) -> list[dict[str, Any]]:
    lines = [line[6:] for line in answer.text.splitlines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def told(chunks: list[dict[str, Any]], key: str) -> str:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk.get("choices", [])]
    return "".join(delta.get(key, "") for delta in deltas)


def test_on_demand_stops_and_goes_on_when_asked(api: FlaskClient) -> None:
    body = post(api, "on_demand").json
    assert body["choices"][0]["message"]["content"] == "42 "  # type: ignore[index]
    offered = body["redraft"]["reasoning"]  # type: ignore[index]
    assert offered["available"]
    first = told(events(api.post(offered["continue_url"])), "reasoning_content")
    assert first == " because six times seven is forty-two."
    assert told(events(api.post(offered["continue_url"])), "reasoning_content") == first
    found = api.get(f"/v1/conversations/{body['redraft']['conversation_id']}").json  # type: ignore[index]
    completion = found["turns"][0]["completions"][0]  # type: ignore[index]
    assert (completion["text"], completion["reasoning"]) == ("42 ", first)


@pytest.mark.parametrize("reasoning", ["on_demand", "always", "never"])
def test_the_conclusion_is_the_same_streamed_and_whole(api: FlaskClient, reasoning: str) -> None:
    whole = post(api, reasoning).json["choices"][0]["message"]  # type: ignore[index]
    chunks = events(post(api, reasoning, stream=True))
    assert told(chunks, "content") == whole["content"] == "42 "
    assert told(chunks, "reasoning_content") == whole.get("reasoning_content", "")
    assert ("reasoning_content" in whole) == (reasoning == "always")
    assert chunks[-1]["redraft"]["reasoning"]["available"] == (reasoning == "on_demand")


def test_always_records_both_parts(api: FlaskClient) -> None:
    ours = post(api, "always").json["redraft"]  # type: ignore[index]
    completion = api.get(f"/v1/conversations/{ours['conversation_id']}").json["turns"][0][  # type: ignore[index]
        "completions"
    ][0]
    assert join_answer(completion["text"], completion["reasoning"]) == ANSWER


def test_without_the_format_nothing_is_cut(api: FlaskClient) -> None:
    body = post(api, None).json
    assert body["choices"][0]["message"]["content"] == ANSWER  # type: ignore[index]
    assert not body["redraft"]["reasoning"]["available"]  # type: ignore[index]


def test_an_answer_without_delimiter_has_nothing_to_go_on_with(api: FlaskClient) -> None:
    body = post(api, "on_demand", "just this").json
    assert body["redraft"]["reasoning"] == {"available": False, "continue_url": None}  # type: ignore[index]
    id = body["redraft"]["completion_ids"][0]  # type: ignore[index]
    refused = api.post(f"/v1/chat/completions/{id}/reasoning")
    assert refused.status_code == 409 and "did not stop at ####" in refused.text


def test_the_reasoning_is_its_owners(api: FlaskClient, here: Context) -> None:
    url = post(api, "on_demand").json["redraft"]["reasoning"]["continue_url"]  # type: ignore[index]
    with here.database.session() as session:
        other = {"Authorization": f"Bearer {users.new_key(session, 'eve')}"}
    assert api.post(url, headers=other).status_code == 404
    assert api.post("/v1/chat/completions/cmpl_none/reasoning").status_code == 404


def test_the_adapter_that_wrote_the_answer_goes_on_with_it(
    api: FlaskClient, here: Context, tiny_adapter: Path
) -> None:
    with here.database.session() as session:
        for name in ("a-0001-aaaaaa", "a-0002-bbbbbb"):
            adapters.register_adapter(
                session, name=name, base_model="smollm2-135m", path=str(tiny_adapter), digest="0"
            )
    here.serving.promote("a-0001-aaaaaa", "test", "")
    ours = post(api, "on_demand").json["redraft"]  # type: ignore[index]
    assert ours["adapter"] == "a-0001-aaaaaa"
    here.serving.promote("a-0002-bbbbbb", "test", "")
    chunks = events(api.post(ours["reasoning"]["continue_url"]))
    # The scripted answer of another adapter would begin with its own name.
    assert told(chunks, "reasoning_content") == " because six times seven is forty-two."
    here.serving.rollback("test", "")
    here.serving.rollback("test", "")


def test_a_retired_adapter_is_unloaded_also_when_its_listener_hangs_up(
    api: FlaskClient, here: Context, tiny_adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, unloaded = "a-0003-cccccc", threading.Event()
    with here.database.session() as session:
        adapters.register_adapter(
            session, name=name, base_model="smollm2-135m", path=str(tiny_adapter), digest="0"
        )
    unload = here.serving.engine.unload_adapter

    def told(gone: str) -> None:
        unload(gone)
        unloaded.set()

    monkeypatch.setattr(here.serving.engine, "unload_adapter", told)
    here.serving.promote(name, "test", "")
    ours = post(api, "on_demand").json["redraft"]  # type: ignore[index]
    here.serving.rollback("test", "")
    assert unloaded.wait(20)
    unloaded.clear()
    answer = api.post(ours["reasoning"]["continue_url"], buffered=False)
    next(iter(answer.response))
    assert name in here.serving.engine.adapters()
    answer.close()
    assert unloaded.wait(20) and name not in here.serving.engine.adapters()


def test_a_reasoning_that_was_cut_off_says_so(here: Context) -> None:
    short = replace(here, settings=here.settings.model_copy(update={"max_tokens": 12}))
    api = create_app(short).test_client()
    url = post(api, "on_demand").json["redraft"]["reasoning"]["continue_url"]  # type: ignore[index]
    for _ in range(2):  # made, then read from the record
        chunks = events(api.post(url))
        assert told(chunks, "reasoning_content") == " because six "
        assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_an_unknown_mode_is_refused(api: FlaskClient) -> None:
    assert post(api, "sometimes").status_code == 400


def test_disabled_truncation_names_both_counts(api: FlaskClient) -> None:
    history = [
        {"role": role, "content": "x" * 2000} for _ in range(3) for role in ("user", "assistant")
    ]
    messages = [*history, {"role": "user", "content": "now"}]
    body: dict[str, Any] = {"model": "redraft", "messages": messages}
    assert api.post("/v1/chat/completions", json=body).status_code == 200
    body["redraft"] = {"truncation": "disabled"}
    refused = api.post("/v1/chat/completions", json=body)
    assert refused.status_code == 400
    assert "12" in refused.text and "8192" in refused.text and "tokens" in refused.text


def test_splitting_and_joining() -> None:
    assert split_answer(ANSWER) == ("42", "because six times seven is forty-two.")
    assert split_answer("no mark") == ("no mark", None)
    assert join_answer(" 42 ", " why ") == "42 #### why"


def test_engines_say_how_the_delimiter_lies_in_their_tokens(tiny_model: Path) -> None:
    echo = find_delimiter(open_engine("echo", "m", tiny_model), "####")
    assert echo.token_id is None and echo.ends_at_boundary
    assert "stop on the text" in echo.describe("m")
    tiny = open_engine("transformers", str(tiny_model), tiny_model)
    assert "stop on the text" in find_delimiter(tiny, "####").describe("tiny")
    assert find_delimiter(tiny, "#").token_id is not None


def test_the_parts_of_an_answer_are_judged_apart(api: FlaskClient) -> None:
    ours = post(api, "on_demand").json["redraft"]  # type: ignore[index]
    rating = {"kind": "rating", "completion_id": ours["completion_ids"][0], "value": 1}
    about_reasoning = {**rating, "value": -1, "part": "reasoning"}
    early = api.post("/v1/feedback", json=about_reasoning)
    assert early.status_code == 409 and "No reasoning" in early.text
    assert "[DONE]" in api.post(ours["reasoning"]["continue_url"]).text
    for body in (rating, about_reasoning):
        assert api.post("/v1/feedback", json=body).status_code == 201
    assert api.post("/v1/feedback", json={**rating, "part": "whole"}).status_code == 400
    listed = api.get("/v1/feedback?limit=2").json["data"]  # type: ignore[index]
    assert [(row["value"], row.get("part")) for row in listed] == [(-1, "reasoning"), (1, None)]
    found = api.get(f"/v1/conversations/{ours['conversation_id']}").json["turns"][0]  # type: ignore[index]
    shown = found["completions"][0]
    assert (shown["rating"]["value"], shown["reasoning_rating"]["value"]) == (1, -1)
    assert api.delete(f"/v1/feedback/{shown['reasoning_rating']['id']}").status_code == 204
    found = api.get(f"/v1/conversations/{ours['conversation_id']}").json["turns"][0]  # type: ignore[index]
    shown = found["completions"][0]
    assert (shown["rating"]["value"], shown["reasoning_rating"]) == (1, None)
