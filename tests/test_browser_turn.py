"""One turn in Chromium: reasoning on demand, how it was understood, and text not sent yet."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from browser_page import (
    answers,
    ask,
    away,
    completion,
    conversation,
    send,
    soon,
    visit,
)
from conftest import Redraft, wait_until
from playwright.sync_api import Browser, BrowserContext, Page, expect

pytestmark = pytest.mark.browser

ANSWER = "/say 42 #### because **six** times seven is forty-two."
UNDERSTOOD = "How long is the Velmar lamp covered by warranty?"
MEANT = "How long is the guarantee of the Velmar lamp?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redraft]:
    home = tmp_path_factory.mktemp("page") / "home"
    running = Redraft(home, engine="echo", reasoning="on_demand")
    running.start("--no-scheduler")
    yield running
    running.stop()
    running.http.close()


@pytest.fixture
def page(context: BrowserContext, server: Redraft) -> Iterator[Page]:
    page = visit(context, server.page_url)
    yield page
    assert page.errors == []  # type: ignore[attr-defined]


def disclosure(page: Page, word: str = "Show") -> Any:
    return page.get_by_role("button", name=f"{word} reasoning")


def understand(server: Redraft, page: Page, text: str) -> None:
    """What a rewriter would have recorded of the newest turn; engine `echo` rewrites nothing."""
    turn = conversation(server, page)["turns"][-1]["id"]
    with closing(sqlite3.connect(server.home / "redraft.db", timeout=30)) as database:
        database.execute("UPDATE turns SET rewritten_query = ? WHERE id = ?", (text, turn))
        database.commit()
    page.reload()
    expect(page.locator(".understood")).to_contain_text(text)


# Show reasoning


def test_reasoning_streams_when_asked_for_and_folds(server: Redraft, page: Page) -> None:
    ask(page, "/slow 0.4 42 #### because six times seven is forty-two, as everybody knows.")
    expect(page.locator(".answer > .md")).to_have_text("42")
    button = disclosure(page)
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(page.locator(".thought")).not_to_be_visible()
    assert completion(server, page)["reasoning"] is None
    button.click()
    thought = page.locator(".thought .md")
    expect(thought).to_contain_text("because six")
    assert "everybody" not in thought.inner_text()
    expect(thought).to_have_text("because six times seven is forty-two, as everybody knows.")
    expect(disclosure(page, "Hide")).to_have_attribute("aria-expanded", "true")
    soon(lambda: "everybody" in (completion(server, page)["reasoning"] or ""))
    disclosure(page, "Hide").click()
    expect(page.locator(".thought")).not_to_be_visible()
    disclosure(page).press("Enter")
    expect(thought).to_contain_text("everybody knows")
    page.reload()
    expect(page.locator(".thought")).not_to_be_visible()
    disclosure(page).click()
    expect(thought).to_contain_text("everybody knows")


def test_a_reasoning_that_comes_unasked_is_seen_while_it_is_written(
    context: BrowserContext, make_redraft: Callable[..., Redraft]
) -> None:
    server = make_redraft(engine="echo", reasoning="always").start("--no-scheduler")
    page = visit(context, server.page_url)
    send(page, "/slow 0.4 42 #### because six times seven is forty-two, as everybody knows.")
    live = page.locator("[data-key=live] .thought")
    expect(live).to_contain_text("because six")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.locator(".thought .md")).to_contain_text("as everybody knows.")
    expect(disclosure(page, "Hide")).to_have_attribute("aria-expanded", "true")
    expect(page.locator(".answer > .md")).to_have_text("42")
    page.reload()
    expect(page.locator(".thought")).not_to_be_visible()


def test_an_answer_without_reasoning_offers_none(page: Page) -> None:
    ask(page, "/say just this")
    expect(page.locator(".answer > .md")).to_have_text("just this")
    expect(disclosure(page)).to_have_count(0)


def test_copy_and_improve_take_the_conclusion_alone(server: Redraft, page: Page) -> None:
    ask(page, ANSWER)
    page.get_by_role("button", name="Improve").click()
    expect(page.get_by_label("The answer as it should be")).to_have_value("42")


def test_reasoning_of_an_older_answer_while_another_is_written(page: Page) -> None:
    ask(page, ANSWER)
    send(page, "/slow 0.1 " + "word " * 60)
    expect(page.locator("[data-key=live]")).to_contain_text("word word")
    disclosure(page).first.click()
    expect(page.locator(".thought .md")).to_contain_text("six times seven")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_be_visible(timeout=30_000)
    expect(page.locator(".thought .md")).to_contain_text("six times seven")
    expect(page.locator(".bubble")).to_have_count(2)


def test_the_beginning_of_a_long_reasoning_stays_in_sight(page: Page) -> None:
    for i in range(4):
        ask(page, f"/say {i} " + "filling the window " * 60)
    ask(page, "/say 42 #### " + "\n\n".join(f"step {i}" for i in range(50)))
    disclosure(page).last.click()
    expect(page.locator(".thought .md")).to_contain_text("step 49")
    expect(page.get_by_text("step 0", exact=True)).to_be_in_viewport()
    expect(page.get_by_text("step 49", exact=True)).not_to_be_in_viewport()
    page.get_by_role("button", name="To the newest").click()
    expect(page.get_by_text("step 49", exact=True)).to_be_in_viewport()


# Understood as


def test_how_it_was_understood_is_edited_and_taken_back(server: Redraft, page: Page) -> None:
    ask(page, "/say Thirty-eight months.")
    expect(page.locator(".understood")).to_have_count(0)
    understand(server, page, UNDERSTOOD)
    page.get_by_label("Edit how the question was understood").click()
    field = page.get_by_label("The question as it was meant")
    expect(field).to_be_focused()
    expect(field).to_have_value(UNDERSTOOD)
    field.fill("something else")
    field.press("Escape")
    expect(field).to_have_count(0)
    pencil = page.get_by_label("Edit how the question was understood")
    expect(pencil).to_be_focused()
    pencil.press("Enter")
    expect(field).to_have_value(UNDERSTOOD)
    field.fill(f"{MEANT} <b>")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".understood")).to_contain_text("Saved, teaches the next rewriter.")
    expect(page.locator(".understood bdi")).to_have_text(f"{MEANT} <b>")
    turn = conversation(server, page)["turns"][-1]
    assert (turn["rewrite"]["value"], turn["rewrite"]["text"]) == (-1, f"{MEANT} <b>")
    assert turn["rewritten_query"] == UNDERSTOOD
    page.reload()
    expect(page.locator(".understood bdi")).to_have_text(f"{MEANT} <b>")
    page.locator(".understood").get_by_role("button", name="Undo").click()
    expect(page.locator(".understood bdi")).to_have_text(UNDERSTOOD)
    soon(lambda: conversation(server, page)["turns"][-1]["rewrite"] is None)


def test_the_edited_question_is_asked_again(server: Redraft, page: Page) -> None:
    ask(page, "/say It is.")
    understand(server, page, UNDERSTOOD)
    page.get_by_label("Edit how the question was understood").click()
    field = page.get_by_label("The question as it was meant")
    field.fill(MEANT)
    field.press("Enter")
    page.get_by_label("Message").fill("half a thought")
    page.get_by_role("button", name="Ask again with this").click()
    expect(page.locator(".bubble").last).to_have_text(MEANT)
    expect(page.locator(".answer .md").last).to_have_text(f"You said: {MEANT}")
    expect(page.get_by_label("Message")).to_have_value("half a thought")
    assert len(conversation(server, page)["turns"]) == 2


def test_an_unchanged_edit_writes_nothing(server: Redraft, page: Page) -> None:
    ask(page, "/say It is.")
    understand(server, page, UNDERSTOOD)
    page.get_by_label("Edit how the question was understood").click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_label("The question as it was meant")).to_have_count(0)
    expect(page.locator(".understood")).not_to_contain_text("Saved")
    assert conversation(server, page)["turns"][-1]["rewrite"] is None


# Text not sent yet


def test_what_was_typed_survives_a_reload(server: Redraft, page: Page) -> None:
    ask(page, "/say It costs 40 euros.")
    understand(server, page, UNDERSTOOD)
    page.get_by_role("button", name="Improve").click()
    better, meant = "The answer as it should be", "The question as it was meant"
    page.get_by_label(better).press_sequentially("It costs 45")
    page.get_by_label("Edit how the question was understood").click()
    page.get_by_label(meant).fill(MEANT)
    page.get_by_label("Message").fill("and then I")
    page.reload()
    expect(page.get_by_label(better)).to_have_value("It costs 40 euros.It costs 45")
    expect(page.get_by_label(meant)).to_have_value(MEANT)
    expect(page.get_by_label("Message")).to_have_value("and then I")
    expect(page.get_by_label("Message")).to_be_focused()
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    page.locator(".reword").get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Save correction").click()
    expect(page.get_by_text("Correction saved")).to_be_visible()
    page.get_by_label("Message").press("Enter")
    expect(page.locator(".bubble").last).to_have_text("and then I")
    page.reload()
    expect(page.locator(".bubble")).to_have_count(2)
    for name in (better, meant):
        expect(page.get_by_label(name)).to_have_count(0)
    expect(page.get_by_label("Message")).to_have_value("")


def test_a_dead_api_is_told_and_the_page_heals_by_itself(
    context: BrowserContext, make_redraft: Callable[..., Redraft]
) -> None:
    server = make_redraft(engine="echo", reasoning="on_demand").start("--no-scheduler")
    page = visit(context, server.page_url)
    ask(page, ANSWER)
    url = page.url
    with away(server, "serve.api"):
        soon(lambda: not answers(server.url + "/readyz"))
        disclosure(page).click()
        expect(page.locator(".thought .note")).to_contain_text("does not answer")
        late = context.new_page()
        late.goto(url)
        expect(late.locator("#sidebar .problem")).to_contain_text("does not answer")
    wait_until(lambda: answers(server.url + "/readyz"), 60)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".thought .md")).to_have_text("because six times seven is forty-two.")
    expect(late.locator("#sidebar li")).to_have_count(1)
    expect(late.locator("#sidebar .problem")).not_to_be_visible()
    expect(late.locator(".answer > .md")).to_have_text("42")
    expect(late.locator("#chat .notice")).not_to_be_visible()


def test_on_a_phone_both_lines_fit(chromium: Browser, server: Redraft) -> None:
    phone = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = phone.new_page()
    page.goto(server.page_url)
    ask(page, ANSWER)
    understand(server, page, UNDERSTOOD * 3)
    for name in ("Edit how the question was understood", "Show reasoning"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box and box["height"] >= 40
    disclosure(page).tap()
    expect(page.locator(".thought .md")).to_contain_text("forty-two")
    page.get_by_label("Edit how the question was understood").tap()
    expect(page.get_by_label("The question as it was meant")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    phone.close()
