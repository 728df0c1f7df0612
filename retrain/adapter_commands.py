"""`redraft adapters`: the registry from the command line.

Promote and rollback go to the running server, which swaps without dropping a request; where none
runs, the record is changed and the next start serves it.
"""

import json
from typing import Any

import click
import httpx

from feedback import adapters
from feedback.adapters import Canary
from feedback.database import Database, open_database
from feedback.lineage import lineage as lineage_of, origins
from feedback.migrate import check
from feedback.moments import iso
from feedback.split import percent
from feedback.tables import Adapter
from retrain.deploy import DeployError, headers
from retrain.evaluate.sequential import Evidence
from retrain.monitor import look, waiting
from serve.engines.adapter_folder import check_base
from serve.engines.base import BASE
from serve.settings import Settings, load_settings

SWAP_SECONDS = 600  # loading and attesting a large adapter
MARKS = {"champion": "*", "canary": "+"}
OPERATOR = "operator"


@click.group()
def group() -> None:
    """Adapters: which there are, which one serves, and the way back."""


@group.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(as_json: bool) -> None:
    """All adapters, the newest first; a star marks the one in service, a plus the canary."""
    settings = load_settings()
    database = _open(settings)
    with database.reading() as session:
        rows = [_describe(adapter) for adapter in adapters.list_adapters(session)]
    found = look(database)
    for row in rows:
        row["canary"] = _measured(*found) if found and row["name"] == found[0].name else None
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("No adapters yet: the base model serves. `redraft retrain now` makes one.")
    for row in rows:
        mark = MARKS.get(row["state"], " ")
        origin = f"{row['run'] or 'imported'}, on {row['parent'] or row['base_model']}"
        click.echo(f"{mark} {row['name']}  {row['state']:<9}  {row['created_at'][:16]}  {origin}")
        if found and row["canary"]:
            click.echo(f"    {percent(found[0].share)} of new conversations; {found[1].describe()}")
            if why := waiting(settings, found[1]):
                click.echo(f"    {why}")


@group.command()
@click.argument("name")
@click.option("--reason", default="by hand", show_default=True, help="Kept in the record.")
def promote(name: str, reason: str) -> None:
    """Put an adapter into service, also the canary or an earlier one.

    It answers all conversations from then on. A canary that is not the one promoted ends with it.
    Rejected adapters never serve.
    """
    settings = load_settings()
    database = _with_adapter(settings, name)
    if answer := _ask_server(settings, f"{name}/promote", {"reason": reason}):
        click.echo(f"{answer['serving']} serves now (before: {answer['previous']}).")
        return
    with database.session() as session:
        check_base(name, adapters.get_adapter(session, name).base_model, settings.model)
        previous = adapters.set_champion(session, name, OPERATOR, reason)
    click.echo(f"{name} serves from the next start (before: {previous or BASE}).")


@group.command()
@click.argument("name")
@click.option("--share", type=float, help="Of the conversations; else REDRAFT_CANARY_SHARE.")
@click.option("--reason", default="by hand", show_default=True, help="Kept in the record.")
def canary(name: str, share: float | None, reason: str) -> None:
    """Let an adapter answer a share of new conversations beside the champion.

    The scheduler takes it out when votes show that it is worse, and makes it champion after
    REDRAFT_CANARY_VOTES votes. It takes the place of another canary.
    """
    settings = load_settings()
    share = settings.canary_share if share is None else share
    database = _with_adapter(settings, name)
    body = {"reason": reason, "share": share}
    if answer := _ask_server(settings, f"{name}/canary", body):
        click.echo(
            f"{name} answers {percent(share)} of new conversations beside {answer['serving']}."
        )
        return
    with database.session() as session:
        check_base(name, adapters.get_adapter(session, name).base_model, settings.model)
        adapters.set_canary(session, name, share, OPERATOR, reason)
    click.echo(f"{name} answers {percent(share)} of new conversations from the next start.")


@group.command()
@click.option("--reason", default="by hand", show_default=True, help="Kept in the record.")
def rollback(reason: str) -> None:
    """Take back what came last: the canary, else the champion.

    While a canary is out, it alone goes and the champion stays. Otherwise what served before the
    champion returns; again goes back one step more.
    """
    settings = load_settings()
    if answer := _ask_server(settings, "rollback", {"reason": reason}):
        click.echo(f"{answer['serving']} serves now (taken back: {answer['previous']}).")
        return
    with _open(settings).session() as session:
        target, previous = adapters.rollback(session, OPERATOR, reason)
    click.echo(f"{target or BASE} serves from the next start (taken back: {previous}).")


@group.command()
@click.argument("name")
@click.option("--feedback", is_flag=True, help="A line of JSON for each feedback of its snapshot.")
def lineage(name: str, feedback: bool) -> None:
    """Where an adapter comes from: run, snapshot, feedback, parents up to the base; as JSON.

    With --feedback one by one: which feedback was in the snapshot, which completion it is about,
    and which adapter wrote that.
    """
    with _open(load_settings()).reading() as session:
        found = lineage_of(session, name)
        if not feedback:
            click.echo(json.dumps(found, indent=2, ensure_ascii=False))
            return
        for row in origins(session, name):
            click.echo(json.dumps(row))
    if found["run"] is None:
        click.echo(f"No run made {name}, so no feedback is known that it comes from.", err=True)


def _open(settings: Settings) -> Database:
    database = open_database(settings.database_url)
    check(database)
    return database


def _with_adapter(settings: Settings, name: str) -> Database:
    """The record, once it has shown that it knows the adapter: what is no adapter's name never
    becomes a part of an address. Raises NotFound."""
    database = _open(settings)
    with database.reading() as session:
        adapters.get_adapter(session, name)
    return database


def _ask_server(settings: Settings, action: str, given: dict[str, Any]) -> dict[str, Any] | None:
    """What the running server answers; None when none listens. Raises DeployError."""
    try:
        answer = httpx.post(
            f"{settings.api_url}/v1/adapters/{action}",
            json=given,
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


def _measured(canary: Canary, evidence: Evidence) -> dict[str, Any]:
    return {"share": canary.share, "since": iso(canary.since), **evidence.as_dict()}
