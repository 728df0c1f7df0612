"""Which turn a turn goes on from, where the client says so: the branches of a conversation"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("turns", sa.Column("parent_id", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("turns", "parent_id")
