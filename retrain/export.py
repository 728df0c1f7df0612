"""`redraft export`: feedback in force as a file that other programs read, a form a format."""

import os
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from feedback import users
from feedback.database import open_database
from feedback.kinds import VERDICT, kinds
from feedback.migrate import check
from retrain import datasets, forms
from retrain.datasets import Example
from retrain.files import write_file
from retrain.manifest import as_line
from retrain.outgoing import Filter, Seen, conversations, moment
from retrain.parts import AT_DELIMITER
from retrain.rows import Row
from serve.settings import Settings, load_settings

PARTS = {"train": ("train",), "heldout": ("heldout",), "all": ("train", "heldout")}
OURS = ("weight", "split")  # columns of ours that TRL has no use for, beside those of all datasets
TOKENS = ("grpo",)  # formats that have the tokens of answers
REFUSED = 4  # as `redraft retrain now`: too little feedback


class ExportError(Exception):
    """The file cannot be written; the message names it and says what next."""


class _Empty(Exception):
    """There is no row to write."""


@dataclass(frozen=True)
class _Asked:
    """What is asked for."""

    format: str
    split: str
    all_columns: bool
    filter: Filter


@dataclass
class _Tally:
    """What was met on the way."""

    kinds: Counter[str] = field(default_factory=Counter)  # of feedback in force
    written: Counter[str] = field(default_factory=Counter)  # by signal
    aside: Counter[str] = field(default_factory=Counter)  # of other splits
    cut: int = 0
    parts: int = 0
    unsaid: int = 0


def _moment(context: click.Context, option: click.Parameter, value: str) -> str:
    try:
        return moment(value) if value else ""
    except ValueError as error:
        message = f"{error}. Write a day or a moment: 2026-11-21, 2026-11-21T09:30."
        raise click.BadParameter(message) from error


@click.command(
    "export",
    epilog="\b\nFORMAT, and the feedback that it is made of:\n"
    + "\n".join(f"{name:<13} {forms.made_of(name)}" for name in forms.writable()),
)
@click.argument("format", type=click.Choice(forms.writable()))
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--split",
    type=click.Choice([*PARTS]),
    default="train",
    show_default=True,
    help="Conversations that may be trained on, those that are held out, or both. Adapters are "
    "judged on the held-out ones: one that was trained on them cannot be judged here any more.",
)
@click.option("--since", callback=_moment, default="", help="Feedback from this day on, in UTC.")
@click.option("--until", callback=_moment, default="", help="Feedback before this day.")
@click.option("--adapter", help="On answers of this adapter; `base` is the base model.")
@click.option("--role", type=click.Choice(users.ROLES), help="Of people with this role.")
@click.option(
    "--kind",
    "of",
    type=click.Choice(kinds(VERDICT)),
    multiple=True,
    help="Of this kind; can be given again.",
)
@click.option(
    "--all-columns",
    is_flag=True,
    help="Also feedback_id, signal (the kind of verdict), split, weight, and finish_reason and "
    "token_ids in messages; and answers that were cut off, conclusions and reasonings, which only "
    "this one tells from whole answers.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def command(
    format: str,
    file: Path,
    split: str,
    since: str,
    until: str,
    adapter: str | None,
    role: str | None,
    of: tuple[str, ...],
    all_columns: bool,
    force: bool,
) -> None:
    """Write feedback as rows that trainers and annotation tools read.

    FILE ending in .json is a JSON array, as Label Studio reads it, in .parquet Parquet, and any
    other JSON Lines; `-` is standard output. Only feedback in force counts: nothing withdrawn,
    replaced by a later verdict, of a deleted conversation or without consent, and what reviewers
    said of it. Personal data is masked as in a run. Of that, all: unlike a run, this neither caps a
    user nor leaves out what was said twice or of engine echo. How many rows were written goes to
    standard error. Exit code 4: there are none, and no file was written.

    Columns are TRL's, and in rewriter those of `redraft retrain rewriter --data`. TRL's GRPOTrainer
    draws its own drafts and reads the prompts of grpo alone; the logged ones are for offline GRPO.
    """
    target = None if str(file) == "-" else _target(file, force)
    asked = _Asked(format, split, all_columns, Filter(since, until, adapter, role, of))
    tally = _Tally()
    try:
        with closing(_rows(load_settings(), asked, tally)) as rows:
            _write(target, rows)
    except _Empty:
        click.echo(" ".join([_nothing(asked, tally), *_hints(tally)]), err=True)
        raise SystemExit(REFUSED) from None
    told = ", ".join(f"{n} {signal}" for signal, n in sorted(tally.written.items()))
    count = f"{tally.written.total()} {format} rows ({told}) in {file}."
    click.echo(" ".join([count, *_hints(tally)]), err=True)


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


def _rows(
    settings: Settings, asked: _Asked, tally: _Tally
) -> Generator[dict[str, Any], None, None]:
    """The rows of the file as they come. Raises _Empty when there are none."""
    database, seen = open_database(settings.database_url), Seen()
    try:
        check(database)
        with database.reading() as session:
            with_tokens = asked.all_columns or asked.format in TOKENS
            for talk in conversations(session, settings, with_tokens):
                tally.kinds.update(row["given_as"] for row in talk)
                for example in _examples(talk, asked, seen):
                    yield from _written(example, asked, tally)
    finally:
        seen.close()
        database.close()
    if not tally.written:
        raise _Empty


def _examples(talk: list[Row], asked: _Asked, seen: Seen) -> Iterator[Example]:
    """The examples of a conversation, each marked with its split."""
    dataset = forms.source(asked.format)
    given = {row["feedback_id"]: row for row in talk}
    heard = [row for row in talk if not row["overruled"]]
    made = talk if dataset is None else datasets.build(dataset, heard)
    for example in made:
        row = given[example["feedback_id"]]
        once = dataset and datasets.said_once(dataset, row, example)
        if asked.filter.takes(row) and (not once or seen.count((row["split"], once)) == 1):
            yield {"signal": row["kind"], **example, "split": row["split"]}


def _written(example: Example, asked: _Asked, tally: _Tally) -> Iterator[dict[str, Any]]:
    """The example as a row of the file, unless it is left out, and what is told of it."""
    if example["split"] not in PARTS[asked.split]:
        tally.aside[example["split"]] += 1
    elif not asked.all_columns and _is_part(example):
        tally.parts += 1
    elif not asked.all_columns and _cut_off(example):
        tally.cut += 1
    elif (row := _formed(example, asked)) is None:
        tally.unsaid += 1
    else:
        tally.written[example["signal"]] += 1
        yield row


def _formed(example: Example, asked: _Asked) -> dict[str, Any] | None:
    if forms.source(asked.format) is None:
        return forms.write(asked.format, example)
    row = forms.write(asked.format, example if asked.all_columns else _plain(example))
    if row is None or not asked.all_columns:
        return row
    return {name: example[name] for name in (*datasets.OURS, *OURS) if name in example} | row


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


def _hints(tally: _Tally) -> list[str]:
    """What else there is, and the option that gives it."""
    hints = [f"{n} of split {part} are left out: --split all." for part, n in tally.aside.items()]
    if tally.cut:
        hints.append(f"{tally.cut} with answers that were cut off are left out: --all-columns.")
    if tally.parts:
        told = "of conclusions or reasonings alone are left out: --all-columns."
        hints.append(f"{tally.parts} {told}")
    if tally.unsaid:
        hints.append(f"{tally.unsaid} cannot be said in this format and are left out.")
    return hints


def _nothing(asked: _Asked, tally: _Tally) -> str:
    have = ", ".join(f"{n} {kind}" for kind, n in sorted(tally.kinds.items()))
    return (
        f"No {asked.format} rows to write with --split {asked.split} (feedback in force: "
        f"{have or 'none'}). They are made of {forms.made_of(asked.format)}."
    )


def _write(target: Path | None, rows: Iterable[Mapping[str, Any]]) -> None:
    if target is None:
        for row in rows:  # bytes: UTF-8, whatever the locale
            click.echo(as_line(row).encode(), nl=False)
        return
    try:
        write_file(target, rows)
    except OSError as error:
        raise ExportError(
            f"{target} cannot be written: {error.strerror}. Nothing was changed. Make room or "
            "choose another folder."
        ) from error
