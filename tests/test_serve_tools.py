"""Tools and JSON schemas: what is offered, demanded, held to, read out of an answer, refused."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given, strategies as st
from openai.types.chat import ChatCompletion

from feedback.tables import Completion, Turn
from serve.api.context import Context
from serve.engines.base import Unsupported
from serve.engines.instances import instance
from serve.turn.tools import CallReader, Tools

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 1}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
CITY = {
    "$defs": {"place": {"type": "string", "minLength": 3}},
    "properties": {"city": {"$ref": "#/$defs/place"}},
    "required": ["city"],
}


def tool(name: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters or CITY}}


WEATHER, CLOCK = tool("weather"), tool("clock", {"type": "object", "properties": {}})


def ask(api: FlaskClient, text: str = "Rome", **body: Any) -> Any:
    given = {"model": "redraft", "messages": [{"role": "user", "content": text}], **body}
    return api.post("/v1/chat/completions", json=given)


def choice(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    ChatCompletion.model_validate(answer.json)
    return answer.json["choices"][0]


def test_a_schema_holds_the_answer(api: FlaskClient) -> None:
    schema = {"name": "person", "schema": PERSON, "strict": True}
    answer = choice(ask(api, response_format={"type": "json_schema", "json_schema": schema}))
    assert json.loads(answer["message"]["content"]) == {"name": "Rome", "age": 1}
    answer = choice(ask(api, response_format={"type": "json_object"}))
    assert isinstance(json.loads(answer["message"]["content"]), dict)
    assert choice(ask(api, response_format={"type": "text"}))["message"]["content"]


def test_an_unusable_schema_is_refused_before_anything_is_recorded(
    api: FlaskClient, here: Context
) -> None:
    def turns() -> int:
        with here.database.reading() as session:
            return session.query(Turn).count()

    before = turns()
    schema = {"name": "x", "schema": {"type": "nothing"}}
    answer = ask(api, response_format={"type": "json_schema", "json_schema": schema}, stream=True)
    assert answer.status_code == 400
    assert "cannot be enforced" in answer.json["error"]["message"]
    assert turns() == before


def test_a_model_that_calls_gives_a_tool_call(api: FlaskClient) -> None:
    answer = choice(ask(api, tools=[WEATHER, CLOCK]))
    assert answer["finish_reason"] == "tool_calls"
    assert answer["message"]["content"] is None
    (call,) = answer["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Rome"}


def test_a_result_is_answered(api: FlaskClient) -> None:
    message = choice(ask(api, tools=[WEATHER]))["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "sunny"}
    said = [{"role": "user", "content": "Rome"}, message, result]
    given = {"model": "redraft", "messages": said, "tools": [WEATHER]}
    answer = choice(api.post("/v1/chat/completions", json=given))
    assert answer["message"]["content"] == "You said: sunny"
    assert answer["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "arguments",
    ["[" * 5000, '{"a":' * 500 + "1" + "}" * 500, r'{"a": "\ud800"}', '{"a": NaN}', "{"],
)
def test_arguments_that_nothing_could_keep_stay_as_they_were_written(
    api: FlaskClient, here: Context, arguments: str
) -> None:
    called = {"name": "weather", "arguments": arguments}
    call = {"id": "call_1", "type": "function", "function": called}
    said = [
        {"role": "user", "content": "Rome"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    given = {"model": "redraft", "messages": said, "tools": [WEATHER]}
    answer = api.post("/v1/chat/completions", json=given)
    assert choice(answer)["message"]["content"] == "You said: sunny"
    with here.database.reading() as session:
        turn = session.get_one(Turn, answer.json["redraft"]["turn_id"])
    (kept,) = next(message["tool_calls"] for message in turn.messages if "tool_calls" in message)
    assert kept["function"]["arguments"] == arguments


def test_a_choice_decides_what_is_called(api: FlaskClient) -> None:
    tools = [WEATHER, CLOCK]
    named = {"type": "function", "function": {"name": "clock"}}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}}
    for wanted, name in (("required", "weather"), (named, "clock"), (allowed, "clock")):
        answer = choice(ask(api, "/say no", tools=tools, tool_choice=wanted))
        assert answer["message"]["tool_calls"][0]["function"]["name"] == name
    answer = choice(ask(api, tools=tools, tool_choice="none"))
    assert answer["message"]["content"] == "You said: Rome"
    assert "tool_calls" not in answer["message"]


def test_a_stream_tells_the_same_calls(api: FlaskClient) -> None:
    for wanted in ("auto", "required"):
        text = ask(api, tools=[WEATHER], tool_choice=wanted, stream=True).text
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        deltas = [c["delta"] for event in events for c in event["choices"]]
        assert "".join(delta.get("content") or "" for delta in deltas) == ""
        (calls,) = [delta["tool_calls"] for delta in deltas if "tool_calls" in delta]
        assert calls[0]["index"] == 0 and calls[0]["function"]["name"] == "weather"
        assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_each_draft_has_calls_of_its_own(api: FlaskClient) -> None:
    choices = ask(api, tools=[WEATHER], n=2).json["choices"]
    ids = {c["message"]["tool_calls"][0]["id"] for c in choices}
    assert len(ids) == 2


def test_the_record_keeps_what_was_offered_and_written(api: FlaskClient, here: Context) -> None:
    ours = ask(api, tools=[WEATHER]).json["redraft"]
    with here.database.reading() as session:
        turn = session.get(Turn, ours["turn_id"])
        completion = session.get(Completion, ours["completion_ids"][0])
    assert turn is not None and completion is not None
    assert turn.preparation is not None and turn.preparation["tools"] == [WEATHER]
    assert completion.text.startswith("<tool_call>") and completion.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"tools": [WEATHER, WEATHER]}, "twice"),
        ({"tools": [WEATHER] * 129}, "at most 128"),
        ({"tools": [tool("not a name")]}, "tools.0.function.name"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "x"),
        ({"tools": [WEATHER], "redraft": {"reasoning": "always"}}, "redraft.reasoning"),
        (
            {"tools": [tool("f", {"properties": 3})], "tool_choice": "required"},
            "cannot be enforced",
        ),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "call-1"}]}, "call-1"),
    ],
)
def test_bad_tools_are_refused(api: FlaskClient, body: dict[str, Any], words: str) -> None:
    answer = ask(api, **body)
    assert answer.status_code == 400
    assert words in answer.json["error"]["message"]


HERMES = '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>'
OFFER = Tools((WEATHER, CLOCK))


def read(text: str, tools: Tools = OFFER, size: int = 1) -> tuple[str, list[str]]:
    reader = CallReader(tools)
    shown = "".join(reader.push(text[at : at + size]) for at in range(0, len(text), size))
    rest, calls = reader.finish()
    return shown + rest, [call.name for call in calls]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "said", "called"),
    [
        ("It rains.", "It rains.", []),
        (f"I look. {HERMES}", "I look. ", ["weather"]),
        (HERMES + "\n" + HERMES.replace("weather", "clock"), "", ["weather", "clock"]),
        ('{"name": "clock", "parameters": {}}', "", ["clock"]),
        ('{"name": "other", "parameters": {}}', '{"name": "other", "parameters": {}}', []),
        ('{"a": 1', '{"a": 1', []),
        ("a <tool_call>no json</tool_call>", "a <tool_call>no json</tool_call>", []),
        ("", "", []),
    ],
)
def test_calls_are_read_however_the_text_is_split(
    text: str, said: str, called: list[str], size: int
) -> None:
    assert read(text, size=size) == (said, called)


def test_one_call_where_parallel_ones_are_not_wanted() -> None:
    assert read(HERMES * 2, Tools((WEATHER,), parallel=False))[1] == ["weather"]


@given(st.text(), st.integers(1, 5))
def test_text_without_a_call_is_never_lost(text: str, size: int) -> None:
    assert read(text, size=size) == (text, [])


def test_references_hold_where_the_schemas_stand() -> None:
    for wanted in (Tools((WEATHER,), True), Tools((WEATHER, CLOCK), True)):
        call = json.loads(instance(wanted.schema(), "Paris"))
        assert call == {"name": "weather", "arguments": {"city": "Paris"}}


def test_a_schema_without_a_small_value_is_named() -> None:
    with pytest.raises(Unsupported, match="part of it"):
        instance('{"$ref": "https://example.org/schema"}', "x")


def test_a_choice_without_a_name_is_refused(api: FlaskClient) -> None:
    weather = {"type": "function", "function": {"name": "weather"}}
    choice = {"type": "function", "function": {"name": ""}}
    answer = ask(api, tools=[weather], tool_choice=choice)
    assert answer.status_code == 400 and answer.json["error"]["param"] == "tool_choice"
