"""`redraft import`: files of rows, and what people said elsewhere, into the record.

All of a file is read before anything is written; ids come of what the rows say, so reading a file
again adds nothing.
"""

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import click

from feedback import users
from feedback.database import Database, open_database
from feedback.errors import RecordError
from feedback.fields import storable_json
from feedback.migrate import check
from retrain import forms
from retrain.files import read_file
from retrain.forms import Broken, Told
from retrain.outgoing import Seen
from retrain.telling import ADDED, tell
from serve.settings import load_settings

BATCH = 100
IMPORTER = "import"


class ImportRefused(Exception):
    """The file was not imported; the message names the places and says why."""


@click.command("import")
@click.argument("format", type=click.Choice(forms.readable()))
@click.argument(
    "file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
)
@click.option(
    "--user",
    default=IMPORTER,
    show_default=True,
    help="Whose word the rows are. Made when new, as a reviewer, whose word is enough to teach; "
    "users of Open WebUI become users of their own.",
)
@click.option(
    "--skip-broken", is_flag=True, help="Leave out rows that cannot be read, and name each of them."
)
@click.option("--dry-run", is_flag=True, help="Read and check the file, and write nothing.")
def command(format: str, file: Path, user: str, skip_broken: bool, dry_run: bool) -> None:
    """Read feedback from a file of rows: JSON Lines, a JSON array or Parquet.

    The formats are those of `redraft export`; label-studio also reads the annotations of its tasks,
    as reviews, and open-webui is that program's export of feedback. FILE `-` is standard input.
    A row that cannot be read is named with its line, and then nothing is imported, unless
    --skip-broken is given. A row that is here already is left as it is, also on a second try.
    """
    settings = load_settings()
    with _at_hand(file) as path:
        broken = [
            f"{place}: {told}" for place, told in _read(format, path) if isinstance(told, str)
        ]
        if broken and not skip_broken:
            raise ImportRefused(_refusal(broken))
        for line in broken:
            click.echo(f"Skipped {line}", err=True)
        if dry_run:
            count = sum(not isinstance(told, str) for _, told in _read(format, path))
            click.echo(f"{count} rows can be imported. Nothing was.", err=True)
            return
        database = open_database(settings.database_url)
        try:
            check(database)
            counted = _write(database, format, path, user, settings.holdout_share)
        finally:
            database.close()
    told = ", ".join(f"{n} {what}" for what, n in counted.items() if n or what == ADDED)
    click.echo(f"{told}, {len(broken)} skipped of {file}.", err=True)


def _read(format: str, path: Path) -> Iterator[tuple[str, Told | str]]:
    """(place, what is told there, or why it cannot be read)."""
    for found in read_file(path):
        if found.row is None:
            yield found.place, found.wrong
            continue
        try:
            storable_json("the row", found.row)
            for told in forms.read(format, found.row):
                yield found.place, told
        except (Broken, RecordError) as error:
            yield found.place, str(error)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            yield found.place, f"it has another shape than {format}: {error!r}"


def _write(
    database: Database, format: str, path: Path, user: str, holdout_share: float
) -> dict[str, int]:
    """Write a batch a transaction: a long import must not keep others from writing."""
    counted: Counter[str] = Counter({ADDED: 0})
    with database.session() as session:
        if users.user_named(session, user) is None:
            users.add_user(session, user, "reviewer")
    read = _numbered(_read(format, path))
    while batch := list(islice(read, BATCH)):
        with database.session() as session:
            for place, told in batch:
                try:
                    counted[tell(session, told, user, holdout_share)] += 1
                except RecordError as error:
                    raise ImportRefused(
                        f"{place}: {error} What comes before it was imported; mend it and import "
                        "the file again."
                    ) from error
    return dict(counted)


def _numbered(read: Iterator[tuple[str, Told | str]]) -> Iterator[tuple[str, Told]]:
    """What is told; of equal rows each has a key of its own, the same in every import."""
    with closing(Seen()) as seen:
        for place, told in read:
            if not isinstance(told, Told):
                continue
            number = seen.count(told.key) if told.numbered else 1
            yield place, told if number == 1 else replace(told, key=f"{told.key} {number}")


@contextmanager
def _at_hand(file: Path) -> Iterator[Path]:
    """The file, which is read twice: standard input is put aside first."""
    if str(file) != "-":
        yield file
        return
    with tempfile.NamedTemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        yield Path(copy.name)


def _refusal(broken: list[str]) -> str:
    shown = [*broken[:10], *([f"and {len(broken) - 10} more"] if len(broken) > 10 else [])]
    told = "\n  ".join(shown)
    return (
        f"{len(broken)} rows cannot be read, and nothing was imported:\n  {told}\n"
        "Mend them, or leave them out with --skip-broken."
    )
