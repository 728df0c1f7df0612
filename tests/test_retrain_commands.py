"""`redraft retrain` as people and scripts use it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, wait_until
from corpus_dataset import make_corpus
from retrain_rows import record_corrections

from feedback import runs
from feedback.database import Database
from retrain.manifest import read_rows
from retrain.start import environment
from retrain.watch import where
from serve.settings import Settings

RETRAIN = [sys.executable, "-m", "serve.cli", "retrain"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    url = f"sqlite:///{tmp_path / 'redraft.db'}"
    return Settings(home=tmp_path, database_url=url, engine="echo")


def retrain(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | environment(settings)
    command = [*RETRAIN, *arguments]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_refusal_has_its_own_exit_code_and_says_why(settings: Settings) -> None:
    done = retrain(settings, "now")
    assert done.returncode == 4, done.stderr
    assert "r-0001" in done.stdout and "Engine echo repeats" in done.stdout
    listed = retrain(settings, "status", "--json")
    (run,) = map(json.loads, listed.stdout.splitlines())
    assert (run["id"], run["state"]) == ("r-0001", "refused")
    assert retrain(settings, "resume").stderr.startswith("No run was interrupted")


@pytest.mark.slow
def test_the_report_of_the_newest_run_that_was_judged_is_found(
    settings: Settings, database: Database
) -> None:
    assert "No run was judged yet." in retrain(settings, "report").stderr
    for message in ("better", "worse"):
        with database.session() as session:
            run_id = runs.claim_run(session, {}).id
        with database.session() as session:
            runs.finish_run(session, run_id, "refused", message)
    for run_id in ("r-0001", "r-0002"):
        missing = retrain(settings, "report", run_id)
        assert missing.returncode == 1 and f"Run {run_id} has no report" in missing.stderr
    page = settings.home / "runs" / "r-0001" / "gate" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("a page")
    for asked in ((), ("r-0001",)):
        assert retrain(settings, "report", *asked).stdout == f"{page}\n"
    assert "r-0009" in retrain(settings, "report", "r-0009").stderr


@pytest.mark.slow
def test_what_waits_in_quarantine_is_shown(settings: Settings, database: Database) -> None:
    record_corrections(database, "m", 4, user="mallory", role="user")
    refused = retrain(settings.model_copy(update={"engine": "transformers"}), "now")
    assert refused.returncode == 4, refused.stderr
    reason = "4 of 2 users that it takes only 1 gave feedback"
    assert f"4 more rows wait in quarantine ({reason})" in refused.stdout
    file = settings.home / "runs" / "r-0001" / "curate" / "quarantine.jsonl"
    assert f"In quarantine 4 rows ({reason}): {file}" in retrain(settings, "status").stdout
    listed = json.loads(retrain(settings, "status", "--json").stdout)
    assert listed["quarantine"] == {reason[2:]: 4}
    held = read_rows(file)
    assert [one["row"]["kind"] for one in held] == ["correction"] * 4
    assert {one["step"] for one in held} == {"min_users"}


@pytest.mark.slow
def test_json_is_one_line(settings: Settings) -> None:
    done = retrain(settings, "now", "--json")
    assert json.loads(done.stdout)["state"] == "refused"
    assert done.stderr == ""


def test_without_waiting_the_id_is_printed(settings: Settings, database: Database) -> None:
    done = retrain(settings, "now", "--no-wait")
    assert (done.returncode, done.stdout) == (0, "r-0001\n")

    def ended() -> bool:
        with database.reading() as session:
            return runs.get_run(session, "r-0001").state == "refused"

    wait_until(ended, 60)


def test_a_running_run_is_named(settings: Settings, database: Database) -> None:
    with database.session() as session:
        runs.claim_run(session, {})
    done = retrain(settings, "now")
    assert done.returncode == 1
    assert "Run r-0001 is running since" in done.stderr


@pytest.mark.slow
def test_an_interrupted_run_names_the_way_on_and_is_resumed(
    settings: Settings, database: Database
) -> None:
    with database.session() as session:
        runs.finish_run(session, runs.claim_run(session, {}).id, "interrupted", "")
    done = retrain(settings, "now")
    assert done.returncode == 1
    assert "Run r-0001 was interrupted at step start" in done.stderr
    assert "`redraft retrain resume`" in done.stderr
    assert "`redraft retrain resume` goes on" in retrain(settings, "status").stdout
    done = retrain(settings, "resume")
    assert done.returncode == 4 and "r-0001" in done.stdout


def test_a_bad_recipe_starts_nothing(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('stages = [{trainer = "magic"}]')
    done = retrain(settings, "now", "--recipe", str(file))
    assert done.returncode == 1 and "trainer 'magic'. Known:" in done.stderr
    assert "No run yet" in retrain(settings, "status").stdout


def test_a_corpus_that_is_not_written_starts_nothing(settings: Settings, tmp_path: Path) -> None:
    done = retrain(settings, "now", "--corpus", str(tmp_path / "shop"))
    assert done.returncode == 1
    assert "Stage write is not done in" in done.stderr and "redraft corpus write" in done.stderr
    assert "No run yet." in retrain(settings, "status").stdout


def test_recipe_corpus_takes_the_one_at_home(settings: Settings, database: Database) -> None:
    made = make_corpus(settings.home / "documents")
    made.rename(settings.home / "corpus")
    assert retrain(settings, "now", "--recipe", "corpus").returncode == 4, "engine echo"
    with database.reading() as session:
        (run,) = runs.list_runs(session)
    assert run.recipe["corpus"]["folder"] == str(settings.home / "corpus")
    assert (settings.home / "snapshots/s-0001/corpus.jsonl").is_file()


def test_ctrl_c_stops_the_run_for_later(settings: Settings, database: Database) -> None:
    record_corrections(database, "m", 1)
    database.bind.dispose()
    env = os.environ | environment(settings)
    process = subprocess.Popen(
        [*RETRAIN, "now"], env=env, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )

    def state() -> str:
        with database.reading() as session:
            found = runs.list_runs(session)
        return found[0].state if found else ""

    wait_until(lambda: state() != "", 60)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1].decode()
    assert "Traceback" not in said
    assert state() in ("interrupted", "refused")


def test_the_place_of_a_run_in_words() -> None:
    progress = {"step": 12, "total": 30, "percent": 40.0, "eta_s": 25, "loss": 1.2}
    assert where(runs.Run(step="train", progress=progress)) == (
        "train 12/30 (40 %), 25 s left, loss 1.2"
    )
    assert where(runs.Run(step="", progress={})) == "starting"
    guard = {"step": 1, "total": 2, "percent": 50.0, "part": "guard general"}
    assert where(runs.Run(step="evaluate", progress=guard)) == (
        "evaluate, guard general, 1/2 (50 %)"
    )
