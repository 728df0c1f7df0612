"""API and page behind docker/Caddyfile, run as processes: one HTTP/2 origin, streams unbuffered."""

import http.cookiejar
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ROOT, Redraft, free_port, wait_until
from feedback_databases import fresh_url

from feedback import users
from feedback.database import open_database
from feedback.migrate import migrate

pytestmark = [pytest.mark.slow, pytest.mark.services]
PASSWORD = "correct horse"


@dataclass
class Site:
    """What a browser reaches, and the server behind it."""

    port: int
    server: Redraft

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def curl(self, path: str, *options: str) -> str:
        """What curl says over HTTP/2."""
        command = ["curl", "--silent", "--insecure", "--http2", "--noproxy", "*", *options]
        done = subprocess.run([*command, self.url + path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=False, trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if shutil.which("caddy") is None:
        pytest.skip("Caddy is not installed: apt-get install caddy")
    folder = tmp_path_factory.mktemp("site")
    with fresh_url("postgresql") as url:
        database = open_database(url)
        migrate(database)
        with database.session() as session:
            for name in ("ada", "bob"):
                users.add_user(session, name)
                users.set_password(session, name, PASSWORD)
        database.close()
        # On loopback, where a test may listen; in docker/compose.yaml it is 0.0.0.0.
        server = Redraft(
            folder / "home", engine="echo", login="always", database_url=url, log="json"
        )
        port = free_port()
        with server:
            server.start("--no-page", "--no-scheduler")
            with page_of(server), proxy_of(server, port):
                yield Site(port, server)


@contextmanager
def running(command: list[str], ready: str, log: Path, **options: Any) -> Iterator[None]:
    """A process, from when `ready` answers; ended with the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, **options)
    try:
        wait_until(lambda: answers(ready), 180, log.read_text)
        yield
    finally:
        process.terminate()
        process.wait(20)


def page_of(server: Redraft) -> AbstractContextManager[None]:
    """The page as its container runs it."""
    command = [sys.executable, "-m", "serve.page", "--api", server.url]
    command += ["--host", "127.0.0.1", "--port", str(server.page_port)]
    log = server.home.parent / "page.log"
    return running(command, f"{server.page_url}/login", log, cwd=ROOT)


def proxy_of(server: Redraft, port: int) -> AbstractContextManager[None]:
    """Caddy with docker/Caddyfile; before it only what a test needs: ports, and no trust store."""
    folder = server.home.parent
    told = f"admin off\nskip_install_trust\nauto_https disable_redirects\nhttp_port {free_port()}"
    site = (ROOT / "docker" / "Caddyfile").read_text()
    (folder / "Caddyfile").write_text(f"{{\n{told}\n}}\n{site}")
    environment = {
        **os.environ,
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "SITE": f"localhost:{port}",
        "API": f"127.0.0.1:{server.port}",
        "PAGE": f"127.0.0.1:{server.page_port}",
    }
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    ready = f"https://localhost:{port}/healthz"
    return running(command, ready, folder / "caddy.log", env=environment)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False, verify=False).is_success
    except httpx.HTTPError:
        return False


@contextmanager
def signed_in(site: Site, name: str = "ada") -> Iterator[httpx.Client]:
    with site.browser() as browser:
        answer = browser.post("/login", data={"name": name, "password": PASSWORD})
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), answer.text
        yield browser


def with_token(browser: httpx.Client) -> dict[str, str]:
    return {"X-CSRF-Token": browser.get("/v1/session").json()["csrf_token"]}


def test_page_and_api_are_one_origin_over_http_2(site: Site) -> None:
    shown = "%{http_version} %{http_code}"
    for path, status in (("/healthz", 200), ("/login", 200), ("/", 303), ("/v1/models", 401)):
        told = site.curl(path, "--output", "/dev/null", "--write-out", shown)
        assert told == f"2 {status}", path
    headers = site.curl("/login", "--head").lower()
    assert "strict-transport-security" in headers and "x-frame-options: deny" in headers


def test_what_is_for_operators_is_not_outside(site: Site) -> None:
    with site.browser() as browser:
        assert [browser.get(path).status_code for path in ("/metrics", "/readyz")] == [404, 404]
    assert site.server.http.get("/readyz").json()["status"] == "ready"


def test_a_sign_in_on_the_page_is_one_at_the_api(site: Site) -> None:
    with signed_in(site) as browser:
        [cookie] = browser.cookies.jar
        assert isinstance(cookie, http.cookiejar.Cookie)
        assert cookie.secure and cookie.has_nonstandard_attr("HttpOnly")
        assert browser.get("/v1/session").json()["user"]["name"] == "ada"
        assert browser.get("/").status_code == 200
        body = {"model": "redraft", "messages": [{"role": "user", "content": "hi"}]}
        refused = browser.post("/v1/chat/completions", json=body)
        assert refused.json()["error"]["code"] == "csrf_token_missing"
        token = with_token(browser)
        assert browser.post("/v1/chat/completions", json=body, headers=token).is_success
        out = browser.post("/logout", headers={"Origin": site.url})
        assert out.headers["location"] == "/login"
        assert browser.get("/v1/session").status_code == 401


def test_a_foreign_origin_is_refused_by_both(site: Site) -> None:
    evil = {"Origin": "https://evil.test"}
    with site.browser() as browser:
        given = {"name": "ada", "password": PASSWORD}
        assert browser.post("/login", data=given, headers=evil).status_code == 403
        assert browser.post("/v1/session", json=given, headers=evil).status_code == 403
        ours = browser.post("/v1/session", json=given, headers={"Origin": site.url})
        assert ours.status_code == 200 and "Secure" in ours.headers["set-cookie"]


def test_a_stream_arrives_while_it_is_written(site: Site) -> None:
    text = "/slow 0.05 " + "word " * 600
    said = [{"role": "user", "content": text}]
    body: dict[str, Any] = {"model": "redraft", "messages": said, "stream": True}
    with signed_in(site) as browser:
        token = with_token(browser)
        with browser.stream("POST", "/v1/chat/completions", json=body, headers=token) as answer:
            lines = answer.iter_lines()
            first = json.loads(next(lines).removeprefix("data: "))["redraft"]
            words = [line for line in (next(lines) for _ in range(8)) if line]
            path = f"/v1/conversations/{first['conversation_id']}"
            # Text is here and nothing is recorded yet: the engine has half a minute to write.
            assert words and browser.get(path).json()["turns"][0]["completions"] == []

        def reason() -> str | None:
            drafts = browser.get(path).json()["turns"][0]["completions"]
            return drafts[0]["finish_reason"] if drafts else None

        wait_until(lambda: reason() is not None, 20)
        assert reason() == "cancelled"  # the proxy told the API that the reader had left


def test_the_client_is_the_browser_and_not_the_proxy(site: Site) -> None:
    """A forged address does not get past a lockout; neither does one address lock out another's."""
    wrong = {"name": "bob", "password": "wrong password"}
    with site.browser() as browser:
        for at in range(5):
            forged = {"X-Forwarded-For": f"192.0.2.{at}"}
            answer = browser.post("/v1/session", json=wrong, headers=forged)
            assert answer.status_code == 401
        locked = browser.post("/v1/session", json={"name": "bob", "password": PASSWORD})
        assert locked.status_code == 429 and int(locked.headers["retry-after"]) > 0
        page = browser.post("/login", data={"name": "bob", "password": PASSWORD})
        assert page.status_code == 429 and "Too many failed sign-ins" in page.text


def test_a_request_keeps_its_id_on_the_way(site: Site) -> None:
    with site.browser() as browser:
        answer = browser.get("/v1/models", headers={"X-Request-Id": "from-outside"})
    assert answer.headers["x-request-id"] == "from-outside"
    log = site.server.log
    wait_until(lambda: bool(re.search(r'"request_id": "from-outside"', log.read_text())), 10)


def test_a_body_over_the_limit_and_a_header_bomb_end_at_the_door(site: Site) -> None:
    with site.browser() as browser:
        large = browser.post("/v1/session", content=b"x" * 25_000_000)
        assert large.status_code in (413, 502)  # 502 from a Caddy before 2.7
        assert large.content
        assert browser.get("/v1/models", headers={"X-Bomb": "x" * 60_000}).status_code == 431
        assert browser.get("/healthz").status_code == 200
