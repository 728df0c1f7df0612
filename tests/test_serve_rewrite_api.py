"""Rewriting in the turn and over HTTP: used, recorded, switched off, and never in the way."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from feedback.database import open_database
from feedback.migrate import migrate
from feedback.tables import Turn
from serve.api import create_app
from serve.api.context import Context, open_context
from serve.settings import Settings, load_settings

STANDALONE = "How long is the Velmar lamp covered by warranty?"
HISTORY = [
    {"role": "user", "content": "Tell me about the Velmar lamp."},
    {"role": "assistant", "content": "It is a desk lamp of brushed copper."},
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = load_settings(home=tmp_path_factory.mktemp("home"), engine="echo")
    database = open_database(settings.database_url)
    migrate(database)
    database.close()
    return settings


@pytest.fixture
def opened(home: Settings) -> Iterator[Callable[..., Context]]:
    contexts: list[Context] = []

    def make(**changed: Any) -> Context:
        contexts.append(open_context(home.model_copy(update=changed)))
        return contexts[-1]

    yield make
    for context in contexts:
        context.database.close()


def script(here: Context, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Let the rewriter's engine answer so: its prompt becomes a script of engine echo."""
    monkeypatch.setattr(
        "serve.turn.rewriting.rewriter.rewriting_messages",
        lambda *_: [{"role": "user", "content": f"/say {answer} #### it is the lamp"}],
    )


def ask(api: FlaskClient, text: str) -> dict[str, Any]:
    messages = [*HISTORY, {"role": "user", "content": text}]
    body = {"model": "redraft", "messages": messages}
    answer = api.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json  # type: ignore[no-any-return]


def recorded(here: Context, turn_id: str) -> Turn:
    with here.database.reading() as session:
        turn = session.get(Turn, turn_id)
    assert turn is not None
    return turn


def test_a_follow_up_is_answered_as_a_standalone_question(
    opened: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = opened(rewrite="on")
    script(here, monkeypatch, STANDALONE)
    body = ask(create_app(here).test_client(), "How long is it covered?")
    assert body["redraft"]["query"] == "How long is it covered?"
    assert body["redraft"]["rewritten_query"] == STANDALONE
    assert body["choices"][0]["message"]["content"] == f"You said: {STANDALONE}"
    turn = recorded(here, body["redraft"]["turn_id"])
    assert (turn.query, turn.rewritten_query) == ("How long is it covered?", STANDALONE)
    assert turn.messages == [*HISTORY, {"role": "user", "content": STANDALONE}]
    assert turn.preparation is not None
    assert turn.preparation["rewrite"]["changed"]
    assert turn.preparation["rewrite"]["history"] is None  # it is in the messages
    assert turn.preparation["window"] == {"turns": 2, "dropped": 0}


def test_the_rewritten_question_may_stand_alone(
    opened: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = opened(rewrite="on", rewrite_context="alone")
    script(here, monkeypatch, STANDALONE)
    body = ask(create_app(here).test_client(), "How long is it covered?")
    turn = recorded(here, body["redraft"]["turn_id"])
    assert turn.messages == [{"role": "user", "content": STANDALONE}]
    assert turn.preparation is not None
    assert turn.preparation["rewrite"]["history"] == HISTORY


def test_garbage_leaves_the_users_words_and_says_why(
    opened: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = opened(rewrite="on")
    script(here, monkeypatch, "Sure! It is covered for 99 years.")
    body = ask(create_app(here).test_client(), "How long is it covered?")
    assert body["redraft"]["rewritten_query"] == "How long is it covered?"
    turn = recorded(here, body["redraft"]["turn_id"])
    assert turn.preparation is not None and turn.preparation["rewrite"]["fallback"]


@pytest.mark.parametrize("mode", ["off", "auto"])
def test_without_a_rewriter_questions_stay(
    opened: Callable[..., Context], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    here = opened(rewrite=mode, model="no-adapter-fits-this")
    script(here, monkeypatch, STANDALONE)
    body = ask(create_app(here).test_client(), "How long is it covered?")
    assert body["redraft"]["rewritten_query"] == "How long is it covered?"


def test_another_users_conversation_is_refused_before_any_work(
    opened: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = opened(rewrite="on")
    monkeypatch.setattr(here.chat.rewriter, "rewrite", lambda *_: pytest.fail("it was rewritten"))
    messages = [*HISTORY, {"role": "user", "content": "And it?"}]
    unknown = {"conversation_id": "conv_none"}
    body = {"model": "redraft", "messages": messages, "redraft": unknown}
    answer = create_app(here).test_client().post("/v1/chat/completions", json=body)
    assert answer.status_code == 404


def test_the_rewrite_endpoint(
    opened: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = opened(rewrite="off")  # asked for by name, it works all the same
    script(here, monkeypatch, STANDALONE)
    api = create_app(here).test_client()
    messages = [*HISTORY, {"role": "user", "content": "How long is it covered?"}]
    found = api.post("/v1/rewrite", json={"messages": messages, "reason": True}).json
    assert found["query"] == "How long is it covered?"  # type: ignore[index]
    assert found["rewritten_query"] == STANDALONE and found["changed"]  # type: ignore[index]
    assert found["reason"] == "it is the lamp"  # type: ignore[index]
    alone = api.post("/v1/rewrite", json={"messages": messages[-1:]}).json
    assert not alone["changed"]  # type: ignore[index]
    for wrong in ({}, {"messages": []}, {"messages": HISTORY}, {"messages": messages, "x": 1}):
        assert api.post("/v1/rewrite", json=wrong).status_code == 400
