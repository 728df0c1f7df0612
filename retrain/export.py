"""`redraft export`: feedback in force as a file that trainers read; a format is a dataset."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from feedback.database import open_database
from feedback.migrate import check
from feedback.reads import training_rows
from retrain import datasets
from retrain.datasets import Example
from retrain.manifest import as_lines, write_rows
from retrain.parts import AT_DELIMITER
from retrain.rows import Row, counts
from serve.settings import Settings, load_settings

PARTS = {"train": ("train",), "heldout": ("heldout",), "all": ("train", "heldout")}
OURS = ("weight", "split")  # columns of ours that TRL has no use for, beside those of all datasets
REFUSED = 4  # as `redraft retrain now`: too little feedback


class ExportError(Exception):
    """The file cannot be written; the message names it and says what next."""


@click.command(
    "export",
    epilog="\b\nFORMAT, and the feedback that it is made of:\n"
    + "\n".join(f"{name:<11} {datasets.made_of(name)}" for name in datasets.names()),
)
@click.argument("format", type=click.Choice(datasets.names()))
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--split",
    type=click.Choice([*PARTS]),
    default="train",
    show_default=True,
    help="Conversations that may be trained on, those that are held out, or both. Adapters are "
    "judged on the held-out ones: one that was trained on them cannot be judged here any more.",
)
@click.option(
    "--all-columns",
    is_flag=True,
    help="Also feedback_id, signal (the kind of verdict), split, weight, and finish_reason and "
    "token_ids in messages; and answers that were cut off, conclusions and reasonings, which only "
    "this one tells from whole answers.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def command(format: str, file: Path, split: str, all_columns: bool, force: bool) -> None:
    """Write feedback as JSON Lines that trainers read.

    FILE `-` is standard output. Only feedback in force counts: nothing withdrawn, replaced by a
    later verdict, or of a deleted conversation. Of that, all: unlike a run, this neither caps a
    user nor leaves out what was said twice or of engine echo. How many rows were written goes to
    standard error. Exit code 4: there are none, and no file was written.

    Columns are TRL's, and in rewriter those of `redraft retrain rewriter --data`. TRL's GRPOTrainer
    draws its own drafts and reads the prompts of grpo alone; the logged ones are for offline GRPO.
    """
    target = None if str(file) == "-" else _target(file, force)
    rows = _feedback(load_settings())
    asked, aside = _examples(format, rows, PARTS[split]), _examples(format, rows, _others(split))
    whole = asked if all_columns else [e for e in asked if not (_is_part(e) or _cut_off(e))]
    hints = _hints(aside, [] if all_columns else asked)
    if not whole:
        click.echo(" ".join([_nothing(format, rows, split), *hints]), err=True)
        raise SystemExit(REFUSED)
    _write(target, whole if all_columns else [_plain(example) for example in whole])
    kinds = ", ".join(f"{n} {signal}" for signal, n in counts(whole, "signal").items())
    click.echo(" ".join([f"{len(whole)} {format} rows ({kinds}) in {file}.", *hints]), err=True)


def _target(file: Path, force: bool) -> Path:
    """Where to write: behind links. Raises ExportError before any work is done in vain."""
    target = Path(os.path.realpath(file))
    if not os.path.isdir(target.parent):
        raise ExportError(f"There is no folder {target.parent}. Make it, or name another file.")
    if os.path.exists(target) and not os.path.isfile(target):
        raise ExportError(
            f"{file} is no ordinary file, and only such a one is replaced. Name a file, or - for "
            "standard output."
        )
    if os.path.exists(target) and not force:
        raise ExportError(f"{file} exists. Name another file, or overwrite it with --force.")
    return target


def _feedback(settings: Settings) -> list[Row]:
    database = open_database(settings.database_url)
    try:
        check(database)
        with database.reading() as session:
            return list(training_rows(session))
    finally:
        database.close()


def _others(split: str) -> tuple[str, ...]:
    return tuple(part for part in PARTS["all"] if part not in PARTS[split])


def _examples(format: str, rows: Sequence[Row], parts: Sequence[str]) -> list[Example]:
    """The examples of these parts, each made without a look at the other part, and marked."""
    return [
        {**example, "split": part}
        for part in parts
        for example in datasets.build(format, [row for row in rows if row["split"] == part])
    ]


def _cut_off(example: Example) -> bool:
    """Whether the text to learn has no end: a trainer that is not told would learn to stop so."""
    return any(reason != "stop" for reason in _ends(example))


def _is_part(example: Example) -> bool:
    """Whether it is of a conclusion or a reasoning alone: others would end the turn in between."""
    last = (example.get("prompt") or [{}])[-1]
    return last.get("role") == "assistant" or AT_DELIMITER in _ends(example)


def _ends(example: Example) -> list[str]:
    said = example.get("completion") or example.get("chosen") or []
    return [message.get("finish_reason", "stop") for message in said]


def _plain(example: Example) -> Example:
    """The example in the columns of TRL, its messages in the keys of a chat."""
    kept = datasets.columns(example)
    return {name: _chat(value) for name, value in kept.items() if name not in OURS}


def _chat(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [{key: part for key, part in one.items() if key != "finish_reason"} for one in value]


def _hints(aside: Sequence[Example], asked: Sequence[Example]) -> list[str]:
    """What else there is, and the option that gives it."""
    hints = [
        f"{n} of split {part} are left out: --split all."
        for part, n in counts(list(aside), "split").items()
    ]
    parts = sum(map(_is_part, asked))
    cut = sum(_cut_off(example) and not _is_part(example) for example in asked)
    if cut:
        hints.append(f"{cut} with answers that were cut off are left out: --all-columns.")
    if parts:
        hints.append(f"{parts} of conclusions or reasonings alone are left out: --all-columns.")
    return hints


def _nothing(format: str, rows: Sequence[Row], split: str) -> str:
    have = ", ".join(f"{n} {kind}" for kind, n in counts(list(rows), "kind").items())
    return (
        f"No {format} rows to write with --split {split} (feedback in force: {have or 'none'}). "
        f"They are made of {datasets.made_of(format)}."
    )


def _write(target: Path | None, lines: Sequence[Example]) -> None:
    if target is None:
        click.echo(as_lines(lines).encode(), nl=False)  # bytes: UTF-8, whatever the locale
        return
    try:
        write_rows(target, lines)
    except OSError as error:
        raise ExportError(
            f"{target} cannot be written: {error.strerror}. Nothing was changed. Make room or "
            "choose another folder."
        ) from error
