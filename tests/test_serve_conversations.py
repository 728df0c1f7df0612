"""Conversations over HTTP: what is deleted comes back to its owner, and goes out as a file."""

import json
from typing import Any

from flask.testing import FlaskClient

from feedback import users
from serve.api.context import Context

CHAT: dict[str, Any] = {"model": "base", "messages": [{"role": "user", "content": "x"}]}


def ask(api: FlaskClient, text: str, **redraft: Any) -> dict[str, Any]:
    body = {**CHAT, "messages": [{"role": "user", "content": text}], "redraft": redraft}
    if drafts := redraft.pop("n", None):
        body["n"] = drafts
    answer = api.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json["redraft"]  # type: ignore[no-any-return,index]


def test_a_deleted_conversation_comes_back_as_it_was(api: FlaskClient, here: Context) -> None:
    path = f"/v1/conversations/{ask(api, 'come back')['conversation_id']}"
    before = api.get(path).json
    assert api.delete(path).status_code == 204
    with here.database.session() as session:
        bob = {"Authorization": f"Bearer {users.new_key(session, 'bob')}"}
    assert api.post(f"{path}/restore", headers=bob).status_code == 404
    assert api.get(path).status_code == 404
    for _ in range(2):  # one that is there stays
        answer = api.post(f"{path}/restore")
        assert (answer.status_code, answer.json) == (200, before)
    listed = api.get("/v1/conversations").json["data"]  # type: ignore[index]
    assert path.rpartition("/")[2] in [found["id"] for found in listed]
    assert api.post("/v1/conversations/conv_none/restore").status_code == 404


def test_a_conversation_goes_out_as_markdown_with_its_verdicts(api: FlaskClient) -> None:
    ours = ask(api, "/say It costs **40** euros.", n=2)
    first, second = ours["completion_ids"]
    for body in (
        {"kind": "rating", "completion_id": first, "value": -1, "tags": ["wrong_fact"]},
        {"kind": "correction", "completion_id": first, "text": "It costs 45 euros."},
        {"kind": "comparison", "turn_id": ours["turn_id"], "shown": [first, second],
         "chosen": second},
    ):  # fmt: skip
        assert api.post("/v1/feedback", json=body).status_code == 201
    path = f"/v1/conversations/{ours['conversation_id']}"
    api.patch(path, json={"title": "灯 <b>prices</b>"})
    answer = api.get(f"{path}/export")
    assert answer.mimetype == "text/markdown"
    disposition = answer.headers["Content-Disposition"]
    assert disposition == f"attachment; filename={ours['conversation_id']}.md"
    lines = [line for line in answer.text.splitlines() if line]
    assert lines[0] == "# 灯 <b>prices</b>"
    assert lines[2:] == [
        "## Question",
        "/say It costs **40** euros.",
        "## Answer (base, 👎 wrong_fact)",
        "It costs **40** euros.",
        "### Corrected to",
        "It costs 45 euros.",
        "## Answer (base, picked)",
        lines[9],
    ]


def test_a_conversation_goes_out_as_json_whole(api: FlaskClient) -> None:
    path = f"/v1/conversations/{ask(api, '问题 <script>')['conversation_id']}"
    answer = api.get(f"{path}/export?format=json")
    assert answer.mimetype == "application/json"
    assert json.loads(answer.text) == api.get(path).json
    refused = api.get(f"{path}/export?format=docx")
    assert refused.status_code == 400
    assert "docx" in refused.json["error"]["message"]  # type: ignore[index]
    assert refused.json["error"]["param"] == "format"  # type: ignore[index]


def test_a_turn_says_what_it_goes_on_from(api: FlaskClient) -> None:
    first = ask(api, "first")
    conversation_id, turn_id = first["conversation_id"], first["turn_id"]
    ask(api, "branch", conversation_id=conversation_id, parent_turn_id=turn_id)
    ask(api, "anew", conversation_id=conversation_id, parent_turn_id="")
    ask(api, "on", conversation_id=conversation_id)
    turns = api.get(f"/v1/conversations/{conversation_id}").json["turns"]  # type: ignore[index]
    assert [turn["parent_turn_id"] for turn in turns] == [None, turn_id, "", None]


def test_a_parent_of_another_conversation_is_refused_and_nothing_recorded(
    api: FlaskClient,
) -> None:
    other = ask(api, "other")["turn_id"]
    here = ask(api, "here")["conversation_id"]
    before = api.get("/v1/conversations?limit=100").json
    for redraft in (
        {"conversation_id": here, "parent_turn_id": other},
        {"conversation_id": here, "parent_turn_id": "turn_none"},
        {"parent_turn_id": other},
        {"conversation_id": here, "parent_turn_id": "\0' OR 1=1 --"},
    ):
        body = {**CHAT, "redraft": redraft}
        answer = api.post("/v1/chat/completions", json=body)
        assert answer.status_code == 404, answer.text
    assert api.get("/v1/conversations?limit=100").json == before


def test_responses_branch_from_the_one_that_they_name(api: FlaskClient) -> None:
    first = api.post("/v1/responses", json={"model": "base", "input": "first"}).json
    for words in ("second", "branch"):
        body = {"model": "base", "input": words, "previous_response_id": first["id"]}  # type: ignore[index]
        assert api.post("/v1/responses", json=body).status_code == 200
    found = api.get("/v1/conversations?q=branch").json["data"][0]["id"]  # type: ignore[index]
    turns = api.get(f"/v1/conversations/{found}").json["turns"]  # type: ignore[index]
    assert [turn["query"] for turn in turns] == ["first", "second", "branch"]
    assert [turn["parent_turn_id"] for turn in turns] == [None, turns[0]["id"], turns[0]["id"]]
