"""Sending TLS reports to the owners of recipient domains that ask for them (RFC 8460).

A round plans what is owed of the last days, takes what is due, asks the DNS who wants it, and sends it: by
mail, which is queued and signed like any other of the operator's, and then by HTTPS, from here, all at once,
so that a host that does not answer keeps no other's report back, and the round ends before its lease does.
What is asked of the network is asked between transactions. The mail wants no TLS and is reported under no
policy, so that a broken TLS does not keep the news of it back, and the next report does not tell of this one
(RFC 8460 §5.3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any, Protocol

import dns.rdatatype
import structlog
from dns.rdtypes.ANY.TXT import TXT

from mailer import ids
from mailer.compose import dkim, tlsreport
from mailer.compose.address import AddressError, Mailbox, parse_addr_spec
from mailer.compose.tlsreport import Policy, Reporting, Sessions
from mailer.identity.operator import Operator
from mailer.policy.tls import Wish
from mailer.policy.tls_report_record import Wanted, wanted_by
from mailer.queue import bodies, tlsresults
from mailer.queue.enqueue import NewContent, NewMessage, NewRecipient
from mailer.queue.reports import sending
from mailer.queue.reports.sending import Accepting, Owed
from mailer.relay.smtp.lookup import Answer, Found, NoAnswer
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

AT_ONCE = 20
_GRACE = timedelta(minutes=10)  # after midnight, until all workers have stored what they counted
_SPREAD = timedelta(hours=4)  # RFC 8460 §4.1
_DAYS = 3  # that are planned, for an installation that stood still
_LEASE = timedelta(minutes=15)
POSTS_AT_ONCE = 20  # a minute at most for each: five for the most that 20 domains can ask for
_MOST_TRIES = 8
_AGAIN = timedelta(minutes=20)  # doubled with every try: 8 of them take two days


@dataclass(frozen=True, slots=True)
class _Post:
    """A report that goes to these URLs. content: packed."""

    owed: Owed
    urls: Sequence[str]
    content: bytes


class Network(Protocol):
    """What is asked of the network. Nothing that a server or the network does raises."""

    async def ask(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer: ...

    async def post(self, url: str, content: bytes) -> str | None:
        """Why it failed; None: it was taken."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a report says of who reports. contact: a mailbox."""

    organization: str
    contact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsReporter:
    """find_operator: who signs; None: nobody can, and no report is sent.

    network  made anew for each round, on its own event loop
    words    by the operator's domain
    draw     uniform in [0, 1)
    """

    store: Store
    find_operator: Callable[[], Operator | None]
    words: Callable[[Operator], Words]
    network: Callable[[], Network]
    accepting: Accepting
    now: Callable[[], datetime]
    draw: Callable[[], float]
    planned: set[str] = field(default_factory=set)

    def send(self) -> int:
        """One round; how many mails were queued. Raises StoreUnavailable."""
        operator = self.find_operator()
        if operator is None:
            return 0
        self._plan()
        owed = sending.take(self.store, most=AT_ONCE, now=self.now(), lease=_LEASE)
        if not owed:
            return 0
        answers = asyncio.run(self._asked([one.domain for one in owed]))
        posts: list[_Post] = []
        queued = sum(
            self._try(one, answer, operator, posts) for one, answer in zip(owed, answers, strict=True)
        )
        if posts:
            self._post(posts)
        return queued

    def _plan(self) -> None:
        """Once for each day that is over; a repeat by another process changes nothing."""
        today = self.now().date()
        for back in range(1, _DAYS + 1):
            day = today - timedelta(days=back)
            ready = datetime.combine(day + timedelta(days=1), time(), self.now().tzinfo) + _GRACE
            if day.isoformat() in self.planned or self.now() < ready:
                continue
            new = sending.plan(self.store, day.isoformat(), partial(self._due_at, ready))
            self.planned.add(day.isoformat())
            if new:
                _log.info("tls_reports.planned", day=day.isoformat(), domains=new)

    def _due_at(self, ready: datetime) -> datetime:
        return max(self.now(), ready) + self.draw() * _SPREAD

    async def _asked(self, domains: Sequence[str]) -> list[Wanted | str]:
        """Who wants a report, or why that is not known, in order."""
        network = self.network()
        try:
            answers = await asyncio.gather(
                *(network.ask(f"_smtp._tls.{domain}", dns.rdatatype.TXT) for domain in domains)
            )
        finally:
            await network.close()
        return [_wanted(answer) for answer in answers]

    def _try(self, owed: Owed, wanted: Wanted | str, operator: Operator, posts: list[_Post]) -> bool:
        try:
            return self._send(owed, wanted, operator, posts)
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 - our own bug with this one must not keep back the others
            _log.exception("tls_reports.failed", domain=owed.domain, day=owed.day)
            return False

    def _send(self, owed: Owed, wanted: Wanted | str, operator: Operator, posts: list[_Post]) -> bool:
        """Whether a mail was queued. What is left to be posted comes to `posts`."""
        if isinstance(wanted, str):
            self._put_off(owed, wanted)
            return False
        mailboxes = _mailboxes(wanted.mailboxes)
        if not mailboxes and not wanted.urls:
            sending.settle(self.store, owed, sending.NONE)
            return False
        reporting = self._reporting(owed, operator)
        content = tlsreport.packed(tlsreport.document(reporting, _sessions(self.store, owed)))
        is_queued = False
        if mailboxes and owed.sent_as is None:
            carrier = self._carrier(reporting, content, mailboxes, operator)
            is_queued = sending.send(
                self.store,
                owed,
                carrier,
                accepting=self.accepting,
                is_all=not wanted.urls,
                now=self.now(),
            )
            if is_queued:
                _log.info("tls_reports.queued", domain=owed.domain, day=owed.day, message_id=carrier.id)
        if wanted.urls:
            posts.append(_Post(owed, wanted.urls, content))
        return is_queued

    def _post(self, posts: Sequence[_Post]) -> None:
        for post, failure in zip(posts, asyncio.run(self._posted(posts)), strict=True):
            if failure is not None:
                self._put_off(post.owed, failure)
                continue
            sending.settle(self.store, post.owed, sending.SENT)
            _log.info("tls_reports.posted", domain=post.owed.domain, day=post.owed.day)

    async def _posted(self, posts: Sequence[_Post]) -> list[str | None]:
        """Why each failed, in order; None: all of its URLs took it."""
        network, turn = self.network(), asyncio.Semaphore(POSTS_AT_ONCE)

        async def posted(url: str, content: bytes) -> str | None:
            async with turn:
                return await network.post(url, content)

        async def failure_of(post: _Post) -> str | None:
            try:
                answers = await asyncio.gather(*(posted(url, post.content) for url in post.urls))
            except Exception:  # noqa: BLE001 - as above
                _log.exception("tls_reports.failed", domain=post.owed.domain, day=post.owed.day)
                return "our own fault: see the log"
            return next((why for why in answers if why is not None), None)

        try:
            return list(await asyncio.gather(*map(failure_of, posts)))
        finally:
            await network.close()

    def _put_off(self, owed: Owed, reason: str) -> None:
        if owed.tries >= _MOST_TRIES:
            sending.settle(self.store, owed, sending.FAILED, reason=reason)
            _log.warning("tls_reports.given_up", domain=owed.domain, day=owed.day, reason=reason)
            return
        again = self.now() + _AGAIN * 2 ** (owed.tries - 1)
        sending.put_off(self.store, owed, again, reason=reason)

    def _reporting(self, owed: Owed, operator: Operator) -> Reporting:
        words = self.words(operator)
        return Reporting(
            submitter=operator.domain,
            organization=words.organization,
            contact=words.contact,
            domain=owed.domain,
            day=date.fromisoformat(owed.day),
        )

    def _carrier(
        self, reporting: Reporting, content: bytes, to: Sequence[Mailbox], operator: Operator
    ) -> NewMessage:
        message_id = self.accepting.new_id()
        shown = ids.show("msg", message_id)
        rfc_message_id = f"<{shown}@{operator.domain}>"
        made = tlsreport.mail(
            reporting,
            content,
            to=to,
            message_id=rfc_message_id,
            sent_at=self.now(),
            boundary=f"=_{shown}",
        )
        row, file = bodies.keep(self.store.body_folder, made.body)
        return NewMessage(
            id=message_id,
            tenant_id=operator.tenant_id,
            stream_id=operator.stream_id,
            domain_id=operator.domain_id,
            return_path_domain=operator.return_path_domain,
            header_from=f"tls-reports@{operator.domain}",
            subject=f"Report Domain: {reporting.domain}",
            rfc_message_id=rfc_message_id,
            content=NewContent(
                headers=made.headers,
                body=row,
                body_file=file,
                body_hash=dkim.body_hash(made.body),
                size_bytes=len(made.headers) + 2 + len(made.body),
                is_8bit=False,
                needs_utf8=made.needs_utf8,
            ),
            recipients=tuple(
                NewRecipient(id=self.accepting.new_id(), address=m.addr_spec, domain=m.domain, kind="to")
                for m in to
            ),
            tags=(),
            metadata={},
            door="report",
            response=b"",
            tls=Wish.OPTIONAL,
        )


def _wanted(answer: Answer) -> Wanted | str:
    if isinstance(answer, NoAnswer):
        return f"no answer for its record: {answer.cause}"
    records: tuple[Any, ...] = answer.records if isinstance(answer, Found) else ()
    texts = [b"".join(r.strings).decode("ascii", "replace") for r in records if isinstance(r, TXT)]
    return wanted_by(texts)


def _mailboxes(texts: Sequence[str]) -> list[Mailbox]:
    """Those that mail can be sent to."""
    found = []
    for text in texts:
        try:
            found.append(parse_addr_spec(text))
        except AddressError:
            continue
    return found


def _sessions(store: Store, owed: Owed) -> list[Sessions]:
    return [
        Sessions(
            policy=Policy(type=kind.policy_type, domain=kind.policy_domain, lines=kind.policy_lines),
            result=kind.result,
            sessions=sessions,
            host=kind.mx_host,
            address=kind.mx_ip,
            sending_ip=kind.sending_ip,
            reason=kind.reason,
        )
        for kind, sessions in tlsresults.of_day(store, owed.day, owed.domain).items()
    ]
