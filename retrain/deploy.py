"""Adapters into service and out of it, by what the gate and the canary's monitor decided.

A running server is asked, and swaps without dropping a request; where none runs, the record is
changed and the next start serves it.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import httpx

from feedback import adapters
from feedback.database import Database
from feedback.errors import Overtaken
from feedback.split import percent
from serve.settings import Settings

log = logging.getLogger("redraft")

KNOCKS = 5  # tries, a second apart, before we believe that no server listens
PATIENCE = 60.0  # seconds for a server that restarts or is busy with another swap
OVERTAKEN = "champion_changed"  # the API's code where another champion serves than was expected
GATE, MONITOR = "gate", "monitor"  # who decided; a server names the user whose key it got
Facts = dict[str, Any] | None


class DeployError(Exception):
    """The running server would not take the adapter; the message says why and what next."""


def deploy(
    settings: Settings,
    database: Database,
    name: str,
    champion: str,
    reason: str,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Put the candidate into service and say how: as canary first where there is a share for one.

    One that was put into service before is left as it is: doing it twice is harmless. Raises
    DeployError, and Overtaken when another one serves than the `champion` that it was judged
    against (`base`: none).
    """
    with database.reading() as session:
        state = adapters.get_adapter(session, name).state
    if state not in ("candidate", "rejected"):
        return f"{name} is {state}"
    if settings.canary_share:
        return put_canary(settings, database, name, champion, reason, sleep)
    return promote(settings, database, name, GATE, reason, champion=champion, sleep=sleep)


def promote(
    settings: Settings,
    database: Database,
    name: str,
    by: str,
    reason: str,
    facts: Facts = None,
    expected: str | None = None,
    champion: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Make the adapter the champion and say how.

    Raises DeployError, Conflict as `expect`, and Overtaken as `expect_champion`.
    """
    body = {"reason": reason, "facts": facts, "expected": expected, "champion": champion}
    if _ask_server(settings, f"{name}/promote", body, sleep):
        return f"{name} serves now"
    with database.session() as session:
        if expected is not None:
            adapters.expect(session, name, expected)
        if champion is not None:
            adapters.expect_champion(session, name, champion)
        adapters.set_champion(session, name, by, reason, facts=facts)
    return _later(settings, name)


def put_canary(
    settings: Settings,
    database: Database,
    name: str,
    champion: str,
    reason: str,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Give the adapter the share of conversations that the settings name.

    Raises DeployError, and Overtaken as `expect_champion`.
    """
    share = settings.canary_share
    body = {"reason": reason, "share": share, "champion": champion}
    if _ask_server(settings, f"{name}/canary", body, sleep):
        return f"{name} answers {percent(share)} of new conversations as canary"
    with database.session() as session:
        adapters.expect_champion(session, name, champion)
        adapters.set_canary(session, name, share, GATE, reason)
    return _later(settings, f"{name}, as canary on {percent(share)} of new conversations,")


def retire(
    settings: Settings,
    database: Database,
    name: str,
    reason: str,
    facts: Facts = None,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Take the canary out and say how. Raises DeployError, and Conflict when it is none."""
    body = {"reason": reason, "facts": facts}
    if _ask_server(settings, f"{name}/retire", body, sleep):
        return f"{name} is out of service"
    with database.session() as session:
        adapters.retire_canary(session, name, MONITOR, reason, facts)
    return f"{name} is out of service"


def reject(database: Database, name: str, reason: str) -> None:
    """Mark the candidate as rejected: no server ever loads it. Doing it twice is harmless."""
    with database.session() as session:
        if adapters.get_adapter(session, name).state != "rejected":
            adapters.reject_adapter(session, name, GATE, reason)


def _later(settings: Settings, what: str) -> str:
    return f"no server runs at {settings.api_url}: {what} takes effect at the next start"


def _ask_server(
    settings: Settings, action: str, body: dict[str, Any], sleep: Callable[[float], None]
) -> bool:
    """Whether a server did it; False when none listens. Raises DeployError, Overtaken."""
    url = f"{settings.api_url}/v1/adapters/{action}"
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
                raise DeployError(_refused(settings, action, str(error) or repr(error))) from error
        else:
            if answer.is_success:
                return True
            if _error(answer).get("code") == OVERTAKEN:
                raise Overtaken(_explanation(answer))
            if answer.status_code not in (429, 502, 503) or time.monotonic() > deadline:
                raise DeployError(_refused(settings, action, _explanation(answer)))
        log.info("The server at %s is not ready; trying again.", settings.api_url)
        sleep(1.0)


def headers(settings: Settings) -> dict[str, str]:
    """What a request of ours to the API carries."""
    return {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}


def _explanation(answer: httpx.Response) -> str:
    unknown = f"status {answer.status_code}; is it this Redraft that listens there?"
    return str(_error(answer).get("message", unknown))


def _error(answer: httpx.Response) -> dict[str, Any]:
    """What the API says of an error; empty where it is not ours that answers."""
    try:
        body: Any = answer.json()
        return dict(body["error"])
    except (ValueError, KeyError, TypeError):
        return {}


def _refused(settings: Settings, action: str, why: str) -> str:
    name, _, what = action.partition("/")
    return (
        f"The server at {settings.api_url} did not {what} {name}: {why} What served before still "
        f"serves. `redraft adapters` lists what there is, and does by hand what was refused."
    )
