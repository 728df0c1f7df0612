"""`redraft corpus`: from a folder of documents to a dataset, a stage at a time or all of them.

Exit code 0: all inputs went through, 3: some did not, and were named, 4: stopped with work left,
1: nothing came of it.
"""

import getpass
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from retrain.corpus.check import check as check_answers, estimate_verdicts
from retrain.corpus.extract import extract as extract_sources
from retrain.corpus.generate import Asking, estimate_answers, generate as generate_answers
from retrain.corpus.known import collect
from retrain.corpus.options import (
    asked,
    asking_of,
    cut,
    cutting_of,
    into,
    judged,
    query_of,
    sources,
    written,
)
from retrain.corpus.report import STAGES, write_report
from retrain.corpus.review import passage, say, texts_of, waiting
from retrain.corpus.segment import segment as segment_documents
from retrain.corpus.semantic import Cutting, estimate_cut, segment as cut_by_teacher
from retrain.corpus.stage import CorpusError, Row, Tick, read_manifest
from retrain.corpus.teacher import Stopped
from retrain.corpus.teacher.account import OverBudget
from retrain.corpus.verdict import Verdicts
from retrain.corpus.view import edited, following, show_row
from retrain.corpus.write import write as write_dataset
from serve.settings import Settings, load_settings

SOME_FAILED, WORK_LEFT, INTERRUPTED = 3, 4, 130
SHOWN = 20  # troubles on the terminal; all of them are in the stage's file


@click.group()
def group() -> None:
    """Documents to a domain dataset: extract, segment, generate, check, write.

    Each stage writes readable JSON Lines into one folder and goes on where a killed one stopped.
    """


@group.command()
@sources
@into
def extract(
    source: tuple[Path, ...], sql: str | None, query: str | None, max_mb: float, folder: Path | None
) -> None:
    """Read files, folders and a query into documents.jsonl.

    PDF, Word, Excel, CSV, HTML and saved sites, Markdown, text, JSON and JSON Lines. Exit code 3:
    what could not be read was named, and the rest was read.
    """
    asked = query_of(sql, query)
    with following() as tick:
        told = extract_sources(_folder(folder), source, asked, max_mb, tick)
    _end([told])


@group.command()
@into
@cut
@click.option("--dry-run", is_flag=True, help="Say what the teacher would cost, and ask nothing.")
def segment(
    folder: Path | None, longest: int, teacher: bool, theme: tuple[str, ...], dry_run: bool
) -> None:
    """Cut the documents into units of one theme, by their structure or by the teacher.

    By headings, paragraphs and sentences it costs nothing. With --teacher each unit that it finds
    is looked up in its source, and what it leaves out or changes is cut by the structure.
    """
    settings, cutting = load_settings(), cutting_of(longest, teacher, theme)
    place = folder or settings.home / "corpus"
    if dry_run and cutting is None:
        raise click.UsageError("--dry-run goes with --teacher: without it nothing is asked.")
    if dry_run and cutting is not None:
        click.echo(_estimated(estimate_cut(place, settings, cutting), settings))
        return
    with _stopping(), following() as tick:
        told = _segmented(place, settings, longest, cutting, tick)
    _end([told])


@group.command()
@into
@asked
@click.option("--dry-run", is_flag=True, help="Say what it would cost, and ask nothing.")
@click.option(
    "--known",
    is_flag=True,
    help="No teacher: take the questions and answers that tables, records and chat logs have.",
)
@click.option(
    "--persona",
    multiple=True,
    help="With --known: what is said to this one in scripts, logs and novels, and the reply. Again "
    "for each other name of theirs.",
)
def generate(
    folder: Path | None, dry_run: bool, known: bool, persona: tuple[str, ...], **given: Any
) -> None:
    """Have the teacher write about each unit: questions and answers, or what --kind says.

    REDRAFT_TEACHER_URL, _MODEL and _API_KEY say who that is, _PRICE_IN and _PRICE_OUT what it
    costs, _BUDGET and _BUDGET_TOKENS what it may cost at most. Exit code 4: stopped with work left,
    for the budget or the server; the same command goes on and pays for nothing twice.
    """
    settings, asking = load_settings(), asking_of(**given)
    place = folder or settings.home / "corpus"
    if persona and not known:
        raise click.UsageError("--persona goes with --known: a persona's words are its own.")
    if known and asking.kinds != Asking().kinds:
        raise click.UsageError("--known takes questions and answers as they are; leave --kind out.")
    if dry_run:
        click.echo(_estimated(estimate_answers(place, settings, asking), settings))
        return
    with _stopping(), following() as tick:
        if known:
            told = collect(place, tick, persona)
        else:
            told = generate_answers(place, settings, asking, tick)
    _end([told])


@group.command()
@into
@judged
@click.option("--dry-run", is_flag=True, help="Say what the verdicts would cost, and ask nothing.")
def check(folder: Path | None, verdict: bool, dry_run: bool) -> None:
    """Drop answers that do not count, with the reason, and mask personal data.

    rows.jsonl has those that count, dropped.jsonl the others, review.jsonl a tenth to look at.
    """
    settings = load_settings()
    place, verdicts = folder or settings.home / "corpus", Verdicts(settings) if verdict else None
    if dry_run and verdicts is None:
        raise click.UsageError("--dry-run goes with --verdict: without it nothing is asked.")
    if dry_run and verdicts is not None:
        click.echo(_estimated(estimate_verdicts(place, verdicts), settings))
        return
    with _stopping(), following() as tick:
        told = check_answers(place, tick, verdicts)
    _end([told])


@group.command()
@into
@click.option("--by", default=getpass.getuser, help="Who says so; you when not given.")
def review(folder: Path | None, by: str) -> None:
    """Look through review.jsonl and say of each row: keep, fix or drop.

    It goes to verdicts.jsonl at once, and stage write heeds it. What is left waits for the next
    time.
    """
    place = _folder(folder)
    rows = waiting(place)
    for number, row in enumerate(rows, 1):
        show_row(f"{number} of {len(rows)}", row, passage(place, row))
        if not _judged(place, row, by):
            break
    left = len(waiting(place))
    click.echo(f"{left} rows wait. `redraft corpus write` makes the dataset anew of what you said.")


@group.command()
@into
@written
def write(folder: Path | None, system: str, by: str) -> None:
    """Write the dataset in the forms that trainers read, train and held out.

    Alpaca, messages and prompt-completion, preference and KTO, and the rewriter's, as kinds go.
    REDRAFT_HOLDOUT_SHARE of the documents, or of the questions, are held out.
    """
    settings = load_settings()
    _end([write_dataset(folder or settings.home / "corpus", settings, system, by)])


@group.command()
@sources
@into
@cut
@asked
@judged
@written
def make(
    source: tuple[Path, ...],
    sql: str | None,
    query: str | None,
    max_mb: float,
    folder: Path | None,
    longest: int,
    teacher: bool,
    theme: tuple[str, ...],
    verdict: bool,
    system: str,
    by: str,
    **given: Any,
) -> None:
    """All stages, from documents to the dataset; what is done is not done again.

    Exit code 3: some inputs did not go through and were named, 4: stopped with work left.
    """
    settings, asking = load_settings(), asking_of(**given)
    cutting = cutting_of(longest, teacher, theme)
    place = folder or settings.home / "corpus"
    with _stopping(), following() as tick:
        told = [
            extract_sources(place, source, query_of(sql, query), max_mb, tick),
            _segmented(place, settings, longest, cutting, tick),
            generate_answers(place, settings, asking, tick),
            check_answers(place, tick, Verdicts(settings) if verdict else None),
            write_dataset(place, settings, system, by),
        ]
    click.echo(f"The report is {write_report(place)}.", err=True)
    _end(told)


@group.command()
@into
def report(folder: Path | None) -> None:
    """Write report.html: samples, themes, lengths, why answers were dropped, what a row cost."""
    click.echo(write_report(_folder(folder)))


@group.command()
@into
def status(folder: Path | None) -> None:
    """What each stage made so far."""
    found = [read_manifest(_folder(folder), stage) for stage in STAGES]
    for stage, told in zip(STAGES, found, strict=True):
        click.echo(_line(told) if told else f"{stage}: not done")


def _judged(place: Path, row: Row, by: str) -> bool:
    """Ask until something is said of the row; False: enough for now."""
    while True:
        said = click.prompt("keep, fix, drop, skip, quit", type=click.Choice([*"kfdsq"]))
        if said in "sq":
            return bool(said == "s")
        verdict = {"k": "keep", "f": "fix", "d": "drop"}[said]
        texts = edited(texts_of(row)) if verdict == "fix" else None
        if verdict == "fix" and texts is None:
            click.echo("Nothing was changed.")
            continue
        try:
            say(place, row, verdict, by, texts)
        except CorpusError as error:
            click.echo(f"{error} Again?")
            continue
        return True


def _segmented(
    place: Path, settings: Settings, longest: int, cutting: Cutting | None, tick: Tick
) -> dict[str, Any]:
    if cutting is None:
        return segment_documents(place, longest, tick)
    return cut_by_teacher(place, settings, cutting, tick)


def _folder(folder: Path | None) -> Path:
    return folder or load_settings().home / "corpus"


@contextmanager
def _stopping() -> Iterator[None]:
    """A stop with work left: what is done is kept, and the exit code says so."""
    try:
        yield
    except (Stopped, OverBudget) as error:
        click.echo(f"redraft: {error}", err=True)
        raise SystemExit(WORK_LEFT) from None
    except KeyboardInterrupt:
        click.echo("Stopped. The same command goes on.", err=True)
        raise SystemExit(INTERRUPTED) from None


def _estimated(told: Mapping[str, Any], settings: Settings) -> str:
    limits = [f"{settings.teacher_budget:g}"] if settings.teacher_budget else []
    limits += [f"{n:,} tokens"] if (n := settings.teacher_budget_tokens) else []
    return (
        f"{told['requests']} requests to {settings.teacher_model or 'a teacher'}, about "
        f"{told['tokens']:,} tokens (at most {told['tokens_at_most']:,}), about "
        f"{told['cost']:.4f} (at most {told['cost_at_most']:.4f}). Spent so far: "
        f"{told['spent_tokens']:,} tokens, {told['spent']:.4f}. The budget is "
        f"{' and '.join(limits) or 'open'}; it is never passed."
    )


def _end(told: Sequence[Mapping[str, Any]]) -> None:
    """Say what was made and what was not, and leave with the exit code for it."""
    troubles = [trouble for one in told for trouble in one["troubles"]]
    for trouble in troubles[:SHOWN]:
        click.echo(trouble, err=True)
    if len(troubles) > SHOWN:
        click.echo(f"and {len(troubles) - SHOWN} more, in the *.json of the stages.", err=True)
    for one in told:
        click.echo(_line(one))
    if not told[-1]["rows"]:
        raise CorpusError(f"Nothing came of stage {told[-1]['stage']}; the reasons are above.")
    if troubles:
        raise SystemExit(SOME_FAILED)


def _line(told: Mapping[str, Any]) -> str:
    more = f", {len(told['troubles'])} troubles" if told["troubles"] else ""
    passed = sum(told.get("passed_over", {}).values())
    over = f", {passed} files of other kinds passed over" if passed else ""
    line = f"{told['stage']}: {told['rows']} rows of {told['inputs']} inputs{more}{over}"
    for name in ("notes", "dropped", "reviewed", "splits"):
        parts = [f"{n} {what}" for what, n in told.get(name, {}).items()]
        line += f"\n  {name}: {', '.join(parts)}" if parts else ""
    if "teacher" in told:
        bill = told["teacher"]
        line += f"\n  {bill['tokens_in']:,} tokens in, {bill['tokens_out']:,} out: {bill['cost']}"
    return line
