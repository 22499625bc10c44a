"""From a debt to a DSN in the queue: what it says, who signs it, and when none is sent. On both engines."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from typing import Any

import pytest

from mailer import clock, ids
from mailer.events import RecipientState
from mailer.identity import custody, domains, tenants
from mailer.policy.outcome import Accepted
from mailer.protocol.enhanced import EnhancedStatus
from mailer.protocol.reply import Reply
from mailer.queue import acting, bodies, explain, read, retention, verify
from mailer.queue.acting import Verdict
from mailer.queue.actions import Doer
from mailer.queue.obstacles import Knowledge
from mailer.queue.pieces import Means
from mailer.queue.selection import Selection
from mailer.store import Store
from mailer.store.tables import recipient
from tests.compose.verifiers import dkimpy_verdicts
from tests.support.mailroom import DELIVERED, Mailroom
from tests.support.submitters import DEFERRED, HEADERS, OPERATOR, REFUSED, Submitters, written

TAKEN = Accepted(Reply(250, ("2.0.0 ok",)))


@pytest.fixture
def office(store: Store) -> Submitters:
    return Submitters.furnish(store)


def parsed(content: bytes) -> tuple[EmailMessage, list[Any]]:
    whole = message_from_bytes(content, policy=policy.default)
    assert isinstance(whole, EmailMessage)
    return whole, list(whole.iter_parts())


def groups(part: Message) -> list[dict[str, str]]:
    payload = part.get_payload()
    assert isinstance(payload, list)
    return [{name: str(value) for name, value in group.items()} for group in payload if group.items()]


def test_a_refused_submission_is_told_to_whoever_sent_it(office: Submitters) -> None:
    about = office.submit("example.net", envid="QQ 314", ret="HDRS")
    office.settle(REFUSED)

    queued = office.maker().make()

    [sent] = office.taken_out()
    whole, [human, machine, returned] = parsed(sent.content)
    [of_message, of_recipient] = groups(machine)
    assert queued == 1
    assert (sent.reverse_path, sent.forward_path, sent.asked) == ("", "app@acme.example", None)
    assert (whole["From"], whole["To"]) == (
        f"Mail Delivery System <MAILER-DAEMON@{OPERATOR}>",
        "app@acme.example",
    )
    assert (whole["Auto-Submitted"], whole["In-Reply-To"]) == ("auto-replied", "<1@acme.example>")
    assert (of_message["Original-Envelope-Id"], of_message["Reporting-MTA"]) == (
        "QQ 314",
        "dns; mail.op.example",
    )
    assert {k: of_recipient[k] for k in ("Action", "Status", "Remote-MTA", "Diagnostic-Code")} == {
        "Action": "failed", "Status": "5.1.1", "Remote-MTA": "dns; mx.example.net",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such mailbox",
    }  # fmt: skip
    assert "550 5.1.1 no such mailbox" in human.get_content()
    assert returned.get_payload(decode=True) == HEADERS
    assert office.notices() == [("failed", "sent", None, True)]
    assert verify.verify(office.room.store).holds
    assert about not in office.carriers()


def test_it_is_signed_by_the_operators_domain(office: Submitters) -> None:
    """Aligned with its From, so that DMARC passes without a reverse-path (RFC 7489 §3.1)."""
    office.submit()
    office.settle(REFUSED)
    office.maker().make()
    _, keys = domains.described(office.room.store, OPERATOR)
    records = {f"{key.selector}._domainkey.{OPERATOR}": key.txt for key in keys}

    [sent] = office.taken_out()

    assert dkimpy_verdicts(sent.content, records) == [True, True]
    assert f"d={OPERATOR};".encode() in sent.content


def test_what_was_told_is_not_told_again(office: Submitters) -> None:
    office.submit()
    office.settle(REFUSED)
    maker = office.maker()

    assert [maker.make(), maker.make()] == [1, 0]
    assert len(office.carriers()) == 1


def test_recipients_that_failed_together_are_told_of_together(office: Submitters) -> None:
    office.submit("a.example", "b.example", "c.example")
    office.settle(REFUSED)

    office.maker().make()

    [sent] = office.taken_out()
    told = groups(parsed(sent.content)[1][1])[1:]
    assert len({group["Final-Recipient"] for group in told}) == 3
    assert office.notices() == [("failed", "sent", None, True)] * 3


def test_while_others_of_its_message_are_on_their_way_a_notice_waits(office: Submitters) -> None:
    office.submit("a.example", "b.example")
    first, second = office.room.claim()
    office.settle(REFUSED, [first])
    maker = office.maker(now=clock.now)

    early = maker.make()
    office.settle(REFUSED, [second])
    then = maker.make()

    assert (early, then) == (0, 1)
    assert len(office.carriers()) == 1


def test_a_thousand_recipients_are_one_dsn(office: Submitters) -> None:
    office.submit(*["example.net"] * 1000)
    office.settle(REFUSED, office.room.claim(1000))

    queued = office.maker().make()

    [sent] = office.taken_out()
    assert queued == 1
    assert len(groups(parsed(sent.content)[1][1])) == 1001
    assert {state for _, state, _, _ in office.notices()} == {"sent"}


def test_it_does_not_wait_for_long(office: Submitters) -> None:
    office.submit("a.example", "b.example")
    first, _second = office.room.claim()
    office.settle(REFUSED, [first])

    assert office.maker().make() == 1  # a minute later


def test_two_messages_are_told_of_apart(office: Submitters) -> None:
    office.submit()
    office.submit()
    office.settle(REFUSED)

    assert office.maker().make() == 2
    assert len(office.carriers()) == 2


def test_what_somebody_ended_is_told_in_his_words_and_not_in_the_peers(office: Submitters) -> None:
    about = office.submit("example.net")
    office.settle(DEFERRED)
    room = office.room
    acting.bounce(
        Means(room.store, room.new_id, room.worker.process_number, clock.now), Selection(message_id=about),
        Doer("ann"), Verdict(EnhancedStatus(5, 7, 2), "the list was stolen"),
    )  # fmt: skip

    office.maker().make()

    [sent] = office.taken_out()
    [told] = groups(parsed(sent.content)[1][1])[1:]
    assert (told["Action"], told["Status"]) == ("failed", "5.7.2")
    assert "the list was stolen" in told["Diagnostic-Code"]
    assert "Remote-MTA" not in told
    assert verify.verify(room.store).holds


def test_a_delay_says_until_when_it_is_tried(office: Submitters) -> None:
    office.submit(notify="DELAY")
    office.settle(DEFERRED)

    office.maker().make()

    [sent] = office.taken_out()
    [_, group] = groups(parsed(sent.content)[1][1])
    assert (group["Action"], group["Status"]) == ("delayed", "4.2.2")
    assert "Will-Retry-Until" in group


def test_a_delay_that_ended_before_it_was_told_is_told_no_more(office: Submitters) -> None:
    office.submit(notify="DELAY")
    office.settle(DEFERRED)
    with office.room.store.write() as c:
        c.execute(recipient.update().values(state="queued", wait_reason="refused"))
    office.room.settle(office.room.claim(), DELIVERED)

    queued = office.maker().make()

    assert queued == 0
    assert office.notices() == [("delayed", "dropped", "overtaken", False)]


def test_success_is_told_as_relayed(office: Submitters) -> None:
    """RFC 3461 §5.2.2."""
    office.submit(notify="SUCCESS")
    office.settle(TAKEN)

    office.maker().make()

    [sent] = office.taken_out()
    [_, group] = groups(parsed(sent.content)[1][1])
    assert (group["Action"], group["Status"]) == ("relayed", "2.0.0")


def test_the_whole_message_comes_back_where_it_was_asked_for(office: Submitters) -> None:
    office.submit(ret="FULL")
    office.settle(REFUSED)
    office.maker().make()

    [sent] = office.taken_out()

    assert parsed(sent.content)[1][2].get_content().get_content().splitlines() == ["hello"]


@pytest.mark.parametrize(("notify", "ret"), [("DELAY", "FULL"), ("", None), ("", "HDRS")])
def test_else_its_header_does(office: Submitters, notify: str, ret: str | None) -> None:
    """RFC 3461 §4.3."""
    office.submit(notify=notify, ret=ret)
    office.settle(DEFERRED if notify else REFUSED)
    office.maker().make()

    [sent] = office.taken_out()

    assert parsed(sent.content)[1][2].get_content_type() == "text/rfc822-headers"


def test_what_was_sent_with_requiretls_does_not_come_back_whole(office: Submitters) -> None:
    """RFC 8689 §5: whatever RET was; and its header travels over verified TLS only."""
    office.submit(ret="FULL", tls="requiretls")
    office.settle(REFUSED)
    office.maker().make()

    [claimed] = office.room.claim()
    body = bodies.load(office.room.store, [claimed.content_id])[claimed.content_id].body
    assert claimed.tls == "required"
    assert b"text/rfc822-headers" in body
    assert b"hello" not in body


def test_a_large_body_is_not_even_read(office: Submitters) -> None:
    """It lies in a file on SQLite, which may be gone: the failure is told all the same."""
    large = written(HEADERS, b"x" * 70 + b"\r\n")
    office.submit(ret="FULL", content=written(HEADERS, large.body * 4000))
    office.settle(REFUSED)

    assert office.maker().make() == 1


@pytest.mark.parametrize(
    ("mail_from", "reason"),
    [
        ("app@globex.example", "foreign_reverse_path"),
        ("app@sub.acme.example", "foreign_reverse_path"),
        ("postmaster", "foreign_reverse_path"),
        ("app@[192.0.2.1]", "foreign_reverse_path"),
        ("", "null_reverse_path"),
        (None, "null_reverse_path"),
    ],
)
def test_nobody_is_told_who_did_not_send(office: Submitters, mail_from: str | None, reason: str) -> None:
    office.submit(mail_from=mail_from)
    office.settle(REFUSED)

    queued = office.maker().make()

    assert queued == 0
    assert office.notices() == [("failed", "dropped", reason, False)]
    assert verify.verify(office.room.store).holds


def test_a_domain_of_another_tenant_is_foreign(office: Submitters) -> None:
    store, new_id = office.room.store, office.room.new_id
    tenants.create(store, "globex", in_doubt="retry", new_id=new_id, now=clock.now())
    new = domains.NewDomain(name="globex.example", return_path_prefix="bounce")
    domains.create(store, office.vault, "globex", new, new_id=new_id, now=clock.now())
    office.submit(mail_from="app@globex.example")
    office.settle(REFUSED)

    office.maker().make()

    assert office.notices() == [("failed", "dropped", "foreign_reverse_path", False)]


def test_a_revoked_domain_is_foreign(office: Submitters) -> None:
    office.submit()
    office.settle(REFUSED)
    domains.revoke(office.room.store, "acme.example")

    office.maker().make()

    assert office.notices() == [("failed", "dropped", "foreign_reverse_path", False)]


def test_a_tenant_may_want_events_only(office: Submitters) -> None:
    office.submit()
    office.settle(REFUSED)
    tenants.set_failure_notices(office.room.store, "acme", "events")

    office.maker().make()

    assert office.notices() == [("failed", "dropped", "events_only", False)]


def test_without_an_operator_there_is_nobody_to_tell(office: Submitters) -> None:
    office.submit()
    office.settle(REFUSED)
    domains.revoke(office.room.store, OPERATOR)

    office.maker().make()

    assert office.notices() == [("failed", "dropped", "no_operator_domain", False)]


def test_about_a_notice_that_fails_nobody_is_told(office: Submitters) -> None:
    """RFC 5321 §6.1."""
    office.submit()
    office.settle(REFUSED)
    maker = office.maker()
    maker.make()

    office.settle(REFUSED)
    again = maker.make()

    [dsn] = office.carriers()
    [operator_id] = {c.tenant_id for c in verify.verify(office.room.store).tenants} - {office.room.tenant_id}
    view = read.message_of(office.room.store, operator_id, dsn)
    assert again == 0
    assert view is not None
    assert [r.state for r in view.recipients] == [RecipientState.BOUNCED]
    assert len(office.notices()) == 1


def test_it_is_counted_as_the_operators(office: Submitters) -> None:
    office.submit()
    office.settle(REFUSED)
    office.maker().make()
    office.room.settle(office.room.claim(), DELIVERED)

    verdict = verify.verify(office.room.store)

    counts = {tenant.name: (tenant.accepted, tenant.unaccounted) for tenant in verdict.tenants}
    assert verdict.holds
    assert counts == {"acme": (1, 0), "operator": (1, 0)}


def test_the_message_shows_it_and_explain_says_why_not(office: Submitters) -> None:
    told, untold = office.submit(), office.submit(mail_from="app@globex.example")
    office.settle(REFUSED)
    office.maker().make()

    view = read.message_of(office.room.store, office.room.tenant_id, told)
    explained = explain.explain(
        office.room.store, office.room.tenant_id, untold, Knowledge(), now=clock.now()
    )

    assert view is not None
    assert [(n.kind, n.state) for n in view.recipients[0].notices] == [("failed", "sent")]
    assert explained is not None
    [line] = [line for line in explained[0].past if "DSN" in line.what]
    assert (line.what, "no active sending domain" in line.reason) == ("DSN failed: dropped", True)


def test_a_submitter_with_a_utf8_address_is_told(office: Submitters) -> None:
    office.submit(mail_from="jörg@acme.example")
    office.settle(REFUSED)
    office.maker().make()

    [sent] = office.taken_out()

    assert (sent.needs_utf8, sent.forward_path) == (True, "jörg@acme.example")


def test_one_that_cannot_be_made_keeps_no_other_from_being_told(office: Submitters) -> None:
    """A schedule that is not known is our own bug; a delay needs one."""
    office.submit(notify="DELAY")
    office.settle(DEFERRED)
    office.submit()
    office.settle(REFUSED)

    queued = office.maker(give_up_after={}).make()

    assert queued == 1
    assert [state for _, state, _, _ in office.notices()] == ["due", "sent"]


# ---- retention ---------------------------------------------------------------------------------------------


def drop_old(room: Mailroom) -> int:
    return retention.drop_messages(room.store, before=clock.now() + timedelta(days=1))


def fan_out(room: Mailroom) -> None:
    from mailer.queue import fanout

    while fanout.fan_out(room.store):
        pass


def test_while_a_notice_is_due_its_message_stays(office: Submitters) -> None:
    office.submit()
    office.settle(REFUSED)
    fan_out(office.room)

    assert drop_old(office.room) == 0


def test_notices_go_with_their_message(office: Submitters) -> None:
    office.submit()
    office.settle(REFUSED)
    office.maker().make()
    fan_out(office.room)

    dropped = drop_old(office.room)

    assert dropped == 1
    assert office.notices() == []
    assert verify.verify(office.room.store).holds


def test_a_dsn_that_goes_before_what_it_told_of_is_forgotten(office: Submitters) -> None:
    office.submit("a.example", "b.example")
    first, _second = office.room.claim()
    office.settle(REFUSED, [first])
    office.maker().make()
    office.room.settle(office.room.claim(), DELIVERED)
    fan_out(office.room)

    dropped = drop_old(office.room)

    assert dropped == 1
    assert office.notices() == [("failed", "sent", None, False)]
    assert office.carriers() == []


def test_its_keys_are_shown_like_any_domains(office: Submitters) -> None:
    domain, keys = domains.described(office.room.store, OPERATOR)

    assert domain.tenant == "operator"
    assert sorted(key.algorithm for key in keys) == [custody.ED25519, custody.RSA]
    assert ids.show("dom", domain.id)
