"""`redraft adapters` without a server and with one."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Redraft

from feedback import adapters
from feedback.database import open_database
from feedback.migrate import migrate
from serve.cli import main

TRICKS = ("../../etc", "..", ".", "a/../rollback", "rollback?x=", "rollback#", "%2e%2e", "", "a\0b")


def register(home: Path, name: str, folder: Path, base_model: str = "smollm2-135m") -> None:
    database = open_database(f"sqlite:///{home / 'redraft.db'}")
    migrate(database)
    with database.session() as session:
        adapters.register_adapter(
            session, name=name, base_model=base_model, path=str(folder), digest="0" * 64
        )
    database.close()


@pytest.mark.slow
def test_the_registry_without_a_server_and_with_one(
    make_redraft: Callable[..., Redraft], tiny_adapter: Path
) -> None:
    server = make_redraft(engine="echo")
    assert server.command("db", "migrate").returncode == 0
    assert "No adapters yet" in server.command("adapters", "list").stdout
    for name in ("a-0001-aaaaaa", "a-0002-bbbbbb"):
        register(server.home, name, tiny_adapter)
    offline = server.command("adapters", "promote", "a-0001-aaaaaa")
    assert "a-0001-aaaaaa serves from the next start (before: base)" in offline.stdout
    server.start("--no-page", "--no-scheduler")
    assert server.ask("who")["redraft"]["adapter"] == "a-0001-aaaaaa"
    online = server.command("adapters", "promote", "a-0002-bbbbbb", "--reason", "try it")
    assert "a-0002-bbbbbb serves now (before: a-0001-aaaaaa)" in online.stdout
    assert "* a-0002-bbbbbb  champion" in server.command("adapters", "list").stdout
    assert "a-0001-aaaaaa serves now" in server.command("adapters", "rollback").stdout
    assert server.ask("who")["redraft"]["adapter"] == "a-0001-aaaaaa"
    assert '"parent": null' in server.command("adapters", "lineage", "a-0001-aaaaaa").stdout
    out = server.command("adapters", "canary", "a-0002-bbbbbb", "--share", "0.25").stdout
    assert "a-0002-bbbbbb answers 25 % of new conversations beside a-0001-aaaaaa" in out
    listed = server.command("adapters", "list").stdout
    assert "+ a-0002-bbbbbb  canary" in listed and "* a-0001-aaaaaa  champion" in listed
    assert "25 % of new conversations; 0 of 0 votes good" in listed
    back = server.command("adapters", "rollback").stdout
    assert "a-0001-aaaaaa serves now (taken back: a-0002-bbbbbb)" in back
    unknown = server.command("adapters", "promote", "a-9999-zzzzzz")
    assert unknown.returncode == 1 and "a-9999-zzzzzz" in unknown.stderr
    sneaky = server.command("adapters", "promote", "../../etc")
    assert sneaky.returncode == 1 and "Traceback" not in sneaky.stderr


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_adapter: Path) -> Path:
    """A home with an adapter of the built-in model and one of another; no server runs."""
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    monkeypatch.setenv("REDRAFT_ENGINE", "echo")
    register(tmp_path, "a-0001-aaaaaa", tiny_adapter)
    register(tmp_path, "a-0002-bbbbbb", tiny_adapter, base_model="another-model")
    return tmp_path


@pytest.mark.parametrize("command", ["promote", "canary", "lineage"])
def test_a_name_is_looked_up_and_never_sent_or_opened(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        monkeypatch.setenv("REDRAFT_PORT", str(server.getsockname()[1]))
        for trick in TRICKS:
            with pytest.raises(SystemExit) as ended:
                main(["adapters", command, "--", trick])
            assert ended.value.code == 1
            assert "There is no adapter" in capsys.readouterr().err
        with pytest.raises(BlockingIOError):
            server.accept()  # nothing was sent


@pytest.mark.parametrize("command", [["promote"], ["canary", "--share", "0.5"]])
def test_an_adapter_of_another_base_model_is_not_for_the_next_start(
    home: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["adapters", *command, "a-0002-bbbbbb"])
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert "was trained on another-model; this engine serves smollm2-135m" in told
    database = open_database(f"sqlite:///{home / 'redraft.db'}")
    with database.reading() as session:
        assert adapters.get_adapter(session, "a-0002-bbbbbb").state == "candidate"
    database.close()
