"""Feedback counted by day, kind and adapter, for the dashboard; indexes by time"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}
INDEXES = {"feedback": ["created_at", "seq"], "turns": ["created_at", "id"]}


def upgrade() -> None:
    for table, columns in INDEXES.items():
        op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)
    op.create_table(
        "tallies",
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("adapter", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "kind", "adapter", "outcome", name=op.f("pk_tallies")),
        **MYSQL,
    )
    marks = op.create_table(
        "tally_marks",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", SEQ, nullable=False),
        sa.Column("events", SEQ, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tally_marks")),
        **MYSQL,
    )
    op.bulk_insert(marks, [{"id": 1, "seq": 0, "events": 0}])  # the first look makes the tallies


def downgrade() -> None:
    op.drop_table("tally_marks")
    op.drop_table("tallies")
    for table, columns in INDEXES.items():
        op.drop_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table)
