"""`{id, history, query, rewrite}`: how follow-ups were meant, as `redraft retrain rewriter` reads.

An id that an export wrote names the conversation and the place in it, and does so again.
"""

import re
from typing import Any

from retrain.datasets.rewriter import SOURCE
from retrain.forms._told import Broken, Told, key_of, messages, need, ours, text

EXPORTED = re.compile(rf"{SOURCE}-(conv-[0-9a-z-]+)_(\d+)")


def read(row: dict[str, Any]) -> list[Told]:
    history, query, rewrite = need(row, "history", "query", "rewrite")
    said_before = messages("history", history)
    asked, meant = text("query", query), text("rewrite", rewrite)
    named = EXPORTED.fullmatch(str(row.get("id", "")))
    if named and int(named[2]) > 1_000_000:
        raise Broken(f"id has the place {named[2]}")
    key = key_of(row)
    return [
        Told(
            key,
            [*said_before, {"role": "user", "content": asked}],
            [],
            {"kind": "rewrite", "turn_id": None, "value": -1, "text": meant},
            conversation=named[1].replace("-", "_") if named else "",
            turn=f"{named[1]} {named[2]}" if named else "",
            query=asked,
            preparation={"rewrite": {"history": said_before}},
            position=int(named[2]) if named else None,
            **ours(row),
        )
    ]
