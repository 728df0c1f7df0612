"""The page in Debian's Chromium over a real server: every gesture, and the rows that it made."""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser_page import (
    answers,
    ask,
    away,
    child,
    completion,
    conversation,
    send,
    settle,
    soon,
    visit,
)
from conftest import Redraft, wait_until
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

pytestmark = pytest.mark.browser

SCRIPT = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redraft]:
    running = Redraft(tmp_path_factory.mktemp("page") / "home", engine="echo")
    running.start("--no-scheduler")
    yield running
    running.stop()
    running.http.close()


@pytest.fixture
def page(context: BrowserContext, server: Redraft) -> Page:
    return visit(context, server.page_url)


def feedback(server: Redraft) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.http.get("/v1/feedback?limit=100").json()["data"]
    return found


def test_a_question_is_answered_streaming_and_recorded(server: Redraft, page: Page) -> None:
    expect(page.locator(".empty")).to_contain_text("teach the next version")
    expect(page.locator(".examples button")).to_have_count(3)
    send(page, "/slow 0.4 one two three four five six seven eight nine ten")
    answer = page.locator(".answer .md")
    expect(answer).to_contain_text("one two")
    assert "ten" not in answer.inner_text()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(answer).to_have_text("one two three four five six seven eight nine ten")
    expect(page.locator(".adapter")).to_have_text("base")
    expect(page.get_by_label("Message")).to_have_value("")
    assert completion(server, page)["text"].endswith("nine ten")
    assert page.errors == []  # type: ignore[attr-defined]


def test_nothing_is_asked_of_another_machine(context: BrowserContext, server: Redraft) -> None:
    asked: list[str] = []
    context.on("request", lambda request: asked.append(origin(request)))
    page = visit(context, server.page_url)
    ask(page, "/say ![a picture](http://example.com/x.png) and [a link](http://example.com)")
    assert set(asked) == {server.page_url}


def origin(request: Request) -> str:
    return "/".join(request.url.split("/")[:3])


def test_a_question_asked_before_the_tab_has_opened_is_kept(
    context: BrowserContext, server: Redraft
) -> None:
    page, held = context.new_page(), list[Route]()
    page.route(
        "**/queue/join**", lambda route: route.continue_() if held else held.append(route)
    )  # what opens the tab is on its way for a while
    page.goto(server.page_url)
    send(page, "/say early")
    while not held:
        page.wait_for_timeout(50)
    page.wait_for_timeout(500)  # in which the question would overtake it
    held[0].continue_()
    expect(page.locator(".thumb").first).to_be_visible()
    expect(page.locator(".answer .md")).to_have_text("early")
    ask(page, "/say and on")
    expect(page.locator(".bubble")).to_have_count(2)
    assert len(conversation(server, page)["turns"]) == 2


def test_shift_enter_makes_a_new_line(page: Page) -> None:
    field = page.get_by_label("Message")
    field.press_sequentially("first")
    field.press("Shift+Enter")
    field.press_sequentially("second")
    expect(field).to_have_value("first\nsecond")
    field.press("Enter")
    expect(page.locator(".bubble")).to_have_text("first\nsecond")


def test_stop_keeps_what_was_written(server: Redraft, page: Page) -> None:
    send(page, "/slow 0.15 " + " ".join(f"word{i}" for i in range(100)))
    expect(page.locator(".answer .md")).to_contain_text("word3")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.locator(".thumb").first).to_be_visible()
    kept = completion(server, page)
    assert "word3" in kept["text"] and "word60" not in kept["text"]
    assert kept["finish_reason"] == "cancelled"
    expect(page.locator(".ending")).to_have_text("Stopped before its end.")
    expect(page.locator(".answer .md")).to_have_text(kept["text"].strip())
    ask(page, "/say and on")
    expect(page.locator(".answer .md").last).to_have_text("and on")


def test_conversations_are_listed_found_renamed_and_deleted(page: Page) -> None:
    entries = page.locator("#sidebar li")
    ask(page, "Zanzibar spice markets")
    expect(page.locator("#sidebar h2").first).to_have_text("Today")
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".empty")).to_be_visible()
    ask(page, "Greenland glaciers")
    entries.filter(has_text="Zanzibar").get_by_role("button").first.click()
    expect(page.locator(".bubble")).to_have_text("Zanzibar spice markets")
    page.get_by_label("Search conversations").fill("glacier")
    expect(entries).to_have_count(1)
    expect(entries).to_contain_text("Greenland")
    entries.first.hover()
    page.get_by_label("Rename").click()
    page.get_by_label("Title").fill("Ice & <b>glacier</b>")
    page.get_by_label("Title").press("Enter")
    expect(entries.first).to_contain_text("Ice & <b>glacier</b>")
    entries.first.hover()
    page.get_by_label("Delete").click()
    expect(page.locator("#sidebar .none")).to_have_text("Nothing found.")


def test_a_thumb_goes_up_down_and_is_taken_back(server: Redraft, page: Page) -> None:
    ask(page, "rate me")
    up, down = page.get_by_label("Good answer"), page.get_by_label("Bad answer")
    up.click()
    expect(up).to_have_attribute("aria-pressed", "true")
    soon(lambda: (completion(server, page)["rating"] or {}).get("value") == 1)
    down.click()
    expect(up).to_have_attribute("aria-pressed", "false")
    soon(lambda: (completion(server, page)["rating"] or {}).get("value") == -1)
    page.reload()
    expect(down).to_have_attribute("aria-pressed", "true")
    down.click()
    expect(down).to_have_attribute("aria-pressed", "false")
    soon(lambda: completion(server, page)["rating"] is None)


def test_fast_thumbs_end_as_the_last_click(server: Redraft, page: Page) -> None:
    ask(page, "quick fingers")
    up, down = page.get_by_label("Good answer"), page.get_by_label("Bad answer")
    for button in (up, down, up, down, down):
        button.click()
    with page.expect_response(lambda answer: "/queue/join" in answer.url):
        up.click()
    page.wait_for_timeout(500)
    settle(page)  # every gesture has been written
    expect(up).to_have_attribute("aria-pressed", "true")
    expect(down).to_have_attribute("aria-pressed", "false")
    assert completion(server, page)["rating"]["value"] == 1
    mine = [f for f in feedback(server) if f["completion_id"] == completion(server, page)["id"]]
    assert len(mine) == 1


def test_thumbs_that_overtake_each_other_end_as_they_look(server: Redraft, page: Page) -> None:
    ask(page, "a slow road")
    up, down = page.get_by_label("Good answer"), page.get_by_label("Bad answer")
    held: list[Route] = []
    page.route("**/queue/join*", lambda road: road.continue_() if held else held.append(road))
    with page.expect_request("**/queue/join*"):
        up.click()
    with page.expect_response("**/queue/join*"):
        down.click()
    soon(lambda: (completion(server, page)["rating"] or {}).get("value") == -1)
    with page.expect_response("**/queue/join*"):
        held[0].continue_()
    settle(page)
    expect(down).to_have_attribute("aria-pressed", "true")
    expect(up).to_have_attribute("aria-pressed", "false")
    assert completion(server, page)["rating"]["value"] == -1


def test_a_correction_is_kept_beside_the_models_own_text(server: Redraft, page: Page) -> None:
    ask(page, "/say It costs 40 euros.")
    page.get_by_role("button", name="Improve").click()
    editor = page.get_by_label("The answer as it should be")
    expect(editor).to_have_value("It costs 40 euros.")
    editor.fill(f"It costs 45 euros. {SCRIPT}")
    page.get_by_role("button", name="Save correction").click()
    expect(page.get_by_text("Correction saved")).to_be_visible()
    expect(page.locator(".answer > .md")).to_have_text(f"It costs 45 euros. {SCRIPT}")
    row = completion(server, page)
    assert row["text"] == "It costs 40 euros."
    assert row["correction"]["text"] == f"It costs 45 euros. {SCRIPT}"
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".answer > .md")).to_have_text("It costs 40 euros.")
    assert completion(server, page)["correction"] is None
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize("verdict", ["A is better", "B is better", "Tie", "Both bad"])
def test_two_drafts_are_judged(server: Redraft, page: Page, verdict: str) -> None:
    page.get_by_role("button", name="Two drafts").click()
    ask(page, "/slow 0.02 which of these is better")
    expect(page.locator(".draft")).to_have_count(2)
    texts = page.locator(".draft .md").all_inner_texts()
    shown = page.locator(".draft").evaluate_all("nodes => nodes.map(n => n.dataset.draft)")
    page.get_by_role("button", name=verdict).click()
    picked = 1 if verdict == "B is better" else 0
    expect(page.locator(".answer > .md")).to_have_text(texts[picked])
    turn = conversation(server, page)["turns"][-1]
    assert turn["comparison"]["shown"] == shown
    words = {"Tie": "tie", "Both bad": "both_bad"}
    assert turn["comparison"]["chosen"] == words.get(verdict, shown[picked])
    by_id = {c["id"]: c["text"] for c in turn["completions"]}
    assert [by_id[i] for i in shown] == texts
    page.reload()
    expect(page.locator(".answer > .md")).to_have_text(texts[picked])
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".draft .md")).to_have_text(texts)
    assert conversation(server, page)["turns"][-1]["comparison"] is None


def test_drafts_are_judged_by_key_and_what_was_picked_goes_on(server: Redraft, page: Page) -> None:
    ask(page, "/say hello")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".verdicts")).to_be_visible()
    texts = page.locator(".draft .md").all_inner_texts()
    page.locator(".scroll").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".answer > .md")).to_have_text(texts[1])
    expect(page.locator(".bubble")).to_have_count(1)
    expect(page.locator(".places")).to_contain_text("3/3")
    page.get_by_label("Previous answer").click()
    expect(page.locator(".places")).to_contain_text("2/3")
    expect(page.locator(".answer > .md")).to_have_text(texts[0])
    assert len(conversation(server, page)["turns"]) == 2


def test_answer_again_adds_an_answer_not_a_bubble(server: Redraft, page: Page) -> None:
    ask(page, "/say again please")
    page.get_by_label("Answer again").click()
    expect(page.locator(".places")).to_contain_text("2/2")
    expect(page.locator(".bubble")).to_have_count(1)
    assert len(conversation(server, page)["turns"]) == 2


def test_script_is_shown_as_text(page: Page) -> None:
    ask(page, f"/say {SCRIPT} [x](javascript:alert(1)) <b>bold</b>")
    expect(page.locator(".bubble")).to_contain_text(SCRIPT)
    expect(page.locator(".answer .md")).to_contain_text(SCRIPT)
    expect(page.locator(".answer .md")).to_contain_text("<b>bold</b>")
    expect(page.locator("#sidebar li").first).to_contain_text("<script>")
    assert page.evaluate("window.hacked") is None
    assert page.locator(".answer .md a[href^=javascript]").count() == 0


def test_an_answer_that_breaks_off_says_so(server: Redraft, page: Page) -> None:
    send(page, "/fail half an answer")
    problem = page.locator("#chat .exchange .problem")
    expect(problem).to_contain_text("told to fail")
    expect(page.locator(".answer .md")).to_contain_text("half an answer")
    page.get_by_role("button", name="Try again").click()
    soon(lambda: len(conversation(server, page)["turns"]) == 2)
    settle(page)
    expect(problem).to_contain_text("told to fail")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.locator(".bubble")).to_have_count(1)
    ask(page, "/say better now")
    expect(page.locator(".answer .md").last).to_have_text("better now")


def test_two_tabs_do_not_meet(context: BrowserContext, server: Redraft) -> None:
    one, two = visit(context, server.page_url), visit(context, server.page_url)
    send(one, "/slow 0.1 " + "first tab " * 12)
    send(two, "/slow 0.1 " + "second tab " * 12)
    expect(two.locator(".answer .md")).to_contain_text("second tab second tab")
    expect(one.locator(".answer .md")).to_contain_text("first tab first tab")
    assert "second" not in one.locator(".answer .md").inner_text()
    one.get_by_role("button", name="New chat").click()
    expect(one.locator(".empty")).to_be_visible()
    expect(two.locator(".thumb").first).to_be_visible()
    expect(one.locator(".empty")).to_be_visible()


def test_a_closed_tab_ends_its_answer(context: BrowserContext, server: Redraft) -> None:
    page = visit(context, server.page_url)
    send(page, "/slow 0.1 " + "closing " * 300)
    expect(page.locator(".answer .md")).to_contain_text("closing closing")
    row = page.url.partition("#")[2]
    page.close()
    kept: list[str] = []

    def ended() -> bool:
        drafts = server.http.get(f"/v1/conversations/{row}").json()["turns"][0]["completions"]
        kept[:] = [draft["finish_reason"] for draft in drafts]
        return bool(kept)

    wait_until(ended, 15)
    assert kept == ["cancelled"]


def restart_the_page(server: Redraft) -> None:
    child(server, "serve.page").send_signal(signal.SIGTERM)
    soon(lambda: not answers(server.page_url))
    wait_until(lambda: answers(server.page_url), 60)  # `redraft up` starts another one


def test_a_tab_goes_on_after_the_page_was_restarted(
    context: BrowserContext, server: Redraft
) -> None:
    page = visit(context, server.page_url)
    ask(page, "/say before")
    page.get_by_label("Message").fill("/say after")
    settle(page)
    restart_the_page(server)
    expect(page.get_by_label("Message")).to_have_value("/say after")
    page.get_by_label("Message").press("Enter")
    expect(page.locator(".answer .md").last).to_have_text("after")
    expect(page.locator(".bubble")).to_have_count(2)
    assert len(conversation(server, page)["turns"]) == 2


def test_a_page_restarted_in_the_middle_of_an_answer_keeps_what_was_typed(
    context: BrowserContext, server: Redraft
) -> None:
    page = visit(context, server.page_url)
    send(page, "/slow 0.1 " + "cut " * 300)
    expect(page.locator(".answer .md")).to_contain_text("cut cut")
    page.get_by_label("Message").fill("/say after")
    with page.expect_navigation(timeout=60_000):  # Gradio loads a page anew that lost its event
        restart_the_page(server)
    expect(page.locator(".answer .md")).to_contain_text("cut cut")
    expect(page.get_by_label("Message")).to_have_value("/say after")
    page.get_by_label("Message").press("Enter")
    expect(page.locator(".answer .md").last).to_have_text("after")
    assert len(conversation(server, page)["turns"]) == 2


def test_a_dead_api_is_told_in_words_and_nothing_is_lost(
    context: BrowserContext, make_redraft: Callable[..., Redraft]
) -> None:
    server = make_redraft(engine="echo").start("--no-scheduler")
    page = visit(context, server.page_url)
    ask(page, "/say remember me")
    with away(server, "serve.api"):
        soon(lambda: not answers(server.url + "/readyz"))
        send(page, "Are you there?")
        expect(page.locator(".bubble").last).to_have_text("Are you there?")
        problem = page.locator("#chat .exchange .problem")
        expect(problem).to_contain_text("chat server", timeout=20_000)
    wait_until(lambda: answers(server.url + "/readyz"), 30)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".answer .md").last).to_have_text("You said: Are you there?")
    expect(page.locator(".bubble")).to_have_count(2)
    server.stop()
    server.start("--no-scheduler")
    wait_until(lambda: answers(server.page_url) and answers(server.url + "/readyz"), 60)
    again = visit(context, server.page_url)
    again.locator("#sidebar li .open").first.click()
    expect(again.locator(".bubble")).to_have_count(2)
    expect(again.locator(".answer .md").first).to_have_text("remember me")


def test_on_a_phone_the_list_is_a_drawer_and_drafts_stack(
    chromium: Browser, server: Redraft
) -> None:
    phone = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = phone.new_page()
    page.goto(server.page_url)
    expect(page.locator("#sidebar aside")).not_to_be_visible()
    page.get_by_role("button", name="Two drafts").tap()
    ask(page, "/say " + "a long answer " * 20)
    first, second = (page.locator(".draft").nth(i).bounding_box() for i in (0, 1))
    assert first and second
    assert second["y"] >= first["y"] + first["height"]
    page.get_by_role("button", name="A is better").tap()
    for button in page.locator(".actions button").all():
        box = button.bounding_box()
        assert box and box["height"] >= 40
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Conversations").tap()
    page.get_by_role("button", name="New chat").tap()
    expect(page.locator(".empty")).to_be_visible()
    expect(page.locator("#sidebar aside")).not_to_be_visible()
    phone.close()
