"""The page of a server that asks for a login, in Chromium: in, out, and never as somebody else."""

from collections.abc import Iterator

import httpx
import pytest
from browser_page import answers, ask, open_context
from conftest import Redraft
from playwright.sync_api import Browser, BrowserContext, Page, expect

from feedback import sessions, users
from feedback.database import open_database
from feedback.migrate import migrate
from feedback.tables import LoginSession

pytestmark = pytest.mark.browser
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redraft]:
    home = tmp_path_factory.mktemp("login") / "home"
    running = Redraft(home, engine="echo", login="always", login_failures=3)
    home.mkdir()
    database = open_database(f"sqlite:///{home / 'redraft.db'}")
    migrate(database)
    with database.session() as session:
        for name, role in (("ada", "admin"), ("bob", "user"), ("eve", "user")):
            users.add_user(session, name, role)
            users.set_password(session, name, PASSWORD)
    database.close()
    running.start("--no-scheduler")
    yield running
    running.stop()
    running.http.close()


def sign_in(context: BrowserContext, server: Redraft, name: str, word: str = PASSWORD) -> Page:
    page = context.new_page()
    page.goto(server.page_url)
    expect(page).to_have_url(f"{server.page_url}/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(word)
    page.get_by_role("button", name="Sign in").click()
    return page


def test_two_people_in_two_browsers_see_their_own_alone(
    context: BrowserContext, chromium: Browser, server: Redraft
) -> None:
    ada = sign_in(context, server, "ada")
    expect(ada.locator(".who span")).to_have_text("ada · admin")
    ask(ada, "secret of ada")
    expect(ada.locator(".answer .md")).to_have_text("You said: secret of ada")
    with open_context(chromium) as other:
        bob = sign_in(other, server, "bob")
        expect(bob.locator(".who span")).to_have_text("bob")
        expect(bob.locator(".list")).to_contain_text("Your conversations will be here.")
        file = f"{server.page_url}/export/{ada.url.partition('#')[2]}.json"
        assert other.request.get(file).status == 404
        assert context.request.get(file).json()["turns"][0]["query"] == "secret of ada"
        bob.goto(f"{server.page_url}/#{ada.url.partition('#')[2]}")
        bob.reload()
        expect(bob.locator(".notice")).to_have_text("This conversation is gone.")
        assert "secret of ada" not in bob.content()
        ask(bob, "secret of bob")
    ada.reload()
    expect(ada.locator(".list")).to_contain_text("secret of ada")
    assert "secret of bob" not in ada.content()


def test_signing_out_ends_the_session_for_every_tab(
    context: BrowserContext, server: Redraft
) -> None:
    first = sign_in(context, server, "ada")
    expect(first.locator(".who span")).to_have_text("ada · admin")
    second = context.new_page()
    second.goto(server.page_url)
    expect(second.locator(".who span")).to_have_text("ada · admin")
    [cookie] = [c for c in context.cookies() if c["name"] == "redraft_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    second.get_by_role("button", name="Sign out").click()
    expect(second).to_have_url(f"{server.page_url}/login")
    assert "redraft_session" not in [c["name"] for c in context.cookies()]
    stolen = {"Authorization": f"Bearer {cookie['value']}"}
    assert server.http.get("/v1/conversations", headers=stolen).status_code == 401
    first.get_by_label("Message").fill("still me?")
    first.get_by_label("Message").press("Enter")
    expect(first).to_have_url(f"{server.page_url}/login")


def test_an_expired_session_leads_to_the_form_and_the_words_are_kept(
    context: BrowserContext, server: Redraft
) -> None:
    page = sign_in(context, server, "ada")
    ask(page, "before")
    address = page.url
    database = open_database(f"sqlite:///{server.home / 'redraft.db'}")
    with database.session() as session:
        for row in session.query(LoginSession):
            session.delete(row)
    database.close()
    page.get_by_label("Message").fill("typed for a long time")
    page.get_by_label("Message").press("Enter")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".who span")).to_have_text("ada · admin")
    page.goto(address)
    expect(page.get_by_label("Message")).to_have_value("typed for a long time")


def test_wrong_words_are_told_and_then_locked_out(context: BrowserContext, server: Redraft) -> None:
    page = sign_in(context, server, "eve", "wrong password")
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    expect(page.get_by_label("Name")).to_have_value("eve")
    for _ in range(2):
        page.get_by_label("Password").fill("wrong password")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Too many failed sign-ins. Try again in 15")


def test_the_form_takes_no_orders_from_another_site(server: Redraft) -> None:
    form = {"name": "ada", "password": PASSWORD}
    with httpx.Client(base_url=server.page_url, trust_env=False) as http:
        for path in ("/login", "/logout", "/gradio_api/queue/join"):
            foreign = http.post(path, data=form, headers={"Origin": "https://evil.test"})
            assert foreign.status_code == 403
        for path in ("/gradio_api/upload", "/gradio_api/upload_progress"):
            assert http.post(path, files={"files": b"x"}).text == "No files are taken here."
        long = http.post("/login", data={**form, "more": "x" * 20_000})
        assert long.status_code == 413 and "set-cookie" not in long.headers
        script = http.post("/login", data={"name": '"><script>', "password": "x"})
        assert script.status_code == 401 and "<script>" not in script.text
        signed = http.post("/login", data=form)
        assert signed.status_code == 303 and signed.headers["location"] == "/"
        assert http.get("/login").headers["location"] == "/"
    assert answers(f"{server.page_url}/login")
    assert sessions.PREFIX in signed.headers["set-cookie"]
