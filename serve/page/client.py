"""The page's only way to the record and the engine: the HTTP API, with errors in words."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, cast
from urllib.parse import quote

import httpx

from serve.page.api_types import (
    Conversation,
    Delta,
    Rating,
    Reason,
    Started,
    Summary,
    parse_conversation,
    parse_reason,
    parse_summary,
)
from serve.page.languages import DEFAULT, Words, catalogue
from serve.page.visitor import present_visitor

_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_STREAM_TIMEOUT = httpx.Timeout(600.0, connect=5.0)
_PAGE = 100  # the most that the API lists at once
_NO_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)


class ApiError(Exception):
    """A call that failed. Its text is the API's own, in English; `said` is for the person."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code

    def said(self, words: Words) -> str:
        """The failure in the person's language, where that has words for it."""
        key = f"api_{self.code}"
        known = words.language != DEFAULT and key in catalogue(words.language)
        return words(key) if known else str(self)


class PageError(ApiError):
    """A failure that the page itself has a sentence for, by its key."""

    def __init__(self, key: str, status: int = 0, **values: object) -> None:
        super().__init__(Words()(key, **values), status)
        self._key, self._values = key, values

    def said(self, words: Words) -> str:
        """The sentence in the person's language."""
        return words(self._key, **self._values)


class Client:
    """An asynchronous client of the API at `base_url`; each call is the present visitor's."""

    def __init__(self, base_url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=self.base_url,
            event_hooks={"request": [_introduce]},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # those are the browsers'
            timeout=_TIMEOUT,
            limits=_NO_LIMITS,
            transport=transport,
            trust_env=False,
        )

    async def who(self) -> str:
        """The visitor's name and role, empty where nobody has to sign in. Raises ApiError 401."""
        body = await self._call("GET", "/v1/session")
        if not body.get("asks_for_login"):
            return ""
        role = body["user"]["role"]
        return str(body["user"]["name"]) + ("" if role == "user" else f" · {role}")

    async def consent(self) -> bool:
        """Whether the visitor lets their words be learned from."""
        return bool((await self._call("GET", "/v1/consent")).get("given"))

    async def give_consent(self, given: bool) -> None:
        """Give or withdraw it."""
        await self._call("PUT", "/v1/consent", body={"given": given})

    async def sign_in(self, name: str, password: str) -> list[str]:
        """The cookies of a new session, to be handed to the browser. Raises ApiError."""
        given = {"name": name, "password": password}
        response = await self._sent("POST", "/v1/session", json=given)
        return response.headers.get_list("set-cookie")

    async def sign_out(self) -> None:
        """End the visitor's session."""
        await self._sent("DELETE", "/v1/session")

    async def conversations(self, search: str = "", limit: int = 50) -> tuple[list[Summary], bool]:
        """The newest conversations first, and whether there are more than `limit`."""
        found: list[Summary] = []
        params, more = {"q": search} if search else {}, True
        while more and len(found) < limit:
            params["limit"] = str(min(_PAGE, limit - len(found)))
            body = await self._call("GET", "/v1/conversations", params=params)
            found += [parse_summary(item) for item in body.get("data") or []]
            more, params["after"] = bool(body.get("has_more")), str(body.get("last_id") or "")
        return found, more

    async def conversation(self, conversation_id: str) -> Conversation:
        """One conversation with its turns, drafts and the caller's feedback."""
        return parse_conversation(await self._call("GET", _path("conversations", conversation_id)))

    async def rename(self, conversation_id: str, title: str) -> None:
        """Give a conversation a title."""
        await self._call("PATCH", _path("conversations", conversation_id), body={"title": title})

    async def delete(self, conversation_id: str) -> None:
        """Delete a conversation."""
        await self._call("DELETE", _path("conversations", conversation_id))

    async def restore(self, conversation_id: str) -> None:
        """Take a deletion back."""
        await self._call("POST", _path("conversations", conversation_id) + "/restore")

    async def export(self, conversation_id: str, form: str) -> httpx.Response:
        """A conversation as a file: `form` is "markdown" or "json"."""
        path = _path("conversations", conversation_id) + "/export"
        return await self._sent("GET", path, params={"format": form})

    async def rate(self, rating: Rating, key: str) -> str:
        """Give a thumb; returns the feedback's id."""
        more = {"part": rating.part, "tags": list(rating.tags), "comment": rating.comment}
        body = {"kind": "rating", "completion_id": rating.completion_id, "value": rating.value}
        return await self._feedback(body | {name: said for name, said in more.items() if said}, key)

    async def reasons(self) -> tuple[Reason, ...]:
        """What can be said of a thumb in one touch, in the order to show it in."""
        body = await self._call("GET", "/v1/feedback/reasons")
        return tuple(parse_reason(item) for item in body.get("data") or [])

    async def did(self, what: str, completion_id: str, key: str) -> None:
        """Tell what the person did with an answer: copied, regenerated, abandoned. No verdict."""
        await self._feedback({"kind": what, "completion_id": completion_id}, key)

    async def compare(self, turn_id: str, shown: list[str], chosen: str, key: str) -> str:
        """Which of the drafts, in the order shown, is better; returns the feedback's id."""
        return await self._feedback(
            {"kind": "comparison", "turn_id": turn_id, "shown": shown, "chosen": chosen}, key
        )

    async def correct(self, completion_id: str, text: str, key: str) -> str:
        """The user's own text for an answer; returns the feedback's id."""
        return await self._feedback(
            {"kind": "correction", "completion_id": completion_id, "text": text}, key
        )

    async def understand(self, turn_id: str, text: str, key: str) -> str:
        """How a question should have been understood; returns the feedback's id."""
        return await self._feedback(
            {"kind": "rewrite", "turn_id": turn_id, "value": -1, "text": text}, key
        )

    async def role(self) -> str:
        """The visitor's role: user, reviewer or admin."""
        return str((await self._call("GET", "/v1/session"))["user"]["role"])

    async def review_queue(self, limit: int, after: str = "") -> dict[str, Any]:
        """What waits for a reviewer, after the row of that id, and how far the queue is."""
        params = {"limit": str(limit)} | ({"after": after} if after else {})
        return await self._call("GET", "/v1/review-queue", params=params)

    async def review(self, feedback_id: str, verdict: str, text: str | None, key: str) -> str:
        """A reviewer's word on somebody's verdict; returns the feedback's id."""
        body = {"kind": "review", "feedback_id": feedback_id, "verdict": verdict}
        return await self._feedback(body | ({"text": text} if text else {}), key)

    async def withdraw(self, feedback_id: str) -> None:
        """Take feedback back; one that is gone already counts as taken back."""
        try:
            await self._call("DELETE", _path("feedback", feedback_id))
        except ApiError as error:
            if error.status != 404:
                raise

    async def stream(
        self,
        messages: list[dict[str, str]],
        drafts: int,
        conversation_id: str,
        parent_id: str | None = None,
    ) -> AsyncGenerator[Started | Delta, None]:
        """The answer as it is written; closing the iterator stops the engine."""
        place = {"conversation_id": conversation_id, "parent_turn_id": parent_id}
        said = {name: id for name, id in place.items() if id is not None}
        redraft = {"redraft": said} if conversation_id else {}
        body = {"messages": messages, "n": drafts, "stream": True, "model": "redraft"} | redraft
        async with aclosing(self._chunks("/v1/chat/completions", body)) as chunks:
            async for chunk in chunks:
                for event in _started(chunk.get("redraft")) + _written(chunk):
                    yield event

    async def reasoning(self, completion_id: str) -> AsyncGenerator[str, None]:
        """The reasoning behind an answer as it is written; closing the iterator stops the engine.

        A stream that ends without its last word broke off: raises ApiError.
        """
        whole = False
        path = _path("chat/completions", completion_id) + "/reasoning"
        async with aclosing(self._chunks(path, None)) as chunks:
            async for chunk in chunks:
                for delta in _deltas(chunk, "reasoning_content"):
                    yield delta.text
                whole = whole or any(c.get("finish_reason") for c in chunk.get("choices") or [])
        if not whole:
            raise PageError("reasoning_broke_off")

    async def operate(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Any endpoint of the API, for the operators' page. Raises ApiError."""
        return await self._call(method, path, body=body, params=params)

    async def report(self, run_id: str) -> httpx.Response:
        """The report of a run for people, an HTML document."""
        return await self._sent("GET", _path("runs", run_id) + "/report")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _feedback(self, body: dict[str, Any], key: str) -> str:
        headers = {"Idempotency-Key": key} if key else {}
        answer = await self._call("POST", "/v1/feedback", body=body, headers=headers)
        return str(answer.get("id") or "")

    async def _chunks(
        self, path: str, body: dict[str, Any] | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        try:
            async with self._http.stream(
                "POST", path, json=body, timeout=_STREAM_TIMEOUT
            ) as response:
                await self._raise_for(response)
                async for line in response.aiter_lines():
                    if chunk := parse_line(line):
                        yield chunk
        except httpx.HTTPError as error:
            raise self._failed(error) from error

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        response = await self._sent(method, path, json=body, params=params, headers=headers)
        try:
            return cast(dict[str, Any], response.json()) if response.content else {}
        except json.JSONDecodeError as error:
            raise PageError("not_our_server", url=self.base_url) from error

    async def _sent(self, method: str, path: str, **given: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, path, **given)
            await self._raise_for(response)
        except httpx.HTTPError as error:
            raise self._failed(error) from error
        return response

    async def _raise_for(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        await response.aread()
        if response.status_code == 401 and (visitor := present_visitor()):
            visitor.refused = True
        raise refusal(response)

    def _failed(self, error: httpx.HTTPError) -> ApiError:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return PageError("server_silent", url=self.base_url)
        slow = isinstance(error, httpx.TimeoutException)
        return PageError("server_slow" if slow else "connection_broke")


async def _introduce(request: httpx.Request) -> None:
    if visitor := present_visitor():
        request.headers.update(visitor.headers)


def parse_line(line: str) -> dict[str, Any]:
    """The chunk in a line of a server-sent-event stream; an `error` in it raises ApiError."""
    data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
    if not data or data == "[DONE]":
        return {}
    chunk = cast(dict[str, Any], json.loads(data))
    if chunk.get("error"):
        raise ApiError(str(chunk["error"].get("message") or Words()("ending_interrupted")))
    return chunk


def refusal(response: httpx.Response) -> ApiError:
    """What an error response in OpenAI's shape says, or a sentence made from its status."""
    status = response.status_code
    try:
        error = response.json()["error"]
        return ApiError(str(error["message"]), status, str(error.get("code") or ""))
    except (ValueError, KeyError, TypeError):
        return PageError("server_status", status, number=status)


def _path(kind: str, object_id: str) -> str:
    """The object's address; an id that comes from a browser cannot leave its place in it."""
    return f"/v1/{kind}/{quote(object_id, safe='')}"


def _started(redraft: dict[str, Any] | None) -> list[Started]:
    if not redraft:
        return []
    return [
        Started(
            conversation_id=str(redraft.get("conversation_id") or ""),
            turn_id=str(redraft.get("turn_id") or ""),
            completion_ids=tuple(redraft.get("completion_ids") or ()),
            adapter=str(redraft.get("adapter") or "base"),
            rewritten_query=str(redraft.get("rewritten_query") or ""),
        )
    ]


def _written(chunk: dict[str, Any]) -> list[Delta]:
    thought = [replace(d, reasoning=True) for d in _deltas(chunk, "reasoning_content")]
    return [*_deltas(chunk, "content"), *thought]


def _deltas(chunk: dict[str, Any], key: str) -> list[Delta]:
    found: list[Delta] = []
    for choice in chunk.get("choices") or []:
        text = (choice.get("delta") or {}).get(key)
        if text:
            found.append(Delta(int(choice.get("index") or 0), str(text)))
    return found
