from __future__ import annotations

from mailer.config import Settings
from mailer.config.describe import lines, markdown, shown_value
from mailer.identity.keys import new_key


def test_secrets_are_not_shown_and_urls_lose_their_password() -> None:
    key = new_key(1).text
    settings = Settings.load(
        {
            "MAILER_API_KEY": key,
            "MAILER_SECRET": "ab" * 32,
            "MAILER_ROUTES": "*=smtp.example.org:587;tls=required;user=me;password=hunter2",
            "MAILER_DATABASE_URL": "postgresql://me:hunter2@db/mailer",
        }
    )

    shown = {line.name: shown_value(settings, line.name) for line in lines(Settings)}

    assert shown["api_key"] == shown["secret"] == shown["routes"] == "(set)"
    assert shown["database_url"] == "postgresql+psycopg://me:***@db/mailer"


def test_the_table_of_the_documentation_has_a_row_for_every_setting() -> None:
    rows = markdown(Settings).splitlines()

    assert len(rows) == 2 + len(Settings.model_fields)
    assert {row.count("|") for row in rows} == {5}
    assert rows[0] == "| setting | default | value | meaning |"
