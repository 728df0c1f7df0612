"""Changing the texts of a row without leaving numbers behind that belong to other texts."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from retrain.curate._outcome import Outcome
from retrain.rows import Row, without_tokens

Change = Callable[[str], str]


def texts(row: Row) -> Iterator[str]:
    """What people and models wrote in a row."""
    yield from (m["content"] for m in row["messages"] if m["content"])
    yield from filter(None, (row.get("query"), row.get("rewritten_query")))
    yield from filter(None, map(row["payload"].get, ("text", "comment")))
    history = ((row.get("preparation") or {}).get("rewrite") or {}).get("history") or ()
    yield from (m["content"] for m in history if m["content"])
    for c in row["completions"]:
        yield c["text"]
        if c["reasoning"]:
            yield c["reasoning"]["text"]


def change_all(rows: Sequence[Row], change: Change, what: str) -> Outcome:
    """All rows, their texts changed; `what` names the change in the report."""
    changed = [_changed(row, change) for row in rows]
    count = sum(new is not old for new, old in zip(changed, rows, strict=True))
    return Outcome(changed, changed={what: count} if count else {})


def _changed(row: Row, change: Change) -> Row:
    """The row with other texts; the same object when no text is another.

    The logged tokens of an answer are dropped when its text, or what it followed, is another: they
    would still say what was changed, and their logprobs are those of the old prompt.
    """
    if all(change(text) == text for text in texts(row)):
        return row
    messages = _contents(row["messages"], change)
    kept = [_answer(c, change, messages == row["messages"]) for c in row["completions"]]
    named = {k: change(row[k]) for k in ("query", "rewritten_query") if row.get(k)}
    said = {k: change(v) for k, v in row["payload"].items() if k in ("text", "comment") and v}
    payload = {**row["payload"], **said}
    return {**row, **named, **_prepared(row, change)} | {
        "messages": messages,
        "completions": kept,
        "payload": payload,
    }


def _prepared(row: Row, change: Change) -> Row:
    found = row.get("preparation") or {}
    if not (found.get("rewrite") or {}).get("history"):
        return {}
    rewrite = found["rewrite"]
    history = _contents(rewrite["history"], change)
    return {"preparation": {**found, "rewrite": {**rewrite, "history": history}}}


def _contents(messages: Iterable[Row], change: Change) -> list[Row]:
    return [{**m, "content": change(m["content"])} if m["content"] else m for m in messages]


def _answer(c: Row, change: Change, same_prompt: bool) -> Row:
    reasoning = c["reasoning"] and {**c["reasoning"], "text": change(c["reasoning"]["text"])}
    new = {**c, "text": change(c["text"]), "reasoning": reasoning}
    return c if same_prompt and new == c else without_tokens(new)
