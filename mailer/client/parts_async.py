"""What `AsyncMailer` can do, group by group: parts.py with `await`, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Unpack

from mailer.client.answers.inbox import CaughtMessage, Deleted, InboxPage
from mailer.client.answers.managing import Key, KeyPage, NewKey, Stream, StreamList
from mailer.client.answers.messages import (
    Accepted,
    Cancelled,
    Event,
    EventPage,
    ExplainedMessage,
    Message,
    MessagePage,
    MessageSummary,
    Retried,
)
from mailer.client.answers.queue import Acted, ActionPage, Hold, HoldList, PlacedHold, QueueOverview, Waiting
from mailer.client.answers.sending import BatchAnswer, Finding
from mailer.client.answers.templates import Rendering, Template, TemplateContent, TemplatePage, TemplateView
from mailer.client.answers.webhooks import (
    Callback,
    CallbackPage,
    Endpoint,
    EndpointAttemptPage,
    EndpointList,
    NewEndpoint,
    Secret,
    Tested,
)
from mailer.client.calls import events, inbox, managing, messages, queue, templates, webhooks
from mailer.client.calls.inbox import Matcher
from mailer.client.calls.messages import Filters
from mailer.client.calls.queue import Conditions
from mailer.client.letters import BatchRecipient, Letter, Words
from mailer.client.transport import AsyncWires


class Part:
    def __init__(self, wires: AsyncWires) -> None:
        self._wires = wires


class Messages(Part):
    async def send(self, *, idempotency_key: str | None = None, **letter: Unpack[Letter]) -> Accepted:
        """The message is on disk when this returns."""
        return await self._wires.make(messages.send(letter, idempotency_key))

    async def send_all(self, letters: Sequence[Letter], *, idempotency_key: str | None = None) -> BatchAnswer:
        """Up to 1,000 different messages, each accepted or refused for itself."""
        return await self._wires.make(messages.send_all(letters, idempotency_key))

    async def send_each(
        self,
        recipients: Sequence[BatchRecipient],
        *,
        idempotency_key: str | None = None,
        **letter: Unpack[Letter],
    ) -> BatchAnswer:
        """One message, whose words are templates or that names one, to up to 1,000 recipients."""
        return await self._wires.make(messages.send_each(letter, recipients, idempotency_key))

    async def send_raw(
        self,
        message: bytes,
        *,
        mail_from: str | None = None,
        rcpt_to: Sequence[str] | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """A whole message, octet for octet. Without an envelope, to whom its To, Cc and Bcc name."""
        return await self._wires.make(messages.send_raw(message, mail_from, rcpt_to, idempotency_key))

    async def validate(self, **letter: Unpack[Letter]) -> Finding:
        """What would become of a message; nothing is sent or stored."""
        return await self._wires.make(messages.validate(letter))

    async def get(self, message_id: str) -> Message:
        return await self._wires.make(messages.get(message_id))

    async def page(
        self, *, limit: int = 25, cursor: str | None = None, **filters: Unpack[Filters]
    ) -> MessagePage:
        return await self._wires.make(messages.listed(filters, limit=limit, cursor=cursor))

    async def list(self, **filters: Unpack[Filters]) -> AsyncIterator[MessageSummary]:
        """All that meet the filters, the newest first."""
        cursor = None
        while True:
            page = await self.page(limit=100, cursor=cursor, **filters)
            for summary in page.messages:
                yield summary
            cursor = page.next_cursor
            if cursor is None:
                return

    async def explain(self, message_id: str) -> ExplainedMessage:
        """Why it is where it is, and until when."""
        return await self._wires.make(messages.explain(message_id))

    async def cancel(self, message_id: str, recipients: Sequence[str] | None = None) -> Cancelled:
        """Ends what still waits, and what is under way unless it succeeds; recipients: only these, by id."""
        return await self._wires.make(messages.cancel(message_id, recipients))

    async def retry(self, message_id: str, recipients: Sequence[str] | None = None) -> Retried:
        """Tries again what waits, and what failed as a new recipient; recipients: only these, by id."""
        return await self._wires.make(messages.retry(message_id, recipients))


class Events(Part):
    async def page(self, *, after: int = 0, limit: int = 100, types: Sequence[str] = ()) -> EventPage:
        return await self._wires.make(events.page(after=after, limit=limit, types=types))

    async def since(self, after: int = 0, *, types: Sequence[str] = ()) -> AsyncIterator[Event]:
        """All events after that number that there are now, in order."""
        while True:
            page = await self.page(after=after, limit=1000, types=types)
            for event in page.events:
                yield event
            if page.next_after == after:
                return
            after = page.next_after


class Templates(Part):
    async def page(self, *, after: str | None = None, limit: int = 100) -> TemplatePage:
        return await self._wires.make(templates.page(after=after, limit=limit))

    async def get(self, template: str) -> TemplateView:
        """By its name or its id."""
        return await self._wires.make(templates.get(template))

    async def version(self, template: str, number: int) -> TemplateContent:
        return await self._wires.make(templates.version(template, number))

    async def create(self, name: str, **words: Unpack[Words]) -> Template:
        return await self._wires.make(templates.create(name, words))

    async def add_version(self, template: str, **words: Unpack[Words]) -> Template:
        return await self._wires.make(templates.add_version(template, words))

    async def publish(self, template: str, number: int) -> Template:
        return await self._wires.make(templates.publish(template, number))

    async def render(
        self, template: str, data: Mapping[str, Any], *, version: int | None = None
    ) -> Rendering:
        """What would be sent, and every variable that the data lacks."""
        return await self._wires.make(templates.render(template, data, version=version))

    async def delete(self, template: str) -> None:
        return await self._wires.make(templates.delete(template))


class Streams(Part):
    async def list(self) -> StreamList:
        return await self._wires.make(managing.streams())

    async def get(self, name: str) -> Stream:
        return await self._wires.make(managing.stream(name))

    async def create(
        self,
        name: str,
        *,
        kind: str,
        in_doubt: str = "retry",
        tls: str = "opportunistic",
        expires_after: int = 0,
        own_unsubscribe: str = "keep",
        role_accounts: bool = False,
    ) -> Stream:
        """kind: transactional or broadcast. own_unsubscribe: keep or refuse, of messages that bring one."""
        call = managing.create_stream(
            name,
            kind=kind,
            in_doubt=in_doubt,
            tls=tls,
            expires_after=expires_after,
            own_unsubscribe=own_unsubscribe,
            role_accounts=role_accounts,
        )
        return await self._wires.make(call)

    async def change(
        self,
        name: str,
        *,
        in_doubt: str | None = None,
        tls: str | None = None,
        expires_after: int | None = None,
        own_unsubscribe: str | None = None,
        role_accounts: bool | None = None,
    ) -> Stream:
        call = managing.change_stream(
            name,
            in_doubt=in_doubt,
            tls=tls,
            expires_after=expires_after,
            own_unsubscribe=own_unsubscribe,
            role_accounts=role_accounts,
        )
        return await self._wires.make(call)

    async def archive(self, name: str) -> Stream:
        return await self._wires.make(managing.archive_stream(name))

    async def restore(self, name: str) -> Stream:
        return await self._wires.make(managing.restore_stream(name))


class Keys(Part):
    async def page(self, *, cursor: str | None = None) -> KeyPage:
        return await self._wires.make(managing.keys(cursor=cursor))

    async def get(self, key_id: str) -> Key:
        return await self._wires.make(managing.key(key_id))

    async def create(
        self,
        name: str,
        *,
        scopes: Sequence[str] = ("send", "read"),
        streams: Sequence[str] | None = None,
        domains: Sequence[str] | None = None,
        expires_at: datetime | None = None,
    ) -> NewKey:
        """The answer alone has the key itself."""
        wanted = managing.create_key(
            name, scopes=scopes, streams=streams, domains=domains, expires_at=expires_at
        )
        return await self._wires.make(wanted)

    async def rename(self, key_id: str, name: str) -> Key:
        return await self._wires.make(managing.rename_key(key_id, name))

    async def revoke(self, key_id: str) -> Key:
        return await self._wires.make(managing.revoke_key(key_id))

    async def rotate(self, key_id: str, *, overlap_seconds: int = 24 * 3600) -> NewKey:
        return await self._wires.make(managing.rotate_key(key_id, overlap_seconds=overlap_seconds))


class WebhookEndpoints(Part):
    async def list(self) -> EndpointList:
        return await self._wires.make(webhooks.listed())

    async def get(self, endpoint_id: str) -> Endpoint:
        return await self._wires.make(webhooks.get(endpoint_id))

    async def create(
        self, url: str, *, description: str | None = None, event_types: Sequence[str] | None = None
    ) -> NewEndpoint:
        """Events from now on are posted to the URL, signed with the secret in the answer."""
        return await self._wires.make(webhooks.create(url, description=description, event_types=event_types))

    async def change(
        self,
        endpoint_id: str,
        *,
        url: str | None = None,
        description: str | None = None,
        event_types: Sequence[str] | None = None,
        state: str | None = None,
    ) -> Endpoint:
        """What is None stays as it is."""
        wanted = webhooks.change(
            endpoint_id, url=url, description=description, event_types=event_types, state=state
        )
        return await self._wires.make(wanted)

    async def delete(self, endpoint_id: str) -> None:
        return await self._wires.make(webhooks.delete(endpoint_id))

    async def secret(self, endpoint_id: str) -> Secret:
        return await self._wires.make(webhooks.secret(endpoint_id))

    async def rotate_secret(self, endpoint_id: str, *, overlap_seconds: int = 24 * 3600) -> Secret:
        return await self._wires.make(webhooks.rotate_secret(endpoint_id, overlap_seconds=overlap_seconds))

    async def test(self, endpoint_id: str) -> Tested:
        return await self._wires.make(webhooks.test(endpoint_id))

    async def attempts(
        self, endpoint_id: str, *, cursor: str | None = None, limit: int = 100
    ) -> EndpointAttemptPage:
        return await self._wires.make(webhooks.attempts(endpoint_id, cursor=cursor, limit=limit))

    async def callbacks(
        self, endpoint_id: str, *, state: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> CallbackPage:
        return await self._wires.make(
            webhooks.callbacks(endpoint_id, state=state, cursor=cursor, limit=limit)
        )

    async def retry(self, endpoint_id: str, callback_id: str) -> Callback:
        return await self._wires.make(webhooks.retry(endpoint_id, callback_id))


class Inbox(Part):
    """Mail that a sandbox caught, for end-to-end tests."""

    async def page(self, *, limit: int = 100, **matcher: Unpack[Matcher]) -> InboxPage:
        return await self._wires.make(inbox.page(matcher, limit=limit))

    async def wait(self, *, timeout: int = 30, **matcher: Unpack[Matcher]) -> CaughtMessage:  # noqa: ASYNC109 - the server's
        """The newest message that matches, as soon as there is one. Raises NotFound after the timeout."""
        return await self._wires.make(inbox.wait(matcher, timeout=timeout))

    async def get(self, key: str) -> CaughtMessage:
        return await self._wires.make(inbox.get(key))

    async def raw(self, key: str) -> bytes:
        return await self._wires.content(inbox.raw(key))

    async def clear(self, **matcher: Unpack[Matcher]) -> Deleted:
        return await self._wires.make(inbox.clear(matcher))


class Queue(Part):
    """Mail that waits. Conditions that are said must all be met; `everything=True` where none is said."""

    async def overview(self, *, by: str = "site", limit: int = 50) -> QueueOverview:
        """by: site, domain or, for operators, tenant."""
        return await self._wires.make(queue.overview(by, limit))

    async def count(self, **conditions: Unpack[Conditions]) -> Waiting:
        """How many recipients an order with these conditions would be about."""
        return await self._wires.make(queue.count(conditions))

    async def holds(self) -> HoldList:
        return await self._wires.make(queue.holds())

    async def get_hold(self, hold_id: str) -> Hold:
        return await self._wires.make(queue.get_hold(hold_id))

    async def hold(
        self, reason: str, *, until: datetime | None = None, **conditions: Unpack[Conditions]
    ) -> PlacedHold:
        """Nothing that is meant is sent until it is released, or until then."""
        return await self._wires.make(queue.hold(conditions, reason=reason, until=until))

    async def release(self, hold_id: str) -> None:
        return await self._wires.make(queue.release(hold_id))

    async def requeue(self, reason: str, *, faulty: bool = False, **conditions: Unpack[Conditions]) -> Acted:
        """What waits for a retry is tried now. Repeat it while the answer has more."""
        return await self._wires.make(queue.requeue(conditions, reason=reason, faulty=faulty))

    async def move(
        self,
        reason: str,
        *,
        to_stream: str | None = None,
        to_pool: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> Acted:
        """What waits is sent as that stream's mail is; or, for operators, from that pool. Say one of the two.
        Repeat it while the answer has more."""
        call = queue.move(conditions, reason=reason, to_stream=to_stream, to_pool=to_pool)
        return await self._wires.make(call)

    async def bounce(self, reason: str, *, status: str = "5.7.1", **conditions: Unpack[Conditions]) -> Acted:
        """What waits ends as bounced. Repeat it while the answer has more."""
        return await self._wires.make(queue.bounce(conditions, reason=reason, status=status))

    async def actions(self, *, cursor: str | None = None, limit: int = 50) -> ActionPage:
        """Who did what to mail that waits, the newest first."""
        return await self._wires.make(queue.actions(cursor=cursor, limit=limit))
