"""Every parameter that the installed openai client knows is honoured, taken or refused by name."""

from typing import Any, get_type_hints

import pytest
from flask.testing import FlaskClient
from openai.types import completion_create_params as text_params
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params as response_params

from serve.api.parameters import CHAT_REFUSED, COMPLETION_REFUSED, RESPONSE_REFUSED, Labels
from serve.api.responses.request import ResponseRequest
from serve.api.schemas import ChatRequest, CompletionRequest

CHAT, TEXT, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
ASK = {"model": "smollm2-135m", "messages": [{"role": "user", "content": "hi"}]}
ASKED = {
    CHAT: ASK,
    TEXT: {"model": "smollm2-135m", "prompt": "hi"},
    RESPONSES: {"model": "smollm2-135m", "input": "hi"},
}
LABELS = set(Labels.model_fields)
TAKEN = {CHAT: LABELS, TEXT: {"user"}, RESPONSES: LABELS - {"metadata", "store"}}
HONOURED = {
    CHAT: set(ChatRequest.model_fields) - LABELS,
    TEXT: set(CompletionRequest.model_fields) - LABELS,
    RESPONSES: set(ResponseRequest.model_fields) - TAKEN[RESPONSES],
}
REFUSED = {CHAT: CHAT_REFUSED, TEXT: COMPLETION_REFUSED, RESPONSES: RESPONSE_REFUSED}
OPENAIS = {
    CHAT: set(get_type_hints(chat_params.CompletionCreateParamsStreaming)),
    TEXT: set(get_type_hints(text_params.CompletionCreateParamsStreaming)),
    RESPONSES: set(get_type_hints(response_params.ResponseCreateParamsStreaming)),
}
VALUES: dict[str, Any] = {  # one that asks for something
    "access_programs": {"cyber": "standard"},
    "background_options": {"completion_window": "8h"},
    "context_management": [{"type": "compaction"}],
    "conversation": "conv_1",
    "image": {"context_compression": "enabled"},
    "prompt": {"id": "pmpt_1"},
    "audio": {"format": "wav", "voice": "alloy"},
    "function_call": "auto",
    "functions": [{"name": "f"}],
    "logit_bias": {"5": 1},
    "modalities": ["text", "audio"],
    "moderation": {"model": "omni-moderation-latest"},
    "prediction": {"type": "content", "content": "hi"},
    "reasoning_effort": "low",
    "suffix": "x",
    "verbosity": "low",
    "web_search_options": {},
    "metadata": {"a": "b"},
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "service_tier": "flex",
    "store": True,
    "user": "u",
}


def post(api: FlaskClient, path: str, **body: Any) -> Any:
    return api.post(path, json={**ASKED[path], **body})


def each(lists: dict[str, Any]) -> list[tuple[str, str]]:
    return [(path, name) for path in ASKED for name in sorted(lists[path])]


@pytest.mark.parametrize(("path", "name"), each(OPENAIS))
def test_each_parameter_is_in_one_list(path: str, name: str) -> None:
    lists = [HONOURED[path], TAKEN[path], set(REFUSED[path])]
    assert sum(name in listed for listed in lists) == 1


@pytest.mark.parametrize(("path", "name"), each(REFUSED))
def test_a_refused_parameter_says_so_by_name(api: FlaskClient, path: str, name: str) -> None:
    answer = post(api, path, **{name: VALUES[name]})
    assert answer.status_code == 400
    error = answer.json["error"]
    assert (error["param"], error["code"]) == (name, "unsupported_parameter")
    assert error["type"] == "invalid_request_error" and repr(name) in error["message"]


@pytest.mark.parametrize(("path", "name"), each(REFUSED))
def test_a_refused_parameter_that_asks_for_nothing_passes(
    api: FlaskClient, path: str, name: str
) -> None:
    for value in (None, *REFUSED[path][name].idle):
        assert post(api, path, **{name: value}).status_code == 200, value


@pytest.mark.parametrize("name", sorted(LABELS))
def test_a_label_changes_nothing(api: FlaskClient, name: str) -> None:
    for value in (VALUES[name], None):
        body = post(api, CHAT, **{name: value}).json
        assert body["choices"][0]["message"]["content"] == "You said: hi"


def test_the_service_tier_that_served_is_named(api: FlaskClient) -> None:
    assert post(api, CHAT, service_tier="flex").json["service_tier"] == "default"
    assert "service_tier" not in post(api, CHAT).json


@pytest.mark.parametrize("path", [CHAT, TEXT, RESPONSES])
def test_an_unknown_parameter_is_a_400(api: FlaskClient, path: str) -> None:
    error = post(api, path, top_k=5).json["error"]
    assert (error["param"], error["code"]) == ("top_k", "unknown_parameter")


@pytest.mark.parametrize(("path", "body"), ASKED.items())
def test_a_model_is_named(api: FlaskClient, path: str, body: dict[str, Any]) -> None:
    nameless = {name: value for name, value in body.items() if name != "model"}
    for code, given in (
        ("missing_required_parameter", nameless),
        ("invalid_value", {**nameless, "model": None}),
        ("invalid_value", {**nameless, "model": ""}),
    ):
        answer = api.post(path, json=given)
        error = answer.json["error"]  # type: ignore[index]
        assert (answer.status_code, error["param"], error["code"]) == (400, "model", code)
    assert "/v1/models" in api.post(path, json=nameless).json["error"]["message"]  # type: ignore[index]
    for name in ("redraft", "base"):
        assert api.post(path, json={**nameless, "model": name}).status_code == 200


@pytest.mark.parametrize(("path", "name"), each(HONOURED))
def test_null_is_as_if_left_out(api: FlaskClient, path: str, name: str) -> None:
    if name not in ("messages", "prompt", "model", "input"):
        assert post(api, path, **{name: None}).status_code == 200


def test_an_answer_may_come_back_as_it_was_dumped(api: FlaskClient) -> None:
    from openai.types.chat import ChatCompletion

    first = ChatCompletion.model_validate(post(api, CHAT).json).choices[0].message.model_dump()
    messages = [*ASK["messages"], first, {"role": "user", "content": "more"}]
    assert post(api, CHAT, messages=messages).json["choices"][0]["message"]["content"]


def test_parts_that_are_not_text_are_refused(api: FlaskClient) -> None:
    parts = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    error = post(api, CHAT, messages=[{"role": "user", "content": parts}]).json["error"]
    assert error["param"] == "messages.0.content" and "no images" in error["message"]
