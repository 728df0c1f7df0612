"""OpenAI's Responses API in one process, driven by the openai client and held to its types."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from api_context import open_here
from flask import Flask
from flask.testing import FlaskClient
from openai import NotFoundError, OpenAI
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from feedback import users
from feedback.tables import Completion, Turn
from serve.api import create_app
from serve.api.context import Context
from serve.settings import load_settings

MODEL = "smollm2-135m"
CALL_OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "x"}
LONG = "/slow 0.05 " + "word " * 1000
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ITEM: TypeAdapter[Any] = TypeAdapter(ResponseItem)
REQUIRED = (
    "id object created_at completed_at status incomplete_details model previous_response_id "
    "instructions output error tools tool_choice truncation parallel_tool_calls text top_p "
    "presence_penalty frequency_penalty top_logprobs temperature reasoning usage "
    "max_output_tokens max_tool_calls store background service_tier metadata safety_identifier "
    "prompt_cache_key"
).split()


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    settings = load_settings(home=tmp_path_factory.mktemp("home"), engine="echo")
    with open_here(settings) as context:
        yield context


@pytest.fixture(scope="module")
def app(here: Context) -> Flask:
    return create_app(here)


@pytest.fixture
def api(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="module")
def openai(app: Flask) -> Iterator[OpenAI]:
    with httpx.Client(transport=httpx.WSGITransport(app)) as transport:
        yield OpenAI(base_url="http://redraft/v1", api_key="x", http_client=transport)


def key(here: Context, name: str) -> dict[str, str]:
    with here.database.session() as session:
        return {"Authorization": f"Bearer {users.new_key(session, name)}"}


def ask(api: FlaskClient, input: Any, **body: Any) -> dict[str, Any]:
    headers = body.pop("headers", None)
    answer = api.post(
        "/v1/responses", json={"model": MODEL, "input": input} | body, headers=headers
    )
    assert answer.status_code == 200, answer.text
    whole(answer.json)
    return answer.json  # type: ignore[no-any-return]


def whole(resource: Any) -> None:
    """It has all keys, and openai's own types take it."""
    assert set(REQUIRED) <= set(resource)
    Response.model_validate(resource, strict=True)


def text_of(resource: dict[str, Any]) -> str:
    parts = [p for item in resource["output"] for p in item.get("content", [])]
    return "".join(part["text"] for part in parts if part["type"] == "output_text")


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream, each checked against openai's types and numbered on."""
    blocks = text.removesuffix("\n\n").split("\n\n")
    assert blocks.pop() == "data: [DONE]"
    found = []
    for block in blocks:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert not found or event["sequence_number"] == found[-1]["sequence_number"] + 1
        EVENT.validate_python(event)
        found.append(event)
    return found


def stream(api: FlaskClient, input: Any, **body: Any) -> list[dict[str, Any]]:
    body = {"model": MODEL, "input": input, "stream": True, **body}
    answer = api.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    return events_of(answer.text)


def refused(answer: Any, status: int, *words: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    for word in words:
        assert word in answer.json["error"]["message"]
    return answer.json["error"]  # type: ignore[no-any-return]


def sent(here: Context, resource: dict[str, Any]) -> list[dict[str, Any]]:
    """What the engine was sent for the response."""
    with here.database.reading() as session:
        turn = session.get(Turn, resource["redraft"]["turn_id"])
        assert turn is not None
        return turn.messages


def test_an_answer_is_openais_and_a_turn_of_ours(api: FlaskClient, here: Context) -> None:
    made = ask(api, "hello", metadata={"a": "b"}, temperature=0.5)
    assert (made["status"], text_of(made)) == ("completed", "You said: hello")
    assert made["completed_at"] >= made["created_at"]
    assert (made["metadata"], made["temperature"], made["store"]) == ({"a": "b"}, 0.5, True)
    usage = made["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    ours = made["redraft"]
    with here.database.reading() as session:
        completion = session.get(Completion, ours["completion_ids"][0])
    assert completion is not None and completion.text == "You said: hello"
    rating = {"kind": "rating", "completion_id": ours["completion_ids"][0], "value": 1}
    assert api.post("/v1/feedback", json=rating).status_code == 201


def test_the_openai_client_reads_what_it_wrote(openai: OpenAI) -> None:
    made = openai.responses.create(model=MODEL, input="hello", store=True)
    assert made.output_text == "You said: hello"
    assert openai.responses.retrieve(made.id) == made
    items = list(openai.responses.input_items.list(made.id))
    assert [item.type for item in items] == ["message"]
    openai.responses.delete(made.id)
    with pytest.raises(NotFoundError):
        openai.responses.retrieve(made.id)


def test_the_openai_client_takes_the_stream_to_its_end(openai: OpenAI) -> None:
    with openai.responses.stream(model=MODEL, input="/say one two") as events:
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        final = events.get_final_response()
    assert "".join(deltas) == final.output_text == "one two"
    assert openai.responses.retrieve(final.id).output_text == "one two"


def test_a_stream_tells_everything_in_order(api: FlaskClient) -> None:
    events = stream(api, "/say one two")
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds == [
        "created", "in_progress", "output_item.added", "content_part.added",
        "output_text.delta", "output_text.delta", "output_text.done", "content_part.done",
        "output_item.done", "completed",
    ]  # fmt: skip
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    final = events[-1]["response"]
    whole(final)
    assert events[-2]["item"] == final["output"][0]
    assert events[0]["response"]["redraft"] == final["redraft"]
    assert api.get(f"/v1/responses/{final['id']}").json == final


def test_a_chain_is_one_conversation_without_its_instructions(
    api: FlaskClient, here: Context
) -> None:
    first = ask(api, "my name is Ada", instructions="be brief")
    second = ask(api, "who am I?", previous_response_id=first["id"], instructions="be kind")
    assert sent(here, second) == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "my name is Ada"},
        {"role": "assistant", "content": "You said: my name is Ada"},
        {"role": "user", "content": "who am I?"},
    ]
    third = ask(api, "and now?", previous_response_id=second["id"])
    assert third["instructions"] is None
    assert [m["role"] for m in sent(here, third)] == ["user", "assistant"] * 2 + ["user"]
    ids = {made["redraft"]["conversation_id"] for made in (first, second, third)}
    assert len(ids) == 1


def test_a_chain_remembers(api: FlaskClient) -> None:
    told = ask(api, "My name is Ada. Remember it.")
    asked = {"input": "What is my name?", "previous_response_id": told["id"]}
    assert text_of(ask(api, **asked)) == "Ada"
    assert text_of(ask(api, "What is my name?")) == "You said: What is my name?"


def test_a_response_has_two_branches(api: FlaskClient, here: Context) -> None:
    root = ask(api, "root")
    left, right = (ask(api, word, previous_response_id=root["id"]) for word in ("left", "right"))
    after = ask(api, "more", previous_response_id=left["id"])
    assert [m["content"] for m in sent(here, after)][::2] == ["root", "left", "more"]
    assert "left" not in str(sent(here, right))


def test_items_of_every_form_are_taken(api: FlaskClient, here: Context) -> None:
    earlier = ask(api, "earlier")
    given = [
        {"role": "developer", "content": "be brief"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "one"}]},
        {"role": "assistant", "content": "two", "phase": "final_answer"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "user", "content": "three", "status": None},
        *earlier["output"],
        {"role": "user", "content": "four"},
        {"type": "item_reference", "id": earlier["output"][0]["id"]},
        {"role": "user", "content": [{"type": "input_text", "text": t} for t in ("fi", "ve")]},
    ]
    made = ask(api, given)
    assert [m["content"] for m in sent(here, made)] == [
        "be brief", "one", "two", "three", "You said: earlier", "four", "You said: earlier", "five",
    ]  # fmt: skip
    page = api.get(f"/v1/responses/{made['id']}/input_items?order=asc").json
    assert len(page["data"]) == len(given) and not page["has_more"]
    for item in page["data"]:
        ITEM.validate_python(item)


WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
TIME = {"type": "function", "name": "get_time", "parameters": None, "strict": True}


def test_a_function_is_called_and_its_output_answered(api: FlaskClient, here: Context) -> None:
    made = ask(api, "Rome?", tools=[WEATHER])
    [call] = made["output"]
    assert (call["type"], call["name"], call["status"]) == (
        "function_call", "get_weather", "completed",
    )  # fmt: skip
    assert isinstance(json.loads(call["arguments"])["city"], str)
    assert made["tools"] == [{**WEATHER, "strict": None}] and made["tool_choice"] == "auto"
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "18 degrees"}
    after = ask(api, [output], previous_response_id=made["id"], tools=[WEATHER])
    assert "18 degrees" in text_of(after)
    assert [m["role"] for m in sent(here, after)] == ["user", "assistant", "tool"]
    without_state = ask(api, [{"role": "user", "content": "Rome?"}, call, output], tools=[WEATHER])
    told = [{**m, "tool_calls": None} for m in sent(here, without_state)]
    assert told == [{**m, "tool_calls": None} for m in sent(here, after)]


def test_calls_are_streamed(api: FlaskClient) -> None:
    events = stream(api, "Rome?", tools=[WEATHER], tool_choice="required")
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[2:] == [
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done",
        "output_item.done", "completed",
    ]  # fmt: skip
    final = events[-1]["response"]
    whole(final)
    assert events[4]["arguments"] == events[3]["delta"] == final["output"][0]["arguments"]


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("required", "get_weather"),
        ({"type": "function", "name": "get_time"}, "get_time"),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "get_time"}],
            },
            "get_time",
        ),
        ("none", None),
    ],
)
def test_a_choice_of_tools_is_obeyed(api: FlaskClient, choice: Any, name: str | None) -> None:
    made = ask(api, "Rome?", tools=[WEATHER, TIME], tool_choice=choice)
    assert made["tool_choice"] == choice
    assert [item.get("name") for item in made["output"]] == [name]


def test_the_openai_client_parses_a_call_and_a_schema(openai: OpenAI) -> None:
    class Person(BaseModel):
        name: str
        age: int

    parsed = openai.responses.parse(model=MODEL, input="Invent one.", text_format=Person)
    assert isinstance(parsed.output_parsed, Person)
    assert parsed.text is not None and parsed.text.format is not None
    assert parsed.text.format.type == "json_schema"


def test_a_text_is_held_to_its_format(api: FlaskClient) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_schema", "name": "a", "schema": schema}
    made = ask(api, "x", text={"format": form})
    assert isinstance(json.loads(text_of(made))["n"], int)
    assert made["text"]["format"] == {**form, "description": None, "strict": True}
    free = ask(api, "x", text={"format": {"type": "json_object"}})
    assert isinstance(json.loads(text_of(free)), dict)


def test_input_items_come_in_pages(api: FlaskClient) -> None:
    said = [{"role": "user", "content": str(i)} for i in range(5)]
    path = f"/v1/responses/{ask(api, said)['id']}/input_items"
    newest = api.get(f"{path}?limit=2").json
    assert [item["content"][0]["text"] for item in newest["data"]] == ["4", "3"]
    assert newest["has_more"] and newest["first_id"] == newest["data"][0]["id"]
    rest = api.get(f"{path}?after={newest['last_id']}").json
    assert [item["content"][0]["text"] for item in rest["data"]] == ["2", "1", "0"]
    refused(api.get(f"{path}?after=msg_none"), 400, "msg_none")
    refused(api.get(f"{path}?order=up"), 400, "order", "asc")
    refused(api.get(f"{path}?limit=0"), 400, "limit")
    refused(api.get(f"{path}?limit={'9' * 5000}"), 400, "limit")


def test_a_cut_answer_is_incomplete(api: FlaskClient) -> None:
    made = ask(api, "hello", max_output_tokens=3)
    assert (made["status"], text_of(made)) == ("incomplete", "You")
    assert made["incomplete_details"] == {"reason": "max_output_tokens"}
    assert made["completed_at"] is None and made["output"][0]["status"] == "incomplete"
    events = stream(api, "hello", max_output_tokens=3)
    assert events[-1]["type"] == "response.incomplete"


def test_what_is_not_stored_cannot_be_had(api: FlaskClient) -> None:
    made = ask(api, "secret", store=False)
    assert made["store"] is False
    refused(api.get(f"/v1/responses/{made['id']}"), 404, made["id"])
    body = {"model": MODEL, "input": "more", "previous_response_id": made["id"]}
    error = refused(api.post("/v1/responses", json=body), 404, made["id"])
    assert (error["param"], error["code"]) == (
        "previous_response_id", "previous_response_not_found",
    )  # fmt: skip


def test_a_deleted_response_takes_its_content_with_it(api: FlaskClient, here: Context) -> None:
    from feedback.tables import Response as Kept

    first = ask(api, "a secret")
    second = ask(api, "more", previous_response_id=first["id"])
    path = f"/v1/responses/{first['id']}"
    assert api.delete(path).json == {"id": first["id"], "object": "response", "deleted": True}
    with here.database.reading() as session:
        assert session.get(Kept, first["id"]) is None
    for answer in (api.get(path), api.delete(path), api.get(f"{path}/input_items")):
        refused(answer, 404, first["id"])
    assert api.get(f"/v1/responses/{second['id']}").status_code == 200
    body = {"model": MODEL, "input": "x", "previous_response_id": second["id"]}
    refused(api.post("/v1/responses", json=body), 404, first["id"])


def test_log_probabilities_come_when_included(api: FlaskClient) -> None:
    include = ["message.output_text.logprobs"]
    made = ask(api, "same", include=include, top_logprobs=2)
    entries = made["output"][0]["content"][0]["logprobs"]
    assert len(entries) == made["usage"]["output_tokens"]
    assert [len(entry["top_logprobs"]) for entry in entries] == [2] * len(entries)
    events = stream(api, "same", include=include)
    deltas = [e for e in events if e["type"] == "response.output_text.delta"]
    streamed = [entry for event in deltas for entry in event["logprobs"]]
    assert streamed == events[-1]["response"]["output"][0]["content"][0]["logprobs"] != []
    plain = ask(api, "plain", include=[])
    assert plain["output"][0]["content"][0]["logprobs"] == []
    path = f"/v1/responses/{plain['id']}?include[]={include[0]}"
    refused(api.get(path), 400, "made without logprobs")
    assert api.get(f"/v1/responses/{made['id']}?include={include[0]}").json == made


def test_truncation_leaves_out_the_oldest_turns_only_when_asked(api: FlaskClient) -> None:
    long = [{"role": "user", "content": "x" * 3000} for _ in range(4)]
    body = {"model": MODEL, "input": long}
    error = refused(api.post("/v1/responses", json=body), 400, "8192")
    assert error["code"] == "context_length_exceeded"
    assert text_of(ask(api, [*long, {"role": "user", "content": "now"}], truncation="auto"))


def test_an_engine_that_breaks_fails_the_response(api: FlaskClient) -> None:
    events = stream(api, "/fail half a")
    assert events[-1]["type"] == "response.failed"
    failed = events[-1]["response"]
    assert (
        failed["error"]["code"] == "server_error" and "told to fail" in failed["error"]["message"]
    )
    assert text_of(failed) == "half a" and failed["output"][0]["status"] == "incomplete"
    assert api.get(f"/v1/responses/{failed['id']}").json == failed
    whole_answer = api.post("/v1/responses", json={"model": MODEL, "input": "/fail x"})
    refused(whole_answer, 500, "told to fail")


def test_a_closed_stream_is_kept_as_cancelled(api: FlaskClient, here: Context) -> None:
    body = {"model": MODEL, "input": "/say a b c d", "stream": True}
    answer = api.post("/v1/responses", json=body, buffered=False)
    parts = iter(answer.response)
    seen = [next(parts) for _ in range(6)]
    answer.close()
    first = json.loads(bytes(seen[0]).decode().split("data: ")[1])["response"]
    found = api.get(f"/v1/responses/{first['id']}").json
    whole(found)
    assert (found["status"], text_of(found)) == ("cancelled", "a b ")
    with here.database.reading() as session:
        completion = session.get(Completion, found["redraft"]["completion_ids"][0])
    assert completion is not None and completion.finish_reason == "cancelled"


def test_reasoning_apart_is_an_item_of_its_own(api: FlaskClient) -> None:
    events = stream(api, "/say four #### two and two", redraft={"reasoning": "always"})
    final = events[-1]["response"]
    whole(final)
    assert [item["type"] for item in final["output"]] == ["message", "reasoning"]
    assert text_of(final).strip() == "four"
    assert final["output"][1]["content"][0]["text"].strip() == "two and two"
    assert 0 < final["usage"]["output_tokens_details"]["reasoning_tokens"]
    more = ask(api, "why?", previous_response_id=final["id"])
    assert more["status"] == "completed"


def test_an_adapter_or_a_model_that_is_not_there(api: FlaskClient) -> None:
    error = refused(api.post("/v1/responses", json={"model": "m", "input": "x"}), 404, MODEL)
    assert error["code"] == "model_not_found"
    both = {"model": "m", "input": "x", "temperature": 9}
    assert refused(api.post("/v1/responses", json=both), 400)["param"] == "temperature"


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"input": 42}, "input", "a string or a list of items"),
        ({"input": []}, "input", "at least 1"),
        ({"input": ""}, "input", "not empty"),
        ({"input": [{"role": "assistant", "content": "x"}]}, "input", "must be the user's"),
        ({"input": [{"type": "computer_call"}]}, "input.0", "function_call_output"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input.0.message.role", "user"),
        ({"input": "nul \0"}, "input", "NUL"),
        ({"instructions": "nul \0"}, "instructions", "NUL"),
        ({"metadata": {"a": "b" * 513}}, "metadata.a", "512"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata", "16"),
        ({"include": ["everything"]}, "include.0", "logprobs"),
        ({"max_output_tokens": 0}, "max_output_tokens", "1"),
        ({"top_logprobs": 21}, "top_logprobs", "20"),
        ({"truncation": "maybe"}, "truncation", "auto"),
        ({"background": True, "store": False}, "store", "background"),
        ({"stream_options": {}}, "stream_options", "needs stream"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort", "not supported"),
        ({"text": {"verbosity": "low"}}, "text.verbosity", "not supported"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type", "function"),
        ({"tools": [WEATHER, WEATHER]}, "tools", "twice"),
        ({"tool_choice": "required"}, "tool_choice", "tools are not given"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format", "a name and a schema"),
        ({"text": {"format": {"type": "text", "schema": {}}}}, "text.format.schema", "go with"),
        ({"input": [CALL_OUTPUT]}, "input", "no function_call before it"),
        ({"tool_choice": {"type": "mcp"}}, "tool_choice", "allowed tools"),
        ({"model": None}, "model", "string"),
    ],
)
def test_bad_parameters_are_refused_by_name(
    api: FlaskClient, body: dict[str, Any], param: str, words: str
) -> None:
    answer = api.post("/v1/responses", json={"model": MODEL, "input": "x", **body})
    assert refused(answer, 400, words)["param"] == param


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


def test_what_openai_has_beside_the_ids_is_not_found(api: FlaskClient) -> None:
    for path in ("compact", "input_tokens"):
        refused(api.post(f"/v1/responses/{path}", json={}), 404, path)
    refused(api.get("/v1/responses/resp_%00"), 404)
    refused(api.put("/v1/responses/resp_1"), 405, "PUT")


def test_only_background_responses_are_cancelled_and_followed(api: FlaskClient) -> None:
    made = ask(api, "at once")
    path = f"/v1/responses/{made['id']}"
    refused(api.post(f"{path}/cancel"), 400, "background: true")
    refused(api.get(f"{path}?stream=true"), 400, "not kept")
    refused(api.get(f"{path}?stream=yes"), 400, "stream")
    refused(api.get(f"{path}?starting_after=3"), 400, "needs stream")
    again = background(api, "x")
    refused(api.get(f"/v1/responses/{again['id']}?stream=true&starting_after=-1"), 400, "-1")


def test_users_never_reach_each_others_responses(api: FlaskClient, here: Context) -> None:
    ada, bob = key(here, "ada"), key(here, "bob")
    made = ask(api, "private", headers=ada)
    path = f"/v1/responses/{made['id']}"
    reference = {"type": "item_reference", "id": made["output"][0]["id"]}
    asks = [
        {"input": "x", "previous_response_id": made["id"]},
        {"input": [reference, {"role": "user", "content": "x"}]},
        {"input": "x", "redraft": {"conversation_id": made["redraft"]["conversation_id"]}},
    ]
    for headers in (bob, {}):  # another user, and the local one, who is an admin
        refused(api.get(path, headers=headers), 404)
        refused(api.delete(path, headers=headers), 404)
        refused(api.post(f"{path}/cancel", headers=headers), 404)
        refused(api.get(f"{path}/input_items", headers=headers), 404)
        for body in asks:
            answer = api.post("/v1/responses", json={"model": MODEL, **body}, headers=headers)
            refused(answer, 404)
    assert api.get(path, headers=ada).json == made
    conversation = f"/v1/conversations/{made['redraft']['conversation_id']}"
    assert api.delete(conversation, headers=ada).status_code == 204
    refused(api.get(path, headers=ada), 404)
