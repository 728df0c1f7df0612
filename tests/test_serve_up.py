"""`redraft up` as a process: what it starts, what it survives, what it refuses."""

import contextlib
import json
import os
import pty
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from conftest import ROOT, Redraft, wait_until

from feedback import passwords, users
from feedback.database import open_database

Make = Callable[..., Redraft]
ALONE = ("--no-page", "--no-scheduler")


def api_process(server: Redraft) -> psutil.Process:
    assert server.process is not None
    children = psutil.Process(server.process.pid).children(recursive=True)
    return next(child for child in children if "serve.api" in child.cmdline())


def refusal(server: Redraft, *options: str) -> str:
    done = server.command("up", *options, seconds=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_openai_client_chats_and_one_interrupt_stops_everything(make_redraft: Make) -> None:
    server = make_redraft(engine="echo").start(*ALONE)
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="any")
    whole = client.chat.completions.create(
        model="smollm2-135m", messages=[{"role": "user", "content": "hi"}], n=2
    )
    assert whole.choices[1].message.content == "You said: hi (draft 1)"
    parts = client.chat.completions.create(
        model="smollm2-135m", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    assert "".join(p.choices[0].delta.content or "" for p in parts) == "You said: hi"
    client.close()
    child = api_process(server)
    server.stop()
    assert not child.is_running()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0


@pytest.mark.parametrize("streamed", [True, False])
def test_a_closed_client_ends_its_generation(make_redraft: Make, streamed: bool) -> None:
    server = make_redraft(engine="echo").start(*ALONE)
    body = {
        "model": "redraft",
        "messages": [{"role": "user", "content": "/slow 0.05 " + "word " * 400}],
        "stream": streamed,
    }

    def listed() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = server.http.get("/v1/conversations").json()["data"]
        return found

    def state() -> str | None:
        turns = server.http.get(f"/v1/conversations/{listed()[0]['id']}").json()["turns"]
        drafts = turns[0]["completions"] if turns else []
        return drafts[0]["finish_reason"] if drafts else None

    data = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    form = f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall((head + form).encode() + data)
        wait_until(lambda: bool(listed()), 30)
        if streamed:
            assert b"200" in client.recv(99)  # in the middle of its answer
    wait_until(lambda: state() == "cancelled", 15)  # written to its end it would take 20 s


@pytest.mark.slow
def test_killed_during_writes_every_acknowledged_row_is_there(make_redraft: Make) -> None:
    server = make_redraft(engine="echo").start(*ALONE)
    completion = server.ask("rate me")["redraft"]["completion_ids"][0]
    acknowledged: list[str] = []
    stop = threading.Event()

    def write() -> None:
        with httpx.Client(base_url=server.url, trust_env=False) as http:
            while not stop.is_set():
                body = {
                    "kind": "correction",
                    "completion_id": completion,
                    "text": os.urandom(8).hex(),
                }
                try:
                    answer = http.post("/v1/feedback", json=body)
                except httpx.HTTPError:
                    continue
                if answer.status_code == 201:
                    acknowledged.append(answer.json()["id"])

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for _ in range(3):  # each time it comes back by itself
        wanted = len(acknowledged) + 30
        wait_until(lambda wanted=wanted: len(acknowledged) > wanted, 60)
        api_process(server).kill()
    wanted = len(acknowledged)
    wait_until(lambda: len(acknowledged) > wanted, 60)
    stop.set()
    for writer in writers:
        writer.join()
    server.stop()
    with sqlite3.connect(server.home / "redraft.db") as database:
        stored = {row[0] for row in database.execute("select id from feedback")}
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]
    database.close()
    assert set(acknowledged) <= stored


def test_a_port_in_use_is_named(make_redraft: Make) -> None:
    server = make_redraft(engine="echo")
    with socket.socket() as other:
        other.bind(("127.0.0.1", server.port))
        other.listen()
        said = refusal(server)
    assert f"Port {server.port} on 127.0.0.1" in said and "REDRAFT_PORT" in said


def test_a_home_that_cannot_be_written_is_named(make_redraft: Make, tmp_path: Path) -> None:
    for home in (Path("/proc/redraft"), tmp_path / "file" / "home"):
        (tmp_path / "file").touch()
        said = refusal(make_redraft(home, engine="echo"))
        assert f"REDRAFT_HOME {home} cannot be written" in said


def test_a_database_from_a_newer_version_is_left_alone(make_redraft: Make) -> None:
    server = make_redraft(engine="echo")
    assert server.command("db", "migrate").returncode == 0
    path = server.home / "redraft.db"
    with sqlite3.connect(path) as database:
        database.execute("update alembic_version set version_num = '9999'")
    database.close()
    said = refusal(server)
    assert "9999" in said and "later version" in said
    assert "9999" in server.command("db", "check").stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"port": 99999}, "REDRAFT_PORT"),
        ({"engine": "gpt"}, "REDRAFT_ENGINE"),
        ({"temperature": "hot"}, "REDRAFT_TEMPERATURE is 'hot'"),
        ({"database_url": "oracle://x"}, "sqlite:///PATH"),
        ({"database_url": "sqlite:////no/such/folder/x.db"}, "/no/such/folder"),
        ({"host": "0.0.0.0"}, "redraft user add"),
    ],
)
def test_bad_settings_are_refused_by_name(
    make_redraft: Make, settings: dict[str, Any], words: str
) -> None:
    assert words in refusal(make_redraft(**{"engine": "echo", **settings}))


@pytest.mark.slow
def test_an_unknown_model_is_named(make_redraft: Make) -> None:
    said = refusal(make_redraft(engine="transformers", model="/no/such/model"), *ALONE)
    assert "/no/such/model" in said and "did not start" in said


@pytest.mark.slow
def test_people_and_keys(make_redraft: Make) -> None:
    server = make_redraft(engine="echo")
    assert server.command("user", "add", "ada", "--role", "reviewer").returncode == 0
    assert "Choose another name" in server.command("user", "add", "ada").stderr
    assert server.command("user", "role", "ada", "admin").returncode == 0
    listed = server.command("user", "list").stdout
    assert "ada\tadmin" in listed
    key = server.command("key", "new", "--user", "bob").stdout
    assert key.startswith("rd-") and key.count("\n") == 1
    assert "bob\tuser" in server.command("user", "list").stdout
    id = server.command("key", "list").stdout.partition("\t")[0]
    assert server.command("key", "revoke", id).returncode == 0
    assert server.command("key", "list").stdout == ""


@pytest.mark.slow
def test_a_password_is_made_where_nobody_can_type_one(make_redraft: Make) -> None:
    server = make_redraft(engine="echo")
    made = server.command("user", "add", "ada", "--role", "admin").stdout
    again = server.command("user", "password", "ada", "--generate").stdout
    shown = [text.rpartition(": ")[2].strip() for text in (made, again)]
    assert made.startswith("ada (admin)\n") and shown[0] != shown[1]
    database = open_database(f"sqlite:///{server.home / 'redraft.db'}")
    with database.reading() as session:
        kept = users.known_user(session, "ada").password
    database.close()
    assert [passwords.fits(password, kept) for password in shown] == [False, True]
    assert "no user eve" in server.command("user", "password", "eve").stderr


@pytest.mark.slow
def test_a_typed_password_is_asked_for_until_it_is_long_enough(make_redraft: Make) -> None:
    server = make_redraft(engine="echo")
    command = [sys.executable, "-m", "serve.cli", "user", "add", "ada"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, env=server.environment, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = b""
    for line in (b"short", b"short", b"correct horse", b"correct horse"):
        asked = len(said)
        while not said[asked:].rstrip().endswith((b"ada:", b"again:")):
            said += os.read(ours, 1000)
        os.write(ours, line + b"\n")
    with contextlib.suppress(OSError):  # how a terminal ends
        while part := os.read(ours, 1000):
            said += part
    os.close(ours)
    assert process.wait(60) == 0
    assert b"10 to 200 characters" in said and b"ada (user)" in said
    assert b"shown once" not in said


def test_doctor_lists_what_is_missing(make_redraft: Make) -> None:
    server = make_redraft(engine="echo")
    before = server.command("doctor")
    assert before.returncode == 1 and "redraft db migrate" in before.stdout
    server.command("db", "migrate")
    after = server.command("doctor")
    assert after.returncode == 0 and "amiss " not in after.stdout, after.stdout


def test_a_supervisor_that_is_killed_leaves_no_orphans(make_redraft: Make) -> None:
    server = make_redraft(engine="echo").start(*ALONE)
    child = api_process(server)
    assert server.process is not None
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    child.wait(20)
    assert not child.is_running()


def test_help_is_fast_and_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import json, sys\n"
        "from serve.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(json.dumps([m for m in ('torch', 'gradio', 'transformers', 'sqlalchemy', 'flask')"
        " if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "retrain" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.slow
def test_a_run_is_started_over_http(make_redraft: Make) -> None:
    server = make_redraft(engine="echo").start(*ALONE)
    begun = server.http.post("/v1/runs")
    assert begun.status_code == 202, begun.text
    id = begun.json()["id"]
    wait_until(lambda: server.http.get(f"/v1/runs/{id}").json()["state"] == "refused", 60)
    assert "no weights to train" in server.http.get("/v1/runs").json()["data"][0]["message"]
    assert server.http.get("/v1/runs/r-9999").status_code == 404
