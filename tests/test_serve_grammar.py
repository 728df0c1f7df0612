"""JSON that is held to a schema is whole, also where the room ends before the model does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from serve.engines.base import Sampling
from serve.engines.grammar import Grammars
from serve.engines.instances import fits
from serve.engines.sampler import Sampler
from serve.engines.tokenizer import ChatTokenizer

END = 2  # the tiny model's <|im_end|>
SIZE = 259  # and its vocabulary: a token is a byte
TEXT = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}
MANY = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 4},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        "kind": {"enum": ["red", "blue"]},
        "month": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"},
        "sub": {
            "type": "object",
            "properties": {"x": {"type": "number"}, "more": {"type": "string"}},
            "required": ["x"],
            "additionalProperties": False,
        },
    },
    "required": ["name", "age", "tags", "kind", "month", "sub"],
    "additionalProperties": False,
}
FREE = {"type": "object"}
SCHEMAS: dict[str, Any] = {
    "text": TEXT,
    "many": MANY,
    "rows": {"type": "array", "items": TEXT, "minItems": 2},
    "free": FREE,
    "string": {"type": "string"},
}


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> ChatTokenizer:
    return ChatTokenizer("m", str(tiny_model))


@pytest.fixture(scope="module")
def grammars(tokenizer: ChatTokenizer) -> Grammars:
    return Grammars(tokenizer.hf, SIZE, frozenset([END]))


def draw(
    tokenizer: ChatTokenizer, grammars: Grammars, schema: Any, room: int, seed: int, end: float
) -> tuple[str, str | None, int]:
    """(text, finish reason, tokens) of a model that says anything; `end` makes ending likely."""
    sampling = Sampling(max_tokens=room, temperature=1.0, seed=seed, schema=json.dumps(schema))
    sampler = Sampler(sampling, frozenset([END]), tokenizer.decode, room, grammars)
    chance, text = torch.Generator().manual_seed(seed), ""
    count, alive = 0, [0]
    while alive:
        count += 1
        logits = torch.randn(1, SIZE, generator=chance)
        logits[0, END] += end
        logits[0, tokenizer.encode('"')[0]] += end
        (chunk,), alive, _ = sampler.draw(logits)
        text += chunk.text
    return text, chunk.finish_reason, count


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_json_is_closed_before_the_room_ends(
    tokenizer: ChatTokenizer, grammars: Grammars, schema: Any
) -> None:
    for seed in range(6):
        for room in (150, 151, 180):
            text, why, count = draw(tokenizer, grammars, schema, room, seed, end=-9.0)
            assert fits(json.dumps(schema), text), text
            ended = why == "stop" and schema == FREE
            assert ended or (why == "length" and room - 8 < count <= room), text


def test_what_has_room_is_not_hurried(tokenizer: ChatTokenizer, grammars: Grammars) -> None:
    for seed in range(6):
        text, why, count = draw(tokenizer, grammars, TEXT, 400, seed, end=9.0)
        assert why == "stop" and count < 60
        json.loads(text)


def test_what_cannot_be_whole_in_its_room_is_not_emptied(
    tokenizer: ChatTokenizer, grammars: Grammars
) -> None:
    text, why, count = draw(tokenizer, grammars, MANY, 60, 1, end=-9.0)
    assert why == "length" and count == 60
    assert text.startswith('{"name": "') and '", "age"' not in text
