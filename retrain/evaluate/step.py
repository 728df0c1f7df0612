"""The step of a run that evaluates: candidate against champion, in files for the gate."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from prompts.answer_first import DELIMITER
from retrain import guards
from retrain.evaluate import suites
from retrain.evaluate.endpoint import judged
from retrain.evaluate.items import Item, held_out_items, taught_items
from retrain.evaluate.measure import gains as gains_of, measure
from retrain.evaluate.overlap import overlaps, summarise as summarise_overlap
from retrain.evaluate.preference import summarise
from retrain.evaluate.written import KINDS, judge_of, written_gains
from retrain.manifest import read_rows, write_json, write_rows
from retrain.snapshot import ROWS
from retrain.work import Work, engine_with
from serve.engines import open_engine
from serve.engines.base import BASE, Engine, EngineError, Options

log = logging.getLogger("redraft")


def evaluate(work: Work, folder: Path) -> dict[str, Any]:
    """Candidate against champion on held-out feedback and guards, in the engine that serves."""
    candidate, champion = work.done("train")["adapter"], work.champion()
    against = champion.name if champion else None
    rows = read_rows(work.folder / "curate" / ROWS)
    items = held_out_items(rows)
    taught = taught_items(rows)
    judges = {kind: judge_of(kind, taught, items) for kind in KINDS}
    with engine_with(work.settings, [candidate, *([against] if against else [])]) as engine:
        scored = measure(engine, items, against, candidate, work.tracker.tick)
        gains = gains_of(scored)
        for kind in (kind for kind, judge in judges.items() if judge.believed):
            told = partial(work.tracker.tick, part=f"judge of {kind}s")
            written = written_gains(engine, kind, items, judges[kind], against, candidate, told)
            gains = [gain for gain in gains if gain.kind != kind] + written
        written_out = overlaps(
            engine, items, against, candidate, partial(work.tracker.tick, part="answers")
        )
        gains += [one.gain for one in written_out]
        shown = (_prompts(items), _prompts(filter(_concludes, items)))
        bench = guards.Bench(
            engine,
            against,
            candidate,
            *shown,
            suites=suites.chosen(work.settings.suites),
            beat=work.tracker.check,
        )
        checked = [guards.check(name, bench) for name in _told(work, guards.names())]
        endpoint = _endpoint(work, engine, items, against, candidate)
    write_rows(folder / "gains.jsonl", [gain.as_dict() for gain in gains])
    write_json(folder / "guards.json", [guard.as_dict() for guard in checked if guard])
    write_json(folder / "judge.json", {kind: judge.as_dict() for kind, judge in judges.items()})
    write_json(folder / "preference.json", summarise(scored))
    write_json(folder / "endpoint.json", endpoint)
    write_json(folder / "overlap.json", summarise_overlap(written_out))
    write_rows(folder / "overlap.jsonl", [one.as_dict() for one in written_out])
    return {"candidate": candidate, "champion": against or BASE, "items": len(gains)}


def _endpoint(
    work: Work, engine: Engine, items: list[Item], champion: str | None, candidate: str
) -> dict[str, Any] | None:
    """What the judge of the settings says; None without one, and where it is away."""
    settings = work.settings
    if not settings.judge_url:
        return None
    options = Options(url=settings.judge_url, api_key=settings.judge_api_key)
    try:
        with closing(open_engine("openai", settings.judge_model, settings.home, options)) as other:
            told = partial(work.tracker.tick, part="judge")
            return judged(engine, other, items, champion, candidate, settings.seed, told)
    except EngineError as error:
        log.warning("The judge at %s is left out: %s", settings.judge_url, error)
        return {"error": str(error)}


def _told(work: Work, names: list[str]) -> Iterator[str]:
    """The names, each told as progress before it is given."""
    for number, name in enumerate(names):
        work.tracker.tick(number, len(names), part=f"guard {name}")
        yield name


def _prompts(items: Iterable[Item]) -> list[guards.Messages]:
    distinct: dict[str, guards.Messages] = {repr(item.messages): item.messages for item in items}
    return [*distinct.values()][: guards.HELD_OUT]


def _concludes(item: Item) -> bool:
    """Whether people judged an answer that puts its conclusion first."""
    return bool(item.after) or any(p.text.endswith(DELIMITER) for p in item.good + item.bad)
