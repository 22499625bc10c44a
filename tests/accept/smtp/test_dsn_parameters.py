"""What a submitter asks of DSNs is kept with the message, recipient by recipient (RFC 3461 §4)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mailer.queue.claim import Claimed
from tests.accept.smtp.conftest import LETTER, SmtpDoor

Named = Sequence[tuple[str, list[str]]]


async def submit(
    door: SmtpDoor, named: Named, *, sender: str = "app@acme.example", options: Sequence[str] = ()
) -> list[Claimed]:
    """What was accepted, in the order of addresses."""

    def talk() -> int:
        with door.session() as client:
            client.ehlo_or_helo_if_needed()
            client.mail(sender, list(options))
            codes = [client.rcpt(address, asked)[0] for address, asked in named]
            assert codes == [250] * len(codes)
            return client.data(LETTER)[0]

    assert await asyncio.to_thread(talk) == 250
    return sorted(door.room.claim(), key=lambda c: c.address)


async def test_the_extension_is_offered(door: SmtpDoor) -> None:
    def ask() -> bool:
        with door.session() as client:
            client.ehlo()
            return client.has_extn("dsn")

    assert await asyncio.to_thread(ask)


async def test_all_that_is_asked_is_kept_decoded(door: SmtpDoor) -> None:
    asked = ["NOTIFY=DELAY,FAILURE", "ORCPT=RFC822;Ada+2BSales@Example.org"]
    options = ["RET=FULL", "ENVID=QQ+20314"]

    [claimed] = await submit(door, [("ada@example.org", asked)], options=options)

    assert (claimed.notify, claimed.orcpt) == ("FAILURE,DELAY", "rfc822;Ada+Sales@Example.org")
    assert (claimed.ret, claimed.envid) == ("FULL", "QQ 314")


async def test_what_is_not_said_is_kept_as_such(door: SmtpDoor) -> None:
    """It means FAILURE to us, and must not be said to the next hop (RFC 3461 §5.2.1)."""
    [claimed] = await submit(door, [("ada@example.org", [])])

    assert (claimed.notify, claimed.orcpt, claimed.ret, claimed.envid) == ("", None, None, None)


@pytest.mark.parametrize(
    ("asked", "kept"), [([], None), (["NOTIFY=SUCCESS,FAILURE"], None), (["NOTIFY=NEVER"], "NEVER")]
)
async def test_of_a_null_reverse_path_nobody_is_told(
    door: SmtpDoor, asked: list[str], kept: str | None
) -> None:
    """RFC 5321 §4.5.5."""
    [claimed] = await submit(door, [("ada@example.org", asked)], sender="")

    assert claimed.notify == kept


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ([], [], ""),
        (["NOTIFY=NEVER"], ["NOTIFY=NEVER"], "NEVER"),
        (["NOTIFY=NEVER"], ["NOTIFY=SUCCESS"], "SUCCESS"),
        (["NOTIFY=NEVER"], [], "FAILURE"),
        (["NOTIFY=DELAY"], [], "FAILURE,DELAY"),
        (["NOTIFY=DELAY"], ["NOTIFY=SUCCESS"], "SUCCESS,DELAY"),
    ],
)
async def test_a_mailbox_named_twice_is_told_of_whatever_either_asks_for(
    door: SmtpDoor, first: list[str], second: list[str], kept: str
) -> None:
    [claimed] = await submit(door, [("ada@example.org", first), ("ada@EXAMPLE.org", second)])

    assert claimed.notify == kept


async def test_of_two_original_recipients_of_one_mailbox_the_first_stands(door: SmtpDoor) -> None:
    named = [
        ("ada@example.org", []),
        ("ada@example.org", ["ORCPT=rfc822;list@example.org"]),
        ("ada@example.org", ["ORCPT=rfc822;other@example.org"]),
    ]

    [claimed] = await submit(door, named)

    assert claimed.orcpt == "rfc822;list@example.org"


async def test_each_recipient_has_its_own(door: SmtpDoor) -> None:
    ada, bob = await submit(
        door, [("bob@example.net", ["NOTIFY=NEVER"]), ("ada@example.org", ["NOTIFY=SUCCESS"])]
    )

    assert (ada.notify, bob.notify) == ("SUCCESS", "NEVER")


async def test_an_original_recipient_in_utf8_is_kept(door: SmtpDoor) -> None:
    """RFC 6533 §3."""
    [claimed] = await submit(door, [("ada@example.org", ["ORCPT=utf-8;j\\x{F6}rg@example.org"])])

    assert claimed.orcpt == "utf-8;jörg@example.org"
