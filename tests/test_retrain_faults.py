"""What a run does when the machine under it fails: the database goes away, the disk is full."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from conftest import ROOT, free_port, wait_until
from feedback_databases import fresh_url
from retrain_rows import record_corrections

from feedback import adapters, runs
from feedback.database import Database, open_database
from feedback.errors import DatabaseUnavailable
from feedback.migrate import migrate
from feedback.tables import Run
from retrain.patience import patiently
from retrain.start import environment
from serve.settings import Settings

RECIPE = {"stages": [{"trainer": "sft", "epochs": 1.0}]}


def make_settings(home: Path, model: Path, url: str) -> Settings:
    return Settings(
        home=home, database_url=url, model=str(model), engine="transformers", port=free_port()
    )


def begin(
    settings: Settings,
    database: Database,
    recipe: dict[str, Any] = RECIPE,
    under: Sequence[str] = (),
) -> "subprocess.Popen[str]":
    """A run on 28 corrections, in a process of its own."""
    record_corrections(database, settings.model, 20, heldout=8)
    with database.session() as session:
        run_id = runs.claim_run(session, recipe).id
    return subprocess.Popen(
        [*under, sys.executable, "-m", "retrain.loop", run_id],
        env=os.environ | environment(settings),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def newest(database: Database) -> Run:
    with database.reading() as session:
        return runs.list_runs(session, 1)[0]


@pytest.mark.services
@pytest.mark.slow
def test_a_run_outlives_its_database_being_away(tmp_path: Path, tiny_model: Path) -> None:
    with fresh_url("postgresql") as url:
        database = open_database(url)
        migrate(database)
        settings = make_settings(tmp_path, tiny_model, url)
        process = begin(settings, database)
        heard: list[str] = []
        assert process.stdout is not None
        reader = threading.Thread(target=heard.extend, args=[process.stdout])
        reader.start()
        wait_until(lambda: newest(database).step == "train", 120, lambda: "".join(heard))
        _shut(url, True)
        wait_until(lambda: "Trying again in 5 s" in "".join(heard), 120, lambda: "".join(heard))
        _shut(url, False)
        assert process.wait(200) == 0, "".join(heard)
        reader.join()
        process.stdout.close()
        run = newest(database)
        database.close()
    assert run.state in ("promoted", "rejected"), run.message


def _shut(url: str, shut: bool) -> None:
    """Let nobody into a PostgreSQL database and throw everybody out, or let them in again."""
    name = sa.make_url(url).database
    server = open_database(
        sa.make_url(url).set(database="postgres").render_as_string(hide_password=False)
    )
    with server.bind.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {not shut}"))
        if shut:
            connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :n"
                ),
                {"n": name},
            )
    server.close()


def test_who_waits_in_vain_says_so() -> None:
    tried = []

    def fail() -> None:
        tried.append(1)
        raise DatabaseUnavailable("Gone.")

    with pytest.raises(DatabaseUnavailable, match="Gone"):
        patiently(fail, [0.0, 0.0])
    assert len(tried) == 3


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_leaves_no_half_adapter(
    tmp_path: Path, tiny_model: Path, database: Database
) -> None:
    settings = make_settings(tmp_path, tiny_model, str(database.bind.url))
    # A file may have 6 MB: enough for the record, too little for the weights of this rank.
    limited = ["bash", "-c", 'ulimit -f 6144; exec "$@"', "limited"]
    wide = {"stages": [{"trainer": "sft", "epochs": 1.0, "rank": 2048}]}
    process = begin(settings, database, wide, limited)
    told, _ = process.communicate(timeout=200)
    run = newest(database)
    assert run.state == "failed", told
    assert "File too large" in run.message and "log.txt" in run.message
    with database.reading() as session:
        assert adapters.list_adapters(session) == []
    assert [path for path in (tmp_path / "adapters").glob("*") if path.name[0] != "."] == []
