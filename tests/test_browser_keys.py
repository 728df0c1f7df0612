"""The page by keyboard alone and for screen readers, in Chromium; axe-core finds nothing bad."""

from collections.abc import Iterator

import pytest
from browser_page import LOOKS, ask, completion, conversation, open_context, serious, soon, visit
from conftest import Redraft
from playwright.sync_api import Browser, BrowserContext, Page, expect

pytestmark = pytest.mark.browser
ANSWER = "/say ## Title\n\nText with `code`, a [link](http://a.test).\n\n```py\nx = 1  # why\n```"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redraft]:
    with Redraft(tmp_path_factory.mktemp("keys") / "home", engine="echo") as running:
        yield running.start("--no-scheduler")


@pytest.fixture
def page(context: BrowserContext, server: Redraft) -> Page:
    return visit(context, server.page_url)


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_serious(chromium: Browser, server: Redraft, look: str) -> None:
    with open_context(chromium, reduced_motion="reduce", **LOOKS[look]) as context:
        page = context.new_page()
        page.goto(server.page_url)
        expect(page.locator(".examples button")).to_have_count(3)
        assert serious(page) == []
        page.get_by_label("Message", exact=True).fill(ANSWER)
        page.get_by_role("button", name="Send").click()
        page.get_by_label("Bad answer").click()
        page.get_by_role("button", name="Wrong fact").click()
        page.get_by_label("Say more (optional)").fill("why")
        soon(lambda: "wrong_fact" in (completion(server, page)["rating"] or {})["tags"])
        assert serious(page) == []
        page.get_by_role("button", name="Improve").click()
        page.get_by_label("The answer as it should be").fill("Another text.")
        expect(page.locator(".diff ins").first).to_be_visible()
        assert serious(page) == []
        page.get_by_role("button", name="Save correction").click()
        page.locator(".corrected summary").click()
        page.get_by_label("More", exact=True).click()
        assert serious(page) == []
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Two drafts").click()
        page.get_by_label("Message", exact=True).fill("compare")
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".verdicts")).to_be_visible()
        assert serious(page) == []
        page.get_by_label("Message", exact=True).fill("/fail half")
        page.get_by_role("button", name="Two drafts").click()
        page.get_by_role("button", name="Send").click()
        expect(page.locator("#chat .exchange .problem")).to_be_visible()
        if look == "phone":
            page.get_by_role("button", name="Conversations").click()
            expect(page.locator("#sidebar aside")).to_be_visible()
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]


def test_the_shortcuts_are_listed_and_can_be_switched_off(page: Page) -> None:
    ask(page, "/say hello")
    page.keyboard.press("Escape")  # out of the field
    page.keyboard.press("?")
    help = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(help.locator("dt")).to_have_count(16)
    assert serious(page) == []
    help.get_by_label("Single keys outside of text fields").uncheck()
    page.keyboard.press("Escape")
    expect(help).not_to_be_visible()
    page.locator(".scroll").focus()
    page.keyboard.press("u")
    expect(page.get_by_label("Good answer")).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Keyboard shortcuts").press("Enter")
    help.get_by_label("Single keys outside of text fields").check()
    page.keyboard.press("Escape")
    page.locator(".scroll").focus()
    page.keyboard.press("u")
    expect(page.get_by_label("Good answer")).to_have_attribute("aria-pressed", "true")


def test_a_conversation_by_keyboard_alone(server: Redraft, page: Page) -> None:
    page.keyboard.type("/say one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("more")
    page.keyboard.press("Enter")
    expect(page.locator(".answer > .md")).to_contain_text("one")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    soon(lambda: (completion(server, page)["rating"] or {}).get("value") == -1)
    page.keyboard.press("d")
    soon(lambda: completion(server, page)["rating"] is None)
    page.keyboard.press("e")
    expect(page.get_by_label("The answer as it should be")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("two")
    page.keyboard.press("Control+Enter")
    soon(lambda: (completion(server, page)["correction"] or {}).get("text") == "two")
    expect(page.get_by_role("button", name="Improve")).to_be_focused()
    page.keyboard.press("r")
    expect(page.locator(".places")).to_contain_text("2/2")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    page.keyboard.press("[")
    expect(page.locator(".places")).to_contain_text("1/2")
    page.keyboard.press("m")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    page.keyboard.press("ArrowUp")
    field = page.get_by_label("The question", exact=True)
    expect(field).to_be_focused()
    field.fill("/say other")
    page.keyboard.press("Enter")
    expect(page.locator(".answer > .md")).to_have_text("other")
    assert len(conversation(server, page)["turns"]) == 3
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.get_by_label("Search conversations")).to_be_focused()
    page.locator(".scroll").focus()
    page.keyboard.press("n")
    expect(page.locator(".empty")).to_be_visible()


def test_the_focus_goes_in_order_and_is_seen(page: Page) -> None:
    ask(page, "/say hello")
    page.locator(".skip").focus()
    seen: list[str] = []
    for _ in range(45):
        name, visible = page.evaluate(FOCUSED)
        assert visible, name
        seen.append(name)
        page.keyboard.press("Tab")
    wanted = [
        "To the message field", "New chat", "Search conversations", "/say hello", "Rename",
        "Delete", "More", "Keyboard shortcuts", "中文", "Light or dark", "Edit the question",
        "Copy", "Answer again", "Good answer", "Bad answer", "Improve", "Compare", "Message",
        "Two drafts",
    ]  # fmt: skip
    assert [name for name in dict.fromkeys(seen) if name in wanted] == wanted
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()


# The focused element's name, and whether something draws a ring around it.
FOCUSED = """() => {
    const node = document.activeElement;
    const name = node.getAttribute("aria-label") || node.textContent.trim();
    const marked = (n) => {
        const style = getComputedStyle(n);
        return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0)
            || style.boxShadow.includes("0px 0px 0px 1px");
    };
    const around = node.closest(".find, .composer");
    return [name, node === document.body || node.matches(".skip") || marked(node)
        || !!around && marked(around)];
}"""
