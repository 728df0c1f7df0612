"""HTTP to an engine that is a server of its own: OpenAI's API, with every fault in words."""

import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx

from serve.engines.base import EngineError, Unavailable
from serve.engines.event_source import FAULTS, Answer, EventSource
from serve.engines.hangup import on_hangup

CONNECT_SECONDS = 5.0
PATIENCE = 300.0  # longest silence, also before the first token of a long prompt
CROWDED = 429
LOOPBACK = ("127.0.0.1", "localhost", "::1")


Event = tuple[dict[str, Any], bool]  # its data, and whether another came with it
SILENCE: Event = ({}, False)  # in place of one, when there was none for a beat


class Refused(EngineError):
    """The server said no to this request; `status` is HTTP's, `reason` the server's words."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


class Remote:
    """A server under `url`, its `/v1` included; `way_out` says what to do while it is away."""

    def __init__(
        self, name: str, url: str, api_key: str, way_out: str, patience: float = PATIENCE
    ) -> None:
        self.name, self.url, self._way_out = name, url.rstrip("/"), way_out
        parts = _parts(self.url)
        remote = parts.host not in LOOPBACK  # a proxy of the environment is for other hosts
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(patience, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=remote,
        )
        self._patience = patience
        self._source = EventSource(parts, headers, CONNECT_SECONDS, patience, remote)

    def get(self, path: str) -> Any:
        """The JSON of an answer. Raises Unavailable or Refused."""
        with self._words():
            return self._read(self._http.get(self.url + path))

    def post(self, path: str, body: dict[str, Any], above: bool = False) -> Any:
        """The same for a request with a JSON body; `above` the `/v1` for what is not OpenAI's."""
        with self._words():
            return self._read(self._http.post(self._base(above) + path, json=body))

    def stream(self, path: str, body: dict[str, Any]) -> Generator[Event]:
        """The answer's events. Closing it closes the connection, which ends the generation.

        While nothing comes it yields SILENCE every beat. Raises Refused before the first event, and
        Unavailable when the stream breaks or ends without OpenAI's last event.
        """
        with (
            self._words(),
            closing(self._source.ask(path, body)) as answer,
            on_hangup(answer.hang_up),
        ):
            try:
                yield from self._answered(answer)
            except (*FAULTS, Unavailable):
                if answer.hung_up:  # by our own client: whoever reads may want to say so
                    yield SILENCE
                raise

    def problem(self, path: str = "/models", above: bool = False) -> str | None:
        """Why it does not answer there within seconds, None when it does."""
        try:
            with self._words():
                self._read(self._http.get(self._base(above) + path, timeout=CONNECT_SECONDS))
        except Unavailable as error:
            return str(error)
        except Refused:  # an answer: not every server lists what it has
            return None
        return None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _answered(self, answer: Answer) -> Iterator[Event]:
        for _ in answer.head():
            yield SILENCE
        if not answer.is_success:
            self._read(answer.whole())
        for data, more in _events(answer):
            if data == b"[DONE]":
                return
            yield (self._event(data), more) if data else SILENCE
        raise self._away("its answer broke off before the end")

    def _base(self, above: bool) -> str:
        return self.url.removesuffix("/v1") if above else self.url

    def _event(self, data: bytes) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(data.decode())
        if "error" in event:
            raise self._away(f"it broke while it answered: {_reason(event)}")
        return event

    def _read(self, answer: httpx.Response) -> Any:
        if answer.is_success:
            return answer.json() if "json" in answer.headers.get("content-type", "") else None
        status, reason = answer.status_code, _reason(_parsed(answer))
        if status >= 500 or status == CROWDED:
            raise self._away(f"it answered {status}: {reason}", reason)
        raise Refused(self._refusal(status, reason), status, reason)

    def _refusal(self, status: int, reason: str) -> str:
        told = f"{self.name} at {self.url} refused the request ({status}): {reason}"
        if status in (401, 403):
            return f"{told} Set REDRAFT_ENGINE_API_KEY to a key that it knows."
        if status == 404 and not self.url.endswith("/v1"):
            return f"{told} REDRAFT_ENGINE_URL ends in /v1 for most servers."
        return told

    @contextmanager
    def _words(self) -> Iterator[None]:
        try:
            yield
        except httpx.ReadTimeout as error:
            waited = error.request.extensions["timeout"]["read"]
            raise self._away(f"it sent nothing for {waited:g} s") from error
        except TimeoutError as error:
            raise self._away(f"it sent nothing for {self._patience:g} s") from error
        except (httpx.TransportError, *FAULTS) as error:
            raise self._away(str(error) or type(error).__name__) from error
        except ValueError as error:  # no JSON
            raise self._away(f"it does not speak OpenAI's API ({error})") from error

    def _away(self, why: str, reason: str = "") -> Unavailable:
        why = why.rstrip(".")
        return Unavailable(
            f"{self.name} at {self.url} does not answer: {why}. {self._way_out}", reason
        )


def _parts(url: str) -> httpx.URL:
    """Raises EngineError for what is no URL."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise EngineError(f"REDRAFT_ENGINE_URL {url!r} is no URL: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.host:
        raise EngineError(f"REDRAFT_ENGINE_URL {url!r} must begin with http:// or https://.")
    return parts


def _events(reads: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """(data, whether more of it is at hand) of server-sent events; other fields are passed over.

    A read without an event, such as a comment or nothing at all, gives data that is empty.
    """
    rest = b""
    for read in reads:
        *lines, rest = (rest + read).split(b"\n")
        found = [line[5:].strip() for line in lines if line.startswith(b"data:")]
        if not found:
            yield b"", False
        for place, data in enumerate(found, 1):
            yield data, place < len(found)


def _parsed(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return answer.text.strip()[:200]


def _reason(body: Any) -> str:
    """What a server says went wrong, in OpenAI's form, FastAPI's or plain text."""
    found = body.get("error", body.get("detail", body)) if isinstance(body, dict) else body
    if isinstance(found, dict):
        found = found.get("message", found)
    return str(found) or "it gave no reason"
