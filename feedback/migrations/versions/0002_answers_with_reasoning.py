"""Answers with reasoning: what stopped a completion, and the reasoning behind it"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Written out here, not taken from tables.py: a migration stays as it was when tables.py moves on.
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def upgrade() -> None:
    op.add_column("completions", sa.Column("stopped_by", LONG_TEXT, nullable=True))
    op.add_column("turns", sa.Column("preparation", sa.JSON(), nullable=True))
    op.create_table(
        "reasonings",
        sa.Column("completion_id", sa.String(length=64), nullable=False),
        sa.Column("text", LONG_TEXT, nullable=False),
        sa.Column("token_ids", sa.JSON(), nullable=True),
        sa.Column("logprobs", sa.JSON(), nullable=True),
        sa.Column("finish_reason", sa.String(length=16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["completion_id"],
            ["completions.id"],
            name=op.f("fk_reasonings_completion_id"),
        ),
        sa.PrimaryKeyConstraint("completion_id", name=op.f("pk_reasonings")),
        **OPTIONS,
    )


def downgrade() -> None:
    op.drop_table("reasonings")
    op.drop_column("turns", "preparation")
    op.drop_column("completions", "stopped_by")
