"""Run by Alembic for each migration, over the connection that migrate.py hands in."""

from alembic import context

from feedback.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,  # SQLite changes a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
