"""The reviewers' page in Chromium: every gesture, and the rows that it made."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from browser_page import LOOKS, open_context, serious, soon
from conftest import Redraft
from feedback_databases import a_completion, a_turn
from playwright.sync_api import Browser, BrowserContext, Page, expect
from retrain_rows import record_corrections
from sqlalchemy.orm import Session

from feedback import queue as record_queue, record, runs, users
from feedback.database import Database, open_database
from feedback.migrate import migrate
from retrain.manifest import read_rows
from retrain.queue import queue
from retrain.rows import rows_in_force

pytestmark = pytest.mark.browser
SCRIPT = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
REASON = "corrected so by fewer than 2 users"
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redraft]:
    with Redraft(tmp_path_factory.mktemp("review") / "home", engine="echo") as running:
        yield running.start("--no-scheduler")


@contextmanager
def recorded(server: Redraft) -> Iterator[Database]:
    server.home.mkdir(exist_ok=True)
    database = open_database(f"sqlite:///{server.home / 'redraft.db'}")
    migrate(database)
    yield database
    database.close()


Verdict = tuple[str, dict[str, Any]]  # (question, body of the feedback without what it is about)


def given(session: Session, said: Verdict, texts: list[str]) -> str:
    """A verdict of mallory's on answers with these texts; gives its id."""
    known = {user.name: user for user in users.list_users(session)}
    mallory = known.get("mallory") or users.add_user(session, "mallory", "user")
    talk = record.start_conversation(session, mallory.id, "A talk", 0.0)
    turn, _ = a_turn(session, talk, 0, said[0])
    turn.messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "你好！"},
        {"role": "assistant", "content": "您好。"},
        {"role": "user", "content": "好吗？"},
        {"role": "assistant", "content": "很好。"},
        {"role": "user", "content": said[0]},
    ]
    answers = [a_completion(session, turn, n, text=text) for n, text in enumerate(texts)]
    session.flush()
    body = dict(said[1])
    if body["kind"] == "comparison":
        shown = [answer.id for answer in answers]
        body |= {"turn_id": turn.id, "shown": shown, "chosen": shown[body["chosen"]]}
    else:
        body["completion_id"] = answers[0].id
    return record.record_feedback(session, mallory, body).id


def left(server: Redraft, held: list[str], sampled: list[str] = []) -> None:  # noqa: B006
    """The queue as a run leaves it that holds back or trains on just these."""
    with recorded(server) as database:
        with database.reading() as session:
            rows = {row["feedback_id"]: row for row in rows_in_force(session)}
        why = [{"step": "min_users", "reason": REASON, "row": rows[id]} for id in held]
        items = list(queue([rows[id] for id in sampled], why, 1.0))
        with database.session() as session:
            run_id = runs.claim_run(session, {}).id
            record_queue.fill_queue(session, run_id, items)
            runs.finish_run(session, run_id, "refused", "")


def correction(text: str) -> dict[str, Any]:
    return {"kind": "correction", "text": text}


def corrected(server: Redraft, count: int) -> list[str]:
    """So many corrections in the queue and nothing else; the last one is shown first."""
    with recorded(server) as database, database.session() as session:
        made = [
            given(
                session,
                (f"How long is warranty {n}?", correction(f"It is {n} years long.")),
                [f"It is {n} months long."],
            )
            for n in range(count)
        ]
    left(server, made)
    return made


def reviews(server: Redraft) -> dict[str, tuple[str, str | None]]:
    """What the reviewer said, by the feedback that it is about."""
    found = server.http.get("/v1/feedback?kind=review&limit=100").json()["data"]
    return {row["feedback_id"]: (row["verdict"], row["text"]) for row in found}


def opened(context: BrowserContext, server: Redraft) -> Page:
    page = context.new_page()
    page.errors = []  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.errors.append(str(error)))  # type: ignore[attr-defined]
    page.goto(f"{server.page_url}/review")
    return page


def question(page: Page) -> Any:
    return page.locator(".row .asked p").last


def test_what_is_said_here_is_what_the_next_run_teaches(
    context: BrowserContext, tmp_path: Any
) -> None:
    with Redraft(tmp_path / "home", engine="echo", review_share=1) as server:
        with recorded(server) as database:
            record_corrections(database, "m", 4, user="mallory", role="user")
            record_corrections(database, "m", 1, user="eve", text="Ask eve.")
        server.start("--no-scheduler")
        page = opened(context, server)
        expect(page.locator(".none h2")).to_have_text("Nothing waits for review")
        expect(page.locator(".none p")).to_contain_text("After each run you find here")
        assert server.command("retrain", "now").returncode == 4  # nothing to train in echo
        page.reload()
        expect(page.locator(".far span")).to_have_text("0 of 5 reviewed")
        expect(page.locator(".because")).to_have_text(f"In quarantine. {REASON.capitalize()}")
        expect(page.locator(".facts")).to_contain_text("Correction · mallory · one person says so")
        expect(question(page)).to_have_text("What is the code of door 3?")
        expect(page.locator(".before p")).to_have_text("I do not know.")
        expect(page.locator(".after p")).to_have_text("Code 3-blue.")
        page.keyboard.press("k")
        expect(question(page)).to_have_text("What is the code of door 2?")
        expect(page.locator(".far span")).to_have_text("1 of 5 reviewed")
        page.get_by_role("button", name="Drop").click()
        expect(question(page)).to_have_text("What is the code of door 1?")
        page.keyboard.press("f")
        page.keyboard.press("Control+a")
        page.keyboard.type("Code 1-red.")
        page.keyboard.press("Control+Enter")
        expect(question(page)).to_have_text("What is the code of door 0?")
        page.keyboard.press("s")
        expect(page.locator(".because")).to_contain_text("Spot check.")
        expect(page.locator(".after p")).to_have_text("Ask eve.")
        server.command("retrain", "now")
        file = server.home / "runs" / "r-0002" / "curate" / "rows.jsonl"
        taught = [row["payload"]["text"] for row in read_rows(file)]
        assert taught == ["Code 1-red.", "Code 3-blue.", "Ask eve."]
        assert sorted(verdict for verdict, _ in reviews(server).values()) == ["drop", "fix", "keep"]
        assert server.http.get("/v1/feedback").json()["data"] == [], "no vote of the reviewer's own"
        page.reload()
        expect(page.locator(".far span")).to_have_text("0 of 2 reviewed")
        assert page.errors == []  # type: ignore[attr-defined]


def test_every_kind_is_shown_and_a_script_is_text(context: BrowserContext, server: Redraft) -> None:
    told: dict[str, Any] = {"kind": "rating", "value": -1, "tags": ["wrong_fact", "<b>x</b>"]}
    with recorded(server) as database, database.session() as session:
        fixed = given(session, (f"A? {SCRIPT}", correction(f"New {SCRIPT}")), [f"Old {SCRIPT}"])
        rated = given(session, ("B?", {**told, "comment": SCRIPT}), [f"Rated {SCRIPT}"])
        pick = {"kind": "comparison", "chosen": 1}
        picked = given(session, ("C?", pick), [f"First {SCRIPT}", f"Second {SCRIPT}"])
    left(server, [fixed, rated, picked])
    page = opened(context, server)
    expect(page.locator(".facts")).to_contain_text("Comparison")
    expect(page.locator(".side p")).to_have_text([f"First {SCRIPT}", f"Second {SCRIPT}"])
    expect(page.locator(".side.picked h3")).to_have_text("Picked")
    expect(page.locator(".side.picked p")).to_have_text(f"Second {SCRIPT}")
    page.locator("summary").click()
    expect(page.locator(".said p")).to_have_text(["你好！", "您好。", "好吗？", "很好。", "C?"])
    page.keyboard.press("s")
    expect(page.locator(".facts")).to_contain_text("Thumb")
    expect(page.locator(".thumb .verdict")).to_have_text("Rated bad")
    expect(page.locator(".tags")).to_have_text("Wrong fact · <b>x</b>")
    expect(page.locator(".comment")).to_have_text(SCRIPT)
    page.keyboard.press("f")
    expect(page.get_by_label("The text to teach")).to_have_value(f"Rated {SCRIPT}")
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    expect(question(page)).to_have_text(f"A? {SCRIPT}")
    expect(page.locator(".before del")).to_have_text("Old")
    expect(page.locator(".after ins")).to_have_text("New")
    expect(page.locator(".after p")).to_have_text(f"New {SCRIPT}")
    page.keyboard.press("f")
    page.get_by_label("The text to teach").fill(f"Newer {SCRIPT} {SCRIPT}")
    expect(page.locator(".diff p")).to_contain_text(f"Newer {SCRIPT}")
    assert page.evaluate("window.hacked") is None
    assert page.errors == []  # type: ignore[attr-defined]


def test_the_last_verdicts_are_taken_back(context: BrowserContext, server: Redraft) -> None:
    first, second, third = corrected(server, 3)
    page = opened(context, server)
    expect(page.get_by_role("button", name="Undo")).not_to_be_visible()
    expect(page.locator(".far span")).to_have_text("0 of 3 reviewed")
    page.keyboard.press("d")
    expect(page.locator(".last")).to_contain_text("Dropped.")
    expect(page.locator(".far span")).to_have_text("1 of 3 reviewed")
    page.keyboard.press("k")
    expect(page.locator(".last")).to_contain_text("Kept.")
    said = reviews(server)
    assert (said[third], said[second]) == (("drop", None), ("keep", None))
    page.get_by_role("button", name="Undo").click()
    expect(question(page)).to_have_text("How long is warranty 1?")
    expect(page.locator(".far span")).to_have_text("1 of 3 reviewed")
    page.keyboard.press("u")
    expect(question(page)).to_have_text("How long is warranty 2?")
    expect(page.get_by_role("button", name="Undo")).not_to_be_visible()
    assert not {first, second, third} & set(reviews(server))
    page.keyboard.press("k")
    expect(question(page)).to_have_text("How long is warranty 1?")
    assert reviews(server)[third] == ("keep", None)


def test_later_comes_again_after_all_others(context: BrowserContext, server: Redraft) -> None:
    first, second = corrected(server, 2)
    page = opened(context, server)
    for wanted in (1, 0, 1, 0):
        expect(question(page)).to_have_text(f"How long is warranty {wanted}?")
        page.get_by_role("button", name="Later").click()
    expect(question(page)).to_have_text("How long is warranty 1?")
    page.keyboard.press("k")
    expect(question(page)).to_have_text("How long is warranty 0?")
    page.keyboard.press("k")
    expect(page.locator(".none h2")).to_have_text("All 2 reviewed")
    expect(page.get_by_role("button", name="Keep")).not_to_be_visible()
    assert {first, second} <= set(reviews(server))
    page.keyboard.press("u")
    expect(question(page)).to_have_text("How long is warranty 0?")


def test_a_key_pressed_twice_says_nothing_of_the_next(
    context: BrowserContext, server: Redraft
) -> None:
    made = corrected(server, 3)
    page = opened(context, server)
    expect(question(page)).to_have_text("How long is warranty 2?")
    page.evaluate(
        "for (let n = 0; n < 3; n++) document.body.dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'd', bubbles: true}))"
    )
    expect(question(page)).to_have_text("How long is warranty 1?")
    expect(page.locator(".far span")).to_have_text("1 of 3 reviewed")
    assert set(made) & set(reviews(server)) == {made[2]}


def test_a_fix_shows_what_it_changes_and_outlives_a_reload(
    context: BrowserContext, server: Redraft
) -> None:
    (made,) = corrected(server, 1)
    page = opened(context, server)
    expect(page.locator(".before del")).to_have_text("months")
    expect(page.locator(".after ins")).to_have_text("years")
    page.get_by_role("button", name="Fix").click()
    field = page.get_by_label("The text to teach")
    expect(field).to_be_focused()
    expect(field).to_have_value("It is 0 years long.")
    expect(page.get_by_role("button", name="Keep")).not_to_be_visible()
    diff = page.get_by_role("region", name="Your changes")
    expect(diff).not_to_be_visible()
    field.fill("It is 7 years long.")
    expect(diff.locator("del")).to_have_text("0")
    expect(diff.locator("ins")).to_have_text("7")
    page.reload()
    expect(field).to_have_value("It is 7 years long.")
    field.press("Escape")
    expect(field).not_to_be_visible()
    assert made not in reviews(server)
    page.keyboard.press("f")
    expect(field).to_have_value("It is 0 years long.")
    field.fill("  ")
    page.get_by_role("button", name="Teach this").click()
    expect(field).to_be_visible()
    field.fill("It is 8 years long.")
    page.get_by_role("button", name="Teach this").click()
    expect(page.locator(".last")).to_contain_text("Fixed.")
    assert reviews(server)[made] == ("fix", "It is 8 years long.")
    page.keyboard.press("u")
    expect(page.locator(".after p")).to_have_text("It is 0 years long.")
    expect(field).not_to_be_visible()


def test_what_was_taken_back_meanwhile_is_passed_over(
    context: BrowserContext, server: Redraft
) -> None:
    first, second = corrected(server, 2)
    page = opened(context, server)
    expect(question(page)).to_have_text("How long is warranty 1?")
    key = server.key("mallory")
    conversation = server.http.get("/v1/review-queue").json()["data"][0]["conversation_id"]
    gone = server.http.delete(f"/v1/conversations/{conversation}", headers=key)
    assert gone.status_code == 204
    page.keyboard.press("k")
    expect(page.locator(".notice")).to_contain_text("That row is gone")
    expect(question(page)).to_have_text("How long is warranty 0?")
    assert second not in reviews(server)
    page.keyboard.press("k")
    expect(page.locator(".none")).to_be_visible()
    assert first in reviews(server)


def test_the_shortcuts_are_listed_and_can_be_switched_off(
    context: BrowserContext, server: Redraft
) -> None:
    (made,) = corrected(server, 1)
    page = opened(context, server)
    expect(page.locator(".row")).to_be_focused()
    page.keyboard.press("?")
    help = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(help.locator("dt")).to_have_count(8)
    page.keyboard.press("k")
    help.get_by_label("Single keys outside of text fields").uncheck()
    page.keyboard.press("Escape")
    expect(help).not_to_be_visible()
    page.keyboard.press("k")
    page.get_by_role("button", name="Keyboard shortcuts").press("Enter")
    help.get_by_label("Single keys outside of text fields").check()
    page.keyboard.press("Escape")
    assert made not in reviews(server)
    page.get_by_role("button", name="Keep").press("Enter")
    soon(lambda: reviews(server).get(made) == ("keep", None))


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_serious(chromium: Browser, server: Redraft, look: str) -> None:
    corrected(server, 1)
    with recorded(server) as database, database.session() as session:
        good = {"kind": "rating", "value": 1, "tags": ["helpful"], "comment": "Yes."}
        rated = given(session, ("B?", good), ["An answer."])
        bad = given(session, ("C?", {"kind": "rating", "value": -1}), ["Another."])
        pick = given(session, ("D?", {"kind": "comparison", "chosen": 0}), ["one", "two"])
        mended = given(session, ("E?", correction("It is 2 years.")), ["It is 2 days."])
    left(server, [rated], [bad, pick, mended])
    with open_context(chromium, reduced_motion="reduce", **LOOKS[look]) as context:
        page = opened(context, server)
        for wanted in ("B?", "E?", "D?", "C?"):
            expect(question(page)).to_have_text(wanted)
            assert serious(page) == []
            if wanted == "E?":
                page.get_by_role("button", name="Fix").click()
                page.get_by_label("The text to teach").fill("It is 3 years.")
                expect(page.locator(".diff ins")).to_be_visible()
                assert serious(page) == []
                page.get_by_role("button", name="Teach this").click()
            else:
                page.get_by_role("button", name="Drop").click()
        expect(page.locator(".none")).to_be_visible()
        assert serious(page) == []
        page.keyboard.press("?")
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]


def test_a_chinese_browser_is_spoken_to_in_chinese(chromium: Browser, server: Redraft) -> None:
    with recorded(server) as database, database.session() as session:
        made = given(session, ("保修多久？", correction("两年。")), ["两个月。"])
    left(server, [made])
    with open_context(chromium, locale="zh-CN") as context:
        page = opened(context, server)
        expect(page.locator(".because")).to_have_text("隔离中。 这样教的人太少。")
        expect(page.locator(".far span")).to_have_text("已审核 0 / 1")
        english = page.evaluate("document.body.innerText.match(/[A-Za-z]{3,}/g)")
        assert set(english) == {"mallory"}, english
        page.get_by_role("button", name="English").click()
        expect(page.locator(".because")).to_contain_text("In quarantine.")
        expect(page.get_by_role("button", name="Keep")).to_be_visible()
        page.get_by_role("button", name="中文").click()
        page.get_by_role("button", name="保留").click()
        expect(page.locator(".none h2")).to_have_text("1 条已全部审核")
        soon(lambda: reviews(server).get(made) == ("keep", None))


def test_only_reviewers_and_admins_see_it(chromium: Browser, tmp_path: Any) -> None:
    with Redraft(tmp_path / "home", engine="echo", login="always") as server:
        with recorded(server) as database, database.session() as session:
            given(session, ("Secret?", correction("Xanadu.")), ["Nothing."])
            for name, role in (("bob", "user"), ("eve", "reviewer")):
                users.add_user(session, name, role)
                users.set_password(session, name, PASSWORD)
        server.start("--no-scheduler")
        with recorded(server) as database, database.reading() as session:
            made = [row["feedback_id"] for row in rows_in_force(session)]
        left(server, made)
        with open_context(chromium) as context:
            page = opened(context, server)
            expect(page).to_have_url(f"{server.page_url}/login")
            sign_in(page, "bob")
            expect(page.locator(".who")).to_contain_text("bob")
            expect(page.get_by_role("link", name="Review")).not_to_be_visible()
            page.goto(f"{server.page_url}/review")
            expect(page.locator(".notice")).to_contain_text("role")
            assert "Xanadu" not in page.content()
        with open_context(chromium) as context:
            page = opened(context, server)
            sign_in(page, "eve")
            page.get_by_role("link", name="Review").click()
            expect(page).to_have_url(re.compile("/review$"))
            expect(page.locator(".after p")).to_have_text("Xanadu.")
            page.keyboard.press("k")
            expect(page.locator(".none")).to_be_visible()
            page.get_by_role("link", name="Chat").click()
            expect(page.get_by_label("Message", exact=True)).to_be_visible()


def sign_in(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
