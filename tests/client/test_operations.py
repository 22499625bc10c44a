"""Every operation of the API by its client, against the application itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailer import ids
from mailer.client import AsyncMailer, InvalidRequest, Mailer, NotAllowed, NotFound, attachment, inline
from mailer.client.answers.messages import Judged
from mailer.queue import fanout
from tests.client.conftest import Api
from tests.support.mailroom import BOUNCED, HEARD_451, NO_SUCH_USER

Letter = dict[str, Any]
RAW = b"From: shop@acme.example\r\nTo: ada@example.org\r\nSubject: whole\r\n\r\nhi\r\n"


def test_a_message_is_sent_and_seen(mailer: Mailer, letter: Letter) -> None:
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)

    accepted = mailer.messages.send(**letter, tags=["order"], metadata={"order": "7"}, send_at=due)

    seen = mailer.messages.get(accepted.id)
    assert [r.address for r in accepted.recipients] == ["ada@example.org"]
    assert (seen.from_, seen.subject, seen.tags, seen.due_at) == (
        "shop@acme.example",
        "hello",
        ["order"],
        due,
    )
    assert (seen.recipients[0].state, seen.is_settled) == ("deferred", False)


async def test_a_message_is_sent_and_seen_with_await(async_mailer: AsyncMailer, letter: Letter) -> None:
    accepted = await async_mailer.messages.send(**letter)

    seen = await async_mailer.messages.get(accepted.id)
    assert seen.recipients[0].id == accepted.recipients[0].id


def test_the_same_key_sends_once(mailer: Mailer, letter: Letter) -> None:
    first = mailer.messages.send(**letter, idempotency_key="order-7")
    again = mailer.messages.send(**letter, idempotency_key="order-7")

    assert again == first


def test_without_a_key_two_sends_are_two_messages(mailer: Mailer, letter: Letter) -> None:
    assert mailer.messages.send(**letter).id != mailer.messages.send(**letter).id


def test_files_go_along(mailer: Mailer, letter: Letter) -> None:
    files = [
        attachment(b"%PDF-1.7", filename="bill.pdf"),
        inline(b"\x89PNG", "logo", filename="logo.png"),
    ]

    found = mailer.messages.validate(**letter, html="<img src=cid:logo>", attachments=files)

    assert found.valid
    assert found.message is not None
    parts = {part.filename: part.content_type for part in found.message.parts if part.filename}
    assert parts == {"bill.pdf": "application/pdf", "logo.png": "image/png"}


def test_a_dry_run_says_what_is_wrong(mailer: Mailer, letter: Letter) -> None:
    found = mailer.messages.validate(**{**letter, "to": "nobody", "stream": "none"})

    assert (found.valid, found.message) == (False, None)
    assert {problem.pointer for problem in found.problems} == {"/to", "/stream"}


def test_different_messages_are_answered_one_by_one(mailer: Mailer, letter: Letter) -> None:
    answer = mailer.messages.send_all([letter, {**letter, "to": "nobody"}])

    good, bad = answer.results
    assert (answer.accepted, answer.refused) == (1, 1)
    assert good.id is not None
    assert bad.problem is not None
    assert bad.problem.errors[0]["pointer"] == "/messages/1/to"


def test_a_repeated_batch_is_replayed(mailer: Mailer, letter: Letter) -> None:
    words = {"from_": "shop@acme.example", "subject": "Hi {{ name }}", "text": "Hi {{ name }}"}
    people = [{"to": f"u{n}@example.org", "data": {"name": str(n)}} for n in range(3)]

    first = mailer.messages.send_each(people, **words, idempotency_key="news")
    again = mailer.messages.send_each(people, **words, idempotency_key="news")

    assert [item.id for item in again.results] == [item.id for item in first.results]
    assert all(item.replayed for item in again.results)


@pytest.mark.parametrize("envelope", [{}, {"mail_from": "", "rcpt_to": ["bob@example.org"]}])
def test_a_whole_message_is_sent(mailer: Mailer, envelope: dict[str, Any]) -> None:
    accepted = mailer.messages.send_raw(RAW, **envelope)

    expected = envelope.get("rcpt_to", ["ada@example.org"])
    assert [recipient.address for recipient in accepted.recipients] == expected
    assert mailer.messages.get(accepted.id).subject == "whole"


def test_a_list_goes_on_over_its_pages(mailer: Mailer, letter: Letter) -> None:
    sent = [mailer.messages.send(**letter, tags=["paged"]).id for _ in range(3)]

    page = mailer.messages.page(tag="paged", limit=2)
    listed = [summary.id for summary in mailer.messages.list(tag="paged")]

    assert (len(page.messages), page.next_cursor is None) == (2, False)
    assert listed == sent[::-1]


async def test_a_list_goes_on_over_its_pages_with_await(async_mailer: AsyncMailer, letter: Letter) -> None:
    sent = [(await async_mailer.messages.send(**letter, tags=["async"])).id for _ in range(3)]

    listed = [summary.id async for summary in async_mailer.messages.list(tag="async")]

    assert listed == sent[::-1]


def test_a_message_is_explained_cancelled_and_tried_again(mailer: Mailer, letter: Letter) -> None:
    accepted = mailer.messages.send(**letter)

    why = mailer.messages.explain(accepted.id)
    gone = mailer.messages.cancel(accepted.id)
    again = mailer.messages.retry(accepted.id)

    mine = accepted.recipients[0].id
    assert why.recipients[0].recipient_id == mine
    assert list(gone.cancelled) == [mine]
    assert [anew.retry_of for anew in again.anew] == [mine]


def test_some_recipients_are_cancelled_and_tried_again(mailer: Mailer, letter: Letter) -> None:
    accepted = mailer.messages.send(**{**letter, "to": ["ada@example.org", "bob@example.org"]})
    ada, bob = (recipient.id for recipient in accepted.recipients)

    gone = mailer.messages.cancel(accepted.id, [bob])
    again = mailer.messages.retry(accepted.id, [bob])

    seen = {recipient.id: recipient.state for recipient in mailer.messages.get(accepted.id).recipients}
    assert list(gone.cancelled) == [bob]
    assert [anew.retry_of for anew in again.anew] == [bob]
    assert (seen[ada], seen[bob]) == ("queued", "cancelled")


async def test_some_recipients_are_cancelled_with_await(async_mailer: AsyncMailer, letter: Letter) -> None:
    accepted = await async_mailer.messages.send(**{**letter, "to": ["ada@example.org", "bob@example.org"]})
    ada = accepted.recipients[0].id

    gone = await async_mailer.messages.cancel(accepted.id, [ada])
    again = await async_mailer.messages.retry(accepted.id, [ada])

    assert list(gone.cancelled) == [ada]
    assert [anew.retry_of for anew in again.anew] == [ada]


def test_naming_no_recipient_changes_none(mailer: Mailer, letter: Letter) -> None:
    accepted = mailer.messages.send(**letter)

    with pytest.raises(InvalidRequest):
        mailer.messages.cancel(accepted.id, [])

    assert [r.state for r in mailer.messages.get(accepted.id).recipients] == ["queued"]


def test_events_are_read_on_from_a_number(api: Api, mailer: Mailer, letter: Letter) -> None:
    fanout.fan_out(api.keyring.room.store, most=10_000)
    before = mailer.events.page(limit=1000).next_after
    accepted = mailer.messages.send(**letter)
    fanout.fan_out(api.keyring.room.store, most=10_000)

    told = list(mailer.events.since(before))

    assert [(e.type, e.message_id, e.number) for e in told] == [("accepted", accepted.id, before + 1)]


def test_a_template_lives_from_its_making_to_its_end(mailer: Mailer, letter: Letter) -> None:
    made = mailer.templates.create("welcome", subject="Hi {{ name }}", text="Hi {{ name }}", publish=True)
    mailer.templates.add_version(made.id, subject="Hello {{ name }}", html="<p>{{ name }}</p>")
    published = mailer.templates.publish("welcome", 2)
    view = mailer.templates.get("welcome")
    tried = mailer.templates.render("welcome", {}, version=1)
    sent = mailer.messages.send(
        from_=letter["from_"], to=letter["to"], template={"name": "welcome", "data": {"name": "Ada"}}
    )
    page = mailer.templates.page()
    mailer.templates.delete("welcome")

    assert (published.published, published.latest) == (2, 2)
    assert [variable.name for variable in view.content.variables] == ["name"]
    assert (tried.missing[0].name, tried.missing[0].part) == ("name", "subject")
    assert mailer.messages.get(sent.id).subject == "Hello Ada"
    assert [template.name for template in page.templates] == ["welcome"]
    with pytest.raises(NotFound):
        mailer.templates.get("welcome")


def test_a_stream_lives_from_its_making_to_its_archive(mailer: Mailer) -> None:
    made = mailer.streams.create("news", kind="broadcast")
    changed = mailer.streams.change("news", in_doubt="give-up", expires_after=600)
    archived = mailer.streams.archive("news")
    restored = mailer.streams.restore("news")

    assert (made.in_doubt, changed.in_doubt) == ("retry", "give-up")
    assert (made.expires_after, changed.expires_after) == (0, 600)
    assert (archived.state, restored.state) == ("archived", "active")
    assert "news" in {stream.name for stream in mailer.streams.list().streams}


def test_a_key_is_made_used_rotated_and_revoked(api: Api, mailer: Mailer, letter: Letter) -> None:
    made = mailer.keys.create("shop", scopes=["send"], streams=["transactional"])
    with Mailer(made.api_key, api.url) as shop:
        shop.messages.send(**letter)
        with pytest.raises(NotAllowed) as refused:
            shop.messages.get("msg_0000000000005")
    renamed = mailer.keys.rename(made.id, "desk")
    rotated = mailer.keys.rotate(made.id, overlap_seconds=60)
    revoked = mailer.keys.revoke(made.id)

    assert refused.value.word == "forbidden"
    assert (renamed.name, list(rotated.streams or ()), revoked.state) == (
        "desk",
        ["transactional"],
        "revoked",
    )
    assert {key.id for key in mailer.keys.page().keys} >= {made.id, rotated.id}


def test_a_webhook_endpoint_is_made_tested_and_deleted(mailer: Mailer) -> None:
    hooks = mailer.webhook_endpoints
    made = hooks.create("https://a.example/hook", event_types=["delivered"])
    tested = hooks.test(made.id)
    waiting = hooks.callbacks(made.id)
    rotated = hooks.rotate_secret(made.id, overlap_seconds=60)
    changed = hooks.change(made.id, state="disabled")
    shown = hooks.secret(made.id)

    assert [callback.id for callback in waiting.callbacks] == [tested.callback_id]
    assert (changed.state, shown.secret) == ("disabled", rotated.secret)
    assert rotated.secret != made.secret
    assert list(hooks.attempts(made.id).attempts) == []
    assert hooks.get(made.id).id in {endpoint.id for endpoint in hooks.list().endpoints}
    hooks.delete(made.id)
    with pytest.raises(NotFound):
        hooks.get(made.id)


def test_a_refusal_says_which_field_is_wrong(mailer: Mailer, letter: Letter) -> None:
    with pytest.raises(InvalidRequest) as refused:
        mailer.messages.send(**{**letter, "to": ["ada@example.org", "nobody"]})

    error = refused.value
    assert (error.status, error.word, error.errors[0].pointer) == (422, "invalid-field", "/to/1")
    assert error.doc == "/problems/invalid-field"
    assert error.request_id


def test_another_tenants_message_is_not_found(api: Api, mailer: Mailer, letter: Letter) -> None:
    accepted = mailer.messages.send(**letter)
    stranger = api.keyring.issue(to=api.keyring.globex).text

    with Mailer(stranger, api.url) as other, pytest.raises(NotFound):
        other.messages.get(accepted.id)


def test_mail_is_held_and_released(mailer: Mailer, letter: Letter) -> None:
    sent = mailer.messages.send(**letter)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)

    placed = mailer.queue.hold("trouble", message_id=sent.id, until=until)

    explained = mailer.messages.explain(sent.id)
    assert (placed.recipients, placed.until, placed.owner) == (1, until, "tenant")
    assert explained.recipients[0].obstacles[0].kind == "held"
    assert mailer.queue.get_hold(placed.id).message_id == sent.id
    assert [hold.id for hold in mailer.queue.holds().holds] == [placed.id]
    mailer.queue.release(placed.id)
    assert mailer.queue.holds().holds == []


def test_mail_that_waits_is_counted_and_ended(mailer: Mailer, letter: Letter) -> None:
    for _ in range(2):
        mailer.messages.send(**{**letter, "to": "ada@ended.example"})

    counted = mailer.queue.count(domain="ended.example")
    shown = {row.name: row.queued for row in mailer.queue.overview(by="domain").rows}
    requeued = mailer.queue.requeue("now", domain="ended.example")
    bounced = mailer.queue.bounce("the list was stolen", domain="ended.example", status="5.7.2")

    assert (counted.recipients, counted.states) == (2, {"queued": 2})
    assert shown["ended.example"] == 2
    assert (requeued.recipients, bounced.recipients, bounced.has_more) == (0, 2, False)
    page = mailer.queue.actions(limit=1)
    assert [action.kind for action in page.actions] == ["bounce"]
    rest = mailer.queue.actions(cursor=page.next_cursor, limit=1)
    assert [action.kind for action in rest.actions] == ["requeue"]


async def test_the_queue_is_seen_with_await(async_mailer: AsyncMailer, letter: Letter) -> None:
    await async_mailer.messages.send(**letter)

    assert (await async_mailer.queue.overview()).totals.queued >= 1


def test_what_a_refusal_was_taken_for_is_explained(api: Api, mailer: Mailer, letter: Letter) -> None:
    sent = mailer.messages.send(**letter)
    room = api.keyring.room
    mine = [one for one in room.claim() if ids.show("msg", one.message_id) == sent.id]
    room.settle(mine, BOUNCED, HEARD_451, judged=NO_SUCH_USER)

    [explained] = mailer.messages.explain(sent.id).recipients

    assert explained.judged == Judged(
        bounce_class="invalid-mailbox", action="fail", blame="recipient", rule=NO_SUCH_USER.rule
    )
