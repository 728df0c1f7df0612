"""`redraft user` and `redraft key`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy.orm import Session

from feedback import passwords, users
from feedback.database import open_database
from feedback.errors import Invalid
from feedback.migrate import migrate
from serve.home import prepare_home
from serve.settings import load_settings

ROLE = click.Choice(users.ROLES)
GENERATE = click.option(
    "--generate", is_flag=True, help="Make a password and print it, also on a terminal."
)


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
@GENERATE
def add(name: str, role: str, generate: bool) -> None:
    """Add a user with a password: asked for on a terminal, else made and printed."""
    with _session() as session:
        made = users.add_user(session, name, role)
    _give_password(made.name, generate, f"{made.name} ({made.role})")


@user.command()
@click.argument("name")
@GENERATE
def password(name: str, generate: bool) -> None:
    """Give a user another password; whoever is signed in under the old one is signed out."""
    with _session() as session:
        known = users.known_user(session, name)
    _give_password(known.name, generate, known.name)


@user.command(name="list")
def list_() -> None:
    """All users by name."""
    with _session() as session:
        for found in users.list_users(session):
            if found.forgotten_at is None:
                consent = "" if found.consent else "\tno consent"
                click.echo(f"{found.name}\t{found.role}\t{found.created_at:%Y-%m-%d}{consent}")


@user.command()
@click.argument("name")
@click.argument("role", type=ROLE)
def role(name: str, role: str) -> None:
    """Give a user another role."""
    with _session() as session:
        users.set_role(session, name, role)
    click.echo(f"{name} ({role})")


@user.command()
@click.argument("name")
@click.argument("given", type=click.Choice(["on", "off"]))
def consent(name: str, given: str) -> None:
    """Let a user's words be learned from, or not; the page has the same switch for everybody."""
    with _session() as session:
        users.set_consent(session, name, given == "on")
    click.echo(f"{name}: consent {given}")


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


@key.command(name="list")
def list_keys() -> None:
    """The keys that open: id, user, last characters, day."""
    with _session() as session:
        for found, name in users.list_keys(session):
            click.echo(f"{found.id}\t{name}\t…{found.hint}\t{found.created_at:%Y-%m-%d}")


@key.command()
@click.argument("id")
def revoke(id: str) -> None:
    """Make a key open no more, at once."""
    with _session() as session:
        users.revoke_key(session, id)
    click.echo(f"{id} is revoked.")


def _give_password(name: str, generate: bool, done: str) -> None:
    typed = not generate and sys.stdin.isatty()
    given = _ask(name) if typed else passwords.new_password()
    with _session() as session:
        users.set_password(session, name, given)
    click.echo(done)
    if not typed:
        click.echo(f"Password, shown once: {given}")


def _ask(name: str) -> str:
    while True:
        given = click.prompt(
            f"Password of {name}", hide_input=True, confirmation_prompt="The same again"
        )
        try:
            return passwords.checked(given)
        except Invalid as error:
            click.echo(error)
