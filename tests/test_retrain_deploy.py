"""Into service through the running server, or through the record when none runs."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import free_port

from feedback import adapters
from feedback.database import Database, open_database
from feedback.migrate import migrate
from feedback.tables import Deployment
from retrain import deploy, steps
from retrain.manifest import seal
from retrain.work import Work
from serve.settings import Settings

NAME, OTHER = "a-0001-abcdef", "a-0000-abcdef"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = open_database(f"sqlite:///{tmp_path / 'redraft.db'}")
    migrate(found)
    with found.session() as session:
        adapters.register_adapter(
            session, name=NAME, base_model="m", path=str(tmp_path), digest="d"
        )
    yield found
    found.close()


class Api:
    """A server that gives the answers it was told to give, in order."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.seen: list[str] = []
        queue = list(answers)
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                api.seen.append(self.path)
                status, body = queue.pop(0)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.settings = Settings(port=self.server.server_port)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def champion(database: Database) -> str | None:
    with database.reading() as session:
        found = adapters.champion(session)
    return found.name if found else None


def promote(settings: Settings, database: Database) -> str:
    return deploy.deploy(settings, database, NAME, "base", "better", sleep=lambda _: None)


def test_a_running_server_is_asked(database: Database) -> None:
    with Api((200, "{}")) as api:
        assert promote(api.settings, database) == f"{NAME} serves now"
    assert api.seen == [f"/v1/adapters/{NAME}/promote"]


def test_with_a_share_the_candidate_is_canary_first(database: Database) -> None:
    with Api((200, "{}")) as api:
        settings = api.settings.model_copy(update={"canary_share": 0.1})
        said = promote(settings, database)
    assert said == f"{NAME} answers 10 % of new conversations as canary"
    assert api.seen == [f"/v1/adapters/{NAME}/canary"]
    offline = Settings(port=free_port(), canary_share=0.1)
    assert promote(offline, database).endswith("takes effect at the next start")
    assert promote(offline, database) == f"{NAME} is canary"
    with database.reading() as session:
        canary = adapters.canary(session)
    assert canary and (canary.name, canary.share) == (NAME, 0.1)


def test_what_was_taken_out_meanwhile_is_not_put_back(database: Database) -> None:
    """A run that goes on after a crash at the end of its last step."""
    offline = Settings(port=free_port(), canary_share=0.1)
    promote(offline, database)
    deploy.retire(offline, database, NAME, "worse", {"e_value": 21.0}, sleep=lambda _: None)
    assert promote(offline, database) == f"{NAME} is retired"
    with database.reading() as session:
        assert adapters.canary(session) is None


def test_a_server_that_starts_again_is_waited_for(database: Database) -> None:
    with Api((503, ""), (502, "x"), (200, "{}")) as api:
        promote(api.settings, database)
    assert len(api.seen) == 3


def test_what_the_server_says_against_it_is_passed_on(database: Database) -> None:
    body = json.dumps({"error": {"message": "It does not answer differently from the base."}})
    with Api((409, body)) as api, pytest.raises(deploy.DeployError) as caught:
        promote(api.settings, database)
    said = str(caught.value)
    assert f"did not promote {NAME}: It does not answer differently from the base." in said
    assert "What served before still serves" in said
    assert champion(database) is None


def test_without_a_server_the_next_start_serves_it(database: Database) -> None:
    said = promote(Settings(port=free_port()), database)
    assert said.endswith(f"{NAME} takes effect at the next start")
    assert champion(database) == NAME
    assert promote(Settings(port=free_port()), database) == f"{NAME} is champion"


def test_a_rejected_candidate_never_serves(database: Database) -> None:
    deploy.reject(database, NAME, "worse")
    deploy.reject(database, NAME, "worse")
    with pytest.raises(Exception, match="was rejected and never serves"):
        promote(Settings(port=free_port()), database)
    assert champion(database) is None


def judged(
    settings: Settings, database: Database, home: Path, champion: str, promote: bool = True
) -> tuple[Work, Path]:
    """A run whose gate has decided, and the folder of its last step."""
    own = settings.model_copy(update={"home": home})
    work = Work(own, database, "r-0001", {}, None)  # type: ignore[arg-type]
    for step in ("gate", "deploy"):
        (work.folder / step).mkdir(parents=True)
    names = {"candidate": NAME, "champion": champion}
    seal(work.folder / "gate", {**names, "promote": promote, "reasons": [], "story": "Better"})
    return work, work.folder / "deploy"


def rolled_back_to(database: Database, name: str) -> None:
    with database.session() as session:
        adapters.register_adapter(session, name=name, base_model="m", path="x", digest="d")
        adapters.set_champion(session, name, "ada", "by hand")


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_verdict_against_an_earlier_champion_deploys_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    monkeypatch.setattr(deploy, "KNOCKS", 1)
    rolled_back_to(database, OTHER)
    offline = Settings(port=free_port(), canary_share=share)
    work, folder = judged(offline, database, tmp_path, "a-0009-abcdef")
    for _ in range(2):  # a run that is killed behind it comes here again
        done = steps.settle(work, folder)
        assert done["state"] == "rejected"
        why = f"was judged against a-0009-abcdef, but {OTHER} serves now. Run again"
        assert done["message"].startswith("Better; not deployed: ") and why in done["message"]
    assert champion(database) == OTHER
    with database.reading() as session:
        assert adapters.get_adapter(session, NAME).state == "rejected"
        events = session.scalars(sa.select(Deployment).where(Deployment.adapter == NAME)).all()
    assert [event.action for event in events] == ["reject"] and why in events[0].reason


def test_what_a_server_that_serves_another_champion_says_rejects_the_candidate(
    database: Database, tmp_path: Path
) -> None:
    body = json.dumps({"error": {"message": "Run again.", "code": "champion_changed"}})
    with Api((409, body)) as api:
        done = steps.settle(*judged(api.settings, database, tmp_path, "base"))
    assert done == {"state": "rejected", "message": "Better; not deployed: Run again."}
    with database.reading() as session:
        assert adapters.get_adapter(session, NAME).state == "rejected"


def test_a_run_killed_behind_its_promotion_ends_as_promoted(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "KNOCKS", 1)
    work, folder = judged(Settings(port=free_port()), database, tmp_path, "base")
    assert [steps.settle(work, folder)["state"] for _ in range(2)] == ["promoted"] * 2
    assert champion(database) == NAME
