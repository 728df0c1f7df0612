"""Teaching in detail, in Chromium: why a thumb, and a correction with its diff; and their rows."""

from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from browser_page import ask, completion, conversation, reload, send, soon, visit
from conftest import Redraft
from playwright.sync_api import BrowserContext, Page, expect

pytestmark = pytest.mark.browser
SCRIPT = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redraft]:
    with Redraft(tmp_path_factory.mktemp("teach") / "home", engine="echo") as running:
        yield running.start("--no-scheduler")


@pytest.fixture
def page(context: BrowserContext, server: Redraft) -> Page:
    return visit(context, server.page_url)


def rating(server: Redraft, page: Page) -> dict[str, Any]:
    """What is in force, without its id; empty when nothing is."""
    found = completion(server, page)["rating"] or {}
    return {name: said for name, said in found.items() if name != "id"}


def test_a_thumb_is_given_reasons_and_taken_back_with_them(server: Redraft, page: Page) -> None:
    ask(page, "/say Paris has 40 million inhabitants.")
    expect(page.locator(".why")).to_have_count(0)
    page.get_by_label("Bad answer").click()
    chips = page.locator(".chip")
    expect(chips).to_have_text([
        "Wrong fact", "Not what I asked", "Too long", "Too short", "Unsafe", "Bad format",
        "Out of date", "Something else",
    ])  # fmt: skip
    page.get_by_role("button", name="Wrong fact").click()
    expect(page.get_by_role("button", name="Wrong fact")).to_have_attribute("aria-pressed", "true")
    wanted = {"value": -1, "tags": ["wrong_fact"], "comment": None}
    soon(lambda: rating(server, page) == wanted)
    page.get_by_label("Good answer").click()  # the reasons were those of the other thumb
    expect(chips.first).to_have_text("Correct")
    soon(lambda: rating(server, page) == {"value": 1, "tags": [], "comment": None})
    page.get_by_role("button", name="Helpful").click()
    soon(lambda: rating(server, page)["tags"] == ["helpful"])
    page.get_by_label("Good answer").click()
    expect(page.locator(".why")).to_have_count(0)
    soon(lambda: rating(server, page) == {})
    assert page.errors == []  # type: ignore[attr-defined]


def test_fast_chips_end_as_they_look(server: Redraft, page: Page) -> None:
    ask(page, "quick chips")
    page.get_by_label("Bad answer").click()
    for name in ("Too long", "Unsafe", "Too long", "Out of date", "Wrong fact", "Unsafe"):
        page.get_by_role("button", name=name).click()
    soon(lambda: rating(server, page).get("tags") == ["wrong_fact", "out_of_date"])
    pressed = page.locator(".chip[aria-pressed=true]")
    expect(pressed).to_have_text(["Wrong fact", "Out of date"])


def test_a_comment_is_kept_shown_as_text_and_changed(server: Redraft, page: Page) -> None:
    ask(page, "comment on me")
    page.get_by_label("Bad answer").click()
    said = f"It is 2 million. {SCRIPT}"
    field = page.get_by_label("Say more (optional)")
    field.fill(said)
    page.get_by_role("button", name="Too long").click()  # does not lose what is being typed
    soon(lambda: rating(server, page)["tags"] == ["too_long"])
    expect(field).to_have_value(said)
    assert rating(server, page)["comment"] is None
    page.reload()
    expect(page.locator(".because")).to_have_text("Too long Edit")
    page.get_by_role("button", name="Edit", exact=True).click()
    expect(field).to_have_value(said)  # typed before the reload
    field.press("Enter")
    expect(page.locator(".kept")).to_have_text("Saved")
    whole = {"value": -1, "tags": ["too_long"], "comment": said}
    assert rating(server, page) == whole
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".because")).to_contain_text(said)
    ask(page, "and another")
    page.reload()
    expect(page.locator(".because")).to_contain_text(f"Too long — {said}")
    assert page.evaluate("window.hacked") is None


def test_the_longest_comment_is_kept_whole(server: Redraft, page: Page) -> None:
    ask(page, "a long story")
    page.get_by_label("Good answer").click()
    said = "so it was, " * 2000
    page.get_by_label("Say more (optional)").fill(said)
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".kept")).to_be_visible()
    assert rating(server, page)["comment"] == said[:20_000].strip()


def test_ignored_questions_are_gone_with_the_next_message(server: Redraft, page: Page) -> None:
    ask(page, "first")
    page.get_by_label("Good answer").click()
    expect(page.locator(".why")).to_be_visible()
    ask(page, "second")
    expect(page.locator(".why")).to_have_count(0)


def test_consent_is_given_and_withdrawn(server: Redraft, page: Page) -> None:
    switch = page.get_by_role("switch", name="Learn from what I write and say here")
    expect(switch).to_have_attribute("aria-checked", "true")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "false")
    soon(lambda: server.http.get("/v1/consent").json()["given"] is False)
    page.reload()
    expect(switch).to_have_attribute("aria-checked", "false")
    switch.press("Enter")
    soon(lambda: server.http.get("/v1/consent").json()["given"] is True)


def test_what_people_do_is_noted_apart_from_verdicts(server: Redraft, page: Page) -> None:
    def done(kind: str) -> list[str]:
        found = server.http.get(f"/v1/feedback?kind={kind}").json()["data"]
        return [row["completion_id"] for row in found]

    ask(page, "/say copy me")
    first = completion(server, page)["id"]
    page.get_by_label("Copy").click()
    soon(lambda: first in done("copied"))
    page.get_by_label("Answer again").click()
    expect(page.locator(".places")).to_contain_text("2/2")
    assert done("regenerated") == [first]
    assert completion(server, page)["rating"] is None


SLOW = "/slow 0.1 " + " ".join(f"word{i}" for i in range(200))


def abandoned(server: Redraft) -> list[str]:
    found = server.http.get("/v1/feedback?kind=abandoned").json()["data"]
    return [row["completion_id"] for row in found]


def test_an_answer_left_while_it_is_written_is_noted(server: Redraft, page: Page) -> None:
    before = abandoned(server)
    send(page, SLOW)
    expect(page.locator(".answer .md")).to_contain_text("word3")
    page.wait_for_url("**/#conv_*")
    left = page.url
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".empty")).to_be_visible()
    soon(lambda: len(abandoned(server)) > len(before))
    page.goto(left)
    page.reload()
    expect(page.locator(".ending")).to_have_text("Stopped before its end.")
    assert abandoned(server) == [completion(server, page)["id"], *before]
    assert completion(server, page)["rating"] is None


def test_a_stopped_answer_is_abandoned_by_who_leaves_it_at_that(
    server: Redraft, page: Page
) -> None:
    before = abandoned(server)

    def stopped() -> str:
        send(page, SLOW)
        expect(page.locator(".answer .md").last).to_contain_text("word3")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".ending").last).to_have_text("Stopped before its end.")
        id: str = completion(server, page)["id"]
        return id

    stopped()
    ask(page, "/say shorter")  # went on with it
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".empty")).to_be_visible()
    stopped()
    page.get_by_label("Good answer").last.click()  # had enough to say so
    soon(lambda: (completion(server, page)["rating"] or {}).get("value") == 1)
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".empty")).to_be_visible()
    last = stopped()
    assert abandoned(server) == before
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".empty")).to_be_visible()
    soon(lambda: abandoned(server) == [last, *before])


def test_a_correction_shows_what_it_changes_before_it_is_sent(server: Redraft, page: Page) -> None:
    ask(page, "/say The lamp costs 40 euros and it is green.")
    page.get_by_role("button", name="Improve").click()
    diff = page.get_by_role("region", name="Your changes")
    expect(diff).not_to_be_visible()
    editor = page.get_by_label("The answer as it should be")
    editor.fill(f"The lamp costs 45 euros and it is green. {SCRIPT}")
    expect(diff.locator("del")).to_have_text("40")
    expect(diff.locator("ins").first).to_have_text("45")
    expect(diff).to_contain_text(SCRIPT)
    assert completion(server, page)["correction"] is None
    editor.fill("灯的价格是四十五欧元。")
    expect(diff.locator("ins")).to_have_text(["灯的价格是四十五欧元。"])
    editor.fill("The lamp costs 45 euros and it is green.")
    page.get_by_role("button", name="Save correction").click()
    expect(page.get_by_text("Correction saved")).to_be_visible()
    row = completion(server, page)
    assert row["text"] == "The lamp costs 40 euros and it is green."
    assert row["correction"]["text"] == "The lamp costs 45 euros and it is green."
    assert page.evaluate("window.hacked") is None


def test_a_long_text_is_compared_in_a_moment(page: Page) -> None:
    before = " ".join(f"word{i}" for i in range(60))
    ask(page, f"/say {before}")
    page.get_by_role("button", name="Improve").click()
    more = " ".join(f"more{i}" for i in range(4000))
    after = before.replace("word0 ", "first ").replace("word40 ", "other ")
    page.get_by_label("The answer as it should be").fill(f"{after} {more}")
    expect(page.locator(".diff del")).to_have_text(["word0", "word40"])
    expect(page.locator(".diff ins")).to_have_text(["first", "other", more])


def test_a_correction_in_the_making_outlives_the_server(
    context: BrowserContext, make_redraft: Callable[..., Redraft]
) -> None:
    server = make_redraft(engine="echo").start("--no-scheduler")
    page = visit(context, server.page_url)
    ask(page, "/say It costs 40 euros.")
    page.get_by_role("button", name="Improve").click()
    editor = page.get_by_label("The answer as it should be")
    editor.fill("It costs 45 euros.")
    kill(server)
    editor.press_sequentially(" With tax.")
    page.get_by_role("button", name="Save correction").click()
    expect(page.locator(".editor .note")).to_contain_text("your text is still here")
    server.start("--no-scheduler")
    reload(page)
    expect(editor).to_have_value("It costs 45 euros. With tax.")
    assert completion(server, page)["correction"] is None
    page.get_by_role("button", name="Save correction").click()
    expect(page.get_by_text("Correction saved")).to_be_visible()
    assert completion(server, page)["correction"]["text"] == "It costs 45 euros. With tax."
    assert len(conversation(server, page)["turns"]) == 1


def kill(server: Redraft) -> None:
    """All of its processes at once, as when the machine loses power."""
    assert server.process is not None
    supervisor = psutil.Process(server.process.pid)
    everybody = [supervisor, *supervisor.children(recursive=True)]
    for process in everybody:
        process.kill()
    server.process.wait(20)
    psutil.wait_procs(everybody, 20)


def test_drafts_are_offered_blind_and_what_is_picked_goes_on(
    context: BrowserContext, make_redraft: Callable[..., Redraft]
) -> None:
    examples = "What does the lamp cost?; 灯保修多久？;"
    server = make_redraft(engine="echo", offer_drafts=1, examples=examples).start("--no-scheduler")
    page = visit(context, server.page_url)
    expect(page.locator(".examples button")).to_have_text(
        ["What does the lamp cost?", "灯保修多久？"]
    )
    for number in range(3):
        ask(page, f"question {number}")
        expect(page.locator(".draft")).to_have_count(2)
        expect(page.locator(".which")).to_contain_text("You don’t see which is which.")
        assert "base" not in page.locator(".compare").inner_text()
        shown = page.locator(".draft").evaluate_all("nodes => nodes.map(n => n.dataset.draft)")
        picked = page.locator(".draft .md").nth(1).inner_text()
        page.get_by_role("button", name="B is better").click()
        expect(page.locator(".answer.newest > .md")).to_have_text(picked)
        turn = conversation(server, page)["turns"][-1]
        assert (turn["comparison"]["shown"], turn["comparison"]["chosen"]) == (shown, shown[1])
    parents = [turn["parent_turn_id"] for turn in conversation(server, page)["turns"]]
    assert parents[1:] == [turn["id"] for turn in conversation(server, page)["turns"]][:-1]
