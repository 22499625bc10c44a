"""Every table and column: what it means, its unit, and when it is null.

States are the words of mailer/events.py. `*_at` are instants, `*_bytes` octets. An id is made by
mailer/ids.py unless said otherwise.
"""

from mailer.store.tables.columns import metadata
from mailer.store.tables.log import (
    event,
    event_new,
    event_shard,
    folded,
    meta,
    tenant_log,
    usage,
    webhook_attempt,
    webhook_callback,
    webhook_endpoint,
)
from mailer.store.tables.mail import (
    content,
    feedback,
    idempotency,
    lane,
    message,
    message_tag,
    notice,
    recipient,
)
from mailer.store.tables.senders import (
    api_key,
    dkim_key,
    sending_domain,
    stream,
    template,
    template_version,
    tenant,
)
from mailer.store.tables.work import attempt, heartbeat, incarnation, permit, site, tls_host

__all__ = [
    "api_key",
    "attempt",
    "content",
    "dkim_key",
    "event",
    "event_new",
    "event_shard",
    "feedback",
    "folded",
    "heartbeat",
    "idempotency",
    "incarnation",
    "lane",
    "message",
    "message_tag",
    "meta",
    "metadata",
    "notice",
    "permit",
    "recipient",
    "sending_domain",
    "site",
    "stream",
    "template",
    "template_version",
    "tenant",
    "tenant_log",
    "tls_host",
    "usage",
    "webhook_attempt",
    "webhook_callback",
    "webhook_endpoint",
]
