"""Reading what came back: whose it is, what it means, and that what follows is written at once, and once."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from mailer import clock, ids
from mailer.compose.subscriber import find_in_words
from mailer.compose.verp import Epoch, TokenKeys, constant_keys, make_token
from mailer.policy.classifier import shipped
from mailer.queue import incarnations, retention, returned, returned_list, verify
from mailer.queue.incarnations import Fenced
from mailer.queue.returned import Arrived
from mailer.queue.returned_list import Returned, Wanted
from mailer.report.reader import Reader, ReaderParts
from mailer.store import Store, StoreUnavailable
from mailer.store.tables import (
    complaint,
    dmarc_report,
    event,
    event_new,
    message,
    recipient,
    returned_mail,
    suppression,
)
from tests.support.mailroom import KEYS as ENTRY_KEYS
from tests.support.mailroom import Mailroom, register
from tests.support.returning import DOMAIN, SECRET, Sent, arf, dsn, sent

KEYS = constant_keys(SECRET)


@pytest.fixture
def room(store: Store) -> Mailroom:
    return Mailroom.furnish(store, now=clock.now())


class Desk:
    """Keeps and reads. before_settling: called within the transaction."""

    def __init__(self, room: Mailroom) -> None:
        self.room = room
        self.me = register(room.store, role="returns")
        self.trusts = False
        self.signer: str | None = None
        self.later = timedelta(0)
        self.fenced = False
        self.before_settling: Callable[[], None] = lambda: None
        self.parts = ReaderParts(
            store=room.store,
            me=self.me.id,
            process_number=self.me.process_number,
            token_keys=lambda: KEYS,
            classifier=shipped,
            find_subscriber=lambda words: find_in_words(words, [SECRET]),
            is_trusted=lambda content: self.trusts,
            pass_on=lambda connection, mail: "no: nobody is to have it",
            signer_of=self._signer_of,
            keys=ENTRY_KEYS,
            new_id=self._new_id,  # type: ignore[arg-type]  # called as one
            now=lambda: clock.now() + self.later,
            monotonic=clock.monotonic,
            on_fenced=self._on_fenced,
        )
        self.reader = Reader(self.parts)

    @property
    def judged(self) -> list[tuple[int, str]]:
        """Whom something was held against: recipients and the reasons of their entries."""
        with self.room.store.read() as connection:
            rows = connection.execute(
                select(suppression.c.recipient_id, suppression.c.reason).order_by(suppression.c.created_at)
            ).all()
        return [(row.recipient_id, row.reason) for row in rows]

    def _new_id(self) -> int:
        self.before_settling()
        return self.room.new_id()

    def _signer_of(self, content: bytes) -> str | None:
        return self.signer

    def _on_fenced(self) -> None:
        self.fenced = True

    def take(self, content: bytes, address: str, *, kind: str = "return-path") -> Returned:
        """Kept and read."""
        mail_id = self.keep(content, address, kind=kind)
        while self.reader.read_some():
            pass
        found = returned_list.get(self.room.store, None, mail_id)
        assert found is not None
        return found

    def keep(self, content: bytes, address: str, *, kind: str = "return-path") -> int:
        arrived = Arrived(
            id=self.room.new_id(), kind=kind, address=address, reverse_path="", peer="192.0.2.1",
            token_of=KEYS.read(address.partition("@")[0]),
        )  # fmt: skip
        crlf = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        returned.keep(self.room.store, self.room.new_id(), crlf, [arrived], now=clock.now())
        return arrived.id


@pytest.fixture
def desk(room: Mailroom) -> Desk:
    return Desk(room)


@pytest.fixture
def mail(room: Mailroom) -> Sent:
    return sent(room)


AWAY = b"From: x@there.example\nSubject: Out of office\nAuto-Submitted: auto-replied\n\nI am away.\n"


def test_a_bounce_is_told_with_all_that_is_known_of_it(desk: Desk, mail: Sent) -> None:
    found = desk.take(dsn(mail.address), mail.path)

    [told] = mail.events()
    assert told.type == "bounced"
    data = dict(told.data)
    assert data.pop("returned_id") == ids.show("ret", found.id)
    assert data.pop("rule")
    assert data == {
        "reason": "delivery_report", "class": "invalid-mailbox", "action": "fail", "blame": "recipient",
        "phase": "returned", "status": "5.1.1", "reply": "550 5.1.1 user unknown",
        "reporting_mta": "mx.there.example", "remote_mta": "mx2.there.example",
    }  # fmt: skip
    assert (found.state, found.bounce_class, found.matched_by) == ("read", "invalid-mailbox", "address")
    assert (found.is_verified, found.recipient_id) == (True, mail.recipient_id)
    assert found.findings["event"] == "bounced"
    assert desk.judged == [(mail.recipient_id, "hard-bounce")]


def test_its_state_stays_what_it_was(desk: Desk, mail: Sent) -> None:
    desk.take(dsn(mail.address), mail.path)

    with desk.room.store.read() as connection:
        state = connection.execute(select(recipient.c.state).where(recipient.c.id == mail.recipient_id))
        assert state.scalar_one() == "delivered"
    assert [c for c in verify.verify(desk.room.store).checks if not c.holds] == []


def test_it_is_told_once_however_often_it_comes(desk: Desk, mail: Sent) -> None:
    for _ in range(3):
        desk.take(dsn(mail.address), mail.path)

    assert mail.told() == ["bounced"]
    assert len(desk.judged) == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (arf(), ["complained"]),
        (arf(kind="fraud"), ["complained"]),
        (arf(kind="not-spam"), []),
        (AWAY, ["auto_replied"]),
        (b"From: a@b.example\nSubject: unsubscribe\n\nunsubscribe\n", ["unsubscribed"]),
        (b"From: a@b.example\nSubject: Re: order\n\nThank you.\n", []),
        (b"\xff\xfe\x00", []),
        (b"", []),
    ],
)
def test_what_each_means(desk: Desk, mail: Sent, content: bytes, told: list[str]) -> None:
    found = desk.take(content, mail.path)

    assert mail.told() == told
    assert found.state == "read"


def test_a_delay_there_is_told_and_then_the_failure(desk: Desk, mail: Sent) -> None:
    waiting = dsn(mail.address, action="delayed", status="4.4.1", diagnostic="connect timed out")
    desk.take(waiting, mail.path)
    desk.take(waiting, mail.path)
    desk.take(dsn(mail.address), mail.path)

    assert mail.told() == ["delayed", "bounced"]


def test_success_is_kept_and_nothing_follows(desk: Desk, mail: Sent) -> None:
    found = desk.take(dsn(mail.address, action="delivered", status="2.0.0", diagnostic="250 ok"), mail.path)

    assert (mail.told(), found.bounce_class) == ([], "delivered")


def test_a_bounce_of_where_it_was_forwarded_to_is_told_and_held_against_nobody(
    desk: Desk, mail: Sent
) -> None:
    desk.take(dsn("somebody@elsewhere.example"), mail.path)
    desk.take(dsn(mail.address), mail.path)

    first, second = mail.events()
    assert (first.type, first.data["forwarded_to"]) == ("bounced", "somebody@elsewhere.example")
    assert (second.type, "forwarded_to" in second.data) == ("bounced", False)
    assert desk.judged == [(mail.recipient_id, "hard-bounce")]


def test_an_alias_that_stands_for_another_address_is_held_against_nobody(desk: Desk, mail: Sent) -> None:
    """Hosts that expand an alias name ours as the original recipient, and report what it stands for."""
    content = dsn("inner@elsewhere.example").replace(
        b"Final-Recipient", f"Original-Recipient: rfc822; {mail.address.upper()}\r\nFinal-Recipient".encode()
    )
    desk.take(content, mail.path)

    [told] = mail.events()
    assert (told.type, told.data["forwarded_to"]) == ("bounced", "inner@elsewhere.example")
    assert desk.judged == []


def test_the_address_is_compared_in_any_case_of_letters(desk: Desk, mail: Sent) -> None:
    desk.take(dsn(mail.address.upper()), mail.path)

    assert mail.told() == ["bounced"]
    assert len(desk.judged) == 1


def test_the_token_inside_finds_whose_a_complaint_is(desk: Desk, mail: Sent) -> None:
    """Feedback loops send all to one address, and leave out who complained."""
    found = desk.take(
        arf(original=f"X-Mailer-Ref: {mail.token}\n"), f"complaints@{DOMAIN}", kind="complaints"
    )

    assert mail.told() == ["complained"]
    assert (found.matched_by, found.is_verified) == ("content", True)


def test_a_token_inside_that_is_not_ours_proves_nothing(desk: Desk, mail: Sent) -> None:
    forged = make_token(mail.recipient_id, b"guess" * 7)
    found = desk.take(arf(original=f"X-Mailer-Ref: {forged}\n"), f"complaints@{DOMAIN}", kind="complaints")

    assert (mail.told(), found.matched_by, found.is_verified) == ([], None, False)


def message_id_of(desk: Desk, mail: Sent) -> str:
    with desk.room.store.read() as connection:
        wanted = select(message.c.rfc_message_id).where(message.c.id == mail.message_id)
        return str(connection.execute(wanted).scalar_one())


@pytest.mark.parametrize("forge", [dsn, lambda to, original: arf(to=to, original=original)])
def test_another_recipient_who_knows_the_message_id_changes_nothing(
    desk: Desk, room: Mailroom, forge: Callable[..., bytes]
) -> None:
    """B got the same message as A, and speaks in A's name: it is shown, and changes nothing."""
    a, b = sent(room), sent(room)
    forged = forge(a.address, original=f"Message-ID: {message_id_of(desk, a)}\n")

    to_people = desk.take(forged, "abuse@acme.example", kind="person")
    to_loop = desk.take(forged, f"complaints@{DOMAIN}", kind="complaints")
    desk.take(forged, b.path)

    for found in (to_people, to_loop):
        assert (found.matched_by, found.is_verified, found.recipient_id) == (
            "message-id",
            False,
            a.recipient_id,
        )
        assert found.findings["event"] is None
    assert a.told() == []
    assert (a.recipient_id, "hard-bounce") not in desk.judged
    assert all(one != a.recipient_id for one, _ in desk.judged)
    shown = returned_list.page(room.store, Wanted(tenant_id=room.tenant_id, is_verified=False))
    assert len(shown) == 2


ENVID = "order-4711/2"


def with_envid(content: bytes, orcpt: str | None = None) -> bytes:
    """A DSN that names the submitter's envelope, and the original recipient."""
    content = content.replace(b"Reporting-MTA:", f"Original-Envelope-Id: {ENVID}\nReporting-MTA:".encode())
    assert ENVID.encode() in content
    if orcpt is not None:
        named = f"Original-Recipient: rfc822; {orcpt}\nFinal-Recipient".encode()
        content = content.replace(b"Final-Recipient", named)
    return content


def give_envid(room: Mailroom, *mails: Sent) -> None:
    with room.store.write() as connection:
        given = update(message).where(message.c.id.in_([mail.message_id for mail in mails]))
        connection.execute(given.values(envid=ENVID))


@pytest.mark.parametrize("final", [None, "inner@elsewhere.example"])
def test_the_submitters_envelope_id_shows_whose_it_is_and_proves_nothing(
    desk: Desk, room: Mailroom, final: str | None
) -> None:
    """Sent on by a postmaster, it has lost the address it came to, and the host returned no header."""
    mail, other = sent(room), sent(room)
    give_envid(room, mail)
    assert other.address != mail.address
    content = with_envid(dsn(final or mail.address), orcpt=mail.address)
    found = desk.take(content, "postmaster@acme.example", kind="person")

    assert (found.matched_by, found.is_verified) == ("envelope-id", False)
    assert (found.recipient_id, mail.told()) == (mail.recipient_id, [])


def test_an_envelope_id_of_nobody_leaves_the_message_id(desk: Desk, mail: Sent) -> None:
    content = with_envid(dsn(mail.address, original=f"Message-ID: {message_id_of(desk, mail)}\n"))
    found = desk.take(content, "postmaster@acme.example", kind="person")

    assert (found.matched_by, found.recipient_id) == ("message-id", mail.recipient_id)


def test_an_envelope_id_of_another_tenant_finds_nobody(desk: Desk, room: Mailroom, mail: Sent) -> None:
    give_envid(room, mail)
    content = with_envid(dsn(mail.address))

    for address in ("postmaster@other.example", "postmaster"):
        assert desk.take(content, address, kind="person").matched_by is None


def test_the_original_recipient_that_a_submitter_gave_finds_it(desk: Desk, room: Mailroom) -> None:
    """A list's expander gives the member's address as the recipient, and its own as the original one."""
    mail = sent(room)
    with room.store.write() as connection:
        mine = update(recipient).where(recipient.c.id == mail.recipient_id)
        connection.execute(mine.values(orcpt="rfc822;Sales@acme.example"))
    known = f"Message-ID: <{ids.show('msg', mail.message_id)}@acme.example>\n"
    content = with_envid(dsn("inner@elsewhere.example", original=known), orcpt="sales@acme.example")
    found = desk.take(content, "postmaster@acme.example", kind="person")

    assert (found.matched_by, found.recipient_id) == ("message-id", mail.recipient_id)


def test_a_provider_that_the_operator_trusts_needs_no_token(desk: Desk, mail: Sent) -> None:
    report = arf(to=mail.address, original=f"Message-ID: {message_id_of(desk, mail)}\n")
    desk.take(report, f"complaints@{DOMAIN}", kind="complaints")
    before = mail.told()
    desk.trusts = True
    found = desk.take(report, f"complaints@{DOMAIN}", kind="complaints")

    assert (before, mail.told()) == ([], ["complained"])
    assert (found.matched_by, found.is_verified) == ("message-id", True)


def test_whoever_may_sign_speaks_of_what_it_names_only(desk: Desk, room: Mailroom) -> None:
    a = sent(room)
    desk.trusts = True
    report = arf(to="somebody@else.example", original="Message-ID: <nothing@acme.example>\n")
    found = desk.take(report, f"complaints@{DOMAIN}", kind="complaints")

    assert (found.matched_by, a.told()) == (None, [])


def test_any_mail_to_an_unsubscribe_address_is_one(desk: Desk, mail: Sent) -> None:
    arrived = Arrived(
        id=desk.room.new_id(), kind="unsubscribe", address=f"unsubscribe-x@{DOMAIN}",
        reverse_path="a@b.example",
        peer="192.0.2.1", token_of=mail.recipient_id,
    )  # fmt: skip
    content = b"From: a@b.example\r\nSubject: please\r\n\r\nno more\r\n"
    returned.keep(desk.room.store, desk.room.new_id(), content, [arrived], now=clock.now())
    desk.reader.read_some()

    [told] = mail.events()
    assert (told.type, told.data["stream"], told.data["phase"]) == (
        "unsubscribed", "transactional", "returned",
    )  # fmt: skip


def test_an_automatic_answer_from_there_is_none(desk: Desk, mail: Sent) -> None:
    arrived = Arrived(
        id=desk.room.new_id(), kind="unsubscribe", address=f"unsubscribe-x@{DOMAIN}", reverse_path="",
        peer="192.0.2.1", token_of=mail.recipient_id,
    )  # fmt: skip
    returned.keep(
        desk.room.store, desk.room.new_id(), AWAY.replace(b"\n", b"\r\n"), [arrived], now=clock.now()
    )
    desk.reader.read_some()

    assert mail.told() == ["auto_replied"]


def test_a_bounce_a_month_later_says_nothing_and_a_complaint_does(desk: Desk, mail: Sent) -> None:
    desk.later = timedelta(days=31)
    desk.take(dsn(mail.address), mail.path)
    before = mail.told()
    desk.take(arf(), mail.path)

    assert (before, mail.told()) == ([], ["complained"])


def test_a_complaint_finds_its_recipient_after_the_message_was_dropped(desk: Desk, mail: Sent) -> None:
    store = desk.room.store
    with store.write() as connection:
        # As the fan-out does, which numbers events; those untold keep a message.
        connection.execute(event_new.delete())
    assert retention.drop_messages(store, before=clock.now() + timedelta(hours=1)) == 1

    found = desk.take(arf(), mail.path)
    again = desk.take(arf(), mail.path)

    assert (found.findings["event"], again.findings["event"]) == ("complained", None)
    assert desk.judged == [(mail.recipient_id, "complaint")]
    with store.read() as connection:
        rows = connection.execute(select(event_new)).all()
    assert [(row.type, row.recipient_id, row.tenant_id) for row in rows] == [
        ("complained", mail.recipient_id, desk.room.tenant_id)
    ]
    assert rows[0].version > 2
    assert verify.verify(store).holds
    assert event.name == "event"


def test_rotated_secrets_find_what_was_sent_under_each(room: Mailroom) -> None:
    now_ms = clock.wall_ms()
    keys = TokenKeys(
        [Epoch(0, SECRET), Epoch(now_ms - 3_600_000, b"second" * 5), Epoch(now_ms + 9, b"3" * 32)]
    )
    mail = sent(room, keys)

    assert keys.read(mail.token) == mail.recipient_id
    assert KEYS.read(mail.token) is None
    assert mail.token == keys.make(mail.recipient_id)


# ---- reports --------------------------------------------------------------------------------------------

AGGREGATE = b"""<?xml version="1.0"?><feedback><report_metadata><org_name>Provider</org_name>
<email>d@provider.example</email><report_id>r1</report_id><date_range><begin>1790000000</begin>
<end>1790086400</end></date_range></report_metadata><policy_published><domain>acme.example</domain>
<p>reject</p></policy_published><record><row><source_ip>192.0.2.7</source_ip><count>3</count>
<policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
<identifiers><header_from>acme.example</header_from></identifiers></record></feedback>"""


def aggregate_mail(octets: bytes = AGGREGATE) -> bytes:
    packed = base64.encodebytes(gzip.compress(octets)).decode().replace("\n", "\r\n")
    name = "provider.example!acme.example!1790000000!1790086400.xml.gz"
    return (
        "From: d@provider.example\r\nSubject: Report Domain: acme.example Submitter: provider.example"
        " Report-ID: <r1>\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: application/gzip; name="{name}"\r\n'
        f'Content-Disposition: attachment; filename="{name}"\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n{packed}\r\n"
    ).encode()


def test_a_dmarc_report_is_filed_once_and_one_that_is_signed_takes_its_place(desk: Desk) -> None:
    def reports() -> list[tuple[int, str]]:
        with desk.room.store.read() as connection:
            rows = connection.execute(select(dmarc_report.c.messages, dmarc_report.c.signed_by)).all()
        return [tuple(row) for row in rows]

    path = f"dmarc-reports@{DOMAIN}"
    first = desk.take(aggregate_mail(), path, kind="reports")
    again = desk.take(aggregate_mail(), path, kind="reports")
    unsigned = reports()
    desk.signer = "provider.example"
    desk.take(aggregate_mail(), path, kind="reports")

    assert (first.bounce_class, first.findings["report"]) == ("auth-report", "dmarc")
    assert again.findings["report"] == "dmarc, nothing new"
    assert (unsigned, reports()) == ([(3, "")], [(3, "provider.example")])


def test_a_report_that_cannot_be_read_is_kept_and_says_why(desk: Desk) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "b">]><feedback>&a;</feedback>'
    found = desk.take(aggregate_mail(bomb), f"dmarc-reports@{DOMAIN}", kind="reports")

    assert found.state == "read"
    assert found.findings["report"].startswith("unparsable: ")


def test_a_complaint_is_filed_under_its_stream_whoever_proves_it(desk: Desk, mail: Sent) -> None:
    desk.take(arf(), mail.path)
    desk.take(arf(), mail.path)
    desk.take(arf(original="Message-ID: <x@acme.example>\r\n"), f"complaints@{DOMAIN}", kind="complaints")

    with desk.room.store.read() as connection:
        rows = connection.execute(
            select(complaint.c.recipient_id, complaint.c.stream_id, complaint.c.is_verified).order_by(
                complaint.c.id
            )
        ).all()
    assert [tuple(row) for row in rows] == [
        (mail.recipient_id, desk.room.stream_id, True), (None, None, False),
    ]  # fmt: skip


# ---- several readers, and those that die ---------------------------------------------------------------


def test_two_readers_never_have_the_same(desk: Desk, room: Mailroom) -> None:
    other = register(room.store, role="returns")
    mails = [sent(room) for _ in range(6)]
    for one in mails:
        desk.keep(dsn(one.address), one.path)

    mine = returned.claim(room.store, desk.me.id, most=4, now=clock.now())
    theirs = returned.claim(room.store, other.id, most=4, now=clock.now())

    assert (len(mine), len(theirs)) == (4, 2)
    assert not {one.id for one in mine} & {one.id for one in theirs}


def test_what_a_dead_reader_held_is_read_by_another_and_its_late_word_is_nothing(
    desk: Desk, room: Mailroom, mail: Sent
) -> None:
    dead = Desk(room)
    mail_id = dead.keep(dsn(mail.address), mail.path)
    [held] = returned.claim(room.store, dead.me.id, most=5, now=clock.now())

    assert returned.release_of_dead(room.store) == 0
    incarnations.fence(room.store, dead.me.id, now=clock.now())
    while desk.reader.read_some():
        pass
    assert mail.told() == ["bounced"]

    with pytest.raises(Fenced):
        dead.reader._read(held)
    assert mail.told() == ["bounced"]
    found = returned_list.get(room.store, None, mail_id)
    assert found is not None
    assert found.state == "read"


def test_a_reader_that_was_overtaken_writes_nothing(desk: Desk, room: Mailroom, mail: Sent) -> None:
    """Its claim was given to another while it read, and it lives."""
    desk.keep(dsn(mail.address), mail.path)
    [held] = returned.claim(room.store, desk.me.id, most=5, now=clock.now())
    returned.let_go(room.store, desk.me.id)
    other = Desk(room)
    assert len(returned.claim(room.store, other.me.id, most=5, now=clock.now())) == 1

    desk.reader._read(held)

    assert mail.told() == []
    assert desk.judged == []


def test_nothing_is_told_where_it_cannot_be_marked_as_read(desk: Desk, room: Mailroom, mail: Sent) -> None:
    mail_id = desk.keep(dsn(mail.address), mail.path)

    def fail() -> None:
        raise StoreUnavailable("away")

    desk.before_settling = fail
    with pytest.raises(StoreUnavailable):
        desk.reader.read_some()
    assert mail.told() == []

    desk.before_settling = lambda: None
    desk.reader.read_some()
    found = returned_list.get(room.store, None, mail_id)
    assert found is not None
    assert (mail.told(), found.state) == (["bounced"], "read")


def test_what_kills_its_readers_is_set_aside(desk: Desk, room: Mailroom, mail: Sent) -> None:
    mail_id = desk.keep(dsn(mail.address), mail.path)
    for _ in range(returned.MOST_CLAIMS):
        reader = register(room.store, role="returns")
        assert len(returned.claim(room.store, reader.id, most=5, now=clock.now())) == 1
        incarnations.fence(room.store, reader.id, now=clock.now())
        assert returned.release_of_dead(room.store) == 1

    assert desk.reader.read_some() == 0
    found = returned_list.get(room.store, None, mail_id)
    assert found is not None
    assert (found.state, found.bounce_class, mail.told()) == ("failed", "undetermined", [])


def test_what_kills_its_reader_takes_no_other_with_it(desk: Desk, room: Mailroom) -> None:
    others = [sent(room) for _ in range(3)]
    deadly = sent(room)
    for one in (*others[:2], deadly, others[2]):
        desk.keep(dsn(one.address), one.path)
    for _ in range(10):
        reader = register(room.store, role="returns")
        claimed = returned.claim(room.store, reader.id, most=8, now=clock.now())
        is_deadly = any(mail.token_of == deadly.recipient_id for mail in claimed)
        if is_deadly:
            incarnations.fence(room.store, reader.id, now=clock.now())
            returned.release_of_dead(room.store)
        else:
            returned.let_go(room.store, reader.id)
            desk.reader.read_some()

    assert [one.told() for one in others] == [["bounced"]] * 3
    assert deadly.told() == []
    [aside] = returned_list.page(room.store, Wanted(tenant_id=None, state="failed"))
    assert aside.address == deadly.path


def test_an_outage_sets_nothing_aside_however_often_it_comes(desk: Desk, room: Mailroom, mail: Sent) -> None:
    desk.keep(dsn(mail.address), mail.path)

    def fail() -> None:
        raise StoreUnavailable("away")

    desk.before_settling = fail
    for _ in range(returned.MOST_CLAIMS + 2):
        with pytest.raises(StoreUnavailable):
            desk.reader.read_some()
    desk.before_settling = lambda: None
    desk.reader.read_some()

    assert mail.told() == ["bounced"]


def test_a_bug_with_one_leaves_the_others_read(desk: Desk, room: Mailroom) -> None:
    first, second = sent(room), sent(room)
    calls: list[int] = []

    def fail_once() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("a bug of ours")

    desk.before_settling = fail_once
    desk.keep(dsn(first.address), first.path)
    desk.keep(dsn(second.address), second.path)
    desk.reader.read_some()

    assert (first.told(), second.told()) == ([], ["bounced"])
    states = {one.findings.get("why") for one in returned_list.page(room.store, Wanted(tenant_id=None))}
    assert states == {None, "it could not be read: KeyError"}


def test_the_thread_reads_as_it_is_woken_and_leaves_in_order(desk: Desk, room: Mailroom, mail: Sent) -> None:
    reader = Reader(replace(desk.parts))
    reader.start()
    mail_id = desk.keep(dsn(mail.address), mail.path)
    reader.wake()
    from tests.support.instance import wait_for

    wait_for("it to be told", mail.told, within_seconds=10)
    reader.stop()
    with room.store.read() as connection:
        row = connection.execute(select(returned_mail).where(returned_mail.c.id == mail_id)).one()
    assert (row.state, row.holder) == ("read", None)


def test_a_fenced_reader_says_so_and_ends(desk: Desk, room: Mailroom, mail: Sent) -> None:
    desk.keep(dsn(mail.address), mail.path)
    incarnations.fence(room.store, desk.me.id, now=clock.now())
    reader = Reader(desk.parts)
    reader.start()
    from tests.support.instance import wait_for

    wait_for("it to notice", lambda: desk.fenced, within_seconds=10)
    reader.stop()
    assert mail.told() == []


# ---- retention -----------------------------------------------------------------------------------------


def test_old_mail_goes_with_its_content_and_new_or_unread_stays(desk: Desk, room: Mailroom) -> None:
    old, young, unread = sent(room), sent(room), sent(room)
    gone = desk.take(dsn(old.address), old.path)
    stays = desk.take(dsn(young.address), young.path)
    waits = desk.keep(dsn(unread.address), unread.path)
    long_ago = clock.now() - timedelta(days=40)
    with room.store.write() as connection:
        connection.execute(
            update(returned_mail).where(returned_mail.c.id.in_([gone.id, waits])).values(received_at=long_ago)
        )

    assert returned.forget(room.store, before=clock.now() - timedelta(days=30)) == 1

    kept = {one.id for one in returned_list.page(room.store, Wanted(tenant_id=None))}
    assert kept == {stays.id, waits}
    assert returned_list.content(room.store, None, gone.id) is None
    assert returned_list.content(room.store, None, waits) is not None
