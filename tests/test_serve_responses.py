"""OpenAI's Responses API in one process: answers, chains, streams and refusals."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from openai import NotFoundError, OpenAI
from openai.types.responses import ResponseItem
from pydantic import TypeAdapter
from responses_api import MODEL, WEATHER, ask, refused, sent, stream, text_of, whole

from feedback.tables import Completion
from serve.api.context import Context

CALL_OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "x"}
ITEM: TypeAdapter[Any] = TypeAdapter(ResponseItem)


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


def test_a_cut_answer_is_incomplete(api: FlaskClient) -> None:
    made = ask(api, "hello", max_output_tokens=3)
    assert (made["status"], text_of(made)) == ("incomplete", "You")
    assert made["incomplete_details"] == {"reason": "max_output_tokens"}
    assert made["completed_at"] is None and made["output"][0]["status"] == "incomplete"
    events = stream(api, "hello", max_output_tokens=3)
    assert events[-1]["type"] == "response.incomplete"


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
        ({"input": [{"type": "reasoning", "summary": []}]}, "input", "must be the user's"),
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
