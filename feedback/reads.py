"""The reads. Dicts are ready for JSON: moments are ISO 8601 strings in UTC."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased, defer

from feedback.errors import Invalid
from feedback.fields import mended, show
from feedback.ids import plausible
from feedback.kinds import GROUPS, REVIEW, VERDICT, kinds, load_kind
from feedback.moments import iso
from feedback.owned import own_conversation
from feedback.parts import reasoning_target
from feedback.tables import (
    FEEDBACK_TARGET_INDEX,
    Completion,
    Conversation,
    Feedback,
    Reasoning,
    Turn,
    User,
)

MAX_LIMIT = 100
BATCH = 200


@dataclass(frozen=True)
class Page:
    """One page of a list: `last_id` is the `after` of the next."""

    items: list[dict[str, Any]]
    has_more: bool
    last_id: str | None


def in_force(
    upto: int | None = None,
    groups: Sequence[str] = (VERDICT,),
    row: type[Feedback] = Feedback,
) -> Select[Feedback]:
    """Feedback in force: the newest row per user, kind and target, unless it was withdrawn.

    Of the kinds of these groups (see `feedback.kinds`). With `upto` as it was when that was the
    newest seq. `row` may be an alias of the table, for a query within another.
    """
    newer, withdrawal = aliased(Feedback), aliased(Feedback)
    replaced = select(newer.seq).where(
        newer.user_id == row.user_id,
        newer.kind == row.kind,
        newer.target_id == row.target_id,
        newer.seq > row.seq,
    )
    for dialect in ("mysql", "mariadb"):  # its planner takes other indexes after many inserts
        replaced = replaced.with_hint(newer, f"FORCE INDEX ({FEEDBACK_TARGET_INDEX})", dialect)
    withdrawn = exists().where(withdrawal.withdraws == row.id)
    given = select(row).where(row.kind.in_(kinds(*groups)))
    if upto is not None:
        replaced = replaced.where(newer.seq <= upto)
        withdrawn = withdrawn.where(withdrawal.seq <= upto)
        given = given.where(row.seq <= upto)
    return given.where(~replaced.exists(), ~withdrawn)


def describe(row: Feedback) -> dict[str, Any]:
    """A row of feedback as the API shows it."""
    return {
        "id": row.id,
        "kind": row.kind,
        "conversation_id": row.conversation_id,
        "turn_id": row.turn_id,
        "completion_id": row.completion_id,
        **row.payload,
        "created_at": iso(row.created_at),
    }


def list_conversations(
    session: Session,
    user_id: str,
    limit: int = 20,
    after: str | None = None,
    query: str | None = None,
) -> Page:
    """The user's conversations, the last used first; `query` is sought in titles and queries."""
    count = select(func.count()).where(Turn.conversation_id == Conversation.id).scalar_subquery()
    wanted = select(Conversation, count).where(
        Conversation.user_id == user_id, Conversation.deleted_at.is_(None)
    )
    if query and query.strip():
        wanted = wanted.where(_mentions(query.strip()))
    if after is not None:
        last = session.get(Conversation, plausible(after))
        if last is None or last.user_id != user_id:
            raise unknown_cursor(after)
        older = Conversation.updated_at < last.updated_at
        wanted = wanted.where(
            or_(older, and_(Conversation.updated_at == last.updated_at, Conversation.id < last.id))
        )
    wanted = wanted.order_by(Conversation.updated_at.desc(), Conversation.id.desc()).limit(
        checked_limit(limit) + 1
    )
    return page_of([_summary(row[0], row[1]) for row in session.execute(wanted)], limit)


def get_conversation(session: Session, user: User, conversation_id: object) -> dict[str, Any]:
    """The conversation with its turns, drafts and the user's feedback in force; raises NotFound."""
    conversation = own_conversation(session, user, conversation_id)
    turns = session.scalars(
        select(Turn).where(Turn.conversation_id == conversation.id).order_by(Turn.position)
    ).all()
    drafts = _drafts(session, [turn.id for turn in turns])
    given = session.scalars(
        in_force().where(Feedback.user_id == user.id, Feedback.conversation_id == conversation.id)
    )
    verdicts = {(row.kind, row.target_id): row for row in given}
    summary = _summary(conversation, len(turns))
    return summary | {"turns": [_turn(turn, drafts.get(turn.id, []), verdicts) for turn in turns]}


def newest_preparations(session: Session, conversation_id: str, limit: int) -> list[dict[str, Any]]:
    """How the newest turns of a conversation were prepared, the newest first."""
    wanted = (
        select(Turn.preparation)
        .where(Turn.conversation_id == conversation_id)
        .order_by(Turn.position.desc())
        .limit(limit)
    )
    return [found for found in session.scalars(wanted) if found is not None]


def list_feedback(
    session: Session,
    user: User,
    limit: int = 20,
    after: str | None = None,
    kind: str | None = None,
) -> Page:
    """The user's verdicts in force, or their feedback of one kind, the newest first."""
    if kind is not None:
        load_kind(kind)
    known = in_force() if kind is None else in_force(groups=GROUPS).where(Feedback.kind == kind)
    wanted = (
        known.where(Feedback.user_id == user.id)
        .order_by(Feedback.seq.desc())
        .limit(checked_limit(limit) + 1)
    )
    if after is not None:
        seq = session.scalar(
            select(Feedback.seq).where(Feedback.id == plausible(after), Feedback.user_id == user.id)
        )
        if seq is None:
            raise unknown_cursor(after)
        wanted = wanted.where(Feedback.seq < seq)
    return page_of([describe(row) for row in session.scalars(wanted)], limit)


def count_new_feedback(session: Session, since_seq: int, most: int | None = None) -> int:
    """How many verdicts and reviews after `since_seq` are in force and may be learned from.

    A thumb clicked ten times counts once; what people did without a word does not count. With
    `most` the count ends there, so that a long record that nothing was learned from is quick.
    """
    new = in_force(groups=(VERDICT, REVIEW)).where(Feedback.seq > since_seq, consented())
    new = new if most is None else new.limit(most)
    return session.scalar(select(func.count()).select_from(new.subquery())) or 0


def last_feedback_seq(session: Session) -> int:
    """The seq of the newest event, 0 when there is none."""
    return session.scalar(select(func.max(Feedback.seq))) or 0


def training_rows(session: Session) -> Iterator[dict[str, Any]]:
    """All verdicts in force with what they are about, in order.

    Deleted conversations are left out, and all of users who do not consent to be learned from.
    `review` is what a reviewer said of a verdict last, None where nobody did.

    Read it in `Database.reading()`: there the rows are of one moment, and no writer waits.
    """
    query = in_force().where(consented()).order_by(Feedback.seq).limit(BATCH)
    seq = 0
    while batch := session.scalars(query.where(Feedback.seq > seq)).all():
        yield from _training_rows(session, batch)
        seq = batch[-1].seq
        session.expunge_all()  # a reader of a million rows must not keep them all


def training_conversations(
    session: Session, with_tokens: bool = True
) -> Iterator[list[dict[str, Any]]]:
    """The rows of `training_rows`, those of a conversation together, in the order of the first.

    For what needs all that was said in a conversation but not all that was ever said. Without
    tokens those of completions are None: they are most of what there is to read.
    """
    query = in_force().where(consented()).order_by(Feedback.seq).limit(BATCH)
    seq = 0
    while batch := session.scalars(query.where(Feedback.seq > seq)).all():
        told = in_force().where(consented())
        told = told.where(Feedback.conversation_id.in_({row.conversation_id for row in batch}))
        whole: dict[str, list[Feedback]] = {}
        for row in session.scalars(told.order_by(Feedback.seq)):
            whole.setdefault(row.conversation_id, []).append(row)
        # The others began in an earlier batch, and were given with it.
        begun = [row for rows in whole.values() if rows[0].seq > seq for row in rows]
        parts = (begun[start : start + BATCH] for start in range(0, len(begun), BATCH))
        rows_of = (row for part in parts for row in _training_rows(session, part, with_tokens))
        for _, rows in groupby(rows_of, lambda row: row["conversation_id"]):
            yield list(rows)
        seq = batch[-1].seq
        session.expunge_all()


def consented() -> ColumnElement[bool]:
    """Whether the one who gave the feedback lets it be learned from."""
    return Feedback.user_id.not_in(select(User.id).where(User.consent.is_(False)))


def _training_rows(
    session: Session, batch: Sequence[Feedback], with_tokens: bool = True
) -> Iterator[dict[str, Any]]:
    # Simple queries one after the other: joined, MariaDB sorts all feedback for each batch.
    turn_ids = {given.turn_id for given in batch}
    turns = {turn.id: turn for turn in session.scalars(select(Turn).where(Turn.id.in_(turn_ids)))}
    drafts = _drafts(session, turn_ids, with_tokens)
    kept = select(Conversation.id, Conversation.split).where(
        Conversation.id.in_({given.conversation_id for given in batch}),
        Conversation.deleted_at.is_(None),
    )
    splits = {row[0]: row[1] for row in session.execute(kept)}
    reviews = _reviews(session, turn_ids)
    for given in batch:
        if split := splits.get(given.conversation_id):
            turn = turns[given.turn_id]
            row = _training_row(given, turn, split, drafts.get(turn.id, []), with_tokens)
            yield row | {"review": reviews.get(given.id)}


def _reviews(session: Session, turn_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The newest review in force of each verdict on these turns, by the id of the verdict."""
    wanted = in_force(groups=(REVIEW,)).where(Feedback.turn_id.in_(turn_ids))
    found = session.scalars(wanted.order_by(Feedback.seq))
    return {
        row.target_id: {"verdict": row.payload["verdict"], "text": row.payload["text"]}
        for row in found
    }


def _training_row(
    given: Feedback, turn: Turn, split: str, drafts: Sequence[Completion], with_tokens: bool
) -> dict[str, Any]:
    return {
        "feedback_id": given.id,
        "seq": given.seq,
        "kind": given.kind,
        "payload": given.payload,
        "user_id": given.user_id,
        "split": split,
        "conversation_id": given.conversation_id,
        "turn_id": given.turn_id,
        "messages": turn.messages,
        "query": turn.query,
        "rewritten_query": turn.rewritten_query,
        "position": turn.position,
        "preparation": turn.preparation,
        "completion_id": given.completion_id,
        "completions": [_training_draft(draft, with_tokens) for draft in drafts],
        "created_at": iso(given.created_at),
    }


def _training_draft(draft: Completion, with_tokens: bool) -> dict[str, Any]:
    return {
        "id": draft.id,
        "draft": draft.draft,
        "text": draft.text,
        "stopped_by": draft.stopped_by,
        "reasoning": _training_reasoning(draft.reasoning),
        "token_ids": draft.token_ids if with_tokens else None,
        "logprobs": draft.logprobs if with_tokens else None,
        "adapter": draft.adapter,
        "base_model": draft.base_model,
        "engine": draft.engine,
        "sampling": draft.sampling,
        "prompt_hash": draft.prompt_hash,
        "finish_reason": draft.finish_reason,
    }


def _training_reasoning(reasoning: Reasoning | None) -> dict[str, Any] | None:
    if reasoning is None:
        return None
    return {
        "text": reasoning.text,
        "token_ids": reasoning.token_ids,
        "logprobs": reasoning.logprobs,
        "finish_reason": reasoning.finish_reason,
    }


def _drafts(
    session: Session, turn_ids: Iterable[str], with_tokens: bool = True
) -> dict[str, list[Completion]]:
    """The completions of the turns, by turn, in the order shown."""
    found: dict[str, list[Completion]] = {}
    ids = list(turn_ids)
    for start in range(0, len(ids), BATCH):
        wanted = (
            select(Completion)
            .where(Completion.turn_id.in_(ids[start : start + BATCH]))
            .order_by(Completion.draft)
        )
        if not with_tokens:
            wanted = wanted.options(defer(Completion.token_ids), defer(Completion.logprobs))
        for draft in session.scalars(wanted):
            found.setdefault(draft.turn_id, []).append(draft)
    return found


def _summary(conversation: Conversation, turns: int) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "title": conversation.title,
        "created_at": iso(conversation.created_at),
        "updated_at": iso(conversation.updated_at),
        "split": conversation.split,
        "turns": turns,
    }


def _turn(
    turn: Turn, drafts: Sequence[Completion], verdicts: Mapping[tuple[str, str], Feedback]
) -> dict[str, Any]:
    return {
        "id": turn.id,
        "position": turn.position,
        "parent_turn_id": turn.parent_id,
        "query": turn.query,
        "rewritten_query": turn.rewritten_query,
        "created_at": iso(turn.created_at),
        "completions": [_completion(draft, verdicts) for draft in drafts],
        "comparison": _verdict(verdicts.get(("comparison", turn.id))),
        "rewrite": _verdict(verdicts.get(("rewrite", turn.id))),
    }


def _completion(draft: Completion, verdicts: Mapping[tuple[str, str], Feedback]) -> dict[str, Any]:
    return {
        "id": draft.id,
        "draft": draft.draft,
        "text": draft.text,
        "stopped_by": draft.stopped_by,
        "reasoning": draft.reasoning.text if draft.reasoning else None,
        "adapter": draft.adapter,
        "finish_reason": draft.finish_reason,
        "created_at": iso(draft.created_at),
        "rating": _verdict(verdicts.get(("rating", draft.id))),
        "correction": _verdict(verdicts.get(("correction", draft.id))),
        "reasoning_rating": _verdict(verdicts.get(("rating", reasoning_target(draft.id)))),
        "reasoning_correction": _verdict(verdicts.get(("correction", reasoning_target(draft.id)))),
    }


def _verdict(row: Feedback | None) -> dict[str, Any] | None:
    return None if row is None else {"id": row.id, **row.payload}


def _mentions(query: str) -> Any:
    text = mended(query).lower()
    in_title = func.lower(Conversation.title).contains(text, autoescape=True)
    in_query = func.lower(Turn.query).contains(text, autoescape=True)
    return or_(in_title, exists().where(Turn.conversation_id == Conversation.id, in_query))


def checked_limit(limit: int) -> int:
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid("limit", f"limit is {limit}; it is 1 to {MAX_LIMIT}.")
    return limit


def unknown_cursor(after: str) -> Invalid:
    return Invalid(
        "after",
        f"after is {show(after)}, which is not in this list. Use the last_id of a page, or leave "
        "it out.",
    )


def page_of(items: list[dict[str, Any]], limit: int) -> Page:
    shown = items[:limit]
    return Page(shown, len(items) > limit, shown[-1]["id"] if shown else None)
