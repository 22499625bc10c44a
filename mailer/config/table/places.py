"""Where things are."""

from __future__ import annotations

from pydantic import BaseModel

from mailer.config import load
from mailer.config.table.setting import setting
from mailer.config.values import (
    BrokerUrl,
    DatabaseUrl,
    Folder,
)


class Places(BaseModel):
    data_dir: Folder = setting(
        "data", "Folder that holds everything this installation makes. Local disk only.",
        unit="a folder", example="/var/lib/mailer",
    )  # fmt: skip
    database_url: DatabaseUrl = setting(
        lambda data: f"sqlite:///{data['data_dir']}/mailer.sqlite3",
        "Database: SQLite in the data folder unless a PostgreSQL URL is given.",
        unit="a URL", example="postgresql://mailer@db.example.org/mailer", secret=True,
    )  # fmt: skip
    database_prepare: bool = setting(
        False, "Prepare statements on PostgreSQL's side. Leave it off behind a pooler in transaction mode.",
        example="true",
    )  # fmt: skip
    broker_url: BrokerUrl = setting(
        lambda data: f"bell://{load.quoted(data['data_dir'] / 'bell')}",
        "Broker that carries the bell: the embedded one, RabbitMQ or Redis. It holds no mail.",
        unit="a URL", example="amqp://mailer@broker.example.org//", secret=True,
    )  # fmt: skip
