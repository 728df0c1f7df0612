"""The steps of a run, in order. Each is `step(work, folder) -> facts` for the folder's manifest."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feedback import runs
from retrain import curate, datasets, deploy, gate, guards, noise, recipe as recipes, refusal
from retrain.evaluate.items import Item, count_by_kind, held_out_items, taught_comparisons
from retrain.evaluate.measure import Gain, measure
from retrain.evaluate.written import judge_of, written_gains
from retrain.manifest import read_json, read_rows, write_json, write_rows
from retrain.rows import Row, counts, is_train, unfinished, without_tokens
from retrain.snapshot import ROWS, freeze_snapshot
from retrain.train import train
from retrain.work import QUARANTINE, Unusable, Work
from serve.engines import open_engine, resolve
from serve.engines.base import BASE, Engine

log = logging.getLogger("redraft")

GUARD_PROMPTS = 8
WEIGHTLESS = {
    "echo": "Engine echo repeats and has no weights to train.",
    "openai": "Engine openai has no weights to train: they are its server's, which takes no "
    "adapters.",
}


def snapshot(work: Work) -> dict[str, Any]:
    """Freeze the feedback of this moment, in `snapshots/`."""
    manifest = freeze_snapshot(work.database, work.snapshot, work.settings)
    work.tracker.froze(manifest["last_feedback_seq"])
    return manifest


def curated(work: Work, folder: Path) -> dict[str, Any]:
    """The rows that count."""
    steps = _given(work).curate if work.recipe else curate.DEFAULT
    found = curate.curate(read_rows(work.snapshot / ROWS), work.settings, steps)
    rows = [_known_tokens(row, work.settings.model) for row in found.rows]
    write_rows(folder / ROWS, rows)
    write_rows(folder / QUARANTINE, found.quarantine)
    for report in found.reports:
        told = {**report.dropped, **report.held, **report.changed}
        log.info("%s: %d rows, %d stay %s", report.step, report.rows_in, report.rows_out, told)
    return {
        "rows": len(rows),
        "steps": [report.as_dict() for report in found.reports],
        "quarantine": counts(found.quarantine, "reason"),
        "label_noise": noise.estimate(rows),
        **_sizes(rows),
    }


def recipe(work: Work, folder: Path) -> dict[str, Any]:
    """What to train on which examples, and what to judge by; or a Refusal."""
    engine = resolve(work.settings.engine)
    if engine in WEIGHTLESS:
        raise refusal.Refusal(f"{WEIGHTLESS[engine]} Start with REDRAFT_ENGINE=auto.")
    rows = read_rows(work.folder / "curate" / ROWS)
    train_rows = [row for row in rows if is_train(row)]
    found = {name: datasets.build(name, train_rows) for name in recipes.eaten()}
    chosen = _given(work) if work.recipe else recipes.decide(found)
    heldout = count_by_kind(held_out_items(rows))
    held = work.done("curate").get("quarantine", {})
    primary = refusal.check_supply(chosen, found, rows, heldout, work.settings, held)
    for number, stage in enumerate(chosen.stages, 1):
        write_rows(folder / f"{number}-{stage.trainer}.jsonl", stage.examples(found))
    write_json(folder / "recipe.json", chosen.as_dict())
    log.info("Recipe: %s. Judged by held-out %ss.", "; ".join(chosen.reasons), primary)
    champion = work.champion()
    return {
        "primary": primary,
        "reasons": chosen.reasons,
        "heldout": heldout,
        "examples": {name: len(examples) for name, examples in found.items()},
        "unfinished_comparisons": sum(map(unfinished, train_rows)),
        "parent": champion.name if champion else None,
    }


def evaluate(work: Work, folder: Path) -> dict[str, Any]:
    """Candidate against champion on held-out feedback and guards, in the engine that serves."""
    candidate, champion = work.done("train")["adapter"], work.champion()
    against = champion.name if champion else None
    rows = read_rows(work.folder / "curate" / ROWS)
    items = held_out_items(rows)
    verdict = judge_of(taught_comparisons(rows), items)
    with _engine(work, [candidate, *([against] if against else [])]) as engine:
        gains = measure(engine, items, against, candidate, work.tracker.tick)
        if verdict.believed:
            written = written_gains(engine, items, verdict, against, candidate, work.tracker.tick)
            gains = [gain for gain in gains if gain.kind != "comparison"] + written
        bench = guards.Bench(engine, against, candidate, _prompts(items), work.tracker.check)
        found = [guards.check(name, bench) for name in _told(work, guards.names())]
    write_rows(folder / "gains.jsonl", [gain.as_dict() for gain in gains])
    write_json(folder / "guards.json", [guard.as_dict() for guard in found])
    write_json(folder / "judge.json", verdict.as_dict())
    return {"candidate": candidate, "champion": against or BASE, "items": len(gains)}


def judge(work: Work, folder: Path) -> dict[str, Any]:
    """The gate's decision, as `report.json`, and the story of the run in one line."""
    evaluation = work.folder / "evaluate"
    gains = [Gain(**row) for row in read_rows(evaluation / "gains.jsonl")]
    checked = [guards.Guard(**row) for row in read_json(evaluation / "guards.json")]
    primary, settings = work.done("recipe")["primary"], work.settings
    decision = gate.decide(gains, checked, primary, settings.min_heldout, settings.seed)
    done = work.done("evaluate")
    names = {"candidate": done["candidate"], "champion": done["champion"]}
    rows = work.done("curate")["rows"]
    story = (
        f"{new_events(work)} new events → {rows} rows → {done['candidate']} "
        f"{gate.summary(decision)}"
    )
    report = {**names, **decision.as_dict(), "story": story, "snapshot": work.snapshot.name}
    report["judge"] = read_json(evaluation / "judge.json")
    write_json(folder / "report.json", report)
    return {**names, "promote": decision.promote, "reasons": decision.reasons, "story": story}


def settle(work: Work, folder: Path) -> dict[str, Any]:
    """The candidate into service, or out for good."""
    verdict = work.done("gate")
    if not verdict["promote"]:
        deploy.reject(work.database, verdict["candidate"], "; ".join(verdict["reasons"]))
        return {"state": "rejected", "message": verdict["story"]}
    how = deploy.deploy(work.settings, work.database, verdict["candidate"], verdict["story"])
    return {"state": "promoted", "message": f"{verdict['story']}; {how}"}


def new_events(work: Work) -> int:
    """How many rows of the snapshot the run before this one had not seen."""
    with work.database.reading() as session:
        before = [r for r in runs.list_runs(session) if len(r.id) <= len(work.run_id)]
    seen = max((r.last_feedback_seq for r in before if r.id < work.run_id), default=0)
    return sum(row["seq"] > seen for row in read_rows(work.snapshot / ROWS))


Step = Callable[[Work, Path], dict[str, Any]]
STEPS: dict[str, Step] = {
    "curate": curated,
    "recipe": recipe,
    "train": train,
    "evaluate": evaluate,
    "gate": judge,
    "deploy": settle,
}


def _given(work: Work) -> recipes.Recipe:
    return recipes.parse(work.recipe)


def _sizes(rows: list[Row]) -> dict[str, Any]:
    return {"by_split": counts(rows, "split"), "by_kind": counts(rows, "split", "kind")}


def _known_tokens(row: Row, model: str) -> Row:
    """The row without token ids of another base model, which mean nothing to this one."""
    kept = [c if c["base_model"] == model else without_tokens(c) for c in row["completions"]]
    return {**row, "completions": kept}


def _told(work: Work, names: list[str]) -> Iterator[str]:
    """The names, each told as progress before it is given."""
    for number, name in enumerate(names):
        work.tracker.tick(number, len(names), part=f"guard {name}")
        yield name


def _prompts(items: list[Item]) -> list[guards.Messages]:
    distinct: dict[str, guards.Messages] = {repr(item.messages): item.messages for item in items}
    return [*distinct.values()][:GUARD_PROMPTS]


@contextmanager
def _engine(work: Work, names: list[str]) -> Iterator[Engine]:
    # On this machine's own weights, whichever engine serves: what is judged is the adapter.
    engine = open_engine("transformers", work.settings.model, work.settings.home)
    try:
        for name in names:
            folder = work.settings.home / "adapters" / name
            if not folder.is_dir():
                raise Unusable(f"Adapter {name} is gone from {folder.parent}. Start a new run.")
            engine.load_adapter(name, folder)
        yield engine
    finally:
        engine.close()
