"""The operators' dashboard in Chromium: its numbers are the record's, its actions work, text is
text."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from browser_page import LOOKS, open_context, serious, soon
from conftest import Redraft
from dashboard_record import NEW, OLD, PASSWORD, SCRIPT, fill
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from feedback import runs
from feedback.database import open_database

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redraft]:
    home = tmp_path_factory.mktemp("dashboard") / "home"
    fill(home, days=20, a_day=4)
    with Redraft(home, engine="echo", login="always") as running:
        yield running.start("--no-scheduler")


@pytest.fixture(scope="module")
def ada(server: Redraft) -> dict[str, str]:
    """What the API is asked with in her name."""
    return server.key("ada")


def opened(context: BrowserContext, server: Redraft, name: str = "ada", place: str = "") -> Page:
    page = context.new_page()
    page.errors = []  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.errors.append(str(error)))  # type: ignore[attr-defined]
    page.on("dialog", lambda dialog: page.errors.append(dialog.message))  # type: ignore[attr-defined]
    form = {"name": name, "password": PASSWORD}
    assert context.request.post(f"{server.page_url}/login", form=form).ok
    page.goto(f"{server.page_url}/dashboard{place}")
    return page


def ready(page: Page) -> Page:
    expect(page.locator("#dashboard-rest .learned")).to_be_visible(timeout=60_000)
    expect(page.locator("#dashboard-satisfaction svg.marks")).to_be_visible(timeout=60_000)
    return page


def asked(server: Redraft, ada: dict[str, str], path: str, **query: Any) -> dict[str, Any]:
    answer = server.http.get(path, headers=ada, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def serving(server: Redraft, ada: dict[str, str]) -> str:
    return str(asked(server, ada, "/v1/adapters")["serving"])


def cells(page: Page, part: str, head: str) -> list[str]:
    row = page.locator(f"{part} tr", has=page.get_by_role("rowheader", name=head, exact=True))
    return [text.strip() for text in row.first.locator("td").all_inner_texts()]


def adapter(page: Page, name: str) -> Locator:
    return page.locator(f".adapters tr[data-key='{name}']")


def confirm(page: Page, title: str, reason: str, button: str) -> None:
    sure = page.get_by_role("dialog", name=title)
    sure.get_by_label("Reason, for the record (optional)").fill(reason)
    sure.get_by_role("button", name=button, exact=True).click()
    expect(sure).to_be_hidden()


def test_the_numbers_are_those_of_the_record(
    context: BrowserContext, server: Redraft, ada: dict[str, str]
) -> None:
    page = ready(opened(context, server))
    shown = page.locator("#dashboard-head .range").inner_text()
    first, last = re.findall(r"\d{4}-\d\d-\d\d", shown)
    found = asked(server, ada, "/v1/dashboard", **{"from": first, "to": last})
    facts = page.locator("#dashboard-head .facts a").all_inner_texts()
    assert facts == [str(found["turns"]), str(found["verdicts"])]
    assert found["turns"] == 81 and found["verdicts"] > 81
    known = {row["adapter"]: row for row in found["satisfaction"]}
    assert {"base", OLD, NEW} < set(known)
    table = "#dashboard-shares table:has(th:text-is('Up'))"
    for adapter in ("base", OLD, NEW):
        row = known[adapter]
        numbers = [str(n) for n in (row["n"], row["good"], row["n"] - row["good"])]
        assert cells(page, table, adapter)[:3] == numbers
        assert cells(page, table, adapter)[3] == f"{row['share']:.0%}".replace("%", "\u202f%")
    for row in found["comparisons"]:
        outcomes = [str(row[name]) for name in ("n", "won", "lost", "tie", "both_bad")]
        table = "#dashboard-shares table:has(th:text-is('won'))"
        assert cells(page, table, row["adapter"])[:5] == outcomes
    assert page.errors == []  # type: ignore[attr-defined]


def test_each_number_leads_to_as_many_rows(
    context: BrowserContext, server: Redraft, ada: dict[str, str]
) -> None:
    page = ready(opened(context, server))
    links = page.locator("#dashboard-head a.n, #dashboard-shares a.n, #dashboard-rest a.n").all()
    assert len(links) > 60
    for link in links:
        number, place = link.text_content(), str(link.get_attribute("href"))
        query = {name: said[0] for name, said in parse_qs(place.partition("?")[2]).items()}
        run = query.pop("run", "")
        path = f"/v1/runs/{run}/rows" if run else "/v1/dashboard/rows"
        assert len(everything(server, ada, path, query)) == int(number or 0), place


def everything(
    server: Redraft, ada: dict[str, str], path: str, query: dict[str, str]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        after = {"after": found[-1]["id"]} if found else {}
        page = asked(server, ada, path, limit=100, **query, **after)
        found += page["data"]
        if not page["has_more"]:
            return found


def test_rows_open_over_the_page_and_can_be_linked_to(
    context: BrowserContext, server: Redraft, ada: dict[str, str]
) -> None:
    page = ready(opened(context, server))
    link = page.locator("#dashboard-head .facts a").nth(1)
    count = int(link.inner_text())
    link.focus()
    page.keyboard.press("Enter")
    rows = page.get_by_role("dialog", name="The rows behind it")
    items = rows.locator("li")
    expect(items).to_have_count(20)
    while rows.get_by_role("button", name="Show more").is_visible():
        before = items.count()
        rows.get_by_role("button", name="Show more").click()
        expect(items.nth(before)).to_be_attached()
    expect(items).to_have_count(count)
    address = page.url
    assert "#rows?" in address
    page.keyboard.press("Escape")
    expect(rows).to_be_hidden()
    expect(link).to_be_focused()
    assert "#" not in page.url
    page.goto(address)
    page.reload()
    expect(items).to_have_count(20)
    expect(page.locator("#dashboard-rest .learned")).to_be_attached()


def test_a_script_is_text_wherever_it_comes_from(context: BrowserContext, server: Redraft) -> None:
    page = ready(opened(context, server))
    expect(page.locator("#dashboard-rest .runs")).to_contain_text(SCRIPT)
    expect(page.locator("#dashboard-rest .guards")).to_contain_text(SCRIPT)
    expect(page.locator("#dashboard-head .legend")).to_contain_text(SCRIPT[:40])
    row = page.locator("#dashboard-shares tr", has_text=SCRIPT[:20]).first
    row.locator("a.n").first.click()
    found = page.get_by_role("dialog", name="The rows behind it").locator("li")
    expect(found).to_have_count(1)
    for place in (".asked", ".answered", ".said"):
        expect(found.locator(place)).to_have_text(SCRIPT)
    expect(found.locator(".tags")).to_contain_text(SCRIPT[:40])
    page.wait_for_timeout(300)
    for part in ("head", "satisfaction", "shares", "volume", "rest"):
        expect(page.locator(f"#dashboard-{part} :is(img, script)")).to_have_count(0)
    assert page.errors == []  # type: ignore[attr-defined]


def test_promote_and_rollback_are_confirmed_and_recorded(
    context: BrowserContext, server: Redraft, ada: dict[str, str]
) -> None:
    assert serving(server, ada) == OLD
    page = ready(opened(context, server))
    row = adapter(page, NEW)
    row.get_by_role("button", name="Promote").click()
    sure = page.get_by_role("dialog", name=f"Put {NEW} into service?")
    expect(sure).to_contain_text(OLD)
    sure.get_by_role("button", name="Cancel").click()
    expect(sure).to_be_hidden()
    assert serving(server, ada) == OLD
    row.get_by_role("button", name="Promote").click()
    confirm(page, f"Put {NEW} into service?", "looks better", "Promote")
    expect(page.locator("#dashboard-rest .notice")).to_have_text(f"{NEW} is in service.")
    expect(page.locator(".adapters tr.serving th")).to_have_text(NEW)
    expect(page.locator("#dashboard-head .facts")).to_contain_text(NEW)
    assert serving(server, ada) == NEW
    page.locator(".adapters tr.serving").get_by_role("button", name="Roll back").click()
    confirm(page, "Roll back?", "no, worse", "Roll back")
    expect(page.locator("#dashboard-rest .notice")).to_contain_text(f"{OLD} is in service.")
    assert serving(server, ada) == OLD
    told = asked(server, ada, f"/v1/adapters/{NEW}/lineage")
    assert "looks better" in str(told) and "no, worse" in str(told)


def test_an_action_that_fails_says_why(
    context: BrowserContext, server: Redraft, ada: dict[str, str]
) -> None:
    page = ready(opened(context, server))
    page.locator(".adapters tr.serving").get_by_role("button", name="Roll back").click()
    confirm(page, "Roll back?", "", "Roll back")
    expect(page.locator("#dashboard-rest .notice")).to_contain_text("base")
    adapter(page, OLD).get_by_role("button", name="Promote").click()
    confirm(page, f"Put {OLD} into service?", "", "Promote")
    expect(page.locator("#dashboard-rest .notice")).to_have_text(f"{OLD} is in service.")
    broken = server.home / "adapters" / NEW / "adapter_config.json"
    kept = broken.read_text()
    broken.unlink()
    adapter(page, NEW).get_by_role("button", name="Promote").click()
    confirm(page, f"Put {NEW} into service?", "", "Promote")
    expect(page.locator("#dashboard-rest .notice.failed")).to_contain_text("adapter_config.json")
    broken.write_text(kept)
    assert serving(server, ada) == OLD


def test_a_run_is_followed_while_it_is_at_work(context: BrowserContext, server: Redraft) -> None:
    page = ready(opened(context, server))
    database = open_database(f"sqlite:///{server.home / 'redraft.db'}")
    with database.session() as session:
        run = runs.claim_run(session, {}).id
    bar = page.get_by_label(f"Progress of {run}")
    for percent in (25.0, 75.0):
        done = {"step": percent, "total": 100, "percent": percent, "eta_s": 90}
        with database.session() as session:
            runs.heartbeat(session, run, "train", done)
        expect(bar).to_have_js_property("value", percent, timeout=30_000)
    expect(page.locator(".runs")).to_contain_text("1:30 left")
    expect(page.locator("#dashboard-head .facts")).to_contain_text(f"{run} is running")
    with database.session() as session:
        runs.finish_run(session, run, "rejected", "not surely better")
    expect(bar).to_be_hidden(timeout=30_000)
    expect(page.locator("#dashboard-head .story")).to_contain_text("not surely better")
    database.close()


def test_what_another_run_learned_and_its_report(context: BrowserContext, server: Redraft) -> None:
    page = ready(opened(context, server))
    page.get_by_role("button", name="r-0001").click()
    section = page.locator("#dashboard-rest .learned")
    expect(section.locator("h2")).to_contain_text("What r-0001 learned")
    frozen = section.locator(".sum a").first
    count = int(frozen.inner_text())
    frozen.click()
    rows = page.get_by_role("dialog", name="The rows behind it")
    expect(rows.locator("li")).to_have_count(min(count, 20))
    expect(rows.locator(".filter")).to_contain_text("r-0001")
    page.keyboard.press("Escape")
    with context.expect_page() as report:
        section.get_by_role("link", name="Whole report").click()
    expect(report.value.locator("h1")).to_have_text(f"{OLD} promoted")


def test_who_is_no_admin_is_refused_and_sees_no_link(
    context: BrowserContext, chromium: Browser, server: Redraft
) -> None:
    stranger = context.new_page()
    stranger.goto(f"{server.page_url}/dashboard")
    expect(stranger).to_have_url(f"{server.page_url}/login")
    page = opened(context, server, "mia")
    refused = page.locator("#dashboard-head .refused")
    expect(refused).to_contain_text("This page is for operators.")
    expect(page.locator("#dashboard-rest .body")).to_be_empty()
    assert NEW not in page.content() and "bob" not in page.content()
    assert context.request.get(f"{server.page_url}/report/r-0001").status == 403
    page.goto(server.page_url)
    expect(page.locator("#sidebar .who span")).to_have_text("mia")
    expect(page.locator("#sidebar .dashboard-link")).to_be_hidden()
    with open_context(chromium) as other:
        page = opened(other, server)
        page.goto(server.page_url)
        page.get_by_role("link", name="Dashboard").click()
        expect(page).to_have_url(f"{server.page_url}/dashboard")
        ready(page)
    assert httpx.get(f"{server.page_url}/report/r-0001", trust_env=False).status_code == 401


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_serious_and_all_fits(
    chromium: Browser, server: Redraft, look: str
) -> None:
    with open_context(chromium, reduced_motion="reduce", **LOOKS[look]) as context:
        page = ready(opened(context, server))
        for summary in page.locator("summary:visible").all():
            summary.click()
        assert serious(page) == []
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= page.viewport_size["width"]  # type: ignore[index]
        page.locator("#dashboard-head .facts a").first.click()
        expect(page.locator("dialog.rows li").first).to_be_visible()
        assert serious(page) == []
        page.keyboard.press("Escape")
        page.locator(".adapters").get_by_role("button", name="Promote").first.click()
        expect(page.locator("dialog.sure")).to_be_visible()
        assert serious(page) == []


def test_chinese_dark_and_other_days_without_a_request_elsewhere(
    chromium: Browser, server: Redraft
) -> None:
    with open_context(chromium, locale="zh-CN") as context:
        elsewhere: list[str] = []
        inside = ("http://127.0.0.1", "data:", "blob:")
        context.on(
            "request", lambda r: None if r.url.startswith(inside) else elsewhere.append(r.url)
        )
        page = ready(opened(context, server))
        expect(page.locator("h1")).to_have_text("仪表盘")
        expect(heading(page, "各适配器的满意度")).to_be_visible()
        text = page.locator("#dashboard-satisfaction svg.marks text").first
        light = text.evaluate("node => getComputedStyle(node).fill")
        page.get_by_role("button", name="浅色或深色").click()
        assert text.evaluate("node => getComputedStyle(node).fill") != light
        page.get_by_role("button", name="English").click()
        expect(heading(page, "Satisfaction by adapter")).to_be_visible()
        page.get_by_role("button", name="365 days").click()
        expect(page.get_by_role("button", name="365 days")).to_have_attribute(
            "aria-pressed", "true"
        )
        soon(lambda: page.locator("#dashboard-satisfaction svg.marks").count() == 1)
        assert elsewhere == [] and page.errors == []  # type: ignore[attr-defined]


def heading(page: Page, name: str) -> Locator:
    return page.get_by_role("heading", name=name)


def test_an_empty_server_says_what_will_be_here(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("empty") / "home"
    with Redraft(home, engine="echo") as server, open_context(chromium) as context:
        server.start("--no-scheduler")
        page = context.new_page()
        page.goto(server.page_url)
        page.get_by_role("link", name="Dashboard").click()
        for told in (
            "Once people rate answers, a curve for each adapter appears here.",
            "Once people pick between two drafts, wins and ties of each adapter appear here.",
            "Ratings, picks and corrections are counted here by day.",
            "No adapter yet: base answers.",
            "No run yet.",
        ):
            expect(page.get_by_text(told)).to_be_visible()
        expect(page.locator("#dashboard-satisfaction svg.marks")).to_have_count(0)
        assert serious(page) == []
