"""The HTTP API in one process, over the real record and engine `echo`."""

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_context import open_here
from conftest import wait_until
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from feedback import adapters, users
from serve.api import create_app
from serve.api.context import Context, open_context
from serve.settings import Settings, load_settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(home=tmp_path_factory.mktemp("home"), engine="echo", max_drafts=4)


@pytest.fixture(scope="module")
def here(settings: Settings) -> Iterator[Context]:
    with open_here(settings) as context:
        yield context


@pytest.fixture
def ada(here: Context) -> dict[str, str]:
    return key(here, "ada")


@pytest.fixture
def bob(here: Context) -> dict[str, str]:
    return key(here, "bob")


def key(here: Context, name: str) -> dict[str, str]:
    with here.database.session() as session:
        return {"Authorization": f"Bearer {users.new_key(session, name)}"}


def ask(
    api: FlaskClient, text: str, headers: dict[str, str] | None = None, **body: Any
) -> dict[str, Any]:
    body = {"model": "redraft", "messages": [{"role": "user", "content": text}], **body}
    answer = api.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json  # type: ignore[no-any-return]


def events(answer: TestResponse) -> list[dict[str, Any]]:
    lines = [line for line in answer.text.splitlines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]


def stream(api: FlaskClient, text: str, **body: Any) -> list[dict[str, Any]]:
    said = [{"role": "user", "content": text}]
    body = {"model": "redraft", "messages": said, "stream": True, **body}
    return events(api.post("/v1/chat/completions", json=body))


def text_of(chunks: list[dict[str, Any]], draft: int = 0) -> str:
    choices = [c for chunk in chunks for c in chunk.get("choices", []) if c["index"] == draft]
    return "".join(c["delta"].get("content", "") for c in choices)


def conversation(
    api: FlaskClient, id: str, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    answer = api.get(f"/v1/conversations/{id}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json  # type: ignore[no-any-return]


def refused(answer: TestResponse, status: int, *words: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error = answer.json["error"]  # type: ignore[index]
    assert set(error) == {"message", "type", "param", "code"}
    for word in words:
        assert word in error["message"]
    return error  # type: ignore[no-any-return]


def test_an_answer_has_openais_form_and_ours(api: FlaskClient) -> None:
    body = ask(api, "hello", n=2)
    assert body["object"] == "chat.completion"
    assert [c["message"]["content"] for c in body["choices"]] == [
        "You said: hello",
        "You said: hello (draft 1)",
    ]
    ours = body["redraft"]
    assert ours["adapter"] == "base"
    assert ours["query"] == ours["rewritten_query"] == "hello"
    assert ours["reasoning"] == {"available": False, "continue_url": None}
    assert len(set(ours["completion_ids"])) == 2
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_turn_is_recorded_with_all_that_learning_needs(api: FlaskClient, here: Context) -> None:
    ours = ask(api, "remember", temperature=0.5, seed=4)["redraft"]
    from feedback.tables import Completion, Turn

    with here.database.reading() as session:
        completion = session.get(Completion, ours["completion_ids"][0])
        turn = session.get(Turn, ours["turn_id"])
    assert completion is not None and turn is not None
    assert completion.text == "You said: remember"
    assert len(completion.token_ids or []) == len(completion.logprobs or []) > 0
    assert completion.sampling["temperature"] == 0.5
    assert completion.sampling["seed"] == 4
    assert completion.prompt_hash == turn.prompt_hash
    assert (completion.adapter, completion.base_model) == ("base", "smollm2-135m")
    assert turn.messages == [{"role": "user", "content": "remember"}]


def test_a_stream_gives_the_same_text_and_ours_first_and_last(api: FlaskClient) -> None:
    chunks = stream(api, "/say one two three", n=2, seed=1)
    assert text_of(chunks) == "one two three"
    assert text_of(chunks, 1) == "one two three (draft 1)"
    assert chunks[0]["redraft"] == chunks[-1]["redraft"]
    assert sum("redraft" in chunk for chunk in chunks) == 2
    reasons = [c["finish_reason"] for c in chunks[-1]["choices"]]
    assert reasons == ["stop", "stop"]
    assert all(c["finish_reason"] is None for ch in chunks[:-1] for c in ch["choices"])


def test_usage_comes_last_when_asked_for(api: FlaskClient) -> None:
    chunks = stream(api, "hi", stream_options={"include_usage": True, "continuous": 1})
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == len("You said: hi")


def test_the_events_of_tokens_have_the_form_of_all_others(api: FlaskClient) -> None:
    said = 'quo"te back\\slash tab\tend {brace} 世界 🙂'
    options = {"stream_options": {"include_usage": True}, "service_tier": "auto"}
    first, *deltas, last, usage = stream(api, f"/say {said}", n=2, **options)
    assert text_of([first, *deltas]) == said
    head = {key: value for key, value in last.items() if key not in ("choices", "redraft")}
    assert head["usage"] is None and head["service_tier"] == "default"
    for event in deltas:
        (choice,) = event["choices"]
        assert event == {**head, "choices": [choice]}
        assert choice.keys() == {"index", "delta", "finish_reason"}


def test_stream_and_whole_answer_have_the_same_logprobs(api: FlaskClient) -> None:
    whole = ask(api, "same", seed=2, logprobs=True, top_logprobs=2)
    chunks = stream(api, "same", seed=2, logprobs=True, top_logprobs=2)
    streamed = [
        entry
        for chunk in chunks
        for choice in chunk["choices"]
        for entry in (choice.get("logprobs") or {}).get("content", [])
    ]
    assert streamed == whole["choices"][0]["logprobs"]["content"]
    assert len(streamed[0]["top_logprobs"]) == 2


def test_an_engine_that_breaks_is_an_error_event_and_recorded(api: FlaskClient) -> None:
    chunks = stream(api, "/fail half a")
    assert "told to fail" in chunks[-1]["error"]["message"]
    found = conversation(api, chunks[0]["redraft"]["conversation_id"])
    completion = found["turns"][0]["completions"][0]
    assert (completion["text"], completion["finish_reason"]) == ("half a", "interrupted")
    refused(
        api.post(
            "/v1/chat/completions",
            json={"model": "redraft", "messages": [{"role": "user", "content": "/fail x"}]},
        ),
        500,
        "told to fail",
    )


def test_a_closed_stream_keeps_what_was_written(api: FlaskClient) -> None:
    answer = api.post(
        "/v1/chat/completions",
        json={
            "model": "redraft",
            "messages": [{"role": "user", "content": "/say a b c d"}],
            "stream": True,
        },
        buffered=False,
    )
    parts = iter(answer.response)
    first = json.loads(str(next(parts), "utf-8") if isinstance(parts, bytes) else _text(parts))
    for _ in range(2):
        next(parts)
    answer.close()
    found = conversation(api, first["redraft"]["conversation_id"])
    completion = found["turns"][0]["completions"][0]
    assert (completion["text"], completion["finish_reason"]) == ("a b ", "cancelled")


def _text(parts: Iterator[Any]) -> str:
    part = next(parts)
    return (part.decode() if isinstance(part, bytes) else part).removeprefix("data: ")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"n": 0}, "n: Input should be greater than or equal to 1 (got 0)"),
        ({"n": 5}, "n is 5; at most 4"),
        ({"n": "2"}, "n: Input should be a valid integer"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "  "}]}, "not empty"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "must be the user's"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": "nul \0"}]}, "NUL character"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"tool_choice": "required"}, "tool_choice demands a call"),
        ({"logit_bias": {"5": 1}}, "'logit_bias' is not supported"),
        ({"top_logprobs": 2}, "needs logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "needs stream"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "at most 4"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "json_schema is missing"),
    ],
)
def test_bad_parameters_are_refused_by_name(
    api: FlaskClient, body: dict[str, Any], words: str
) -> None:
    given = {"model": "redraft", "messages": [{"role": "user", "content": "x"}], **body}
    error = refused(api.post("/v1/chat/completions", json=given), 400, words)
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "not JSON"),
        (b"[1]", "must be a JSON object, not list"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "not JSON"),
    ],
)
def test_broken_json_is_a_400(api: FlaskClient, raw: bytes, words: str) -> None:
    for path in ("/v1/chat/completions", "/v1/feedback"):
        refused(api.post(path, data=raw), 400, words)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (r'"\ud800"', "half of a surrogate pair"),
        (r'{"\udfff": 1}', "half of a surrogate pair"),
        ('{"a":' * 2000 + "1" + "}" * 2000, "nests more than 100"),
        ("[" * 900 + "]" * 900, "nests more than 100"),
        ("[" * 100_000, "nests more than 100"),
        ("NaN", "NaN is not a number"),
        ("-Infinity", "-Infinity is not a number"),
        ("1e999", "1e999 is too large"),
    ],
)
def test_what_nothing_can_keep_or_send_is_refused(api: FlaskClient, value: str, words: str) -> None:
    for path, param in (
        ("/v1/chat/completions", "messages"),
        ("/v1/completions", "prompt"),
        ("/v1/responses", "input"),
        ("/v1/rewrite", "messages"),
        ("/algorithm/ChatRest", "prompt"),
        ("/v1/feedback", "kind"),
        ("/v1/session", "name"),
    ):
        answer = api.post(path, data=f'{{"{param}": {value}}}')
        assert answer.status_code == 400 and words in answer.text, (path, answer.text)


def test_the_name_of_a_field_is_held_to_the_same(api: FlaskClient) -> None:
    refused(api.post("/v1/feedback", data=r'{"kind": "rating", "\ud800": 1}'), 400, "surrogate")
    pair = api.post("/v1/feedback", data=r'{"kind": "rating", "\ud83d\ude00": 1}')
    assert refused(pair, 400, "is not a field here")["param"] == "😀"


def test_a_body_over_the_limit_is_a_413(api: FlaskClient) -> None:
    refused(api.post("/v1/feedback", data=b" " * 11_000_000), 413, "11.0 MB", "at most 10 MB")


def test_unknown_models_paths_and_methods(api: FlaskClient) -> None:
    given = {"model": "gpt-9", "messages": [{"role": "user", "content": "x"}]}
    error = refused(api.post("/v1/chat/completions", json=given), 404, "gpt-9", "smollm2-135m")
    assert error["code"] == "model_not_found"
    refused(api.get("/v1/nothing"), 404, "/v1/nothing")
    wrong = api.put("/v1/feedback")
    refused(wrong, 405, "PUT")
    assert {"GET", "POST"} <= set(wrong.headers["Allow"].split(", "))
    refused(api.get("/v1/models/nope"), 404, "nope")
    assert api.get("/v1/models").json["data"][0]["id"] == "smollm2-135m"  # type: ignore[index]


def test_a_message_longer_than_the_window_names_both_counts(api: FlaskClient) -> None:
    given = {"model": "redraft", "messages": [{"role": "user", "content": "x" * 9000}]}
    error = refused(api.post("/v1/chat/completions", json=given), 400, "tokens", "8192")
    assert error["code"] == "context_length_exceeded"


def test_long_histories_lose_their_oldest_turns(api: FlaskClient) -> None:
    history = []
    for i in range(30):
        history += [
            {"role": "user", "content": f"question {i} " + "x" * 300},
            {"role": "assistant", "content": "answer"},
        ]
    messages = [
        {"role": "system", "content": "be brief"},
        *history,
        {"role": "user", "content": "now"},
    ]
    answer = api.post("/v1/chat/completions", json={"model": "redraft", "messages": messages})
    assert answer.json["choices"][0]["message"]["content"] == "You said: now"  # type: ignore[index]


def test_a_conversation_goes_on_by_id_and_by_its_history(api: FlaskClient) -> None:
    words = f"start {uuid.uuid4()}"
    first = ask(api, words)["redraft"]
    history = [
        {"role": "user", "content": words},
        {"role": "assistant", "content": "You said"},
        {"role": "user", "content": "more"},
    ]
    by_id = ask(
        api,
        "",
        messages=history,
        redraft={"conversation_id": first["conversation_id"]},
    )["redraft"]
    by_history = ask(api, "", messages=history)["redraft"]
    ids = {first["conversation_id"], by_id["conversation_id"], by_history["conversation_id"]}
    assert len(ids) == 1
    found = conversation(api, first["conversation_id"])
    assert [turn["query"] for turn in found["turns"]] == [words, "more", "more"]
    assert [turn["position"] for turn in found["turns"]] == [0, 1, 2]
    assert ask(api, words)["redraft"]["conversation_id"] not in ids


def test_conversations_are_listed_renamed_and_deleted(
    api: FlaskClient, bob: dict[str, str]
) -> None:
    ids = [ask(api, f"topic {i}", bob)["redraft"]["conversation_id"] for i in range(3)]
    page = api.get("/v1/conversations?limit=2", headers=bob).json
    assert [c["id"] for c in page["data"]] == ids[:0:-1]  # type: ignore[index]
    rest = api.get(f"/v1/conversations?limit=2&after={page['last_id']}", headers=bob).json  # type: ignore[index]
    assert ids[0] in [c["id"] for c in rest["data"]]  # type: ignore[index]
    renamed = api.patch(f"/v1/conversations/{ids[0]}", json={"title": "Lamps"}, headers=bob)
    assert renamed.json["title"] == "Lamps"  # type: ignore[index]
    found = api.get("/v1/conversations?q=lAMps", headers=bob).json["data"]  # type: ignore[index]
    assert [c["id"] for c in found] == [ids[0]]
    assert api.delete(f"/v1/conversations/{ids[0]}", headers=bob).status_code == 204
    refused(api.get(f"/v1/conversations/{ids[0]}", headers=bob), 404, ids[0])
    refused(api.get("/v1/conversations?limit=0", headers=bob), 400, "limit")
    refused(api.patch(f"/v1/conversations/{ids[1]}", json={"title": 5}, headers=bob), 400, "title")


def test_feedback_of_every_kind_is_shown_and_withdrawn(api: FlaskClient) -> None:
    ours = ask(api, "rate me", n=2)["redraft"]
    first, second = ours["completion_ids"]
    posted = [
        {"kind": "rating", "completion_id": first, "value": -1, "tags": ["wrong_fact"]},
        {"kind": "correction", "completion_id": first, "text": "better"},
        {
            "kind": "comparison",
            "turn_id": ours["turn_id"],
            "shown": [second, first],
            "chosen": second,
        },
    ]
    ids = []
    for body in posted:
        answer = api.post("/v1/feedback", json=body)
        assert answer.status_code == 201, answer.text
        ids.append(answer.json["id"])  # type: ignore[index]
    turn = conversation(api, ours["conversation_id"])["turns"][0]
    rated = next(c for c in turn["completions"] if c["id"] == first)
    assert rated["rating"]["value"] == -1
    assert rated["correction"]["text"] == "better"
    assert turn["comparison"]["chosen"] == second
    assert api.delete(f"/v1/feedback/{ids[0]}").status_code == 204
    turn = conversation(api, ours["conversation_id"])["turns"][0]
    assert all(c["rating"] is None for c in turn["completions"])
    listed = api.get("/v1/feedback").json["data"]  # type: ignore[index]
    assert set(ids[1:]) <= {row["id"] for row in listed} and ids[0] not in {
        row["id"] for row in listed
    }


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"kind": "rating", "value": 7}, 400, "7"),
        ({"kind": "rating", "value": True}, 400, "value"),
        ({"kind": "rating", "value": "1"}, 400, "value"),
        ({"kind": "rating", "value": 1, "mood": "x"}, 400, "mood"),
        ({"kind": "rating", "value": 1, "completion_id": "cmpl_none"}, 404, "cmpl_none"),
        ({"kind": "applause"}, 400, "applause"),
        ({}, 400, "kind"),
        ({"kind": "correction", "text": "  "}, 400, "text"),
        ({"kind": "comparison", "turn_id": "turn_none", "shown": [], "chosen": "tie"}, 404, "turn"),
    ],
)
def test_bad_feedback_is_refused(
    api: FlaskClient, body: dict[str, Any], status: int, words: str
) -> None:
    completion = ask(api, "for bad feedback")["redraft"]["completion_ids"][0]
    if body.get("kind") in ("rating", "correction"):
        body = {"completion_id": completion, **body}
    refused(api.post("/v1/feedback", json=body), status, words)


def test_an_idempotency_key_makes_one_row(api: FlaskClient) -> None:
    completion = ask(api, "twice")["redraft"]["completion_ids"][0]
    body = {"kind": "rating", "completion_id": completion, "value": 1}
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    ids = {api.post("/v1/feedback", json=body, headers=headers).json["id"] for _ in range(3)}  # type: ignore[index]
    assert len(ids) == 1
    refused(api.post("/v1/feedback", json={**body, "value": -1}, headers=headers), 409)


def test_users_never_reach_each_others_objects(
    api: FlaskClient, ada: dict[str, str], bob: dict[str, str]
) -> None:
    ours = ask(api, "private", ada, n=2)["redraft"]
    completion = ours["completion_ids"][0]
    rating = api.post(
        "/v1/feedback",
        json={"kind": "rating", "completion_id": completion, "value": 1},
        headers=ada,
    ).json["id"]  # type: ignore[index]
    path = f"/v1/conversations/{ours['conversation_id']}"
    for headers in (bob, {}):  # another user, and the local one, who is an admin
        refused(api.get(path, headers=headers), 404)
        refused(api.patch(path, json={"title": "mine"}, headers=headers), 404)
        refused(api.delete(path, headers=headers), 404)
        refused(api.delete(f"/v1/feedback/{rating}", headers=headers), 404)
        for body in (
            {"kind": "rating", "completion_id": completion, "value": -1},
            {"kind": "correction", "completion_id": completion, "text": "x"},
            {
                "kind": "comparison",
                "turn_id": ours["turn_id"],
                "shown": ours["completion_ids"],
                "chosen": "tie",
            },
        ):
            refused(api.post("/v1/feedback", json=body, headers=headers), 404)
        given = {
            "model": "redraft",
            "messages": [{"role": "user", "content": "x"}],
            "redraft": {"conversation_id": ours["conversation_id"]},
        }
        refused(api.post("/v1/chat/completions", json=given, headers=headers), 404)
        listed = api.get("/v1/conversations?q=private", headers=headers).json["data"]  # type: ignore[index]
        assert listed == []
    assert conversation(api, ours["conversation_id"], ada)["title"] == "private"


def test_keys_and_roles(api: FlaskClient, ada: dict[str, str]) -> None:
    wrong = {"Authorization": "Bearer rd-wrong"}
    assert refused(api.get("/v1/models", headers=wrong), 401)["code"] == "invalid_api_key"
    openai_default = {"Authorization": "Bearer sk-anything"}
    assert api.get("/v1/models", headers=openai_default).status_code == 200
    refused(api.post("/v1/adapters/rollback", headers=ada), 403, "ada", "role user")
    refused(api.post("/v1/runs", headers=ada), 403)


def test_off_loopback_a_key_is_needed(here: Context, ada: dict[str, str]) -> None:
    from dataclasses import replace

    open_to_all = here.settings.model_copy(update={"host": "0.0.0.0"})
    api = create_app(replace(here, settings=open_to_all)).test_client()
    refused(api.get("/v1/models"), 401, "redraft key new")
    assert api.get("/v1/models", headers=ada).status_code == 200
    assert api.get("/healthz").status_code == 200


def test_health_and_readiness(api: FlaskClient) -> None:
    assert api.get("/healthz").json == api.get("/health").json == {"status": "ok"}
    ready = api.get("/readyz").json
    assert ready["status"] == "ready" and ready["adapter"] == "base"  # type: ignore[index]


def register(here: Context, name: str, folder: Path, **values: Any) -> None:
    with here.database.session() as session:
        adapters.register_adapter(
            session,
            name=name,
            path=str(folder),
            digest="0" * 64,
            **{"base_model": "smollm2-135m", **values},
        )


def test_promote_and_roll_back_under_load(
    api: FlaskClient, here: Context, tiny_adapter: Path
) -> None:
    for name in ("a-0001-aaaaaa", "a-0002-bbbbbb"):
        register(here, name, tiny_adapter)
    answers: list[dict[str, Any]] = []
    stop = threading.Event()

    def talk() -> None:
        client = create_app(here).test_client()
        while not stop.is_set():
            answers.append(ask(client, "/slow 0.001 a b c d e f"))

    talkers = [threading.Thread(target=talk) for _ in range(3)]
    for talker in talkers:
        talker.start()
    try:
        wait_until(lambda: len(answers) >= 3, 30)  # of the base: nothing is promoted yet
        assert promote(api, "a-0001-aaaaaa") == {"serving": "a-0001-aaaaaa", "previous": "base"}
        assert promote(api, "a-0002-bbbbbb")["previous"] == "a-0001-aaaaaa"
        assert ask(api, "who")["redraft"]["adapter"] == "a-0002-bbbbbb"
        assert api.get("/v1/adapters").json["serving"] == "a-0002-bbbbbb"  # type: ignore[index]
        assert api.post("/v1/adapters/rollback").json["serving"] == "a-0001-aaaaaa"  # type: ignore[index]
        assert api.post("/v1/adapters/rollback").json["serving"] == "base"  # type: ignore[index]
        refused(api.post("/v1/adapters/rollback"), 409, "nothing to roll back")
    finally:
        stop.set()
        for talker in talkers:
            talker.join()
    for answer in answers:  # each was written by the adapter it names
        adapter = answer["redraft"]["adapter"]
        text = answer["choices"][0]["message"]["content"]
        assert text.startswith(f"[{adapter}]") == (adapter != "base")
    assert {a["redraft"]["adapter"] for a in answers} >= {"base"}
    assert ask(api, "who", model="base")["redraft"]["adapter"] == "base"


def promote(api: FlaskClient, name: str) -> dict[str, str]:
    answer = api.post(f"/v1/adapters/{name}/promote", json={"reason": "test"})
    assert answer.status_code == 200, answer.text
    return answer.json  # type: ignore[no-any-return]


def test_what_cannot_serve_is_refused_and_the_old_goes_on(
    api: FlaskClient, here: Context, tmp_path: Path, tiny_adapter: Path
) -> None:
    refused(api.post("/v1/adapters/a-9999-zzzzzz/promote"), 404, "a-9999-zzzzzz")
    register(here, "a-0003-cccccc", tmp_path / "gone")
    refused(api.post("/v1/adapters/a-0003-cccccc/promote"), 409, "adapter_config.json")
    register(here, "a-0004-dddddd", tiny_adapter, state="rejected")
    refused(api.post("/v1/adapters/a-0004-dddddd/promote"), 409, "rejected")
    register(here, "a-0008-hhhhhh", tiny_adapter, base_model="another-model")
    for action in ("promote", "canary"):
        answer = api.post(f"/v1/adapters/a-0008-hhhhhh/{action}")
        refused(answer, 409, "was trained on another-model; this engine serves smollm2-135m")
    assert ask(api, "still here")["redraft"]["adapter"] == "base"


def test_the_champion_serves_again_after_a_restart(
    api: FlaskClient, here: Context, settings: Settings, tiny_adapter: Path
) -> None:
    register(here, "a-0005-eeeeee", tiny_adapter)
    promote(api, "a-0005-eeeeee")
    again = open_context(settings)
    assert again.serving.adapter == "a-0005-eeeeee"
    (tiny_adapter / "adapter_model.safetensors").rename(tiny_adapter / "hidden")
    try:
        broken = open_context(settings)
        assert broken.serving.adapter == "base"
        assert "a-0005-eeeeee does not serve" in (broken.serving.problem or "")
    finally:
        (tiny_adapter / "hidden").rename(tiny_adapter / "adapter_model.safetensors")
    again.database.close()
    broken.database.close()


def test_a_silent_no_op_never_serves(here: Context, tiny_model: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from serve.engines import open_engine
    from serve.engines.base import AdapterError
    from serve.turn.serving import attest

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    get_peft_model(model, LoraConfig(r=2, target_modules="all-linear")).save_pretrained(tmp_path)
    engine = open_engine("transformers", str(tiny_model), tmp_path)
    engine.load_adapter("a-0006-ffffff", tmp_path)
    with pytest.raises(AdapterError, match="exactly like the base"):
        attest(engine, "a-0006-ffffff")
