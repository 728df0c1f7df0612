"""POST /v1/completions, OpenAI's legacy completions, whole and streamed."""

import contextlib
import secrets
import time
from collections.abc import Generator, Iterator
from typing import Any

from flask import Blueprint, Response, jsonify

from serve.api.context import context
from serve.api.errors import json_body
from serve.api.models import wanted_adapter
from serve.api.operation import EVENTS, JSON, operation
from serve.api.schemas import CompletionRequest
from serve.api.streaming import ended, event, event_stream, while_heard
from serve.api.texts import Texts, read_prompts
from serve.api.token_log import KEYS

blueprint = Blueprint("completions", __name__)


@blueprint.post("/v1/completions")
@operation(body=CompletionRequest, media=(JSON, EVENTS), answers=True)
def create() -> Response:
    """Continue raw prompts, without a chat template. Not a turn: nothing is recorded."""
    here = context()
    engine = here.chat.engine
    body = CompletionRequest.model_validate(json_body())
    sampling = body.sampling(here.settings)
    prompts = read_prompts(engine, body.prompts, sampling)
    texts = Texts(engine, prompts, sampling, bool(body.echo), body.logprobs)
    pieces = texts.write(here.serving, wanted_adapter(body.model))
    next(pieces)  # routed: the adapter is known now, also for the header
    if body.stream:
        response = event_stream(ended(_events(texts, pieces, body)))
    else:
        response = _whole(texts, pieces)
    response.headers["x-redraft-adapter"] = texts.adapter
    return response


def _whole(texts: Texts, pieces: Generator[dict[str, Any]]) -> Response:
    choices = texts.choices()
    for piece in while_heard(pieces):
        _add(choices[piece["index"]], piece)
    return jsonify({**_head(texts), "choices": choices, "usage": texts.usage()})


def _add(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    choice["text"] += piece["text"]
    choice["finish_reason"] = piece["finish_reason"] or choice["finish_reason"]
    if piece["logprobs"] is not None:
        found = choice["logprobs"] = choice["logprobs"] or {key: [] for key in KEYS}
        for key, values in piece["logprobs"].items():
            found[key] += values


def _events(
    texts: Texts, pieces: Generator[dict[str, Any]], body: CompletionRequest
) -> Iterator[str]:
    head = _head(texts)
    if body.with_usage:
        head["usage"] = None  # on every event but the last, as OpenAI's
    with contextlib.closing(pieces):
        for piece in pieces:
            said = piece["text"] or piece["logprobs"] or piece["finish_reason"]
            yield event({**head, "choices": [piece]}) if said else ""
    if body.with_usage:
        yield event({**head, "choices": [], "usage": texts.usage()})


def _head(texts: Texts) -> dict[str, Any]:
    return {
        "id": f"cmpl-{secrets.token_hex(12)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": texts.engine.model,
    }
