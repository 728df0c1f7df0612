"""A whole run on a real, tiny model, killed in each of its steps and taken up again."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from conftest import ROOT, free_port
from corpus_dataset import make_corpus
from retrain_rows import record_corrections

from feedback import adapters, runs
from feedback.database import Database
from feedback.lineage import lineage
from feedback.tables import Run
from retrain import loop, progress, steps
from retrain.corpus import rows as corpora
from retrain.manifest import read_json, read_rows, sealed, write_rows
from retrain.start import environment
from retrain.work import report_page, run_folder
from serve.engines.adapter_folder import kind_of
from serve.settings import Settings

ALL = ("snapshot", *steps.STEPS)
RECIPE = {"stages": [{"trainer": "sft", "epochs": 1.0}, {"trainer": "dpo", "epochs": 1.0}]}
# Does all of a step, then dies before its manifest: the worst moment for whatever the step changed.
KILLED = """
import os, signal, sys
from retrain import loop, steps
from serve.settings import load_settings

name = sys.argv[2]
real = steps.snapshot if name == "snapshot" else steps.STEPS.get(name)

def die(*given):
    real(*given)
    os.kill(os.getpid(), signal.SIGKILL)

if name == "snapshot":
    steps.snapshot = die
elif name != "none":
    steps.STEPS[name] = die
sys.exit(loop.run(load_settings(), sys.argv[1]) not in ("promoted", "rejected"))
"""


@pytest.fixture
def settings(tmp_path: Path, tiny_model: Path) -> Settings:
    return Settings(
        home=tmp_path,
        database_url=f"sqlite:///{tmp_path / 'redraft.db'}",
        model=str(tiny_model),
        engine="transformers",
        port=free_port(),
    )


def execute(settings: Settings, run_id: str, die_in: str = "none") -> int:
    command = [sys.executable, "-c", KILLED, run_id, die_in]
    env = os.environ | environment(settings)
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-3000:]
    return done.returncode


def run_to_its_end(settings: Settings, database: Database, run_id: str, check: bool) -> Run:
    """The run, after its own process worked on it; `check`: which has to end with code 0."""
    command = [sys.executable, "-m", "retrain.loop", run_id]
    subprocess.run(command, env=os.environ | environment(settings), cwd=ROOT, check=check)
    with database.reading() as session:
        return runs.get_run(session, run_id)


def resume(database: Database) -> str:
    with database.session() as session:
        found = runs.interrupted(session)
        assert found is not None
        return runs.resume_run(session, found.id).id


@pytest.mark.slow
def test_a_run_killed_in_every_step_is_finished_as_if_nothing_had_happened(
    settings: Settings, database: Database
) -> None:
    record_corrections(database, settings.model, 20, heldout=8)
    with database.session() as session:
        run_id = runs.claim_run(session, RECIPE).id
    for step in ALL:
        assert execute(settings, run_id, step) == -signal.SIGKILL
        with database.reading() as session:
            assert runs.get_run(session, run_id).step == step
        assert resume(database) == run_id
    assert execute(settings, run_id) == 0

    folder = run_folder(settings, run_id)
    assert all(sealed(folder / name) for name in steps.STEPS)
    with database.reading() as session:
        run = runs.get_run(session, run_id)
        (adapter,) = adapters.list_adapters(session)
        serving = adapters.champion(session)
    assert run.state in ("promoted", "rejected") and run.active is None
    assert run.adapter == adapter.name
    manifest = sealed(settings.home / "adapters" / adapter.name)
    assert manifest is not None and manifest["base_model"] == settings.model
    assert (manifest["run"], manifest["snapshot"], manifest["parent"]) == (run_id, "s-0001", None)
    assert adapter.name.endswith(manifest["files"]["adapter_model.safetensors"][:6])
    assert (serving == adapter) if run.state == "promoted" else (serving is None)
    report = read_json(folder / "gate" / "report.json")
    assert report["story"].startswith(f"28 new events → 28 rows → {adapter.name} better on ")
    assert report["promote"] == (run.state == "promoted")
    assert set(report["preference"]["correction"]) == {"items", "candidate", "champion"}
    assert f"Run {run_id}: {adapter.name}" in report_page(settings, run_id).read_text()


SFT_DPO = [{"trainer": "sft", "epochs": 1.0}, {"trainer": "dpo", "epochs": 1.0}]
ONLINE = [
    {"trainer": "reward", "epochs": 1.0},
    {"trainer": "online_grpo", "epochs": 1.0, "longest": 8, "drafts": 2},
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "kind"),
    [
        ({"method": "prefix", "stages": SFT_DPO}, "PREFIX_TUNING"),
        ({"method": "prompt", "stages": SFT_DPO}, "PROMPT_TUNING"),
        ({"stages": ONLINE}, "LORA"),
    ],
)
def test_a_recipes_adapter_is_judged_in_the_engine_that_serves_it(
    recipe: dict[str, Any], kind: str, settings: Settings, database: Database
) -> None:
    record_corrections(database, settings.model, 20, heldout=8)
    with database.session() as session:
        run_id = runs.claim_run(session, recipe).id
    assert execute(settings, run_id) == 0
    with database.reading() as session:
        (adapter,) = adapters.list_adapters(session)
        run = runs.get_run(session, run_id)
    assert run.state in ("promoted", "rejected"), run.message
    assert kind_of(Path(adapter.path)) == kind
    assert sealed(run_folder(settings, run_id) / "evaluate")


CORPUS_RECIPE = {"stages": [{"trainer": "sft", "epochs": 1.0, "replay": 4}], "start": "base"}


@pytest.mark.slow
def test_a_corpus_is_learned_and_judged_closed_book_by_its_held_out_questions(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    general = tmp_path / "general.jsonl"
    write_rows(general, ({"question": f"Why {n}?", "answer": f"So {n}."} for n in range(99)))
    suite = tmp_path / "everyday.jsonl"
    write_rows(suite, [{"question": "Is it day?", "choices": ["yes", "no"], "answer": 0}])
    mixed = {"max_train_rows": 20, "select": "perplexity", "replay_general": str(general)}
    settings = settings.model_copy(update={**mixed, "suites": str(suite)})
    record_corrections(database, settings.model, 4)
    folder = make_corpus(tmp_path / "documents")
    corpus = corpora.look(folder)
    with database.session() as session:
        run_id = runs.claim_run(session, {**CORPUS_RECIPE, "corpus": corpus}).id
    for step in ("snapshot", "evaluate"):
        assert execute(settings, run_id, step) == -signal.SIGKILL
        assert resume(database) == run_id
        (folder / "dataset").rename(folder / "away") if step == "evaluate" else None
    assert execute(settings, run_id) == 0, "what is frozen is all that it needs"

    snapshot = sealed(settings.home / "snapshots" / "s-0001")
    assert snapshot is not None and snapshot["rows"] == 4
    train, held = (len(read_rows(folder / f"away/sft.{split}.jsonl")) for split in corpora.SPLITS)
    assert snapshot["corpus"]["rows"] == train + held and snapshot["corpus"]["documents"] == 12
    done = {
        step: sealed(run_folder(settings, run_id) / step) or {} for step in ("curate", "recipe")
    }
    learned = done["curate"]["by_kind"]["train corpus"]
    assert done["curate"]["by_split"] == {"heldout": held, "train": 20} and learned < train
    own = 20 - learned  # corrections, beside which there are as many
    assert done["recipe"]["replay"] == {"replay general": own + round(learned * 7 / 3)}
    report = read_json(run_folder(settings, run_id) / "gate" / "report.json")
    assert report["primary"] == "corpus" and report["intervals"]["corpus"]["n"] == held
    assert report["overlap"]["items"] == report["intervals"]["overlap"]["n"] == held
    assert report["story"].startswith(f"{train + held} rows of doors and 4 new events → ")
    assert {guard["name"] for guard in report["guards"]} >= {"general", "refusal", "suites"}
    page = report_page(settings, run_id).read_text()
    assert "everyday: " in page
    assert corpus["digest"] in page and "without its documents" in page
    with database.reading() as session:
        (adapter,) = adapters.list_adapters(session)
        found = lineage(session, adapter.name)
    assert found["run"]["corpus"] == corpus
    manifest = sealed(Path(adapter.path))
    assert manifest is not None and manifest["corpus"] == snapshot["corpus"]


def test_a_corpus_that_was_changed_meanwhile_ends_the_run(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    folder = make_corpus(tmp_path / "documents")
    with database.session() as session:
        run_id = runs.claim_run(session, {"corpus": corpora.look(folder)}).id
    with (folder / "dataset/sft.heldout.jsonl").open("a") as file:
        file.write("{}")
    run = run_to_its_end(settings, database, run_id, check=True)
    assert run.state == "refused"
    assert "a file was changed. Write it again: redraft corpus write --into" in run.message
    assert sealed(settings.home / "snapshots" / "s-0001") is None


def test_too_little_feedback_is_refused_with_the_reason(
    settings: Settings, database: Database
) -> None:
    record_corrections(database, settings.model, 3)
    with database.session() as session:
        run_id = runs.claim_run(session, {}).id
    run = run_to_its_end(settings, database, run_id, check=True)
    assert run.state == "refused"
    assert "3 usable training rows (of 3 corrections)" in run.message
    assert run.last_feedback_seq == 3


def test_questions_that_cannot_be_asked_end_the_run_before_it_trains(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    record_corrections(database, settings.model, 20, heldout=8)
    settings = settings.model_copy(update={"suites": str(tmp_path / "nowhere.jsonl")})
    with database.session() as session:
        run_id = runs.claim_run(session, {}).id
    run = run_to_its_end(settings, database, run_id, check=False)
    assert run.state == "failed" and run.step == "recipe"
    assert "nowhere.jsonl" in run.message and "REDRAFT_SUITES names it" in run.message


@pytest.mark.slow
def test_what_goes_wrong_ends_the_run_and_is_explained(
    settings: Settings, database: Database
) -> None:
    record_corrections(database, settings.model, 20, heldout=8)
    recipe = {"stages": [{"trainer": "sft", "learning_speed": 1.0}]}
    with database.session() as session:
        run_id = runs.claim_run(session, recipe).id
    command = [sys.executable, "-m", "retrain.loop", run_id]
    done = subprocess.run(
        command, env=os.environ | environment(settings), cwd=ROOT, capture_output=True, text=True
    )
    with database.reading() as session:
        run = runs.get_run(session, run_id)
    assert run.state == "failed"
    assert "learning_speed" in run.message and "log.txt" in run.message
    assert "Traceback" in done.stderr


def test_a_run_that_somebody_else_took_up_stops(database: Database) -> None:
    with database.session() as session:
        run_id = runs.claim_run(session, {}).id
    with progress.Tracker(database, run_id, every=0.01) as tracker:
        tracker.tick(1, 2, {"loss": 0.5})
        with database.session() as session:
            runs.finish_run(session, run_id, "interrupted", "")
        with pytest.raises(progress.LostRun, match="has ended"):
            tracker.step("train")


def test_a_run_that_was_taken_up_is_not_ended_by_an_error_of_the_process_that_lost_it(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.session() as session:
        run_id = runs.claim_run(session, {}).id

    def fail(_: object) -> None:
        with database.session() as session:
            session.execute(sa.update(Run).values(host="elsewhere", pid=1))
        raise OSError("No space left on device")

    monkeypatch.setattr(steps, "snapshot", fail)
    with pytest.raises(progress.LostRun, match="taken up by process 1 on elsewhere"):
        loop.run(settings, run_id)
    with database.reading() as session:
        run = runs.get_run(session, run_id)
    assert (run.state, run.active, run.message) == ("running", 1, "")


def test_progress_is_written_by_itself(database: Database) -> None:
    with database.session() as session:
        run_id = runs.claim_run(session, {}).id
    with progress.Tracker(database, run_id, every=0.01) as tracker:
        tracker.step("train")
        tracker.tick(2, 12)
        tracker.tick(3, 12, {"loss": 0.51234})
        seen: dict[str, object] = {}
        while seen.get("step") != 3:
            with database.reading() as session:
                seen = dict(runs.get_run(session, run_id).progress)
    assert (seen["step"], seen["total"], seen["percent"], seen["loss"]) == (3, 12, 25.0, 0.5123)
    assert "eta_s" in seen


@pytest.mark.slow
def test_a_run_gives_way_to_serving() -> None:
    code = (
        "import os; from pathlib import Path; from retrain.loop import PATIENT, give_way\n"
        "give_way(); group = Path('/proc/self/autogroup')\n"
        "print(os.nice(0) >= PATIENT, not group.exists() or group.read_text().split()[-1] == '10')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_a_run_goes_on_where_its_session_has_no_niceness_to_set(tmp_path: Path) -> None:
    code = (
        "import logging, os; from pathlib import Path; from retrain import loop\n"
        "logging.basicConfig(level='INFO')\n"
        f"loop.AUTOGROUP = Path({str(tmp_path)!r}); loop.give_way()\n"
        "print(os.nice(0) >= loop.PATIENT)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    assert done.stdout == "True\n", done.stderr
    assert f"{tmp_path} was left as it is: Is a directory" in done.stderr


def test_a_run_that_was_started_by_hand_leaves_the_terminals_session_alone(tmp_path: Path) -> None:
    group = tmp_path / "autogroup"
    code = (
        "import os; from pathlib import Path; from retrain import loop\n"
        f"loop.AUTOGROUP = Path({str(group)!r}); loop.give_way()\n"
        "print(os.nice(0) >= loop.PATIENT)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
    assert not group.exists()
