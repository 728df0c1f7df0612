"""Tallies with room for the longest outcome; they are counted anew at the next look"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


def upgrade() -> None:
    _make_anew(32)


def downgrade() -> None:
    _make_anew(16)


def _make_anew(length: int) -> None:
    # What they hold is counted from the feedback: empty tables lose nothing.
    op.drop_table("tallies")
    op.create_table(
        "tallies",
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("adapter", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(length), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "kind", "adapter", "outcome", name=op.f("pk_tallies")),
        **MYSQL,
    )
    op.execute("UPDATE tally_marks SET seq = 0, events = 0")
