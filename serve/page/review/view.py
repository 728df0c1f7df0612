"""What the browser gets: the row on the desk as HTML, and how far the queue is."""

from __future__ import annotations

from functools import lru_cache

from serve.page.api_types import Reason
from serve.page.languages import DEFAULT, Words, catalogue
from serve.page.render import render
from serve.page.review.desk import Desk, Head, Row
from serve.page.views import View

_LATEST = 3  # messages that are shown at once; earlier ones unfold


def desk_view(desk: Desk) -> View:
    """The whole page; the browser drops one that is older than what it shows (`revision`)."""
    head, words = desk.head, desk.words
    row = head.row if head else None
    done, total = (head.done, head.total) if head else (0, 0)
    last = desk.said[-1].verdict if desk.said and not desk.undone else ""
    return {
        "revision": desk.next_revision(),
        "row": row.id if row else "",
        "text": row.text if row else "",
        "html": row_html(row, desk.reasons, words) if row else _empty_html(head, words),
        "done": dict(desk.done),
        "reviewed": done,
        "total": total,
        "far": words("review_progress", done=done, total=total),
        "notice": desk.notice,
        "said": words(f"review_said_{last}") if last else "",
        "undo": bool(desk.said),
    }


@lru_cache(maxsize=64)
def row_html(row: Row, reasons: tuple[Reason, ...], words: Words) -> str:
    """A row with its conversation: what was answered, what would be taught, why it waits."""
    labels = {reason.key: reason.label(words.language) for reason in reasons}
    return render(
        "review.html",
        words,
        row=row,
        earlier=row.messages[:-_LATEST],
        latest=row.messages[-_LATEST:],
        why=_why(row, words),
        tags=[labels.get(tag, tag) for tag in row.tags],
    )


def _why(row: Row, words: Words) -> str:
    """Why it waits: in the run's own words, which are English, or by the step that held it."""
    if not row.step:
        return words("review_sample")
    key = f"held_{row.step}"
    known = words.language != DEFAULT and key in catalogue(words.language)
    return words(key) if known or not row.reason else row.reason[:1].upper() + row.reason[1:]


def _empty_html(head: Head | None, words: Words) -> str:
    """Nothing waits; an unknown queue says nothing but the notice above it."""
    if head is None:
        return ""
    return render("review_empty.html", words, done=head.done, total=head.total)
