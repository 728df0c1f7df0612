"""Clients that take openai 3, over both APIs: OpenAI's agents SDK and `llm`."""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from checks import ENGINE, MODEL, SAID, URL, check_said, run
from openai import AsyncOpenAI

OVER = {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}
set_tracing_disabled(True)
asked_of: list[str] = []


@function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    asked_of.append(city)
    return "18 degrees"


def over(api: str, **given: Any) -> Agent:
    """An agent of our model, over an API."""
    client = AsyncOpenAI(base_url=f"{URL}/v1", api_key="x", timeout=300)
    given = {"model_settings": ModelSettings(max_tokens=64), **given}
    return Agent(name="tester", model=OVER[api](model=MODEL, openai_client=client), **given)


def answers(api: str) -> None:
    done = asyncio.run(Runner.run(over(api), SAID))
    check_said(done.final_output)


def streams(api: str) -> None:
    async def read() -> str:
        streamed = Runner.run_streamed(over(api), SAID)
        async for _ in streamed.stream_events():
            pass
        return str(streamed.final_output)

    check_said(asyncio.run(read()))


def calls_a_tool(api: str) -> None:
    asked_of.clear()
    settings = ModelSettings(tool_choice="required", max_tokens=256)
    agent = over(api, tools=[get_weather], model_settings=settings)
    done = asyncio.run(Runner.run(agent, "Rome?", max_turns=4))
    assert len(asked_of) == 1 and done.final_output
    assert ENGINE != "echo" or "18 degrees" in done.final_output


def llm(*options: str) -> str:
    """The command `llm` with a model of ours."""
    with tempfile.TemporaryDirectory() as folder:
        listed = f"- model_id: ours\n  model_name: {MODEL}\n  api_base: {URL}/v1\n"
        (Path(folder) / "extra-openai-models.yaml").write_text(listed)
        told = {**os.environ, "LLM_USER_PATH": folder, "OPENAI_API_KEY": "x"}
        command = [str(Path(sys.executable).parent / "llm"), "-m", "ours", *options, SAID]
        done = subprocess.run(command, env=told, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


run(
    {
        **{f"agents_answer_over_{api}": lambda api=api: answers(api) for api in OVER},
        **{f"agents_stream_over_{api}": lambda api=api: streams(api) for api in OVER},
        **{f"agents_call_over_{api}": lambda api=api: calls_a_tool(api) for api in OVER},
        "llm_streams": lambda: check_said(llm()),
        "llm_answers_whole": lambda: check_said(llm("--no-stream")),
    }
)
