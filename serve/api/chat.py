"""POST /v1/chat/completions, whole and streamed."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, jsonify

from feedback.tables import User
from serve.api.context import Context, caller, context
from serve.api.errors import json_body
from serve.api.logprobs import token_logprobs
from serve.api.models import wanted_adapter
from serve.api.operation import EVENTS, JSON, operation
from serve.api.schemas import ChatRequest, RedraftOptions, plain_messages
from serve.api.streaming import ended, event, event_stream, to_json, while_heard
from serve.api.tools import chosen_tools, demanded_schema, reasoning_mode
from serve.api.usage import told_usage
from serve.engines.base import QUIET, Chunk
from serve.turn import reasoning
from serve.turn.draft import Draft, Piece, Question, Turn

blueprint = Blueprint("chat", __name__)


@blueprint.post("/v1/chat/completions")
@operation(body=ChatRequest, media=(JSON, EVENTS), answers=True)
def create() -> Response:
    """Answer a conversation with n drafts."""
    here, user = context(), caller()
    body = ChatRequest.model_validate(json_body())
    turn = here.chat.begin(_question(here, user, body))
    pieces = here.chat.run(turn)
    next(pieces)  # routed: the adapter is known now, also for the header
    if body.stream:
        response = event_stream(ended(_events(turn, pieces, body)))
    else:
        response = _whole(turn, pieces, body)
    response.headers["x-redraft-adapter"] = turn.adapter
    return response


def _question(here: Context, user: User, body: ChatRequest) -> Question:
    """What is asked. Raises ApiError 400 and 404, and Unsupported."""
    options = body.redraft or RedraftOptions()
    tools = chosen_tools(body.tools, body.tool_choice, body.parallel_tool_calls)
    wanted = body.response_format and body.response_format.schema_of()
    schema = demanded_schema(here.chat.engine, tools, wanted)
    return Question(
        user=user,
        messages=plain_messages(body.messages),
        sampling=replace(body.sampling(here.settings), schema=schema),
        conversation_id=options.conversation_id,
        parent_id=options.parent_turn_id,
        adapter=wanted_adapter(body.model),
        reasoning=reasoning_mode(options.reasoning, here.settings.reasoning, schema, tools),
        truncate=options.truncation == "auto",
        tools=tools,
    )


@blueprint.post("/v1/chat/completions/<completion_id>/reasoning")
@operation(media=(EVENTS,), answers=True)
def reasoning_of(completion_id: str) -> Response:
    """Stream the reasoning behind an answer that stopped at the delimiter."""
    here, user = context(), caller()
    found = reasoning.find_continuation(here.database, user, completion_id)
    pieces = reasoning.reason(
        here.chat.engine, here.serving, here.database, found, here.settings.max_tokens
    )
    head = {"id": completion_id, "object": "chat.completion.chunk", "model": here.chat.engine.model}
    return event_stream(ended(_reasoning_events({**head, "created": int(time.time())}, pieces)))


def _reasoning_events(
    head: dict[str, Any], pieces: Iterator[tuple[str, str | None]]
) -> Iterator[str]:
    with contextlib.closing(pieces):  # type: ignore[type-var]
        for text, finish_reason in pieces:
            if not text and not finish_reason:
                yield ""
                continue
            delta = {"reasoning_content": text} if text else {}
            choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
            yield event({**head, "choices": [choice]})


def _whole(turn: Turn, pieces: Iterator[Piece], body: ChatRequest) -> Response:
    for _ in while_heard(pieces):
        pass
    return jsonify(
        {
            **_head(turn, "chat.completion", body),
            "choices": [_choice(i, draft, body) for i, draft in enumerate(turn.drafts)],
            "usage": _usage(turn),
            "redraft": turn.describe(),
        }
    )


def _events(turn: Turn, pieces: Iterator[Piece], body: ChatRequest) -> Iterator[str]:
    head = _head(turn, "chat.completion.chunk", body)
    choices = [
        {"index": i, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        for i in range(len(turn.drafts))
    ]
    yield event({**head, "choices": choices, "redraft": turn.describe()})
    with contextlib.closing(pieces):  # type: ignore[type-var]
        burst = ""  # what is at hand together is sent together: a write costs as much as a token
        opening = f"data: {to_json({**head, 'choices': []})[:-2]}"
        for piece in pieces:
            if piece.chunk is QUIET:
                yield ""
            elif piece.reasoning or body.logprobs:
                burst += event({**head, "choices": [_delta(piece, body)]})
            elif piece.text:  # the event of nearly every token, so it is put together by hand
                delta = f'{{"content": {to_json(piece.text)}}}'
                choice = f'{{"index": {piece.draft}, "delta": {delta}, "finish_reason": null}}'
                burst += f"{opening}{choice}]}}\n\n"
            if burst and not piece.more:
                yield burst
                burst = ""
        if burst:
            yield burst
    for index, draft in enumerate(turn.drafts):
        if draft.tool_calls:
            yield event({**head, "choices": [_called(index, draft)]})
    # Recorded: only now does the answer count as sent.
    ends: list[dict[str, Any]] = [
        {"index": i, "delta": {}, "finish_reason": draft.finish_reason}
        for i, draft in enumerate(turn.drafts)
    ]
    yield event({**head, "choices": ends, "redraft": turn.describe()})
    if body.with_usage:
        yield event({**head, "choices": [], "usage": _usage(turn)})


def _head(turn: Turn, kind: str, body: ChatRequest) -> dict[str, Any]:
    head: dict[str, Any] = {
        "id": turn.drafts[0].completion_id.replace("cmpl_", "chatcmpl-"),
        "object": kind,
        "created": int(time.time()),
        "model": context().chat.engine.model,
    }
    if body.service_tier:
        head["service_tier"] = "default"  # what was asked for has no effect, and this says so
    if body.stream and body.with_usage:
        head["usage"] = None  # on every event but the last, as OpenAI's
    return head


def _delta(piece: Piece, body: ChatRequest) -> dict[str, Any]:
    delta = {"content": piece.text}
    if piece.reasoning:
        delta["reasoning_content"] = piece.reasoning
    choice: dict[str, Any] = {"index": piece.draft, "delta": delta, "finish_reason": None}
    if body.logprobs and piece.chunk:
        chunk = piece.chunk
        choice["logprobs"] = _logprobs(chunk)
    return choice


def _called(index: int, draft: Draft) -> dict[str, Any]:
    calls = [{"index": at, **call.as_dict()} for at, call in enumerate(draft.tool_calls)]
    return {"index": index, "delta": {"tool_calls": calls}, "finish_reason": None}


def _choice(index: int, draft: Draft, body: ChatRequest) -> dict[str, Any]:
    logprobs = None
    if body.logprobs:
        logprobs = _logprobs(draft)
    message: dict[str, Any] = {"role": "assistant", "content": draft.text}
    message |= {"refusal": None, "annotations": []}
    if draft.tool_calls:
        message["content"] = draft.text.strip() or None
        message["tool_calls"] = [call.as_dict() for call in draft.tool_calls]
    if draft.reasoning:
        message["reasoning_content"] = draft.reasoning
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": draft.finish_reason,
    }


def _logprobs(written: Chunk | Draft) -> dict[str, Any]:
    engine, ids = context().chat.engine, written.token_ids
    content = token_logprobs(engine, ids, written.logprobs, written.top_logprobs)
    return {"content": content, "refusal": None}


def _usage(turn: Turn) -> dict[str, Any]:
    return told_usage(len(turn.prompt_ids), turn.completion_tokens, turn.cached_tokens)
