"""`redraft db`: the schema of the record."""

from contextlib import closing

import click

from feedback.database import Database, open_database
from feedback.migrate import check as check_schema, migrate as migrate_schema
from feedback.soundness import troubles
from serve.home import prepare_home
from serve.settings import load_settings


def _open() -> Database:
    settings = load_settings()
    prepare_home(settings.home)
    return open_database(settings.database_url)


@click.group()
def group() -> None:
    """The schema of the record."""


@group.command()
def migrate() -> None:
    """Bring the database to what this version needs; rows stay."""
    with closing(_open()) as database:
        migrate_schema(database)
    click.echo(f"{database.url} is up to date.")


@group.command()
def check() -> None:
    """Say whether the database fits this version and is whole; exit code 1 when it is not.

    Looks at the revision, at each table and index, for rows that name what is not there, and on
    SQLite at the file itself. Reads all, changes nothing.
    """
    with closing(_open()) as database:
        check_schema(database)
        found = troubles(database)
    for trouble in found:
        click.echo(trouble, err=True)
    if found:
        raise SystemExit(1)
    click.echo(f"{database.url} fits this version and is whole.")
