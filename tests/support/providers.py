"""Simulated providers as real servers on loopback, in a thread of the test's own process."""

from __future__ import annotations

import asyncio
import smtplib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mailer.simulate.script import parse
from mailer.simulate.sink import Place, Sink

LETTER = b"Subject: x\r\n\r\nhello\r\n"


@dataclass
class Serving:
    """places: by provider."""

    sink: Sink
    places: dict[str, Place]

    @property
    def routes(self) -> str:
        """As MAILER_ROUTES has it."""
        return ", ".join(place.routes for place in self.places.values())

    def client(self, provider: str, seconds: float = 30) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.places[provider].port, timeout=seconds)

    def send(self, provider: str, recipient: str = "b@p.test") -> str:
        """The last reply: "250" or what was refused, with its words."""
        try:
            with self.client(provider) as client:
                client.sendmail("a@sender.example", [recipient], LETTER)
        except smtplib.SMTPRecipientsRefused as error:
            [(code, words)] = error.recipients.values()
            return f"{code} {words.decode()}"
        except smtplib.SMTPResponseException as error:
            words = error.smtp_error
            return f"{error.smtp_code} {words.decode() if isinstance(words, bytes) else words}"
        return "250"


@contextmanager
def serving(text: str, folder: Path) -> Iterator[Serving]:
    """The providers of a script, until the block ends. folder: for their certificates."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def on_loop(coroutine):  # type: ignore[no-untyped-def]
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    async def begin() -> Serving:
        sink = Sink(parse("test", text), 1, folder)
        return Serving(sink, {place.provider: place for place in await sink.listen("127.0.0.1", 0)})

    served = on_loop(begin())
    try:
        yield served
    finally:
        on_loop(served.sink.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
