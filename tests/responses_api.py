"""Asking the Responses API and reading its answers, each held to openai's own types."""

import json
from typing import Any

from flask.testing import FlaskClient
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from feedback import users
from feedback.tables import Turn
from serve.api.context import Context

MODEL = "smollm2-135m"
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
REQUIRED = (
    "id object created_at completed_at status incomplete_details model previous_response_id "
    "instructions output error tools tool_choice truncation parallel_tool_calls text top_p "
    "presence_penalty frequency_penalty top_logprobs temperature reasoning usage "
    "max_output_tokens max_tool_calls store background service_tier metadata safety_identifier "
    "prompt_cache_key"
).split()
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
