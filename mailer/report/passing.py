"""Passing on what people wrote to postmaster and abuse (RFC 5321 §4.5.1, RFC 2142) to the operator's mailbox.

It cannot go round in circles: a mail that bears our own mark, that passed through too many hosts, or would go
to a domain that we take mail for is kept only; and so is what comes faster than a person could read.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from mailer import ids
from mailer.compose import dkim, forward
from mailer.compose.address import Mailbox, parse_addr_spec
from mailer.compose.forward import Cover
from mailer.identity.operator import Operator
from mailer.ids import IdMaker
from mailer.queue import bodies, enqueue, returned
from mailer.queue.enqueue import LaneBook, NewContent, NewMessage, NewRecipient
from mailer.queue.returned import Claimed
from mailer.store import Store

_MOST_HOSTS = 30  # Received fields; RFC 5321 §6.3 says a hundred ends a loop, and a person's mail has ten
_PER_HOUR = 200
_HOUR = timedelta(hours=1)
_HEADER = 64 * 1024
_SUBJECT = re.compile(rb"^subject:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE)
_RECEIVED = re.compile(rb"^received:", re.IGNORECASE | re.MULTILINE)
_MARK = re.compile(rb"^" + forward.PASSED_ON.encode() + rb":[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passer:
    """to: the operator's mailbox; None: it is kept only.

    find_operator  who sends; None: nobody can
    host           our name, in the mark
    """

    store: Store
    to: str | None
    find_operator: Callable[[], Operator | None]
    host: str
    new_id: IdMaker
    process_number: int
    now: Callable[[], datetime]
    _passed: deque[datetime] = field(default_factory=deque)
    _lanes: LaneBook = field(default_factory=LaneBook)

    def pass_on(self, connection: Connection, mail: Claimed) -> str:
        """Queues the mail to the operator as part of a larger transaction; a word on what was done."""
        operator = self.find_operator()
        if self.to is None or operator is None:
            return "no: nobody is to have it" if self.to is None else "no: nobody can send it"
        to = parse_addr_spec(self.to)
        why = self._why_not(connection, mail.content[:_HEADER].partition(b"\r\n\r\n")[0], to)
        if why is not None:
            return f"no: {why}"
        made = self._made(mail, operator, to)
        enqueue.insert_messages(
            connection, [made], lanes=self._lanes, new_id=self.new_id, process_number=self.process_number,
            now=self.now(),
        )  # fmt: skip
        self._passed.append(self.now())
        return ids.show("msg", made.id)

    def _why_not(self, connection: Connection, header: bytes, to: Mailbox) -> str | None:
        if any(mark.strip().lower() == self.host.encode().lower() for mark in _MARK.findall(header)):
            return "it was passed on before"
        if len(_RECEIVED.findall(header)) > _MOST_HOSTS:
            return "it went through too many hosts"
        if returned.serves(connection, to.domain):
            return "the mailbox lies in a domain of this installation"
        while self._passed and self.now() - self._passed[0] > _HOUR:
            self._passed.popleft()
        return f"{_PER_HOUR} were passed on within an hour" if len(self._passed) >= _PER_HOUR else None

    def _made(self, mail: Claimed, operator: Operator, to: Mailbox) -> NewMessage:
        message_id = self.new_id()
        shown = ids.show("msg", message_id)
        from_ = Mailbox("Mail for " + mail.address[:100], "postmaster", operator.domain)
        rfc_message_id = f"<{shown}@{operator.domain}>"
        found = _SUBJECT.search(mail.content[:_HEADER])
        subject = "" if found is None else found[1].decode("utf-8", "replace").replace("\r\n", "").strip()
        facts = {
            "To": mail.address,
            "Envelope sender": f"<{mail.reverse_path}>",
            "Received": mail.received_at.isoformat(timespec="seconds"),
            "Kept as": ids.show("ret", mail.id),
        }
        cover = Cover(from_=from_, to=to, subject=subject, host=self.host, facts=facts)
        composed = forward.compose(
            mail.content, cover, message_id=rfc_message_id, date=self.now(), boundary=f"=_{shown}"
        )
        row, file = bodies.keep(self.store.body_folder, composed.body)
        return NewMessage(
            id=message_id,
            tenant_id=operator.tenant_id,
            stream_id=operator.stream_id,
            domain_id=operator.domain_id,
            return_path_domain="",  # a bounce of it would come to postmaster again
            header_from=from_.addr_spec,
            subject=f"Fwd: {subject}"[:200],
            rfc_message_id=rfc_message_id,
            content=NewContent(
                headers=composed.headers,
                body=row,
                body_file=file,
                body_hash=dkim.body_hash(composed.body),
                size_bytes=len(composed.headers) + 2 + len(composed.body),
                is_8bit=not composed.body.isascii(),
                needs_utf8=composed.needs_utf8,
            ),
            recipients=(NewRecipient(id=self.new_id(), address=to.addr_spec, domain=to.domain, kind="to"),),
            tags=(),
            metadata={"passed_on": ids.show("ret", mail.id)},
            door="dsn",
            response=b"",
            mail_from="",
        )
