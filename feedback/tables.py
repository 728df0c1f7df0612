"""The tables, the same on SQLite, PostgreSQL and MariaDB or MySQL.

Completions are never edited and feedback is append-only: what changes are titles, roles, consent,
the states of adapters and runs, and marks of deletion. Only `feedback.erasure` empties texts.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    true,
)
from sqlalchemy.dialects.mysql import DATETIME, LONGTEXT
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from feedback.moments import now

ID_LENGTH = 64
NAME_LENGTH = 120
TITLE_LENGTH = 200
IDEMPOTENCY_KEY_LENGTH = 200
FEEDBACK_TARGET_INDEX = "ix_feedback_user_id_kind_target_id_seq"
CHAMPION, CANARY = 1, 2  # the places in which adapters serve
WITHDRAWAL = "withdrawal"  # the kind of a row of feedback that takes another back

LongText = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
Seq = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up on its own only for INTEGER


class Moment(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC to the microsecond on every database."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        is_mysql = dialect.name in ("mysql", "mariadb")
        return dialect.type_descriptor(DATETIME(fsp=6) if is_mysql else DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise TypeError(f"{value!r} has no time zone; the record keeps aware datetimes only")
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Table(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# Binary collation: MySQL's default takes "Ada" and "ada" for one, and so would unique names and
# keys.
MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


class User(Table):
    __tablename__ = "users"
    __table_args__ = MYSQL

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    role: Mapped[str] = mapped_column(String(16))  # user, reviewer, admin
    password: Mapped[str | None] = mapped_column(String(255))  # an argon2 hash; null: keys only
    # Whether what they wrote and said may be learned from.
    consent: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    forgotten_at: Mapped[datetime | None] = mapped_column(Moment)


class ApiKey(Table):
    """Only the digest of a key is kept; the hint is its last characters, to tell keys apart."""

    __tablename__ = "api_keys"
    __table_args__ = MYSQL

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(6))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    revoked_at: Mapped[datetime | None] = mapped_column(Moment)


class LoginSession(Table):
    """One sign-in. Only the digest of its token is kept; it ends by itself at `expires_at`."""

    __tablename__ = "login_sessions"
    __table_args__ = MYSQL

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


class Conversation(Table):
    __tablename__ = "conversations"
    __table_args__ = (
        Index(None, "user_id", "updated_at", "id"),
        Index(None, "erased_at", "updated_at"),
        MYSQL,
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str] = mapped_column(String(TITLE_LENGTH))
    split: Mapped[str] = mapped_column(
        String(16)
    )  # train, heldout: decided once, when the row is made
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    updated_at: Mapped[datetime] = mapped_column(Moment, default=now)
    deleted_at: Mapped[datetime | None] = mapped_column(Moment)
    erased_at: Mapped[datetime | None] = mapped_column(Moment)  # its texts are gone


class Turn(Table):
    """One user message; `messages` is what the engine was sent."""

    __tablename__ = "turns"
    __table_args__ = (
        UniqueConstraint("conversation_id", "position"),
        Index(None, "created_at", "id"),
        MYSQL,
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"))
    position: Mapped[int] = mapped_column(Integer)  # from 0, in the order asked
    # The turn that it goes on from; "" for one that begins anew, null where no client said so.
    parent_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    query: Mapped[str] = mapped_column(LongText)
    rewritten_query: Mapped[str | None] = mapped_column(LongText)
    messages: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    prompt_name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    prompt_hash: Mapped[str] = mapped_column(String(64))
    # How the query was rewritten, which turns the window held and why no others, and the summary
    # of those; see serve/turn.
    preparation: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)


class Completion(Table):
    """One stored answer, with all that is needed to learn from it. Never edited."""

    __tablename__ = "completions"
    __table_args__ = (UniqueConstraint("turn_id", "draft"), MYSQL)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    turn_id: Mapped[str] = mapped_column(ForeignKey("turns.id"))
    draft: Mapped[int] = mapped_column(Integer)  # from 0, in the order shown
    text: Mapped[str] = mapped_column(LongText)
    token_ids: Mapped[list[int] | None] = mapped_column(JSON(none_as_null=True))
    logprobs: Mapped[list[float] | None] = mapped_column(JSON(none_as_null=True))
    adapter: Mapped[str] = mapped_column(String(ID_LENGTH), index=True)  # "base" while none serves
    base_model: Mapped[str] = mapped_column(Text)  # a hub id or a folder
    engine: Mapped[str] = mapped_column(String(64))
    sampling: Mapped[dict[str, Any]] = mapped_column(JSON)
    prompt_hash: Mapped[str] = mapped_column(String(64))
    prompt_tokens: Mapped[int] = mapped_column(Integer)
    finish_reason: Mapped[str] = mapped_column(String(16))  # see record.FINISH_REASONS
    stopped_by: Mapped[str | None] = mapped_column(LongText)  # the stop string that ended it
    reasoning: Mapped["Reasoning | None"] = relationship(lazy="joined", viewonly=True)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)


class Reasoning(Table):
    """What follows the delimiter of an answer that puts its conclusion first. Never edited."""

    __tablename__ = "reasonings"
    __table_args__ = MYSQL

    completion_id: Mapped[str] = mapped_column(ForeignKey("completions.id"), primary_key=True)
    text: Mapped[str] = mapped_column(LongText)
    token_ids: Mapped[list[int] | None] = mapped_column(JSON(none_as_null=True))
    logprobs: Mapped[list[float] | None] = mapped_column(JSON(none_as_null=True))
    finish_reason: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)


class Response(Table):
    """One answer of the Responses API, as it is shown: the state behind `previous_response_id`.

    `previous_id` is no foreign key: a response may be deleted while others go on from it.
    """

    __tablename__ = "responses"
    __table_args__ = MYSQL

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"), index=True)
    turn_id: Mapped[str] = mapped_column(ForeignKey("turns.id"), index=True)
    previous_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    status: Mapped[str] = mapped_column(String(16))  # OpenAI's, as in `resource`
    input: Mapped[list[dict[str, Any]]] = mapped_column(JSON)  # this response's own items
    resource: Mapped[dict[str, Any]] = mapped_column(JSON)  # OpenAI's response object
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)


class Feedback(Table):
    """One event. The newest of a user on a target is in force unless withdrawn (in_force)."""

    __tablename__ = "feedback"
    __table_args__ = (
        UniqueConstraint("user_id", "idempotency_key"),
        Index(None, "user_id", "seq"),
        Index(FEEDBACK_TARGET_INDEX, "user_id", "kind", "target_id", "seq"),
        Index(None, "created_at", "seq"),
        MYSQL | {"sqlite_autoincrement": True},  # a seq is never given twice
    )

    seq: Mapped[int] = mapped_column(Seq, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(ID_LENGTH), unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str] = mapped_column(String(32))
    target_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    turn_id: Mapped[str] = mapped_column(ForeignKey("turns.id"), index=True)
    completion_id: Mapped[str | None] = mapped_column(ForeignKey("completions.id"), index=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"), index=True)
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    withdraws: Mapped[str | None] = mapped_column(ForeignKey("feedback.id"), unique=True)
    idempotency_key: Mapped[str | None] = mapped_column(String(IDEMPOTENCY_KEY_LENGTH))
    request_digest: Mapped[str | None] = mapped_column(
        String(64)
    )  # of the body that came with the key
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)


class Adapter(Table):
    """PEFT weights under an immutable name.

    `serving` is CHAMPION, CANARY or null: unique, so there is one of each at most.
    """

    __tablename__ = "adapters"
    __table_args__ = MYSQL

    name: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    base_model: Mapped[str] = mapped_column(Text)  # a hub id or a folder
    parent: Mapped[str | None] = mapped_column(ForeignKey("adapters.name"), index=True)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("runs.id"), index=True)
    path: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))  # candidate, canary, champion, retired, rejected
    serving: Mapped[int | None] = mapped_column(Integer, unique=True)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)


class Deployment(Table):
    """What was put into service or taken out of it, in order. A null adapter is the base model."""

    __tablename__ = "deployments"
    __table_args__ = MYSQL | {"sqlite_autoincrement": True}

    seq: Mapped[int] = mapped_column(Seq, primary_key=True, autoincrement=True)
    adapter: Mapped[str | None] = mapped_column(ForeignKey("adapters.name"), index=True)
    action: Mapped[str] = mapped_column(String(16))  # promote, rollback, canary, retire, reject
    previous: Mapped[str | None] = mapped_column(ForeignKey("adapters.name"), index=True)
    by: Mapped[str] = mapped_column(String(NAME_LENGTH))
    reason: Mapped[str] = mapped_column(LongText)
    # A canary's share of the conversations; the votes that a decision stands on.
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)


class Run(Table):
    """One execution of a recipe.

    `active` is 1 while the run holds the one slot and else null: unique, so there is one at most.
    """

    __tablename__ = "runs"
    __table_args__ = MYSQL

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    state: Mapped[str] = mapped_column(
        String(16)
    )  # running, interrupted, promoted, rejected, refused, failed
    step: Mapped[str] = mapped_column(String(32))
    progress: Mapped[dict[str, Any]] = mapped_column(JSON)
    recipe: Mapped[dict[str, Any]] = mapped_column(JSON)
    message: Mapped[str] = mapped_column(LongText)
    adapter: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    active: Mapped[int | None] = mapped_column(Integer, unique=True)
    pid: Mapped[int] = mapped_column(Integer)
    host: Mapped[str] = mapped_column(String(255))
    heartbeat: Mapped[datetime] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    last_feedback_seq: Mapped[int] = mapped_column(Seq)


class Waiting(Table):
    """A verdict in the reviewers' queue, as the last run that curated left it there."""

    __tablename__ = "review_queue"
    __table_args__ = MYSQL

    feedback_id: Mapped[str] = mapped_column(ForeignKey("feedback.id"), primary_key=True)
    place: Mapped[int] = mapped_column(Integer, unique=True)  # from 0, in the order to look through
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), index=True)
    step: Mapped[str | None] = mapped_column(String(64))  # that holds it back; null: a sample
    reason: Mapped[str] = mapped_column(Text)
    users: Mapped[int] = mapped_column(Integer)  # who say the same, this one included
    shown: Mapped[dict[str, Any]] = mapped_column(JSON)  # what it would teach, masked
    since: Mapped[datetime] = mapped_column(Moment)  # when the first of the runs put it there so


class Tally(Table):
    """How much feedback in force a day has, by what it says of which adapter; made anew at will.

    Adapter and outcome are "" where all feedback of the kind is counted. See `feedback.tallies`.
    """

    __tablename__ = "tallies"
    __table_args__ = MYSQL

    day: Mapped[str] = mapped_column(String(10), primary_key=True)  # YYYY-MM-DD, in UTC
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    adapter: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(32), primary_key=True)
    count: Mapped[int] = mapped_column(Integer)


class TallyMark(Table):
    """Up to which event the tallies were made, and how many there were up to it. One row, id 1."""

    __tablename__ = "tally_marks"
    __table_args__ = MYSQL

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(Seq)
    events: Mapped[int] = mapped_column(Seq)
