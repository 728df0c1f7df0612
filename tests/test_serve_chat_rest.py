"""POST /algorithm/ChatRest: its envelope, and a turn like any other behind it."""

from collections.abc import Iterator
from typing import Any

import pytest
from api_context import open_here
from flask.testing import FlaskClient
from sqlalchemy import select

from feedback.tables import Turn
from serve.api.context import Context
from serve.settings import load_settings

PATH = "/algorithm/ChatRest"
HISTORY = [{"query": "Tell me about the Velmar lamp.", "answer": "It is of copper."}]
STANDALONE = "How long is the Velmar lamp covered by warranty?"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    settings = load_settings(home=tmp_path_factory.mktemp("home"), engine="echo", rewrite="on")
    with open_here(settings) as context:
        yield context


def test_the_envelope_is_spelled_as_its_clients_spell_it(api: FlaskClient) -> None:
    answer = api.post(PATH, json={"prompt": "你好", "history": []})
    assert answer.json == {
        "sucess": True,
        "code": "200",
        "msg": "解析成功",
        "data": {"query": "你好", "answer": "You said: 你好"},
    }
    assert answer.headers["x-redraft-adapter"] == "base"


def test_a_question_is_rewritten_and_recorded_like_a_chat(
    api: FlaskClient, here: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "serve.turn.rewriting.rewriter.rewriting_messages",
        lambda *_: [{"role": "user", "content": f"/say {STANDALONE} #### it is the lamp"}],
    )
    query = "How long is it covered by warranty?"
    data = api.post(PATH, json={"prompt": query, "history": HISTORY}).json["data"]  # type: ignore[index]
    assert data == {"query": query, "answer": f"You said: {STANDALONE}"}
    with here.database.reading() as session:
        turn = session.scalars(select(Turn).where(Turn.query == query)).one()
    assert turn.rewritten_query == STANDALONE
    said = [m["content"] for m in turn.messages]
    assert said == [*HISTORY[0].values(), STANDALONE]


def test_the_data_of_an_answer_is_the_next_history(api: FlaskClient, here: Context) -> None:
    first = api.post(PATH, json={"prompt": "What is a lamp?"}).json["data"]  # type: ignore[index]
    api.post(PATH, json={"prompt": "What is a chair?", "history": [first]})
    with here.database.reading() as session:
        turns = session.scalars(select(Turn).where(Turn.query.startswith("What is a"))).all()
    assert len({turn.conversation_id for turn in turns}) == 1 and len(turns) == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"prompt": " "}, "not empty"),
        ({}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "x", "history": [{"query": "y"}]}, "history.0.answer"),
        ({"prompt": "x", "history": [["y", "z"]]}, "history.0"),
        ({"prompt": "x", "top_p": 1}, "top_p"),
        ({"prompt": "x" * 9000}, "8192"),
    ],
)
def test_errors_come_in_the_same_envelope(
    api: FlaskClient, body: dict[str, Any], words: str
) -> None:
    answer = api.post(PATH, json=body)
    assert answer.status_code == 400
    found = answer.json
    assert found and words in found.pop("msg")
    assert found == {"sucess": False, "code": "400", "data": None}


def test_other_statuses_too(api: FlaskClient) -> None:
    for status, answer in (
        (500, api.post(PATH, json={"prompt": "/fail x"})),
        (413, api.post(PATH, data=b" " * 11_000_000)),
        (401, api.post(PATH, json={}, headers={"Authorization": "Bearer rd-wrong"})),
        (405, api.get(PATH)),
    ):
        assert (answer.status_code, answer.json["code"]) == (status, str(status))  # type: ignore[index]
        assert answer.json["sucess"] is False  # type: ignore[index]
    assert "POST" in api.get(PATH).headers["Allow"]
    elsewhere = api.put("/v1/models")
    assert (elsewhere.status_code, elsewhere.json["error"]["type"]) == (
        405,
        "invalid_request_error",
    )  # type: ignore[index]
