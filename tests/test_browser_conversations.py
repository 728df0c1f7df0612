"""Conversations in Chromium: brought back, taken along as files, branched."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_page import ask, conversation, visit
from conftest import Redraft
from playwright.sync_api import BrowserContext, Page, expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redraft]:
    with Redraft(tmp_path_factory.mktemp("talks") / "home", engine="echo") as running:
        yield running.start("--no-scheduler")


@pytest.fixture
def page(context: BrowserContext, server: Redraft) -> Page:
    return visit(context, server.page_url)


def test_what_was_deleted_comes_back(server: Redraft, page: Page) -> None:
    ask(page, "/say <b>keep</b> me")
    path = f"/v1/conversations/{page.url.partition('#')[2]}"
    before = server.http.get(path).json()
    entry = page.locator("#sidebar li.current")
    entry.hover()
    entry.get_by_label("Delete").click()
    expect(page.locator(".empty")).to_be_visible()
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_focused()
    expect(page.locator("#sidebar .undo span")).to_have_text("Deleted: /say <b>keep</b> me")
    assert server.http.get(path).status_code == 404
    page.keyboard.press("Enter")
    expect(page.locator(".answer .md")).to_have_text("<b>keep</b> me")
    expect(undo).not_to_be_visible()
    assert server.http.get(path).json() == before


def test_a_deletion_that_was_meant_is_not_asked_about_again(server: Redraft, page: Page) -> None:
    ask(page, "drop me")
    path = f"/v1/conversations/{page.url.partition('#')[2]}"
    page.locator("#sidebar li.current").hover()
    page.locator("#sidebar li.current").get_by_label("Delete").click()
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#sidebar .undo")).not_to_be_visible()
    assert server.http.get(path).status_code == 404


@pytest.mark.parametrize(("name", "ending"), [("Markdown", "md"), ("JSON", "json")])
def test_a_conversation_is_taken_along_as_a_file(
    server: Redraft, page: Page, tmp_path: Path, name: str, ending: str
) -> None:
    expect(page.locator(".more-menu")).not_to_be_visible()  # nothing to take along yet
    ask(page, "/say take 我 along")
    page.get_by_label("More", exact=True).click()
    with page.expect_download() as saved:
        page.get_by_role("link", name=f"Export as {name}").click()
    found = conversation(server, page)
    assert saved.value.suggested_filename == f"{found['id']}.{ending}"
    saved.value.save_as(tmp_path / "file")
    text = (tmp_path / "file").read_text(encoding="utf-8")
    assert json.loads(text) == found if ending == "json" else "take 我 along" in text
    expect(page.locator(".answer .md")).to_have_text("take 我 along")


def test_no_file_of_what_is_not_there(server: Redraft, page: Page) -> None:
    for path, status in (
        ("/export/conv_none.md", 404),
        ("/export/..%2F..%2Fetc%2Fpasswd.json", 404),
        ("/export/conv_none.exe", 404),
    ):
        answer = page.request.get(server.page_url + path)
        assert answer.status == status, path
        assert answer.headers["content-type"].startswith("text/plain")


def edit(page: Page, old: str, new: str) -> None:
    question = page.locator(".ask").filter(has_text=old)
    question.hover()
    question.get_by_label("Edit the question").click()
    field = page.get_by_label("The question", exact=True)
    expect(field).to_have_value(old)
    field.fill(new)
    field.press("Enter")
    expect(page.locator(".bubble").last).to_have_text(new)
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_an_edited_question_is_a_branch(server: Redraft, page: Page) -> None:
    ask(page, "/say one")
    ask(page, "/say two")
    ask(page, "/say three")
    edit(page, "/say two", "/say other <b>two</b>")
    bubbles, answers = page.locator(".bubble"), page.locator(".answer > .md")
    expect(bubbles).to_have_text(["/say one", "/say other <b>two</b>"])
    expect(answers).to_have_text(["one", "other <b>two</b>"])
    expect(page.locator(".versions")).to_contain_text("2/2")
    ask(page, "/say after other")
    turns = conversation(server, page)["turns"]
    one, two, _, other, _ = (turn["id"] for turn in turns)
    assert [turn["parent_turn_id"] for turn in turns] == [None, one, two, one, other]
    page.get_by_label("Previous version of the question").click()
    expect(bubbles).to_have_text(["/say one", "/say two", "/say three"])
    page.get_by_label("Next version of the question").click()
    expect(bubbles).to_have_text(["/say one", "/say other <b>two</b>", "/say after other"])
    page.get_by_label("Previous version of the question").click()
    ask(page, "/say four")  # goes on in the version that is shown
    expect(bubbles).to_have_text(["/say one", "/say two", "/say three", "/say four"])
    page.reload()
    expect(bubbles).to_have_text(["/say one", "/say two", "/say three", "/say four"])
    expect(page.locator(".versions")).to_contain_text("1/2")
    assert len(conversation(server, page)["turns"]) == 6


def test_the_first_question_is_edited_and_its_text_outlives_a_reload(
    server: Redraft, page: Page
) -> None:
    ask(page, "/say first")
    question = page.locator(".ask")
    question.hover()
    question.get_by_label("Edit the question").click()
    field = page.get_by_label("The question", exact=True)
    field.fill("/say second")
    page.reload()
    expect(field).to_have_value("/say second")
    field.press("Enter")
    expect(page.locator(".answer > .md")).to_have_text("second")
    assert [t["parent_turn_id"] for t in conversation(server, page)["turns"]] == [None, ""]
    page.get_by_label("Previous version of the question").click()
    expect(page.locator(".answer > .md")).to_have_text("first")
    expect(page.locator(".editor")).to_have_count(0)


def test_what_follows_belongs_to_the_answer_it_went_on_from(server: Redraft, page: Page) -> None:
    ask(page, "/say again")
    page.get_by_label("Answer again").click()
    expect(page.locator(".places")).to_contain_text("2/2")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    ask(page, "/say on the second")
    page.get_by_label("Previous answer").click()
    expect(page.locator(".bubble")).to_have_text(["/say again"])
    ask(page, "/say on the first")
    expect(page.locator(".bubble")).to_have_text(["/say again", "/say on the first"])
    page.get_by_label("Next answer").click()
    expect(page.locator(".bubble")).to_have_text(["/say again", "/say on the second"])
    turns = conversation(server, page)["turns"]
    first, second = (turn["id"] for turn in turns[:2])
    assert [turn["parent_turn_id"] for turn in turns] == [None, "", second, first]
