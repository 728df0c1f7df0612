"""Tools in words, for chat templates that know none."""

import json
from pathlib import Path
from typing import Any

import pytest
from api_context import open_here

from serve.api import create_app
from serve.engines.base import Unsupported
from serve.engines.tokenizer import ChatTokenizer
from serve.engines.tool_words import TOLD, in_words
from serve.settings import load_settings
from serve.turn.tools import CallReader, Tools

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
ASK: dict[str, Any] = {"role": "user", "content": "Rome?"}


def call(city: str) -> dict[str, Any]:
    return {"function": {"name": "get_weather", "arguments": {"city": city}}}


def result(text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "c", "content": text}


def test_the_tools_are_in_the_one_system_message() -> None:
    told, asked = in_words([ASK], [WEATHER])
    assert told["role"] == "system" and asked == ASK
    assert told["content"].startswith(TOLD)
    assert json.loads(told["content"].removeprefix(TOLD)) == WEATHER["function"]
    system = {"role": "system", "content": "Be kind."}
    joined = in_words([system, ASK], [WEATHER])
    assert len(joined) == 2 and joined[0]["content"] == f"Be kind.\n\n{told['content']}"


def test_calls_and_results_are_text_in_turn() -> None:
    calls = {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [call("Rome"), call("Oslo")],
    }
    plain = in_words([ASK, calls, result("18"), result("3"), ASK], [])
    assert [m["role"] for m in plain] == ["user", "assistant", "user", "user"]
    assert all(m.keys() == {"role", "content"} for m in plain)
    assert plain[2]["content"].index("18") < plain[2]["content"].index("3\n")
    # What it says of a call is what is read as one.
    reader = CallReader(Tools((WEATHER,)))
    shown = reader.push(plain[1]["content"])
    rest, read = reader.finish()
    assert shown + rest == "Let me see.\n"
    assert [json.loads(one.arguments) for one in read] == [{"city": "Rome"}, {"city": "Oslo"}]


def test_a_template_that_knows_tools_is_left_to_it(tiny_model: Path) -> None:
    tokenizer = ChatTokenizer("m", str(tiny_model))
    tokenizer.hf.chat_template = "{{ tools | tojson }}{{ messages[0]['content'] }}"
    tokenizer.knows_tools = True
    assert tokenizer.decode(tokenizer.encode_chat([ASK], [WEATHER])).startswith("[{")


def test_a_template_without_system_messages_says_so(tiny_model: Path) -> None:
    tokenizer = ChatTokenizer("m", str(tiny_model))
    tokenizer.hf.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('No system.') }}"
        "{% endif %}{{ m['content'] }}{% endfor %}"
    )
    with pytest.raises(Unsupported, match=r"No system\..*Leave `tools` out"):
        tokenizer.encode_chat([ASK], [WEATHER])
    assert "12:00" in tokenizer.decode(tokenizer.encode_chat([ASK, result("12:00")]))


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_a_demanded_call_fits_on_any_model(tmp_path: Path, tiny_model: Path, choice: Any) -> None:
    given = {"engine": "transformers", "model": str(tiny_model), "rewrite": "off"}
    with open_here(load_settings(home=tmp_path, **given)) as here:
        body = {"messages": [ASK], "tools": [WEATHER], "tool_choice": choice, "max_tokens": 80}
        answer = (
            create_app(here)
            .test_client()
            .post("/v1/chat/completions", json={"model": "redraft", **body})
        )
        here.chat.engine.close()
    assert answer.status_code == 200, answer.text
    [choice] = answer.json["choices"]  # type: ignore[index]
    [made] = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls" and made["function"]["name"] == "get_weather"
    assert json.loads(made["function"]["arguments"])["city"] in ("Rome", "Oslo")
