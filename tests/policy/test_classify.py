"""What replies say in words."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.policy.classify import wished_delay
from mailer.protocol.reply import Reply


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4.7.1 Greylisting in action, please come back in 00:05:00", 300),
        ("4.2.0 Greylisted for 300 seconds, see http://postgrey.example/help", 300),
        ("4.3.2 try again in 5 minutes", 300),
        ("Please retry after 1 hour", 3600),
        ("Too many connections, wait 90s", 90),
        ("Try again in 10 mins.", 600),
        ("You must WAIT at least 2 MINUTES", 120),
    ],
)
def test_a_named_delay_is_found(text: str, seconds: int) -> None:
    assert wished_delay(Reply(451, tuple(text.split("\n")))) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "4.7.1 Try again later",
        "4.2.2 mailbox full, 300 messages waiting",
        "rate limit: 100 messages in 60 seconds exceeded",
        "4.3.2 try again, see https://support.example/answer/3726730?hl=en",
        "greylisted; 5 more hosts to go",
        "",
    ],
)
def test_what_names_no_delay_wishes_none(text: str) -> None:
    assert wished_delay(Reply(451, (text,))) is None


@given(st.lists(st.text(max_size=200), min_size=1, max_size=5))
def test_any_text_can_be_read(lines: list[str]) -> None:
    delay = wished_delay(Reply(451, tuple(lines)))

    assert delay is None or delay >= timedelta(0)
