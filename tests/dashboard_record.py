"""A record with months of made feedback, adapters and runs, for the tests of the dashboard."""

import random
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from feedback_databases import a_completion, a_conversation, a_turn, rating
from sqlalchemy.orm import Session

from feedback import adapters, record, runs, users
from feedback.database import Database, open_database
from feedback.ids import new_id
from feedback.migrate import migrate
from feedback.moments import now
from feedback.tables import Run, User
from retrain.manifest import seal, start_over, write_json, write_rows, write_text
from retrain.snapshot import freeze_snapshot
from serve.settings import load_settings

SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>"
PASSWORD = "correct horse"
OLD, NEW = "a-0001-3f9c1e", "a-0002-b2d4aa"
GOOD = {"base": 0.55, OLD: 0.68, NEW: 0.82}  # the chance of a thumb up
THINGS = ("Velmar lamp", "Orlo kettle", "Tarn heater", "Nim speaker", "Fenn vacuum cleaner")
GUARDS = ("degeneration", "format", "general", "language", "length", "refusal", "sycophancy")


def fill(home: Path, days: int = 28, a_day: int = 6, hostile: bool = True) -> None:
    """Make `home` one where two adapters were trained; the same every time.

    `hostile`: with a script in every text that a person or a file can bring.
    """
    home.mkdir(parents=True, exist_ok=True)
    settings = load_settings(home=home, engine="echo")
    database = open_database(settings.database_url)
    migrate(database)
    draw = random.Random(3)
    with database.session() as session:
        people = [users.add_user(session, name) for name in ("bob", "eve", "joe")]
        for name, role in (("ada", "admin"), ("mia", "user")):
            users.add_user(session, name, role)
            users.set_password(session, name, PASSWORD)
        for day in reversed(range(days)):
            for _ in range(a_day):
                _talk(session, draw, people, day, days)
        if hostile:
            _script(session, people[0])
    _runs(database, home, settings, SCRIPT if hostile else "")
    database.close()


def _talk(session: Session, draw: random.Random, people: Sequence[User], ago: int, of: int) -> None:
    serving = "base" if ago > 0.7 * of else OLD if ago > 0.25 * of else NEW
    user, at = draw.choice(people), timedelta(days=ago, minutes=draw.randrange(60))
    compared = draw.random() < 0.25
    other = draw.choice(["base", serving]) if compared else serving
    talk = a_conversation(session, user, "Warranty of the lamp")
    thing = draw.choice(THINGS)
    turn, _ = a_turn(
        session, talk, 0, f"How long is the {thing} number {draw.randrange(500)} covered?"
    )
    shown = [
        a_completion(session, turn, draft, adapter=name, text=text, completion_id=new_id("cmpl")).id
        for draft, (name, text) in enumerate(
            [(serving, "Thirty-eight months from the day of purchase."), (other, "Two years.")]
        )
    ]
    turn.created_at -= at
    given = _said(draw, shown, turn.id, GOOD[serving], compared)
    for body in given:
        row = record.record_feedback(session, user, body)
        row.created_at -= at


def _said(
    draw: random.Random, shown: list[str], turn: str, good: float, compared: bool
) -> list[dict[str, Any]]:
    if compared:
        chosen = draw.choices([*shown, "tie", "both_bad"], [6 * good, 3, 1, 1])[0]
        order = draw.sample(shown, 2)
        return [{"kind": "comparison", "turn_id": turn, "shown": order, "chosen": chosen}]
    if draw.random() < good:
        return [rating(shown[0], 1), {"kind": "copied", "completion_id": shown[0]}]
    text = "Thirty-eight months, and five years with the card in the box."
    fixed = {"kind": "correction", "completion_id": shown[0], "text": text}
    return [rating(shown[0], -1, tags=["wrong_fact"]), *([fixed] if draw.random() < 0.5 else [])]


def _script(session: Session, user: User) -> None:
    """Hostile text in every field that a person or a file can fill."""
    turn, _ = a_turn(session, a_conversation(session, user, SCRIPT), 0, SCRIPT)
    name = f"{SCRIPT[:40]}"
    answer = a_completion(session, turn, 0, adapter=name, text=SCRIPT)
    for body in (
        rating(answer, -1, comment=SCRIPT, tags=[SCRIPT[:40]]),
        {"kind": "correction", "completion_id": answer.id, "text": SCRIPT},
    ):
        record.record_feedback(session, user, body)


def _runs(database: Database, home: Path, settings: Any, script: str) -> None:
    for number, name in ((1, OLD), (2, NEW)):
        with database.session() as session:
            run = runs.claim_run(session, {})
        _files(database, home, settings, run, name, script)
        (home / "adapters" / name).mkdir(parents=True)
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            (home / "adapters" / name / file).write_text("{}")
        with database.session() as session:
            adapters.register_adapter(
                session, name=name, base_model=settings.model, run_id=run.id, digest="0",
                path=str(home / "adapters" / name), parent=OLD if name == NEW else None,
            )  # fmt: skip
            story = f"{96 * number} new events → {70 * number} rows → {name} better on "
            story += "61 of 80 held-out comparisons, all guards held"
            runs.finish_run(session, run.id, "promoted", story, name)
    with database.session() as session:
        adapters.set_champion(session, OLD, "ada", "better")
        run = runs.claim_run(session, {})
        why = "Too little to train on: 9 usable training rows; at least 16 are needed, 7 more."
        runs.finish_run(session, run.id, "refused", f"Refused to train. {why} {script}")
        for passed, one in enumerate(runs.list_runs(session)):
            one.created_at -= timedelta(days=6 * passed, hours=2)
            one.finished_at = one.created_at + timedelta(minutes=11 * (3 - passed) + 1)


def _files(database: Database, home: Path, settings: Any, run: Run, name: str, script: str) -> None:
    from retrain.curate import curate
    from retrain.manifest import read_rows
    from retrain.snapshot import DROPPED, ROWS
    from retrain.work import QUARANTINE, REPORT

    snapshot = home / "snapshots" / run.id.replace("r-", "s-")
    freeze_snapshot(database, snapshot, settings)
    found = curate(read_rows(snapshot / ROWS), settings, ("duplicates", "per_user_cap"))
    folder = start_over(home / "runs" / run.id / "curate")
    write_rows(folder / ROWS, found.rows)
    write_rows(folder / DROPPED, found.dropped)
    write_rows(folder / QUARANTINE, found.quarantine)
    steps = [report.as_dict() for report in found.reports]
    seal(folder, {"rows": len(found.rows), "steps": steps, "quarantine": {}})
    recipe = start_over(home / "runs" / run.id / "recipe")
    seal(recipe, {"primary": "comparison", "examples": {"sft": 34, "preference": 41, "kto": 0}})
    gate = start_over(home / "runs" / run.id / "gate")
    gain = {"n": 80, "wins": 61, "mean": 0.214, "low": 0.102, "high": 0.331}
    guards = [
        {"name": guard, "held": True, "champion": 0.9, "candidate": 0.92, "limit": 0.85,
         "detail": f"9 of 10 {script}" if guard == "format" else "9 of 10"}
        for guard in GUARDS
    ]  # fmt: skip
    report = {"promote": True, "primary": "comparison", "reasons": [], "guards": guards}
    write_json(gate / "report.json", {**report, "intervals": {"comparison": gain}})
    write_text(gate / REPORT, f"<!doctype html><title>{name}</title><h1>{name} promoted</h1>")
    assert now() > run.created_at
