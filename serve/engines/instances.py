"""A small value that fits a JSON schema: what engine echo answers where it is held to one."""

import json
from typing import Any

from llguidance import LLMatcher, LLTokenizer

from serve.engines.base import unenforceable

DEEPEST = 12  # a schema may contain itself
FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "email": "ada@example.org",
    "time": "12:00:00Z",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def instance(schema: str, said: str) -> str:
    """JSON text that fits a schema; strings without other rules are `said`. Raises Unsupported."""
    try:
        read = json.loads(schema)
        text = json.dumps(_value(read, read, said, DEEPEST), ensure_ascii=False)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise unenforceable(error) from error
    if not fits(schema, text):
        raise unenforceable(f"{text} does not fit it")
    return text


def fits(schema: str, text: str) -> bool:
    """Whether a text is JSON that fits a schema. Raises Unsupported for what is no schema."""
    matcher = readable(schema)
    taken = matcher.try_consume_tokens(list(text.encode()))
    return bool(taken == len(text.encode()) and matcher.is_accepting())


def readable(schema: str) -> LLMatcher:
    """At the beginning of the schema, in bytes. Raises Unsupported for what is no schema."""
    try:
        grammar = LLMatcher.grammar_from_json_schema(schema)
    except ValueError as error:
        raise unenforceable(error) from error
    matcher = LLMatcher(LLTokenizer("byte"), grammar, log_level=0)
    if matcher.is_error():
        raise unenforceable(matcher.get_error())
    return matcher


def _value(schema: Any, root: Any, said: str, depth: int) -> Any:
    if depth == 0 or schema is False:
        raise ValueError("no small value fits it")
    if schema is True:
        return {}
    if "$ref" in schema:
        return _value(_found(schema["$ref"], root), root, said, depth - 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return _first(schema[key], root, said, depth - 1)
    if "allOf" in schema:
        merged = {k: v for part in schema["allOf"] for k, v in _flat(part, root).items()}
        return _value(merged, root, said, depth - 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _of_kind(kind[0] if isinstance(kind, list) else kind, schema, root, said, depth)


def _of_kind(kind: str, schema: Any, root: Any, said: str, depth: int) -> Any:
    if kind == "object":
        wanted = schema.get("properties", {})
        needed = schema.get("required", [])
        return {
            name: _value(wanted.get(name, True), root, said, depth - 1)
            for name in [*wanted, *(n for n in needed if n not in wanted)]
            if name in needed or depth > DEEPEST // 2
        }
    if kind == "array":
        item = schema.get("items", {"type": "string"})
        least = max(schema.get("minItems", 1), 0)
        return [_value(item, root, said, depth - 1) for _ in range(least)]
    if kind == "string":
        return _string(schema, said)
    if kind in ("integer", "number"):
        return _number(kind, schema)
    return {"boolean": True, "null": None}[kind]


def _string(schema: Any, said: str) -> str:
    text = FORMATS.get(schema.get("format", ""), said)
    return text[: schema.get("maxLength", len(text))].ljust(schema.get("minLength", 0), ".")


def _number(kind: str, schema: Any) -> Any:
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    most = schema.get("maximum", schema.get("exclusiveMaximum", least + 2))
    step = schema.get("multipleOf", 1 if kind == "integer" else (most - least) / 2)
    number = least + step if "exclusiveMinimum" in schema else least
    return int(number) if kind == "integer" else number


def _first(choices: Any, root: Any, said: str, depth: int) -> Any:
    """The first choice that has a small value."""
    for choice in choices:
        try:
            return _value(choice, root, said, depth)
        except ValueError as error:
            problem = error
    raise problem


def _flat(schema: Any, root: Any) -> dict[str, Any]:
    return dict(_found(schema["$ref"], root) if "$ref" in schema else schema)


def _found(reference: str, root: Any) -> Any:
    if not reference.startswith("#"):
        raise ValueError(f"{reference} is not part of it")
    found = root
    for part in reference.lstrip("#/").split("/") if reference.lstrip("#/") else []:
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found
