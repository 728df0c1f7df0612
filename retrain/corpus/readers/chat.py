"""Chat logs in JSON and JSON Lines: each conversation a document of turns.

A conversation is a list of objects that say who (`role`, `from`, `speaker`, …) and what (`content`,
`value`, `text`, …): the whole file, an element of it, or under a key such as `messages` or
`conversations`. Any other object becomes a record of its fields, such as a question and its answer.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from retrain.corpus.document import Block, Document
from retrain.corpus.readers._encoding import decoded
from retrain.corpus.stage import CorpusError, Trouble

SUFFIXES = (".json", ".jsonl", ".ndjson")
WHO = ("role", "from", "speaker", "author", "sender", "user", "username", "name")
WHAT = ("content", "value", "text", "message", "body", "utterance")


def read(path: Path) -> Iterator[Document | Trouble]:
    text = decoded(path)
    if path.suffix.lower() == ".json":
        yield from _elements(text)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield from _documents(json.loads(line), f"line {number}")
        except ValueError as error:
            yield Trouble(f"line {number} is not JSON ({error}). Mend or remove it.")


def _elements(text: str) -> Iterator[Document]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise CorpusError(f"it is not JSON ({error}). Mend it, or export it anew.") from error
    if isinstance(found, list) and not _is_conversation(found):
        for number, one in enumerate(found, 1):
            yield from _documents(one, f"element {number}")
    else:
        yield from _documents(found, "")


def _documents(value: Any, part: str) -> Iterator[Document]:
    if isinstance(value, list) and _is_conversation(value):
        yield Document(list(_turns(value)), part=part)
        return
    if isinstance(value, Mapping):
        inside = {k: v for k, v in value.items() if isinstance(v, list) and _is_conversation(v)}
        if not inside:
            yield Document(list(_record(value)), part=part, title=_title(value))
        for name, turns in inside.items():
            named = part if len(inside) == 1 else f"{part} {name}".strip()
            yield Document(list(_turns(turns)), part=named, title=_title(value))
    elif isinstance(value, str) and value.strip():
        yield Document([Block("paragraph", value)], part=part)


def _is_conversation(value: list[Any]) -> bool:
    said = [one for one in value if isinstance(one, Mapping) and _first(one, WHAT) is not None]
    named = [one for one in said if _first(one, WHO) is not None]
    return bool(named) and len(said) == len(value)


def _turns(turns: list[Any]) -> Iterator[Block]:
    for turn in turns:
        speaker, text = _first(turn, WHO) or "", _first(turn, WHAT) or ""
        if text.strip():
            yield Block("turn", f"{speaker}: {text}" if speaker else text, speaker=speaker)


def _first(value: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of the fields that has a text; a list of parts counts as their texts."""
    for name in names:
        found = value.get(name)
        if isinstance(found, Mapping):
            found = found.get("name") or found.get("role") or found.get("id")
        if isinstance(found, list):
            found = "".join(p if isinstance(p, str) else str(p.get("text", "")) for p in found)
        if isinstance(found, str):
            return found
    return None


def _record(value: Mapping[str, Any]) -> Iterator[Block]:
    for name, one in value.items():
        told = one if isinstance(one, str) else json.dumps(one, ensure_ascii=False)
        if told.strip() and one not in (None, [], {}):
            yield Block("record", f"{name}: {told}")


def _title(value: Mapping[str, Any]) -> str:
    found = value.get("title") or value.get("name") or ""
    return found if isinstance(found, str) else ""
