"""The steps of a run, in order. Each is `step(work, folder) -> facts` for the folder's manifest."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from feedback import runs
from feedback.errors import Overtaken
from feedback.queue import fill_queue
from retrain import (
    curate,
    datasets,
    deploy,
    gate,
    guards,
    noise,
    recipe as recipes,
    refusal,
    replay,
    report as page,
    select,
)
from retrain.corpus.stage import CorpusError
from retrain.curate.per_user_cap import SHARE
from retrain.evaluate import suites
from retrain.evaluate.items import Item, count_by_kind, held_out_items, taught_as_well
from retrain.evaluate.measure import Gain
from retrain.evaluate.step import evaluate
from retrain.manifest import read_json, read_rows, write_json, write_rows, write_text
from retrain.origin import check_served, learned_until, origin
from retrain.queue import queue
from retrain.rows import CORPUS, Row, counts, is_train, unfinished, without_tokens
from retrain.snapshot import DROPPED, OF_CORPUS, ROWS, freeze_snapshot
from retrain.train import train
from retrain.work import QUARANTINE, REPORT, Unusable, Work, engine_with
from serve.engines import resolve, says

log = logging.getLogger("redraft")


def snapshot(work: Work) -> dict[str, Any]:
    """Freeze the feedback of this moment, and the corpus, in `snapshots/`."""
    corpus = work.recipe.get(CORPUS)
    try:
        manifest = freeze_snapshot(work.database, work.snapshot, work.settings, corpus)
    except CorpusError as error:
        raise refusal.Refusal(str(error)) from error
    work.tracker.froze(manifest["last_feedback_seq"])
    return manifest


def curated(work: Work, folder: Path) -> dict[str, Any]:
    """The rows that count."""
    steps = _given(work).curate if _is_given(work) else curate.DEFAULT
    given, (overruled, disowned) = read_rows(work.snapshot / ROWS), curate.OVERRIDES
    found = curate.curate(given, work.settings, steps)
    heard = curate.curate(found.rows, work.settings, [overruled], given)
    learned = read_rows(work.snapshot / OF_CORPUS) if CORPUS in work.recipe else []
    before = [*heard.rows, *learned]
    chosen, reports = _selected(work, before)
    stood = curate.curate(chosen, work.settings, [disowned], given)
    kept = stood.rows
    gone = [*found.dropped, *heard.dropped, *curate.dropped("select", before, chosen)]
    gone += stood.dropped
    rows = [_known_tokens(row, work.settings.model) for row in kept]
    write_rows(folder / ROWS, rows)
    write_rows(folder / QUARANTINE, found.quarantine)
    write_rows(folder / DROPPED, gone)
    by_people = [row for row in kept if row["kind"] != CORPUS]
    waiting = list(queue(by_people, found.quarantine, work.settings.review_share))
    with work.database.session() as session:
        fill_queue(session, work.run_id, waiting)
    reports = [*found.reports, *heard.reports, *reports, *stood.reports]
    for report in reports:
        told = {**report.dropped, **report.held, **report.changed}
        log.info("%s: %d rows, %d stay %s", report.step, report.rows_in, report.rows_out, told)
    return {
        "rows": len(rows),
        "steps": [report.as_dict() for report in reports],
        "quarantine": counts(found.quarantine, "reason"),
        "label_noise": noise.estimate(filter(is_train, found.rows)),
        **_sizes(rows),
    }


def _selected(work: Work, rows: list[Row]) -> tuple[list[Row], list[curate.Report]]:
    """The rows that a run has room for; what was left out as a report, where something was."""
    settings = work.settings
    train, most = sum(map(is_train, rows)), settings.max_train_rows
    if train <= most or says(resolve(settings.engine, settings.quantization), "WEIGHTLESS"):
        return rows, []
    parent, _ = origin(work, _given(work) if _is_given(work) else recipes.UNDECIDED)
    with ExitStack() as opened:
        engine = None
        if select.needs_engine(settings.select):
            engine = opened.enter_context(engine_with(work.settings, [parent] if parent else []))
        means = select.Means(engine, parent, work.tracker.tick)
        how = (settings.select, most, settings.earlier_share, learned_until(work, parent))
        kept = select.select(rows, *how, means)
    why = {f"beyond {most} training rows, chosen by {settings.select}": len(rows) - len(kept)}
    return kept, [curate.Report("select", len(rows), len(kept), why, {}, {})]


def recipe(work: Work, folder: Path) -> dict[str, Any]:
    """What to train on which examples, and what to judge by; or a Refusal."""
    if why := says(resolve(work.settings.engine, work.settings.quantization), "WEIGHTLESS"):
        raise refusal.Refusal(f"{why} Start with REDRAFT_ENGINE=auto.")
    rows = read_rows(work.folder / "curate" / ROWS)
    train_rows = [row for row in rows if is_train(row)]
    found = {name: datasets.build(name, train_rows) for name in recipes.eaten()}
    curation = work.done("curate")
    wrong = noise.to_train_with(curation["label_noise"])
    chosen = _given(work) if _is_given(work) else recipes.decide(found, wrong)
    _check_suites(work.settings.suites)
    heldout = count_by_kind(held_out_items(rows))
    held, beyond = curation.get("quarantine", {}), _beyond_share(curation["steps"])
    primary = refusal.check_supply(chosen, found, rows, heldout, work.settings, held, beyond)
    beside: list[datasets.Example] = []
    for number, stage in enumerate(chosen.stages, 1):
        examples = stage.examples(found)
        if stage.trainer == "sft":
            of_corpus = sum(e["signal"] == CORPUS for e in examples)
            own = len(examples) - of_corpus
            beside = replay.replayed(own, work.settings, draw=_seen(work), corpus=of_corpus)
            examples += beside
        write_rows(folder / f"{number}-{stage.trainer}.jsonl", examples)
    write_json(folder / "recipe.json", chosen.as_dict())
    log.info("Recipe: %s. Judged by held-out %ss.", "; ".join(chosen.reasons), primary)
    check_served(work, chosen)
    parent, why = origin(work, chosen)
    log.info("Training begins %s.", why)
    return {
        "primary": primary,
        "reasons": (*chosen.reasons, why),
        "heldout": heldout,
        "examples": {name: len(examples) for name, examples in found.items()},
        "replay": counts(beside, "signal"),
        "unfinished_comparisons": sum(map(unfinished, train_rows)),
        "parent": parent,
    }


def _check_suites(place: str) -> None:
    """Raises Unusable, before the training, where its candidate cannot be asked afterwards."""
    try:
        suites.chosen(place)
    except suites.SuiteError as error:
        raise Unusable(f"{error} REDRAFT_SUITES names it.") from error


def _beyond_share(steps: list[dict[str, Any]]) -> int:
    """How many rows were left out because one user gave more than others did."""
    return sum(step["dropped"].get(SHARE, 0) for step in steps)


def judge(work: Work, folder: Path) -> dict[str, Any]:
    """The gate's decision, as `report.json`, and the story of the run in one line."""
    evaluation = work.folder / "evaluate"
    gains = [Gain(**row) for row in read_rows(evaluation / "gains.jsonl")]
    checked = [guards.Guard(**row) for row in read_json(evaluation / "guards.json")]
    primary, settings = work.done("recipe")["primary"], work.settings
    curated_rows = read_rows(work.folder / "curate" / ROWS)
    items = held_out_items(curated_rows)
    few = gate.judged_by_few(items, gains, primary, settings.min_users)
    decision = gate.decide(gains, checked, primary, settings.min_heldout, settings.seed, few)
    done = work.done("evaluate")
    names = {"candidate": done["candidate"], "champion": done["champion"]}
    rows = work.done("curate")["rows"]
    story = (
        f"{_beginning(work)}{new_events(work)} new events → {rows} rows → {done['candidate']} "
        f"{gate.summary(decision)}"
    )
    report = {**names, **decision.as_dict(), "story": story, "snapshot": work.snapshot.name}
    report["taught_as_well"] = taught_as_well(items, curated_rows)
    for part in ("judge", "preference", "endpoint", "overlap"):
        report[part] = read_json(evaluation / f"{part}.json")
    write_json(folder / "report.json", report)
    write_text(folder / REPORT, _page(work, report, gains, items))
    return {**names, "promote": decision.promote, "reasons": decision.reasons, "story": story}


def _page(work: Work, report: dict[str, Any], gains: list[Gain], items: list[Item]) -> str:
    done = {name: work.done(name) for name in ("snapshot", "curate", "recipe", "train")}
    return page.render(work.run_id, report, done, gains, items)


def settle(work: Work, folder: Path) -> dict[str, Any]:
    """The candidate into service, or out for good.

    It goes out as well where it beat a champion that no longer serves: nobody compared it with the
    one that does.
    """
    verdict = work.done("gate")
    if not verdict["promote"]:
        deploy.reject(work.database, verdict["candidate"], "; ".join(verdict["reasons"]))
        return {"state": "rejected", "message": verdict["story"]}
    names = verdict["candidate"], verdict["champion"]
    try:
        how = deploy.deploy(work.settings, work.database, *names, verdict["story"])
    except Overtaken as error:
        deploy.reject(work.database, verdict["candidate"], str(error))
        return {"state": "rejected", "message": f"{verdict['story']}; not deployed: {error}"}
    return {"state": "promoted", "message": f"{verdict['story']}; {how}"}


def new_events(work: Work) -> int:
    """How many rows of the snapshot the run before this one had not seen."""
    seen = _seen(work)
    return sum(row["seq"] > seen for row in read_rows(work.snapshot / ROWS))


def _seen(work: Work) -> int:
    """The last event that a run before this one had in its snapshot."""
    with work.database.reading() as session:
        before = [r for r in runs.list_runs(session) if len(r.id) <= len(work.run_id)]
    return max((r.last_feedback_seq for r in before if r.id < work.run_id), default=0)


Step = Callable[[Work, Path], dict[str, Any]]
STEPS: dict[str, Step] = {
    "curate": curated,
    "recipe": recipe,
    "train": train,
    "evaluate": evaluate,
    "gate": judge,
    "deploy": settle,
}


def _beginning(work: Work) -> str:
    """How the story of a run begins that learns a corpus."""
    corpus = work.done("snapshot").get(CORPUS)
    return f"{corpus['rows']} rows of {Path(corpus['folder']).name} and " if corpus else ""


def _is_given(work: Work) -> bool:
    """Whether somebody said what to train; a corpus alone leaves that to be decided."""
    return any(name != CORPUS for name in work.recipe)


def _given(work: Work) -> recipes.Recipe:
    return recipes.parse(work.recipe)


def _sizes(rows: list[Row]) -> dict[str, Any]:
    return {"by_split": counts(rows, "split"), "by_kind": counts(rows, "split", "kind")}


def _known_tokens(row: Row, model: str) -> Row:
    """The row without token ids of another base model, which mean nothing to this one."""
    kept = [c if c["base_model"] == model else without_tokens(c) for c in row["completions"]]
    return {**row, "completions": kept}
