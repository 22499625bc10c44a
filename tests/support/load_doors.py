"""How one client of the load submits: each door's own way of sending, of answering, and of getting lost.

A client takes as many messages as its door has in one submission, and submits those until it has an answer
for each. A further door is a class with `size`, `submit` and `close`, and a line in `doors_of` (load.py).
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import aiosmtplib
import httpx

_PATIENCE_SECONDS = 10.0
_BATCH_SECONDS = 30.0
_MESSAGES_A_SESSION = 40
# AttributeError: how anyio fails on uvloop where the peer was killed just after it took the connection.
_LOST_HTTP = (httpx.TransportError, AttributeError)
_LOST_SMTP = (aiosmtplib.SMTPException, OSError, AttributeError, RuntimeError)


class Lost(Exception):
    """No answer, or one that says to try again. What became of the submission is not known."""


@dataclass(frozen=True, slots=True)
class Message:
    """bid: its own id, which is its idempotency key as well. body: what `POST /v1/messages` takes."""

    bid: str
    body: Mapping[str, object]

    @property
    def recipients(self) -> Sequence[str]:
        to = self.body["to"]
        assert isinstance(to, list)
        return to


@dataclass(frozen=True, slots=True)
class Yes:
    """Accepted. recipients: id by address; "" where the door does not tell it.

    replayed  by an earlier submission with the same key, as this answer says
    """

    message_id: str
    recipients: Mapping[str, str]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class No:
    """Refused for good."""

    status: int
    words: str


class Door(Protocol):
    """name: as the reckoning counts by it. size: messages of one submission."""

    name: str
    size: int

    async def submit(self, messages: Sequence[Message]) -> Sequence[Yes | No]:
        """One answer for each, in order. Raises Lost."""
        ...

    async def close(self) -> None: ...


class HttpDoor:
    """POST /v1/messages, all clients over one pool of connections."""

    name = "http"
    size = 1

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def submit(self, messages: Sequence[Message]) -> Sequence[Yes | No]:
        [message] = messages
        try:
            answer = await self._http.post(
                "/v1/messages", json=message.body, headers={"Idempotency-Key": message.bid}
            )
        except _LOST_HTTP as error:
            raise Lost(type(error).__name__) from error
        if answer.status_code >= 500:
            raise Lost(str(answer.status_code))
        if answer.status_code != 202:
            return [No(answer.status_code, answer.text)]
        told = answer.json()
        return [Yes(told["id"], {r["address"]: r["id"] for r in told["recipients"]})]

    async def close(self) -> None:
        """The pool is the caller's."""


class BatchDoor:
    """POST /v1/messages/batch: the whole is sent again with its key until each message is answered for good.

    An id that was answered for a message stays its id, whatever else of its batch had to be tried again.
    """

    name = "batch"
    size = 1000

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._promised: dict[str, str] = {}

    async def submit(self, messages: Sequence[Message]) -> Sequence[Yes | No]:
        body = json.dumps({"messages": [message.body for message in messages]}).encode()
        headers = {"Idempotency-Key": messages[0].bid, "Content-Type": "application/json"}
        try:
            answer = await self._http.post(
                "/v1/messages/batch", content=body, headers=headers, timeout=_BATCH_SECONDS
            )
        except _LOST_HTTP as error:
            raise Lost(type(error).__name__) from error
        if answer.status_code >= 500:
            raise Lost(str(answer.status_code))
        if answer.status_code != 200:
            return [No(answer.status_code, answer.text)] * len(messages)
        results = answer.json()["results"]
        answers = [self._read(message, told) for message, told in zip(messages, results, strict=True)]
        put_off = [one for one in answers if isinstance(one, No) and one.status >= 500]
        if put_off:
            raise Lost(f"{len(put_off)} of {len(answers)} put off: {put_off[0].words}")
        self._promised.clear()
        return answers

    def _read(self, message: Message, told: Mapping[str, Any]) -> Yes | No:
        if told["status"] != "accepted":
            return No(told["problem"]["status"], told["problem"]["detail"])
        promised = self._promised.setdefault(message.bid, told["id"])
        if told["id"] != promised:
            return No(0, f"was promised as {promised} and then answered as {told['id']}")
        recipients = {r["address"]: r["id"] for r in told["recipients"]}
        return Yes(promised, recipients, told.get("replayed", False))

    async def close(self) -> None:
        """The pool is the caller's."""


class SmtpDoor:
    """Submission by SMTP with STARTTLS: one connection, many messages, and another when it is lost."""

    name = "smtp"
    size = 1

    def __init__(self, host: str, port: int, key: str) -> None:
        self._host = host
        self._port = port
        self._key = key
        self._tls = ssl.create_default_context()
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        self._session: aiosmtplib.SMTP | None = None
        self._left = 0

    async def submit(self, messages: Sequence[Message]) -> Sequence[Yes | No]:
        [message] = messages
        try:
            session = await self._open()
            refused, words = await session.sendmail(
                str(message.body["from"]), message.recipients, as_written(message)
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            return self._judge(error.recipients[0].code, error.recipients[0].message)
        except aiosmtplib.SMTPResponseException as error:
            return self._judge(error.code, error.message)
        except _LOST_SMTP as error:
            self._forget()
            raise Lost(type(error).__name__) from error
        if refused:
            return [No(0, f"only some recipients were taken: {refused}")]
        self._left -= 1
        return [Yes(words.split()[-1], dict.fromkeys(message.recipients, ""))]

    async def close(self) -> None:
        if self._session is not None:
            with suppress(*_LOST_SMTP):
                await self._session.quit()
        self._forget()

    def _judge(self, code: int, words: str) -> Sequence[No]:
        """RFC 5321 §4.2.1: 4yz says to try again. Raises Lost."""
        if code < 500:
            self._forget()
            raise Lost(str(code))
        return [No(code, words)]

    async def _open(self) -> aiosmtplib.SMTP:
        if self._session is not None and not self._left:
            await self.close()
        if self._session is None:
            session = aiosmtplib.SMTP(
                hostname=self._host, port=self._port, start_tls=True, tls_context=self._tls,
                timeout=_PATIENCE_SECONDS,
            )  # fmt: skip
            self._session, self._left = session, _MESSAGES_A_SESSION
            await session.connect()
            await session.login("any", self._key)
        return self._session

    def _forget(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None


def as_written(message: Message) -> bytes:
    """The same octets whenever it is repeated, as its idempotency key demands."""
    fields = {
        "From": message.body["from"], "To": ", ".join(message.recipients),
        "Subject": message.body["subject"], "Message-ID": f"<{message.bid}@load.example.org>",
        "Date": "Mon, 09 Mar 2026 12:00:00 +0000", "X-Mailer-Idempotency-Key": message.bid,
    }  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    text = str(message.body["text"]).replace("\n", "\r\n")
    return f"{head}\r\n{text}".encode()
