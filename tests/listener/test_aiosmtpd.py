"""What we rely on in aiosmtpd without its promise."""

from __future__ import annotations

import asyncio

from aiosmtpd.smtp import SMTP

from mailer.listener import Limits, Rules
from mailer.listener.commands import Commands
from mailer.listener.conversation import Conversation
from mailer.listener.listening import Listener
from tests.listener.serving import Desk

VERBS = {
    "AUTH", "BDAT", "DATA", "EHLO", "EXPN", "HELO", "HELP", "MAIL", "NOOP", "QUIT", "RCPT", "RSET",
    "STARTTLS", "VRFY",
}  # fmt: skip


def _conversation() -> Conversation:
    rules = Rules(host="mx.example.net", desk=Desk(), limits=Limits())
    return Conversation(rules, Listener(rules), asyncio.get_running_loop(), tls_first=False)


async def test_its_table_of_commands_is_ours_and_nothing_else() -> None:
    """A command that aiosmtpd adds one day must not be served by its code, past our reading."""
    methods = _conversation()._smtp_methods

    assert methods.keys() == VERBS
    assert {type(method.__self__).__name__ for method in methods.values()} == {"Conversation"}
    assert [name for name in vars(SMTP) if name.startswith("smtp_") and name[5:] not in VERBS] == []


async def test_its_attributes_that_we_set_and_call_exist() -> None:
    stock = SMTP(object(), hostname="mx.example.net", loop=asyncio.get_running_loop())

    assert {"_smtp_methods", "_handler_coroutine", "transport", "hostname", "loop"} <= vars(stock).keys()
    assert asyncio.iscoroutinefunction(SMTP._handle_client)


async def test_no_command_is_inherited() -> None:
    inherited = {verb for verb in VERBS if f"smtp_{verb}" not in vars(Commands)}

    assert inherited == set()
