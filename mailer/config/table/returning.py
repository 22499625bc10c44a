"""What comes back: the host that takes it, and what is done with it."""

from __future__ import annotations

from pydantic import BaseModel

from mailer.config.load import DomainNames, OptionalMailbox
from mailer.config.table.setting import setting


class Returning(BaseModel):
    returns_host: str = setting(
        "127.0.0.1", "Address on which returned mail, complaints and reports are taken; the MX of the "
        "return-path domains leads to it.",
        unit="an address", example="192.0.2.25",
    )  # fmt: skip
    returns_port: int = setting(
        2526, "Port of it; in live mode the world comes to port 25, which is this one or is passed on to it. "
        "0 takes any free one, as `mailer up` does beside other ports that were asked for.",
        example="25", least=0, most=65535,
    )  # fmt: skip
    returns_size_mb: int = setting(
        10, "Largest mail that is taken back.", example="25", unit="MiB", least=1, most=100,
    )  # fmt: skip
    returns_per_minute: int = setting(
        1200, "Mails that are taken back from one IPv4 address or IPv6 /64 in a minute, by each process.",
        example="6000", unit="mails", least=1, most=1_000_000,
    )  # fmt: skip
    returns_connections: int = setting(
        50, "Connections to it at once from one IPv4 address or IPv6 /64.",
        example="20", least=1, most=10_000,
    )  # fmt: skip
    returns_days: int = setting(
        30, "How long returned mail is kept as it came.", example="90", unit="days", least=1, most=3650,
    )  # fmt: skip
    operator_mailbox: OptionalMailbox = setting(
        None, "Where mail to postmaster@ and abuse@ of all domains is passed on to; it is kept in any case. "
        "Needs MAILER_OPERATOR_DOMAIN, and must lie in a domain that is not one of this installation.",
        unit="an address", example="hostmaster@example.net",
    )  # fmt: skip
    feedback_providers: DomainNames = setting(
        (), "Domains (d=) whose DKIM signature makes a report good that bears no token of ours, with commas: "
        "those of feedback loops that the operator has joined.",
        unit="domains", example="feedback.example, fbl.example.net",
    )  # fmt: skip
