"""Consent of users; which users and conversations had their texts erased"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    # People who are here already were told what their feedback is used for: they keep on.
    op.add_column(
        "users",
        sa.Column("consent", sa.Boolean(), nullable=False, server_default=sa.true()),
    )
    op.add_column("users", sa.Column("forgotten_at", MOMENT, nullable=True))
    op.add_column("conversations", sa.Column("erased_at", MOMENT, nullable=True))
    columns = ["erased_at", "updated_at"]
    op.create_index(op.f("ix_conversations_erased_at_updated_at"), "conversations", columns)


def downgrade() -> None:
    op.drop_index(op.f("ix_conversations_erased_at_updated_at"), "conversations")
    op.drop_column("conversations", "erased_at")
    op.drop_column("users", "forgotten_at")
    op.drop_column("users", "consent")
