"""A canary in the server: which conversations it answers, and how it comes and goes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_context import open_here
from flask.testing import FlaskClient

from feedback import adapters, users
from feedback.split import takes_canary
from serve.api import create_app
from serve.api.context import Context, open_context
from serve.settings import Settings, load_settings

CHAMPION, CANARY, NEXT, REJECTED = (
    "a-0001-aaaaaa",
    "a-0002-bbbbbb",
    "a-0003-cccccc",
    "a-0004-dddddd",
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path, engine="echo")


@pytest.fixture
def here(settings: Settings) -> Iterator[Context]:
    with open_here(settings) as context:
        for name in (CHAMPION, CANARY, NEXT):
            register(context, name)
        register(context, REJECTED, state="rejected")
        context.serving.promote(CHAMPION, "test", "")
        yield context


def register(here: Context, name: str, **own: Any) -> None:
    folder = here.settings.home / name
    folder.mkdir()
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / file).write_text("{}")
    with here.database.session() as session:
        adapters.register_adapter(
            session, name=name, base_model="smollm2-135m", path=str(folder), digest="0", **own
        )


def act(api: FlaskClient, action: str, status: int = 200, **body: Any) -> dict[str, Any]:
    answer = api.post(f"/v1/adapters/{action}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json  # type: ignore[no-any-return]


def ask(api: FlaskClient, conversation: str | None = None, **body: Any) -> tuple[str, str]:
    """(conversation, the adapter that answered)."""
    body = {"model": "redraft", "messages": [{"role": "user", "content": "who"}], **body}
    if conversation:
        body["redraft"] = {"conversation_id": conversation}
    answer = api.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    ours: dict[str, Any] = answer.json["redraft"]  # type: ignore[index]
    said = answer.json["choices"][0]["message"]["content"]  # type: ignore[index]
    assert answer.headers["x-redraft-adapter"] == ours["adapter"]
    assert said.startswith(f"[{ours['adapter']}]"), "each answer names the adapter that wrote it"
    return ours["conversation_id"], ours["adapter"]


def begin(api: FlaskClient, on_canary: bool) -> str:
    """A new conversation that chance gave to the canary, or to the champion."""
    while True:
        conversation, adapter = ask(api)
        if (adapter == CANARY) == on_canary:
            return conversation


def test_the_canary_answers_its_share_and_stays_with_a_conversation(
    api: FlaskClient, here: Context, settings: Settings
) -> None:
    began_before, _ = ask(api)
    said = act(api, f"{CANARY}/canary", share=0.4, reason="try")
    assert (said["serving"], said["canary"]["share"]) == (CHAMPION, 0.4)
    first = dict(ask(api) for _ in range(40))
    assert set(first.values()) == {CHAMPION, CANARY}
    for conversation, adapter in first.items():
        assert (adapter == CANARY) == takes_canary(conversation, CANARY, 0.4)
        assert ask(api, conversation) == (conversation, adapter)
    for _ in range(3):
        assert ask(api, began_before)[1] == CHAMPION, "it did not begin on the canary"
    again = open_context(settings)  # a restart
    restarted = create_app(again).test_client()
    for conversation, adapter in first.items():
        assert ask(restarted, conversation)[1] == adapter
    again.database.close()


def test_what_is_asked_for_by_name_or_is_no_turn_is_not_routed(
    api: FlaskClient, here: Context
) -> None:
    act(api, f"{CANARY}/canary", share=0.999)
    assert ask(api, model=CHAMPION)[1] == CHAMPION
    assert ask(api, model=CANARY)[1] == CANARY
    raw = api.post("/v1/completions", json={"prompt": "who", "model": "smollm2-135m"})
    assert raw.headers["x-redraft-adapter"] == CHAMPION


def test_what_serves_is_told(api: FlaskClient, here: Context) -> None:
    assert api.get("/readyz").json["canary"] is None  # type: ignore[index]
    assert api.get("/v1/adapters").json["canary"] is None  # type: ignore[index]
    act(api, f"{CANARY}/canary", share=0.2)
    assert api.get("/readyz").json["canary"] == CANARY  # type: ignore[index]
    listed: dict[str, Any] = api.get("/v1/adapters").json  # type: ignore[assignment]
    assert (listed["serving"], listed["canary"]["name"]) == (CHAMPION, CANARY)
    assert {a["name"]: a["state"] for a in listed["data"]}[CANARY] == "canary"
    told = f'redraft_canary_share{{adapter="{CANARY}"}} '
    assert f"{told}0.2" in api.get("/metrics").text
    act(api, "rollback")
    assert told not in api.get("/metrics").text


def test_a_stopped_canary_hands_its_conversations_to_the_champion(
    api: FlaskClient, here: Context
) -> None:
    act(api, f"{CANARY}/canary", share=0.5)
    conversation = begin(api, on_canary=True)
    assert "is not the canary" in act(api, f"{NEXT}/retire", 409)["error"]["message"]
    act(api, f"{CANARY}/retire", reason="worse", facts={"e_value": 23.5})
    assert ask(api, conversation)[1] == CHAMPION
    lineage: dict[str, Any] = api.get(f"/v1/adapters/{CANARY}/lineage").json  # type: ignore[assignment]
    assert (lineage["state"], lineage["events"][-1]["facts"]) == ("retired", {"e_value": 23.5})
    assert "is not the canary" in act(api, f"{CANARY}/retire", 409)["error"]["message"]


def test_a_promoted_canary_answers_everybody(api: FlaskClient, here: Context) -> None:
    act(api, f"{CANARY}/canary", share=0.5)
    conversation = begin(api, on_canary=False)
    said = act(api, f"{CANARY}/promote", expected="canary", facts={"canary_votes": 50})
    assert said == {"serving": CANARY, "previous": CHAMPION}
    assert ask(api, conversation)[1] == CANARY
    late = act(api, f"{CANARY}/promote", 409, expected="canary")
    assert "is no canary any more, but champion" in late["error"]["message"]


def test_a_rollback_takes_the_canary_and_then_the_champion(api: FlaskClient, here: Context) -> None:
    act(api, f"{CANARY}/canary", share=0.5)
    conversation = begin(api, on_canary=True)
    assert act(api, "rollback") == {"serving": CHAMPION, "previous": CANARY}
    assert ask(api, conversation)[1] == CHAMPION
    assert act(api, "rollback") == {"serving": "base", "previous": CHAMPION}


def test_another_champion_or_canary_ends_the_one_that_is_out(
    api: FlaskClient, here: Context
) -> None:
    act(api, f"{CANARY}/canary", share=0.5)
    act(api, f"{NEXT}/canary", share=0.5)
    assert {adapter for _, adapter in (ask(api) for _ in range(20))} == {CHAMPION, NEXT}
    act(api, f"{CANARY}/promote")
    assert {adapter for _, adapter in (ask(api) for _ in range(20))} == {CANARY}


def test_what_cannot_be_a_canary_is_refused_and_all_goes_on(
    api: FlaskClient, here: Context
) -> None:
    for name, body, status, why in (
        (CANARY, {}, 400, "REDRAFT_CANARY_SHARE"),  # which is 0 here
        (CANARY, {"share": 1}, 400, "less than 1"),
        (CANARY, {"share": "half"}, 400, "share"),
        (CANARY, {"share": 0.5, "reson": "typo"}, 400, "reson"),
        (CHAMPION, {"share": 0.5}, 409, "its own canary"),
        (REJECTED, {"share": 0.5}, 409, "rejected"),
        ("a-9999-zzzzzz", {"share": 0.5}, 404, "a-9999-zzzzzz"),
    ):
        assert why in act(api, f"{name}/canary", status, **body)["error"]["message"]
    assert ask(api)[1] == CHAMPION
    with here.database.session() as session:
        eve = {"Authorization": f"Bearer {users.new_key(session, 'eve')}"}
    for action in ("canary", "retire"):
        refused = api.post(f"/v1/adapters/{CANARY}/{action}", json={"share": 0.5}, headers=eve)
        assert refused.status_code == 403


@pytest.mark.parametrize("action", ["promote", "canary"])
def test_what_was_judged_against_another_champion_is_not_put_into_service(
    api: FlaskClient, here: Context, action: str
) -> None:
    body = {"share": 0.5} if action == "canary" else {}
    for judged_against in ("base", CANARY):
        said = act(api, f"{NEXT}/{action}", 409, champion=judged_against, **body)["error"]
        assert said["code"] == "champion_changed"
        assert f"was judged against {judged_against}, but {CHAMPION} serves now" in said["message"]
    assert (here.serving.adapter, here.serving.canary) == (CHAMPION, None)
    assert NEXT not in here.serving.engine.adapters(), "nothing was loaded in vain"
    for _ in range(2):
        act(api, f"{NEXT}/{action}", champion=CHAMPION, **body)  # and again, after a crash
    assert here.serving.adapter == (NEXT if action == "promote" else CHAMPION)


def test_a_canary_that_does_not_load_at_the_start_leaves_all_to_the_champion(
    api: FlaskClient, here: Context, settings: Settings
) -> None:
    act(api, f"{CANARY}/canary", share=0.5)
    (settings.home / CANARY / "adapter_config.json").unlink()
    broken = open_context(settings)
    client = create_app(broken).test_client()
    assert {ask(client)[1] for _ in range(10)} == {CHAMPION}
    assert f"Canary {CANARY} does not serve, the champion does" in (broken.serving.problem or "")
    act(client, "rollback")
    assert broken.serving.problem is None
    broken.database.close()
