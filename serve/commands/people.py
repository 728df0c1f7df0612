"""`redraft user` and `redraft key`."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy.orm import Session

from feedback import users
from feedback.database import open_database
from feedback.migrate import migrate
from serve.home import prepare_home
from serve.settings import load_settings

ROLE = click.Choice(users.ROLES)


@contextmanager
def _session() -> Iterator[Session]:
    settings = load_settings()
    prepare_home(settings.home)
    database = open_database(settings.database_url)
    try:
        migrate(database)
        with database.session() as session:
            yield session
    finally:
        database.close()


@click.group()
def user() -> None:
    """People who may use this server."""


@user.command()
@click.argument("name")
@click.option("--role", type=ROLE, default="user", show_default=True)
def add(name: str, role: str) -> None:
    """Add a user. `redraft key new` then makes an API key."""
    with _session() as session:
        made = users.add_user(session, name, role)
        click.echo(f"{made.name} ({made.role})")


@user.command(name="list")
def list_() -> None:
    """All users by name."""
    with _session() as session:
        for found in users.list_users(session):
            click.echo(f"{found.name}\t{found.role}\t{found.created_at:%Y-%m-%d}")


@user.command()
@click.argument("name")
@click.argument("role", type=ROLE)
def role(name: str, role: str) -> None:
    """Give a user another role."""
    with _session() as session:
        users.set_role(session, name, role)
    click.echo(f"{name} ({role})")


@click.group()
def key() -> None:
    """API keys: shown once, stored as a digest."""


@key.command()
@click.option("--user", "name", required=True, help="Whose key; made when new.")
def new(name: str) -> None:
    """Make a key and print it, alone, on standard output."""
    with _session() as session:
        made = users.new_key(session, name)
    click.echo(made)
