"""`redraft db`: the schema of the record."""

import click

from feedback.database import Database, open_database
from feedback.migrate import check as check_schema, migrate as migrate_schema
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
    database = _open()
    migrate_schema(database)
    click.echo(f"{database.url} is up to date.")


@group.command()
def check() -> None:
    """Say whether the database fits this version; exit code 1 when it does not."""
    database = _open()
    check_schema(database)
    click.echo(f"{database.url} fits this version.")
