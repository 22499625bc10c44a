"""Alembic runs this with the connection that mailer/store/schema.py hands over; there is no alembic.ini."""

from alembic import context

from mailer.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=False,
    compare_type=False,
)
with context.begin_transaction():
    context.run_migrations()
