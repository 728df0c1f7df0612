"""`redraft retrain rewriter`: an adapter that makes a base model say follow-ups standalone.

The rows are laid out in one long stream that is trained part by part, each going on from the last,
so that a stop loses one part and the same command goes on. The learning rate is constant and falls
to zero over the last part.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from prompts import Prompt, load_prompt
from retrain import guards
from retrain.job import TrainJob
from retrain.manifest import read_rows, seal, sha256, write_json
from retrain.rewriter_rows import example, source_of, split, stream
from retrain.rewriter_scores import rewritten, score_by_source
from serve.engines.base import Options
from serve.engines.builtin import model_source
from serve.settings import Settings, load_settings

log = logging.getLogger("redraft")

PROMPT = "rewrite/adapter"
WEIGHTS = "adapter_model.safetensors"
PART = 1000  # rows trained between two savings
FIXED = {"replay": 0, "min_steps": 0, "epochs": 1.0, "max_length": 512, "group_by_length": True}


class DataError(click.ClickException):
    """A data file has no usable row, or a broken one; the message names it."""


@click.command("rewriter")
@click.option(
    "--data",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="JSON Lines of {history, query, rewrite}, with an id if there is one. May be repeated.",
)
@click.option("--model", help="Base model to train it for; the configured one when not given.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="The adapter's new folder; in REDRAFT_HOME, where the server finds it, when not given.",
)
@click.option(
    "--start",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Adapter folder to go on from, such as the one that serves; a new one when not given.",
)
@click.option("--epochs", default=2.0, show_default=True, help="Times that the rows are seen.")
@click.option("--learning-rate", default=1e-3, show_default=True)
@click.option("--rank", default=16, show_default=True, help="Of the LoRA; vLLM's limit is 16.")
@click.option("--batch-size", default=8, show_default=True)
@click.option("--heldout", default=0.1, show_default=True, help="Share of conversations kept out.")
@click.option("--scored", default=40, show_default=True, help="Held-out rows scored per source.")
@click.option("--seed", default=7, show_default=True)
def command(
    data: tuple[Path, ...],
    model: str | None,
    out: Path | None,
    start: Path | None,
    scored: int,
    **given: Any,
) -> None:
    """Train the rewriter adapter of a base model.

    Rows are questions in their conversation with what a person made of them, and corrections of
    rewrites that people sent as feedback. Conversations that are held out are never trained on;
    they are scored and the scores written into the adapter's manifest. Stopped, the same command
    goes on where it was.
    """
    settings = load_settings(**({"model": model} if model else {}))
    folder = train_rewriter(settings, data, out, given, scored, start)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for source, numbers in manifest["scores"].items():
        click.echo(f"{source}: {', '.join(f'{k} {v}' for k, v in numbers.items())}")
    click.echo(f"{manifest['adapter']} is in {folder}. A restart of `redraft up` serves it.")


def train_rewriter(
    settings: Settings,
    data: Sequence[Path],
    out: Path | None,
    given: Mapping[str, Any],
    scored: int = 40,
    start: Path | None = None,
) -> Path:
    """Train, score and publish; the adapter's folder. `given` holds the command's numbers."""
    if out is not None and out.exists():
        raise click.ClickException(
            f"{out} already exists, and an adapter is never overwritten. Choose a new folder."
        )
    rows = read_data(data)
    train, held = split(rows, given["heldout"])
    if not train:
        raise DataError("No row with a history is left to train on. Give more data.")
    prompt = load_prompt(PROMPT)
    began = _start_facts(start)
    work = settings.home / "rewriters" / f".{_key(settings, prompt, train, dict(given) | began)}"
    work.mkdir(parents=True, exist_ok=True)
    results = _train(settings, prompt, train, given, work, start)
    trained = work / f"part-{len(results) - 1}"
    facts = {
        "base_model": settings.model,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "prompt": PROMPT,
        "prompt_hash": prompt.hash,
        "data": [{"file": f.name, "sha256": sha256(f)} for f in data],
        "rows": {"train": len(train), "heldout": len(held)},
        "settings": dict(given),
        "parts": results,
        **began,
    }
    facts["scores"] = _score(settings, prompt, trained, sample(held, scored))
    if start is not None:
        facts["guard"] = _guard(settings, start, trained).as_dict()
    folder = publish(trained, out, settings.home / "rewriters", facts)
    shutil.rmtree(work)
    return folder


def _start_facts(start: Path | None) -> dict[str, Any]:
    """What the manifest says of the adapter gone on from: its name and its weights."""
    if start is None:
        return {}
    if not (start / WEIGHTS).is_file():
        raise click.ClickException(f"{start} has no {WEIGHTS}; --start takes an adapter's folder.")
    manifest = start / "manifest.json"
    said = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
    name = said.get("adapter", start.name)
    return {"start": {"adapter": name, "sha256": sha256(start / WEIGHTS), "rows": said.get("rows")}}


def read_data(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of all files. Raises DataError for a broken one."""
    rows = []
    for file in files:
        try:
            found = read_rows(file)
        except ValueError as error:
            raise DataError(f"{file} is not JSON Lines in UTF-8: {error}.") from error
        for number, row in enumerate(found, 1):
            _check(row, f"{file}, row {number}")
        rows += found
    return rows


def _check(row: Any, where: str) -> None:
    try:
        texts = [row["query"].strip(), row["rewrite"].strip()]
        said = [message[part] for message in row["history"] for part in ("role", "content")]
    except (TypeError, KeyError, AttributeError):
        texts, said = [], []
    if not (all(texts) and texts and all(isinstance(one, str) for one in said)):
        raise DataError(
            f"{where} is not {{history: [{{role, content}}], query, rewrite}} with texts that are "
            "not empty. Correct or remove it."
        )


def _key(settings: Settings, prompt: Prompt, rows: Sequence[Any], given: Mapping[str, Any]) -> str:
    """Names the unfinished parts: another model, prompt, row or number starts over."""
    said = json.dumps([settings.model, prompt.hash, list(rows), dict(given)], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def _train(
    settings: Settings,
    prompt: Prompt,
    rows: Sequence[Mapping[str, Any]],
    given: Mapping[str, Any],
    work: Path,
    start: Path | None = None,
) -> list[dict[str, Any]]:
    """Every part that is not there yet; what the trainer said of each."""
    from retrain.trainers import sft  # imports torch, which `redraft --help` must not

    laid_out = stream(rows, given["epochs"], given["seed"])
    parts = [laid_out[i : i + PART] for i in range(0, len(laid_out), PART)]
    results = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        out, report = work / f"part-{number}", work / f"part-{number}.json"
        if not report.exists():
            shutil.rmtree(out, ignore_errors=True)
            job = TrainJob(
                model=Path(model_source(settings.model, settings.home)),
                out=out,
                rows=[example(prompt, row) for row in part],
                start=work / f"part-{number - 1}" if number else start,
                seed=given["seed"],
                settings={
                    **FIXED,
                    "learning_rate": given["learning_rate"],
                    "rank": given["rank"],
                    "alpha": 2 * given["rank"],
                    "batch_size": given["batch_size"],
                    "schedule": "linear" if last else "constant_with_warmup",
                },
            )
            # The report after the weights: where it exists, the part is whole.
            report.write_text(json.dumps(sft.train(job)))
        results.append(json.loads(report.read_text()))
        log.info("Part %d of %d: %s", number + 1, len(parts), results[-1])
    return results


def sample(rows: Sequence[Mapping[str, Any]], limit: int) -> list[Mapping[str, Any]]:
    """At most `limit` rows of each source, spread over it."""
    found: list[Mapping[str, Any]] = []
    for source in sorted({source_of(row) for row in rows}):
        own = [row for row in rows if source_of(row) == source]
        step = max(1.0, len(own) / limit) if limit else len(own) + 1
        found += [own[int(i * step)] for i in range(min(limit, len(own)))]
    return found


def _score(
    settings: Settings, prompt: Prompt, trained: Path, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    if not rows:
        return {}
    from serve.engines import open_judging

    options = Options(**settings.engine_options)
    engine = open_judging(settings.engine, settings.model, settings.home, options)
    try:
        engine.load_adapter("rewriter", trained)
        return score_by_source(rows, [rewritten(engine, prompt, row, "rewriter") for row in rows])
    finally:
        engine.close()


def _guard(settings: Settings, start: Path, trained: Path) -> guards.Guard:
    """What guard `rewriter` found. Raises ClickException for an adapter worse than its start."""
    from serve.engines import open_engine

    engine = open_engine("transformers", settings.model, settings.home)
    try:
        for name, folder in (("start", start), ("rewriter", trained)):
            engine.load_adapter(name, folder)
        bench = guards.Bench(engine, None, "rewriter", (), rewriters=("start", "rewriter"))
        found = guards.check("rewriter", bench)
    finally:
        engine.close()
    if found is None or not found.held:
        raise click.ClickException(
            f"The new rewriter is worse than the one it went on from: {found and found.detail}. "
            f"It is not published; its weights are in {trained}. Train on more data, or more "
            "gently with --learning-rate."
        )
    return found


def publish(trained: Path, out: Path | None, place: Path, facts: Mapping[str, Any]) -> Path:
    """Copy the weights, halved to bfloat16, under their immutable name; the manifest last."""
    part = place / ".publishing"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    config = json.loads((trained / "adapter_config.json").read_text(encoding="utf-8"))
    # The base by the name it is served under, not by a folder of this machine.
    config["base_model_name_or_path"] = facts["base_model"]
    write_json(part / "adapter_config.json", config)
    _halve(trained / WEIGHTS, part / WEIGHTS)
    (part / WEIGHTS).chmod(0o644)  # safetensors writes for the owner alone
    name = f"rewriter-{sha256(part / WEIGHTS)[:6]}"
    seal(part, {"adapter": name, **facts})
    folder = out or place / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(part, folder)
    return folder


def _halve(source: Path, target: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(source).items()}
    save_file(weights, target, metadata={"format": "pt"})
