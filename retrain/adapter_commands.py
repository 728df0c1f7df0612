"""`redraft adapters`: the registry from the command line.

Promote and rollback go to the running server, which swaps without dropping a request; where none
runs, the record is changed and the next start serves it.
"""

import json
from typing import Any

import click
import httpx

from feedback import adapters
from feedback.database import Database, open_database
from feedback.migrate import check
from feedback.moments import iso
from feedback.tables import Adapter
from retrain.deploy import DeployError, headers
from serve.settings import Settings, load_settings

SWAP_SECONDS = 600  # loading and attesting a large adapter


@click.group()
def group() -> None:
    """Adapters: which there are, which one serves, and the way back."""


@group.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(as_json: bool) -> None:
    """All adapters, the newest first; the star marks the one in service."""
    with _open(load_settings()).reading() as session:
        rows = [_describe(adapter) for adapter in adapters.list_adapters(session)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("No adapters yet: the base model serves. `redraft retrain now` makes one.")
    for row in rows:
        star = "*" if row["state"] == "champion" else " "
        origin = f"{row['run'] or 'imported'}, on {row['parent'] or row['base_model']}"
        click.echo(f"{star} {row['name']}  {row['state']:<9}  {row['created_at'][:16]}  {origin}")


@group.command()
@click.argument("name")
@click.option("--reason", default="by hand", show_default=True, help="Kept in the record.")
def promote(name: str, reason: str) -> None:
    """Put an adapter into service, also an earlier one. Rejected ones never serve."""
    settings = load_settings()
    if answer := _ask_server(settings, f"{name}/promote", reason):
        click.echo(f"{answer['serving']} serves now (before: {answer['previous']}).")
        return
    with _open(settings).session() as session:
        previous = adapters.set_champion(session, name, "operator", reason)
    click.echo(f"{name} serves from the next start (before: {previous or 'base'}).")


@group.command()
@click.option("--reason", default="by hand", show_default=True, help="Kept in the record.")
def rollback(reason: str) -> None:
    """Put back what served before; again goes back one step more."""
    settings = load_settings()
    if answer := _ask_server(settings, "rollback", reason):
        click.echo(f"{answer['serving']} serves now (before: {answer['previous']}).")
        return
    with _open(settings).session() as session:
        target, previous = adapters.rollback(session, "operator", reason)
    click.echo(f"{target or 'base'} serves from the next start (before: {previous}).")


@group.command()
@click.argument("name")
def lineage(name: str) -> None:
    """Where an adapter comes from: run, feedback, parents up to the base model; as JSON."""
    with _open(load_settings()).reading() as session:
        found = adapters.lineage(session, name)
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _open(settings: Settings) -> Database:
    database = open_database(settings.database_url)
    check(database)
    return database


def _ask_server(settings: Settings, action: str, reason: str) -> dict[str, Any] | None:
    """What the running server answers; None when none listens. Raises DeployError."""
    try:
        answer = httpx.post(
            f"{settings.api_url}/v1/adapters/{action}",
            json={"reason": reason},
            headers=headers(settings),
            timeout=SWAP_SECONDS,
            trust_env=False,
        )
        body: dict[str, Any] = answer.json()
    except httpx.ConnectError:
        return None
    except (httpx.HTTPError, ValueError) as error:
        raise DeployError(
            f"The server at {settings.api_url} did not answer as Redraft does ({error!r}). What "
            "served before still serves; look at its log, then try again."
        ) from error
    if not answer.is_success:
        raise DeployError(str(body["error"]["message"]))
    return body


def _describe(adapter: Adapter) -> dict[str, Any]:
    return {
        "name": adapter.name,
        "state": adapter.state,
        "base_model": adapter.base_model,
        "parent": adapter.parent,
        "run": adapter.run_id,
        "created_at": iso(adapter.created_at),
    }
