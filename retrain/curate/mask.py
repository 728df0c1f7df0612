"""Personal data out of what a run reads: the model must not learn whose number is whose.

What `min_users` users wrote, or a reviewer in a correction, is public (the address of a support
desk) and stays, as do addresses of private networks. Logged tokens of what was masked are dropped.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from retrain.curate._outcome import Outcome
from retrain.curate._texts import Change, change_all
from retrain.pii import Found, find
from retrain.rows import Row, trusted
from serve.settings import Settings

KNOWN = 20_000  # texts whose findings are kept: those of a conversation come again and again

Finder = Callable[[str], Sequence[Found]]


def apply(rows: list[Row], settings: Settings) -> Outcome:
    change = masker(rows, settings)
    return change_all(rows, change, "personal data masked") if change else Outcome(rows)


def masker(rows: Iterable[Row], settings: Settings) -> Change | None:
    """What masks a text, once all rows were looked at for what is public; None where it is off."""
    if settings.mask_pii == "off":
        return None
    seen = lru_cache(maxsize=KNOWN)(find)
    public = _public(rows, seen, settings.min_users)

    @lru_cache(maxsize=KNOWN)
    def masked(text: str) -> str:
        for found in reversed(seen(text)):
            if found.value not in public:
                text = f"{text[: found.start]}[{found.kind}]{text[found.end :]}"
        return text

    return masked


def _public(rows: Iterable[Row], seen: Finder, least: int) -> set[str]:
    """The values that enough users wrote: in prompts or corrections, not what a model said."""
    users: dict[str, set[str]] = defaultdict(set)
    spoken = set()
    for row in rows:
        told = [m["content"] for m in row["messages"] if m["role"] == "user" and m["content"]]
        own = row["payload"].get("text") or ""
        for found in (one for text in [*told, own] for one in seen(text)):
            if len(users[found.value]) < max(2, least):
                users[found.value].add(row["user_id"])
        if trusted(row) or (row.get("review") or {}).get("applied"):  # a reviewer's own text
            spoken |= {found.value for found in seen(own)}
    return spoken | {value for value, owners in users.items() if len(owners) >= max(2, least)}
