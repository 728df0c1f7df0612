"""`redraft adapters` without a server and with one."""

from collections.abc import Callable
from pathlib import Path

from conftest import Redraft

from feedback import adapters
from feedback.database import open_database


def register(server: Redraft, name: str, folder: Path) -> None:
    database = open_database(f"sqlite:///{server.home / 'redraft.db'}")
    with database.session() as session:
        adapters.register_adapter(
            session, name=name, base_model="smollm2-135m", path=str(folder), digest="0" * 64
        )
    database.close()


def test_the_registry_without_a_server_and_with_one(
    make_redraft: Callable[..., Redraft], tiny_adapter: Path
) -> None:
    server = make_redraft(engine="echo")
    assert server.command("db", "migrate").returncode == 0
    assert "No adapters yet" in server.command("adapters", "list").stdout
    for name in ("a-0001-aaaaaa", "a-0002-bbbbbb"):
        register(server, name, tiny_adapter)
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
