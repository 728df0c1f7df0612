"""The stages of a recipe, one trainer after the other, and the adapter that comes of them."""

import logging
import shutil
from pathlib import Path
from typing import Any

from feedback import adapters
from retrain import launch
from retrain.datasets import columns
from retrain.job import TrainJob
from retrain.manifest import read_json, read_rows, seal, sealed, sha256, start_over, sync_folder
from retrain.recipe import REWARD
from retrain.rows import CORPUS
from retrain.work import Work
from serve.engines.builtin import model_source
from serve.engines.device import settle_device

log = logging.getLogger("redraft")

WEIGHTS = "adapter_model.safetensors"


def train(work: Work, folder: Path) -> dict[str, Any]:
    """Train every stage that is not done, publish and register the adapter; facts of the step."""
    settle_device(work.settings.device)
    parent = work.done("recipe")["parent"]
    start = _adapter_folder(work, parent) if parent else None
    stages = read_json(work.folder / "recipe" / "recipe.json")["stages"]
    results, reward = [], None
    for number, stage in enumerate(stages, 1):
        name = f"{number}-{stage['trainer']}"
        results.append(_stage(work, name, stage, start, reward))
        made = work.folder / "stages" / name / "adapter"
        start, reward = (start, made) if stage["trainer"] == REWARD else (made, reward)
    if start is None:
        raise ValueError("The recipe has no stages.")
    name = publish(work, start, parent)
    return {"adapter": name, "parent": parent, "stages": results}


def _stage(
    work: Work, name: str, stage: dict[str, Any], start: Path | None, reward: Path | None
) -> dict[str, Any]:
    folder = work.folder / "stages" / name
    if (done := sealed(folder)) is not None:
        return done
    start_over(folder)
    rows = [columns(row) for row in read_rows(work.folder / "recipe" / f"{name}.jsonl")]
    log.info("Stage %s on %d rows, from %s", name, len(rows), start or "the base model")
    job = TrainJob(
        model=_base_folder(work),
        out=folder / "adapter",
        rows=rows,
        start=start,
        reward=reward,
        seed=work.settings.seed,
        settings=stage["settings"],
        progress=work.tracker.tick,
    )
    settings = work.settings
    result = launch.train(stage["trainer"], job, settings.train_processes, settings.train_launcher)
    log.info("Stage %s: %s", name, result)
    return seal(folder, {"stage": name, "result": result})


def publish(work: Work, trained: Path, parent: str | None) -> str:
    """Give the trained folder its immutable name under `adapters/` and register it as candidate.

    After a crash in between, the same run finds what it published before.
    """
    digest = sha256(trained / WEIGHTS)
    with work.database.reading() as session:
        mine = [a for a in adapters.list_adapters(session) if a.run_id == work.run_id]
        number = adapters.next_adapter_number(session)
    if mine:
        return mine[0].name
    name = f"a-{number:04d}-{digest[:6]}"
    place = _adapter_folder(work, name)
    if sealed(place) is None:
        _put(work, trained, place, parent)
    with work.database.session() as session:
        adapters.register_adapter(
            session,
            name=name,
            base_model=work.settings.model,
            path=str(place),
            digest=digest,
            parent=parent,
            run_id=work.run_id,
        )
    return name


def _put(work: Work, trained: Path, place: Path, parent: str | None) -> None:
    part = place.with_name(f".{place.name}.part")
    for left in (part, place):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(trained, part)
    recipe = read_json(work.folder / "recipe" / "recipe.json")
    facts = {
        "adapter": place.name,
        "base_model": work.settings.model,
        "parent": parent,
        "run": work.run_id,
        "snapshot": work.snapshot.name,
        "recipe": recipe,
        CORPUS: work.done("snapshot").get(CORPUS),
    }
    seal(part, facts)
    part.rename(place)
    sync_folder(place.parent)


def _adapter_folder(work: Work, name: str) -> Path:
    return work.settings.home / "adapters" / name


def _base_folder(work: Work) -> Path:
    return Path(model_source(work.settings.model, work.settings.home))
