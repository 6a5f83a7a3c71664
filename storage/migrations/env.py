"""Alembic's way in: the store hands over its connection."""

from alembic import context

from storage import ledger_tables, models, name_tables, public_tables
from storage.base import Base

TABLES = (ledger_tables, models, name_tables, public_tables)  # imported so that they are known


def run() -> None:
    """Bring the database up to date on the connection of `Store.migrate`."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
