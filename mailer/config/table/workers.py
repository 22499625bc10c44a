"""Who carries mail out, over how many connections."""

from __future__ import annotations

from pydantic import BaseModel

from mailer.config.table.setting import setting


class Workers(BaseModel):
    workers: int = setting(
        1, "Worker processes that `mailer up` starts.", example="4", unit="processes", least=1, most=64,
    )  # fmt: skip
    signer_threads: int = setting(
        2, "Threads of a worker that load and sign messages.", example="4", unit="threads", least=1, most=64,
    )  # fmt: skip
    one_processor: bool = setting(
        True, "Whether the HTTP door and each worker keep to one processor, others off the door's, all but"
        " threads that sign one message at a time. A process runs one thread of Python at a time, and passing"
        " that right between processors costs more than it gains.",
        example="false",
    )  # fmt: skip
    lease_seconds: float = setting(
        15.0, "A worker whose heartbeat stands still for so long is declared dead, and its mail released.",
        example="15", unit="seconds", least=1, most=600,
    )  # fmt: skip
    sweep_seconds: float = setting(
        1.0, "Interval of the sweep for due and orphaned mail: what a lost bell costs.",
        example="1", unit="seconds", least=0.05, most=60,
    )  # fmt: skip
    connections_per_site: int = setting(
        20, "Most SMTP connections from an IP to a site, over all workers; a rule may ask for fewer.",
        example="50", unit="connections", least=1, most=1000,
    )  # fmt: skip
    messages_per_session: int = setting(
        1000, "Messages after which an SMTP session is ended and another opened; likewise.",
        example="100", unit="messages", least=1, most=100000,
    )  # fmt: skip
    session_idle_seconds: float = setting(
        30.0, "How long an SMTP session without mail is kept open.",
        example="10", unit="seconds", least=0, most=300,
    )  # fmt: skip
