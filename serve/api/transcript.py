"""A conversation as a text that people read: Markdown, all turns in order, with their verdicts."""

from collections.abc import Iterator, Mapping
from typing import Any

THUMBS = {1: "👍", -1: "👎"}


def as_markdown(conversation: Mapping[str, Any]) -> str:
    """The conversation, as `reads.get_conversation` gives it, as Markdown."""
    title = " ".join(str(conversation["title"]).split()) or "Untitled"
    lines = [f"# {title}", "", str(conversation["created_at"])]
    for turn in conversation["turns"]:
        lines += ["", "## Question", "", turn["query"].strip()]
        for completion in turn["completions"]:
            lines += ["", *_answer(turn, completion)]
    return "\n".join(lines) + "\n"


def _answer(turn: Mapping[str, Any], completion: Mapping[str, Any]) -> Iterator[str]:
    correction = completion["correction"]
    yield f"## Answer ({', '.join(_facts(turn, completion))})"
    yield ""
    yield completion["text"].strip()
    if completion["reasoning"]:
        yield from ("", "### Reasoning", "", completion["reasoning"].strip())
    if correction:
        yield from ("", "### Corrected to", "", correction["text"].strip())


def _facts(turn: Mapping[str, Any], completion: Mapping[str, Any]) -> Iterator[str]:
    yield completion["adapter"]
    if (turn["comparison"] or {}).get("chosen") == completion["id"]:
        yield "picked"
    if rating := completion["rating"]:
        yield " ".join([THUMBS[rating["value"]], *rating["tags"]])
