"""One request to an OpenAI-compatible server, streamed, and every way in which it can go wrong."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from retrain.corpus.teacher import Request

CONNECT_SECONDS = 10.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
NO_MONEY = ("insufficient_quota", "billing", "quota_exceeded", "insufficient_balance")
# Of response_format, the first that a server takes. OpenAI's knows no lengths in a strict schema.
FORMS = ("bounded", "json_schema", "json_object", "none")
BOUNDS = ("minLength", "maxLength", "minItems", "maxItems")
LIMITS = ("max_tokens", "max_completion_tokens")
REFUSED = ("content_filter", "refusal")


@dataclass(frozen=True)
class Reply:
    """What was said. `finish` is OpenAI's reason, or `refusal`; tokens are the server's count."""

    text: str
    finish: str
    tokens_in: int | None = None
    tokens_out: int | None = None

    @property
    def refused(self) -> bool:
        return self.finish in REFUSED

    @property
    def cut_off(self) -> bool:
        return self.finish == "length"


class Away(Exception):
    """No whole answer came; `charged` where the server may have worked for it."""

    def __init__(self, message: str, kind: str, charged: bool) -> None:
        super().__init__(message)
        self.kind, self.charged = kind, charged


class Crowded(Exception):
    """The server wants to be left alone for `seconds`, None where it does not say."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__("told to wait")
        self.seconds = seconds


class Unfit(Exception):
    """The server knows a parameter in another form; the next attempt has that."""


class Declined(Exception):
    """The server said no; `fatal` where it would say so to any request."""

    def __init__(self, message: str, fatal: bool) -> None:
        super().__init__(message)
        self.fatal = fatal


class Wire:
    """A server under `url`, its `/v1` included. `seconds` is the longest time for one answer."""

    def __init__(self, url: str, key: str, model: str, seconds: float) -> None:
        self.url, self.model, self._seconds = url.rstrip("/"), model, seconds
        try:
            parts = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise Declined(f"REDRAFT_TEACHER_URL {url!r} is no URL: {error}.", True) from error
        if parts.scheme not in ("http", "https") or not parts.host:
            raise Declined(f"REDRAFT_TEACHER_URL {url!r} must begin with http(s)://.", True)
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None),
            trust_env=parts.host not in LOOPBACK,
        )
        self._form, self._limit = FORMS[0], LIMITS[0]

    def ask(self, name: str, request: "Request") -> Reply:
        """The whole answer. Raises Away, Crowded, Unfit or Declined."""
        body, headers = self._body(request), {"Idempotency-Key": name}
        try:
            with self._http.stream(
                "POST", f"{self.url}/chat/completions", json=body, headers=headers
            ) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self._fault(answer, request)
                return self._read(answer)
        except httpx.ConnectError as error:
            raise Away(f"no connection ({error})", "no connection", charged=False) from error
        except httpx.TimeoutException as error:
            connecting = isinstance(error, httpx.ConnectTimeout)
            raise Away("it took too long", "took too long", charged=not connecting) from error
        except httpx.HTTPError as error:
            raise Away(f"it broke off ({error})", "broke off", charged=True) from error
        except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            said = "its answer is none of OpenAI's"
            raise Away(f"{said} ({error!r:.100})", "not understood", charged=True) from error

    def _body(self, request: "Request") -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [dict(message) for message in request.messages],
            "temperature": request.temperature,
            self._limit: request.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.draw:
            body["seed"] = request.draw
        if request.schema is not None and self._form in FORMS[:2]:
            schema = request.schema if self._form == "bounded" else _unbounded(request.schema)
            form = {"name": "answer", "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        elif request.schema is not None and self._form == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def _read(self, answer: httpx.Response) -> Reply:
        if "json" in answer.headers.get("content-type", ""):
            answer.read()
            return _whole(answer.json())
        text, finish, usage = [], "", dict[str, Any]()
        end = time.monotonic() + self._seconds
        for event in _events(answer):
            if "error" in event:
                raise Away(f"it broke off: {event['error']}", "broke off", charged=True)
            usage = event.get("usage") or usage
            for choice in event.get("choices") or []:
                delta = choice.get("delta") or {}
                text.append(delta.get("content") or delta.get("refusal") or "")
                ended = choice.get("finish_reason")
                if delta.get("refusal"):
                    finish = "refusal"
                elif ended and finish != "refusal":
                    finish = ended
            if time.monotonic() > end:
                raise Away("it took too long", "took too long", charged=True)
        if not finish:
            raise Away("it broke off without an end", "broke off", charged=True)
        return Reply("".join(text), finish, *_counts(usage))

    def _fault(self, answer: httpx.Response, request: "Request") -> Exception:
        status, reason = answer.status_code, _reason(answer)
        if status == 402 or (status == 429 and any(word in reason for word in NO_MONEY)):
            return Declined(f"The teacher's account is empty ({status}): {reason}", True)
        if status == 429:
            return Crowded(_seconds(answer.headers.get("retry-after")))
        if status >= 500 or status == 408:
            return Away(f"it answered {status}: {reason}", "server errors", charged=False)
        if status in (401, 403):
            return Declined(
                f"The teacher at {self.url} does not know the key ({status}): {reason} Set "
                "REDRAFT_TEACHER_API_KEY to one that it knows.", True,
            )  # fmt: skip
        if status == 404:
            return Declined(self._no_model(reason), True)
        if status in (400, 422) and self._gives_way(reason, request):
            return Unfit(reason)
        return Declined(f"the teacher refused the request ({status}): {reason}", False)

    def _gives_way(self, reason: str, request: "Request") -> bool:
        """Whether there is another form for what the server does not take."""
        if LIMITS[1] in reason and self._limit == LIMITS[0]:
            self._limit = LIMITS[1]
            return True
        about = any(word in reason for word in ("response_format", "json_schema", "schema"))
        if request.schema is None or not about or self._form == FORMS[-1]:
            return False
        self._form = FORMS[FORMS.index(self._form) + 1]
        return True

    def _no_model(self, reason: str) -> str:
        try:
            known = [one["id"] for one in self._http.get(f"{self.url}/models").json()["data"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            known = []
        listed = f" It has: {', '.join(known[:10])}." if known else ""
        return (
            f"The teacher at {self.url} has no model {self.model!r} (404: {reason}).{listed} Set "
            "REDRAFT_TEACHER_MODEL to one that it has; REDRAFT_TEACHER_URL ends in /v1 for most."
        )


def _unbounded(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return {k: _unbounded(v) for k, v in schema.items() if k not in BOUNDS}
    return [_unbounded(one) for one in schema] if isinstance(schema, list) else schema


def _events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        data = line.removeprefix("data:").strip()
        if line.startswith("data:") and data != "[DONE]":
            yield json.loads(data)


def _whole(body: dict[str, Any]) -> Reply:
    """The answer of a server that does not stream."""
    choice = body["choices"][0]
    said = choice["message"]
    finish = "refusal" if said.get("refusal") else choice.get("finish_reason") or "stop"
    text = said.get("content") or said.get("refusal") or ""
    return Reply(text, finish, *_counts(body.get("usage") or {}))


def _counts(usage: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The tokens that the server counted, read and written; None where it does not say."""
    found = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    read, written = (int(n) if isinstance(n, int | float) else None for n in found)
    return read, written


def _reason(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return answer.text.strip()[:200] or "no reason given"
    found = body.get("error", body.get("detail", body)) if isinstance(body, dict) else body
    if isinstance(found, dict):
        code = found.get("code")
        told = str(found.get("message", found))
        return f"{told} ({code})" if code and str(code) not in told else told
    return str(found)[:500]


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None
