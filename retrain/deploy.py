"""A candidate that passed the gate goes into service, or one that failed never does."""

import logging
import time
from collections.abc import Callable
from typing import Any

import httpx

from feedback import adapters
from feedback.database import Database
from serve.settings import Settings

log = logging.getLogger("redraft")

KNOCKS = 5  # tries, a second apart, before we believe that no server listens
PATIENCE = 60.0  # seconds for a server that restarts or is busy with another swap


class DeployError(Exception):
    """The running server would not take the adapter; the message says why and what next."""


def promote(
    settings: Settings,
    database: Database,
    name: str,
    reason: str,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Put the adapter into service and say how. Doing it twice is harmless. Raises DeployError.

    The running server swaps it in without dropping a request; where none runs, the record is
    changed and the next start serves it.
    """
    if _serves(database, name):
        return f"{name} serves"
    if _ask_server(settings, name, reason, sleep):
        return f"{name} serves now"
    with database.session() as session:
        adapters.set_champion(session, name, "gate", reason)
    return f"no server runs at {settings.api_url}: {name} takes effect at the next start"


def reject(database: Database, name: str, reason: str) -> None:
    """Mark the candidate as rejected: no server ever loads it. Doing it twice is harmless."""
    with database.session() as session:
        if adapters.get_adapter(session, name).state != "rejected":
            adapters.reject_adapter(session, name, "gate", reason)


def _serves(database: Database, name: str) -> bool:
    with database.reading() as session:
        serving = adapters.champion(session)
    return serving is not None and serving.name == name


def _ask_server(settings: Settings, name: str, reason: str, sleep: Callable[[float], None]) -> bool:
    """Whether a server took it; False when none listens."""
    url = f"{settings.api_url}/v1/adapters/{name}/promote"
    body = {"reason": reason}
    patience = settings.drain_seconds + 240  # loading, warming and draining come first
    knocks, deadline = 0, time.monotonic() + PATIENCE
    while True:
        try:
            answer = httpx.post(
                url, json=body, headers=headers(settings), timeout=patience, trust_env=False
            )
        except httpx.ConnectError:
            knocks += 1
            if knocks >= KNOCKS:
                return False
        except httpx.TransportError as error:
            if time.monotonic() > deadline:
                raise DeployError(_refused(settings, name, str(error) or repr(error))) from error
        else:
            if answer.is_success:
                return True
            if answer.status_code not in (429, 502, 503) or time.monotonic() > deadline:
                raise DeployError(_refused(settings, name, _explanation(answer)))
        log.info("The server at %s is not ready; trying again.", settings.api_url)
        sleep(1.0)


def headers(settings: Settings) -> dict[str, str]:
    """What a request of ours to the API carries."""
    return {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}


def _explanation(answer: httpx.Response) -> str:
    try:
        body: Any = answer.json()
        return str(body["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}; is it this Redraft that listens there?"


def _refused(settings: Settings, name: str, why: str) -> str:
    return (
        f"{name} passed the gate, but the server at {settings.api_url} did not take it: {why} What "
        f"served before still serves. Try again with `redraft adapters promote {name}`."
    )
