"""The first tables"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Written out here, not taken from tables.py: a migration stays as it was when tables.py moves on.
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("step", sa.String(length=32), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("recipe", sa.JSON(), nullable=False),
        sa.Column("message", LONG_TEXT, nullable=False),
        sa.Column("adapter", sa.String(length=64), nullable=True),
        sa.Column("active", sa.Integer(), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("heartbeat", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("last_feedback_seq", SEQ, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("active", name=op.f("uq_runs_active")),
        **OPTIONS,
    )
    op.create_table(
        "users",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
        **OPTIONS,
    )
    op.create_table(
        "adapters",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("parent", sa.String(length=64), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("serving", sa.Integer(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["parent"], ["adapters.name"], name=op.f("fk_adapters_parent")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_adapters_run_id")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_adapters")),
        sa.UniqueConstraint("serving", name=op.f("uq_adapters_serving")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_adapters_parent"), "adapters", ["parent"])
    op.create_index(op.f("ix_adapters_run_id"), "adapters", ["run_id"])

    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("hint", sa.String(length=6), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_api_keys_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_api_keys_user_id"), "api_keys", ["user_id"])

    op.create_table(
        "conversations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("split", sa.String(length=16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_conversations_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_conversations_user_id_updated_at_id"),
        "conversations",
        ["user_id", "updated_at", "id"],
    )

    op.create_table(
        "deployments",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("adapter", sa.String(length=64), nullable=True),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=True),
        sa.Column("by", sa.String(length=120), nullable=False),
        sa.Column("reason", LONG_TEXT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter"], ["adapters.name"], name=op.f("fk_deployments_adapter")
        ),
        sa.ForeignKeyConstraint(
            ["previous"], ["adapters.name"], name=op.f("fk_deployments_previous")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_deployments")),
        sqlite_autoincrement=True,
        **OPTIONS,
    )
    op.create_index(op.f("ix_deployments_adapter"), "deployments", ["adapter"])
    op.create_index(op.f("ix_deployments_previous"), "deployments", ["previous"])

    op.create_table(
        "turns",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("conversation_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("query", LONG_TEXT, nullable=False),
        sa.Column("rewritten_query", LONG_TEXT, nullable=True),
        sa.Column("messages", sa.JSON(), nullable=False),
        sa.Column("prompt_name", sa.String(length=120), nullable=False),
        sa.Column("prompt_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name=op.f("fk_turns_conversation_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turns")),
        sa.UniqueConstraint(
            "conversation_id", "position", name=op.f("uq_turns_conversation_id_position")
        ),
        **OPTIONS,
    )
    op.create_table(
        "completions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("turn_id", sa.String(length=64), nullable=False),
        sa.Column("draft", sa.Integer(), nullable=False),
        sa.Column("text", LONG_TEXT, nullable=False),
        sa.Column("token_ids", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("logprobs", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("adapter", sa.String(length=64), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("engine", sa.String(length=64), nullable=False),
        sa.Column("sampling", sa.JSON(), nullable=False),
        sa.Column("prompt_hash", sa.String(length=64), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("finish_reason", sa.String(length=16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name=op.f("fk_completions_turn_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_completions")),
        sa.UniqueConstraint("turn_id", "draft", name=op.f("uq_completions_turn_id_draft")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_completions_adapter"), "completions", ["adapter"])

    op.create_table(
        "feedback",
        sa.Column("seq", SEQ, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("target_id", sa.String(length=64), nullable=False),
        sa.Column("turn_id", sa.String(length=64), nullable=False),
        sa.Column("completion_id", sa.String(length=64), nullable=True),
        sa.Column("conversation_id", sa.String(length=64), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("withdraws", sa.String(length=64), nullable=True),
        sa.Column("idempotency_key", sa.String(length=200), nullable=True),
        sa.Column("request_digest", sa.String(length=64), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["completion_id"], ["completions.id"], name=op.f("fk_feedback_completion_id")
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name=op.f("fk_feedback_conversation_id")
        ),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name=op.f("fk_feedback_turn_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_feedback_user_id")),
        sa.ForeignKeyConstraint(["withdraws"], ["feedback.id"], name=op.f("fk_feedback_withdraws")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_feedback")),
        sa.UniqueConstraint("id", name=op.f("uq_feedback_id")),
        sa.UniqueConstraint(
            "user_id", "idempotency_key", name=op.f("uq_feedback_user_id_idempotency_key")
        ),
        sa.UniqueConstraint("withdraws", name=op.f("uq_feedback_withdraws")),
        sqlite_autoincrement=True,
        **OPTIONS,
    )
    op.create_index(op.f("ix_feedback_completion_id"), "feedback", ["completion_id"])
    op.create_index(op.f("ix_feedback_conversation_id"), "feedback", ["conversation_id"])
    op.create_index(op.f("ix_feedback_turn_id"), "feedback", ["turn_id"])
    op.create_index(op.f("ix_feedback_user_id_seq"), "feedback", ["user_id", "seq"])
    op.create_index(
        op.f("ix_feedback_user_id_kind_target_id_seq"),
        "feedback",
        ["user_id", "kind", "target_id", "seq"],
    )


def downgrade() -> None:
    for table in (
        "feedback",
        "completions",
        "turns",
        "deployments",
        "conversations",
        "api_keys",
        "adapters",
        "users",
        "runs",
    ):
        op.drop_table(table)
