from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from mailer.cli.greeting import Facts, as_json, as_text, url

FACTS = Facts(
    http_url="http://127.0.0.1:8025",
    smtp_host="127.0.0.1",
    smtp_port=2587,
    smtps_port=2465,
    returns_port=2526,
    api_key="mk_key",
    key_is_kept=True,
    domain="sandbox.mailer.test",
    has_inbox=True,
    pids={"http": 11, "worker": 12, "worker-2": 13, "sweeper": 14, "inbox": 15},
    data_dir=Path("/srv/my mail"),
)


def test_the_json_line_says_where_everything_is() -> None:
    line = as_json(FACTS)

    assert "\n" not in line
    assert json.loads(line) == {
        "http_url": "http://127.0.0.1:8025",
        "smtp_host": "127.0.0.1",
        "smtp_port": 2587,
        "smtps_port": 2465,
        "returns_port": 2526,
        "api_key": "mk_key",
        "domain": "sandbox.mailer.test",
        "inbox_url": "http://127.0.0.1:8025/inbox",
        "pids": {"http": 11, "worker": 12, "worker-2": 13, "sweeper": 14, "inbox": 15},
    }


def test_the_curl_line_is_one_command_when_pasted() -> None:
    text = as_text(FACTS)

    command = shlex.split(text[text.index("curl") : text.index("or by SMTP")].replace("\\\n", ""))
    assert command[:4] == ["curl", "http://127.0.0.1:8025/v1/messages", "-H", "Authorization: Bearer mk_key"]
    assert json.loads(command[-1])["from"] == "Shop <shop@sandbox.mailer.test>"
    assert "mailer explain ID --data-dir '/srv/my mail'" in text


def test_the_smtp_lines_are_one_command_each_when_pasted() -> None:
    text = as_text(FACTS)

    swaks = shlex.split(text[text.index("swaks") : text.index("python3 -c")].replace("\\\n", ""))
    assert swaks[:4] == ["swaks", "--server", "127.0.0.1:2587", "--tls"]
    assert swaks[swaks.index("--auth-password") + 1] == "mk_key"
    python = shlex.split(text[text.index("python3 -c") : text.index("and look at")])
    compile(python[2], "pasted", "exec")


def test_without_an_inbox_or_a_key_neither_is_promised() -> None:
    bare = replace(FACTS, api_key=None, domain=None, has_inbox=False)

    assert json.loads(as_json(bare))["inbox_url"] is None
    assert "curl" not in as_text(bare)
    assert "live: mail is delivered" in as_text(bare)


def test_only_a_key_that_was_made_up_lies_in_the_data_folder() -> None:
    assert "bootstrap.json" in as_text(FACTS)
    assert "bootstrap.json" not in as_text(replace(FACTS, key_is_kept=False))


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("2001:db8::1", "[2001:db8::1]")],
)
def test_an_address_to_listen_on_is_shown_as_one_to_dial(host: str, shown: str) -> None:
    assert url(host, 80) == f"http://{shown}:80"
