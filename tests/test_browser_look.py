"""How the page looks and what it speaks, in Chromium: languages, light and dark."""

from collections.abc import Iterator

import pytest
from browser_page import ask, open_context, send
from conftest import Redraft
from playwright.sync_api import Browser, BrowserContext, Page, expect

pytestmark = pytest.mark.browser
CHINESE = "zh-CN"
DARK = "document.body.classList.contains('dark')"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redraft]:
    with Redraft(tmp_path_factory.mktemp("look") / "home", engine="echo") as running:
        yield running.start("--no-scheduler")


def opened(context: BrowserContext, server: Redraft, message: str) -> Page:
    page = context.new_page()
    page.goto(server.page_url)
    expect(page.get_by_label(message, exact=True)).to_be_focused()
    return page


def test_a_chinese_browser_is_spoken_to_in_chinese(chromium: Browser, server: Redraft) -> None:
    with open_context(chromium, locale=CHINESE) as context:
        page = opened(context, server, "消息")
        expect(page.locator(".empty h2")).to_have_text("想了解些什么？")
        expect(page.locator("html")).to_have_attribute("lang", "zh")
        page.get_by_label("消息").fill("/say ```py\nx = 1\n```")
        page.get_by_label("消息").press("Enter")
        expect(page.get_by_role("button", name="回答得好")).to_be_visible()
        expect(page.locator(".code-head button")).to_have_text("复制")
        expect(page.locator("#sidebar h2").first).to_have_text("今天")
        page.get_by_label("消息").fill("/fail 半个回答")
        page.get_by_label("消息").press("Enter")
        expect(page.locator(".problem").get_by_role("button", name="重试")).to_be_visible()
        english = page.evaluate("document.body.innerText.match(/[A-Za-z]{3,}/g)")
        assert set(english) <= {"Redraft", "base", "say", "fail", "Engine", "echo", "was", "told",
                                "The", "engine", "stopped", "with", "error"}, english  # fmt: skip


def test_the_switch_changes_all_of_the_page_and_is_remembered(
    context: BrowserContext, server: Redraft
) -> None:
    page = opened(context, server, "Message")
    ask(page, "/say It costs 40 euros.")
    page.get_by_label("Message").fill("not sent yet")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("button", name="改进")).to_be_visible()
    expect(page.get_by_label("消息")).to_have_value("not sent yet")
    expect(page.get_by_placeholder("搜索")).to_be_visible()
    expect(page.get_by_role("button", name="新对话")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="改进")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("button", name="Improve")).to_be_visible()


def test_the_switch_works_while_an_answer_is_written(
    context: BrowserContext, server: Redraft
) -> None:
    page = opened(context, server, "Message")
    send(page, "/slow 0.1 " + " ".join(f"word{i}" for i in range(150)))
    expect(page.locator(".answer .md")).to_contain_text("word3")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("button", name="停止")).to_be_visible()
    expect(page.locator(".answer .md")).to_contain_text("word20")
    page.get_by_role("button", name="停止").click()
    expect(page.locator(".ending")).to_have_text("在写完之前停止。")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system_and_the_switch(
    chromium: Browser, server: Redraft, scheme: str
) -> None:
    dark = scheme == "dark"
    with open_context(chromium, color_scheme=scheme) as context:
        page = opened(context, server, "Message")
        assert page.evaluate(DARK) is dark
        page.get_by_role("button", name="Light or dark").click()
        assert page.evaluate(DARK) is not dark
        page.reload()
        expect(page.get_by_label("Message")).to_be_focused()
        assert page.evaluate(DARK) is not dark
        page.get_by_role("button", name="Light or dark").click()
        assert page.evaluate(DARK) is dark
        page.emulate_media(color_scheme="light" if dark else "dark")  # evening comes
        page.wait_for_function(f"{DARK} === {str(not dark).lower()}")
