"""Legacy completions: OpenAI's shapes, what evaluation harnesses ask for, and nothing recorded."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from api_context import open_here
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from feedback.tables import Conversation
from serve.api import create_app
from serve.api.context import Context
from serve.api.texts import Prompt, Texts, in_turns
from serve.engines.base import Engine, Sampling
from serve.settings import load_settings

SAID = "You said: "  # how engine echo answers
ASK = {"model": "smollm2-135m"}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    settings = load_settings(home=tmp_path_factory.mktemp("home"), engine="echo", max_drafts=4)
    with open_here(settings) as context:
        yield context


@pytest.fixture
def client(here: Context) -> Iterator[openai.OpenAI]:
    transport = httpx.WSGITransport(app=create_app(here))
    with httpx.Client(transport=transport) as http:
        yield openai.OpenAI(base_url="http://redraft/v1", api_key="any", http_client=http)


def ask(api: FlaskClient, prompt: Any, **body: Any) -> dict[str, Any]:
    answer = api.post("/v1/completions", json={**ASK, "prompt": prompt, "max_tokens": 100, **body})
    assert answer.status_code == 200, answer.text
    return answer.json  # type: ignore[no-any-return]


def refused(answer: TestResponse, param: str, *words: str) -> dict[str, Any]:
    assert answer.status_code == 400, answer.text
    error: dict[str, Any] = answer.json["error"]  # type: ignore[index]
    assert error["param"] == param
    for word in words:
        assert word in error["message"]
    return error


def ids(text: str) -> list[int]:
    return [byte + 256 for byte in text.encode()]


def test_the_openai_client_gets_its_shapes_whole_and_streamed(client: openai.OpenAI) -> None:
    given: dict[str, Any] = {"model": "smollm2-135m", "prompt": "hi", "max_tokens": 50, "seed": 1}
    whole = client.completions.create(**given, logprobs=2, n=2)
    assert whole.object == "text_completion" and whole.model == "smollm2-135m"
    assert [c.text for c in whole.choices] == [f"{SAID}hi", f"{SAID}hi (draft 1)"]
    assert {c.finish_reason for c in whole.choices} == {"stop"}
    logprobs = whole.choices[0].logprobs
    assert logprobs and "".join(logprobs.tokens or []) == f"{SAID}hi"
    assert all(len(top) == 2 for top in logprobs.top_logprobs or [])
    options: Any = {"include_usage": True}
    chunks = list(client.completions.create(**given, stream=True, stream_options=options))
    assert "".join(c.choices[0].text for c in chunks if c.choices) == f"{SAID}hi"
    assert [c.finish_reason for chunk in chunks for c in chunk.choices][-1] == "stop"
    assert chunks[-1].usage and chunks[-1].usage.completion_tokens == len(f"{SAID}hi")
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_refusals_are_the_openai_clients_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="do not fill in the middle") as refusal:
        client.completions.create(model="smollm2-135m", prompt="a", suffix="b")
    assert refusal.value.param == "suffix"


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        (ids("ab"), ["ab"]),
        ([ids("a"), ids("é")], ["a", "é"]),
        ("12 apples", ["12 apples"]),
        ("null", ["null"]),
    ],
)
def test_prompts_of_every_kind(api: FlaskClient, prompt: Any, texts: list[str]) -> None:
    body = ask(api, prompt, n=2)
    expected = [f"{SAID}{text}{draft}" for text in texts for draft in ("", " (draft 1)")]
    assert [c["text"] for c in body["choices"]] == expected
    assert [c["index"] for c in body["choices"]] == list(range(len(expected)))
    assert body["usage"]["prompt_tokens"] == len("".join(texts).encode())
    assert body["usage"]["completion_tokens"] == len("".join(expected).encode())


def test_more_prompts_than_are_written_together(api: FlaskClient) -> None:
    prompts = [f"prompt {i}" for i in range(40)]
    assert [c["text"] for c in ask(api, prompts)["choices"]] == [f"{SAID}{p}" for p in prompts]


def test_answers_in_turns_are_few_at_a_time_and_closed() -> None:
    open_now: set[int] = set()

    def answer(name: int) -> Iterator[int]:
        open_now.add(name)
        try:
            yield from [name] * 3
        finally:
            open_now.discard(name)

    turns = in_turns((answer(i) for i in range(5)), 2)  # type: ignore[misc]
    assert [next(turns) for _ in range(4)] == [0, 1, 0, 1]
    assert open_now == {0, 1}
    turns.close()
    assert not open_now


def test_sixteen_tokens_unless_more_are_asked_for(api: FlaskClient) -> None:
    body = api.post("/v1/completions", json={**ASK, "prompt": "/count 50"}).json
    assert body["usage"]["completion_tokens"] == 16  # type: ignore[index]
    assert body["choices"][0]["finish_reason"] == "length"  # type: ignore[index]


def test_stop_seed_and_penalties_are_taken(api: FlaskClient) -> None:
    body = ask(api, "/say one two three", stop=" three", seed=1, presence_penalty=0.5, top_p=0.5)
    assert body["choices"][0]["text"] == "one two"


def test_an_echoed_prompt_has_the_engines_scores(api: FlaskClient, here: Context) -> None:
    choice = ask(api, "a né", echo=True, logprobs=3, max_tokens=0)["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("a né", "length")
    found = choice["logprobs"]
    given = ids("a né")
    scores = here.chat.engine.score(given[:1], given[1:])
    assert found["token_logprobs"] == [None, *scores]
    assert found["text_offset"] == [0, 1, 2, 3, 3]  # é is two tokens of one character
    assert found["top_logprobs"][0] is None
    assert all(len(top) == 3 for top in found["top_logprobs"][1:3])


def test_echo_goes_before_the_answer_in_text_and_logprobs(api: FlaskClient) -> None:
    choice = ask(api, "hey", echo=True, logprobs=0, n=2)["choices"][1]
    assert choice["text"] == f"hey{SAID}hey (draft 1)"
    found = choice["logprobs"]
    assert {len(values) for values in found.values()} == {len(choice["text"])}
    assert found["text_offset"] == list(range(len(choice["text"])))
    assert [list(top) for top in found["top_logprobs"][1:]] == [[t] for t in found["tokens"][1:]]


def test_the_loglikelihood_of_an_evaluation_harness(api: FlaskClient) -> None:
    # lm-eval's local-completions: context and continuation as ids, all but the drawn token read.
    prompts = [ids("What is it? A lamp"), ids("No? A cat")]
    payload = {"temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True}
    choices = ask(api, prompts, model="smollm2-135m", **payload)["choices"]
    for choice, prompt, context in zip(choices, prompts, (11, 3), strict=True):
        logprobs = choice["logprobs"]["token_logprobs"][context:-1]
        tops = choice["logprobs"]["top_logprobs"][context:-1]
        assert len(logprobs) == len(tops) == len(prompt) - context
        assert all(
            value == max(top.values()) for value, top in zip(logprobs, tops, strict=True)
        )  # the echo engine's are greedy


class _Scoring:
    """An engine that scores a text and does not rank."""

    def __init__(self, engine: Engine) -> None:
        self.score, self.decode = engine.score, engine.decode


def test_an_engine_that_does_not_rank_says_null(here: Context) -> None:
    engine: Any = _Scoring(here.chat.engine)
    texts = Texts(engine, [Prompt("abc", ids("abc"))], Sampling(max_tokens=0), True, 2)
    found = next(c["logprobs"] for c in texts.write(here.serving, None) if c["logprobs"])
    assert found["top_logprobs"] == [None] * 3
    assert all(value < 0 for value in found["token_logprobs"][1:])


def test_a_stream_says_what_the_whole_answer_says(api: FlaskClient) -> None:
    body = {"n": 2, "echo": True, "logprobs": 2, "seed": 5, "max_tokens": 30}
    whole = ask(api, ["one", "two"], **body)["choices"]
    asked = {**ASK, "prompt": ["one", "two"], "stream": True, **body}
    answer = api.post("/v1/completions", json=asked)
    lines = [line[6:] for line in answer.text.splitlines() if line]
    assert lines.pop() == "[DONE]"
    for expected in whole:
        index = expected["index"]
        pieces = [c for line in lines for c in json.loads(line)["choices"] if c["index"] == index]
        assert "".join(p["text"] for p in pieces) == expected["text"]
        for key, values in expected["logprobs"].items():
            told = [v for p in pieces for v in (p["logprobs"] or {}).get(key, [])]
            assert told == values
        assert [p["finish_reason"] for p in pieces if p["finish_reason"]] == ["stop"]


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"best_of": 3}, "best_of", "all n texts"),
        ({"logit_bias": {"5": 1}}, "logit_bias", "not supported"),
        ({"suffix": "x"}, "suffix", "not supported"),
        ({"logprobs": 6}, "logprobs", "less than or equal to 5"),
        ({"logprobs": True}, "logprobs", "integer"),
        ({"max_tokens": -1}, "max_tokens", "greater"),
        ({"n": 5}, "n", "at most 4"),
        ({"stop": ["x"] * 17}, "stop", "at most 16"),
        ({"stop": 7}, "stop", "a string or a list of strings"),
        ({"prompt": ""}, "prompt", "empty"),
        ({"prompt": []}, "prompt", "empty"),
        ({"prompt": ["a", ""]}, "prompt", "empty"),
        ({"prompt": None}, "prompt", "a list of token ids"),
        ({"prompt": {"a": 1}}, "prompt", "a list of token ids"),
        ({"prompt": ["a"] * 2049}, "prompt", "2049 texts; at most 2048"),
        ({"prompt": ["a"] * 513, "n": 4}, "prompt", "2052 texts; at most 2048"),
        ({"prompt": [1.5]}, "prompt", "a list of token ids"),
        ({"prompt": ["a", 1]}, "prompt", "a list of token ids"),
        ({"prompt": [512]}, "prompt", "512"),
        ({"prompt": [[-1]]}, "prompt", "-1"),
        ({"messages": []}, "messages", "no parameter"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "needs stream"),
    ],
)
def test_bad_parameters_are_refused_by_name(
    api: FlaskClient, body: dict[str, Any], param: str, words: str
) -> None:
    refused(api.post("/v1/completions", json={**ASK, "prompt": "x", **body}), param, words)


def test_defaults_may_be_written_out(api: FlaskClient) -> None:
    idle = {"suffix": None, "logit_bias": {}, "best_of": 1, "user": "u", "max_tokens": None}
    assert ask(api, "x", **idle)["choices"][0]["text"] == f"{SAID}x"


def test_a_prompt_longer_than_the_window_names_both_counts(api: FlaskClient) -> None:
    answer = api.post("/v1/completions", json={**ASK, "prompt": "x" * 8190})
    error = refused(answer, "prompt", "8190 tokens", "max_tokens is 16", "8192")
    assert error["code"] == "context_length_exceeded"
    assert len(ask(api, "x" * 8190, max_tokens=2)["choices"][0]["text"]) == 2


def test_an_engine_that_breaks_is_an_error_whole_and_streamed(api: FlaskClient) -> None:
    assert api.post("/v1/completions", json={**ASK, "prompt": "/fail x"}).status_code == 500
    answer = api.post("/v1/completions", json={**ASK, "prompt": "/fail x", "stream": True})
    *_, error, done = filter(None, answer.text.split("\n\n"))
    assert "told to fail" in json.loads(error[6:])["error"]["message"]
    assert done == "data: [DONE]"


def test_the_adapter_answers_and_is_named(
    api: FlaskClient, here: Context, tiny_adapter: Path
) -> None:
    plain = api.post("/v1/completions", json={**ASK, "prompt": "x"})
    assert plain.headers["x-redraft-adapter"] == "base"
    here.chat.engine.load_adapter("a-0001-aaaaaa", tiny_adapter)
    try:
        given = {"prompt": "x", "model": "a-0001-aaaaaa", "max_tokens": 50}
        answer = api.post("/v1/completions", json=given)
    finally:
        here.chat.engine.unload_adapter("a-0001-aaaaaa")
    assert answer.headers["x-redraft-adapter"] == "a-0001-aaaaaa"
    assert answer.json["choices"][0]["text"] == f"[a-0001-aaaaaa] {SAID}x"  # type: ignore[index]
    assert api.post("/v1/completions", json={"prompt": "x", "model": "gpt"}).status_code == 404


def test_nothing_is_recorded(api: FlaskClient, here: Context) -> None:
    def conversations() -> int:
        with here.database.reading() as session:
            return session.scalar(select(func.count()).select_from(Conversation)) or 0

    before = conversations()
    ask(api, "a secret")
    assert conversations() == before
