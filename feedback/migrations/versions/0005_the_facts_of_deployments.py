"""The facts of deployments: the share of a canary, the votes that a decision stands on"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deployments", sa.Column("facts", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("deployments", "facts")
