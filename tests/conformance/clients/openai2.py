"""Clients that take openai 2, over both APIs: LiteLLM's SDK and instructor."""

import json
from collections.abc import Callable

import instructor
import litellm
import openai
from checks import MODEL, SAID as WORDS, URL, check_said, run
from pydantic import BaseModel

TO = {"model": f"openai/{MODEL}", "api_base": f"{URL}/v1", "api_key": "x", "timeout": 300}
SAID = [{"role": "user", "content": WORDS}]
WEATHER = {
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
TOOL = {"type": "function", "function": WEATHER}


class Person(BaseModel):
    name: str
    age: int


def litellm_answers() -> None:
    answer = litellm.completion(messages=SAID, n=2, max_tokens=16, **TO)
    assert len(answer.choices) == 2 and answer.usage.completion_tokens > 0
    check_said(answer.choices[0].message.content)


def litellm_streams() -> None:
    asked = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 16}
    parts = list(litellm.completion(messages=SAID, **asked, **TO))
    check_said("".join(p.choices[0].delta.content or "" for p in parts if p.choices))
    assert any(getattr(part, "usage", None) for part in parts)


def litellm_calls_a_tool() -> None:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    answer = litellm.completion(messages=SAID, tools=[TOOL], tool_choice=choice, **TO)
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather" and "city" in json.loads(call.function.arguments)


def litellm_is_held_to_a_schema() -> None:
    answer = litellm.completion(messages=SAID, response_format=Person, **TO)
    Person.model_validate_json(answer.choices[0].message.content)


def litellm_tells_errors_by_kind() -> None:
    for broken, kind in (
        ({"temperature": 9}, litellm.BadRequestError),
        ({"model": "openai/none"}, litellm.NotFoundError),
    ):
        try:
            litellm.completion(messages=SAID, **{**TO, **broken})
        except kind:
            continue
        raise AssertionError(f"{broken} passed")


def litellm_asks_for_responses() -> None:
    first = litellm.responses(input=WORDS, max_output_tokens=16, **TO)
    check_said(first.output[0].content[0].text)
    again = litellm.responses(
        input="/say three", previous_response_id=first.id, max_output_tokens=16, **TO
    )
    assert again.id != first.id and again.status in ("completed", "incomplete")


def litellm_streams_responses() -> None:
    kinds = [event.type for event in litellm.responses(input=WORDS, stream=True, **TO)]
    assert kinds[0] == "response.created"
    assert kinds[-1] in ("response.completed", "response.incomplete")


def litellm_continues_text() -> None:
    given = {**TO, "model": f"text-completion-openai/{MODEL}"}
    assert litellm.text_completion(prompt="hello", max_tokens=16, **given).choices[0].text


def instructor_by(mode: instructor.Mode) -> Callable[[], None]:
    def parse() -> None:
        client = openai.OpenAI(base_url=f"{URL}/v1", api_key="x", timeout=300)
        asked = {"messages": [{"role": "user", "content": "Invent a person."}], "max_retries": 0}
        patched = instructor.from_openai(client, mode=mode)
        found = patched.chat.completions.create(model=MODEL, response_model=Person, **asked)
        assert isinstance(found, Person)

    return parse


def instructor_streams_what_is_there() -> None:
    client = openai.OpenAI(base_url=f"{URL}/v1", api_key="x", timeout=300)
    patched = instructor.from_openai(client, mode=instructor.Mode.JSON_SCHEMA)
    asked = {"messages": [{"role": "user", "content": "Invent a person."}]}
    *_, last = patched.chat.completions.create_partial(model=MODEL, response_model=Person, **asked)
    Person.model_validate(last.model_dump())


CHECKS: dict[str, Callable[[], None]] = {
    **{name: check for name, check in list(globals().items()) if name.startswith("litellm_")},
    "instructor_by_tools": instructor_by(instructor.Mode.TOOLS),
    "instructor_by_schema": instructor_by(instructor.Mode.JSON_SCHEMA),
    "instructor_over_responses": instructor_by(instructor.Mode.RESPONSES_TOOLS),
    "instructor_streams_what_is_there": instructor_streams_what_is_there,
}
run(CHECKS)
