"""Tools and formats in the Responses API."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from openai import OpenAI
from pydantic import BaseModel
from responses_api import MODEL, WEATHER, ask, sent, stream, text_of, whole

from serve.api.context import Context

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
