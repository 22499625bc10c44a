"""Every kind of refusal: its HTTP status, its title, and what a developer should do about it.

The words are stable: the problem type of `no-recipients` is `/problems/no-recipients` for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mailer.accept.submission import Fault


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem.

    status               HTTP status code (RFC 9110 §15)
    title                the same for every occurrence (RFC 9457 §3.1.3)
    advice               what it means and what to do, shown at the type's URI
    retry_after_seconds  how long to wait before the same request may succeed; None: it never will
    """

    status: int
    title: str
    advice: str
    retry_after_seconds: int | None = None


def kind_of(fault: Fault) -> Kind:
    return CATALOGUE[fault]


CATALOGUE: Mapping[Fault, Kind] = MappingProxyType(
    {
        Fault.MALFORMED_REQUEST: Kind(
            400,
            "The request cannot be read",
            "The body is not JSON in UTF-8 (RFC 8259), or a header field has a value that it may not have. "
            "The detail says which. Correct the request; repeating it as it is cannot succeed.",
        ),
        Fault.INVALID_FIELD: Kind(
            422,
            "A field of the request is not valid",
            "The request was read, but a field is unknown, missing, of the wrong type, too long, or "
            "holds what a mail header may not hold. `errors` points at it: a JSON pointer (RFC 6901) into "
            "the body, or the name of the query parameter.",
        ),
        Fault.MALFORMED_MESSAGE: Kind(
            422,
            "The message in the request cannot be sent as it is",
            "It is sent octet for octet, so it must be what every receiver reads alike: lines of at most 998 "
            "octets that all end in CRLF (or all in LF), a header of whole fields, and one readable From "
            "(RFC 5322 §2.1, §3.6). The detail says what is wrong, and `errors` in which header field.",
        ),
        Fault.UNAUTHENTICATED: Kind(
            401,
            "The API key is missing or not good",
            "Send `Authorization: Bearer <key>` with a key of this installation that has neither expired nor "
            "been revoked. A mistyped key is recognised by its checksum.",
        ),
        Fault.FORBIDDEN: Kind(
            403,
            "The API key may not do this",
            "The key is good but lacks the scope that this operation needs: `send` to submit messages, "
            "`read` to look at messages, events, streams and keys, `templates` to write templates, `manage` "
            "to change streams and keys and to act on mail that waits, `operate` for all tenants. "
            "Scopes are given when a key is made, by a key that has them itself; `operate` by the operator.",
        ),
        Fault.KEY_LIMITED: Kind(
            403,
            "The API key is limited to other streams or sending domains",
            "The key may send to certain streams only, or from certain sending domains only; the detail "
            "lists them. Use one of those, or a key without that limit: `GET /v1/keys` shows what each key "
            "may do. Limits are given when a key is made, and hold for all that it changes.",
        ),
        Fault.TENANT_SUSPENDED: Kind(
            403,
            "The tenant is suspended",
            "Nothing is accepted from this tenant until an operator resumes it. What was accepted before is "
            "still delivered, and can still be looked at.",
        ),
        Fault.FROM_NOT_ALLOWED: Kind(
            403,
            "From is not in a sending domain of the tenant",
            "The domain of `from` must be an active sending domain of the key's tenant, because its DKIM "
            "keys sign the message. `mailer domain create` adds one.",
        ),
        Fault.UNKNOWN_STREAM: Kind(
            422,
            "There is no such stream",
            "`stream` names a stream of the tenant; every tenant has `transactional`, the default, and "
            "`broadcast`. `GET /v1/streams` lists them, `POST /v1/streams` makes one.",
        ),
        Fault.STREAM_ARCHIVED: Kind(
            422,
            "The stream is archived",
            "An archived stream takes nothing more; what waited in it when it was archived is delivered. "
            "Send to another stream, or restore this one: `POST /v1/streams/{name}/restore`.",
        ),
        Fault.UNKNOWN_TEMPLATE: Kind(
            422,
            "There is no such template",
            "`template` names a template of the tenant by its name or id, and a version that it has. Without "
            "a `version` the published one is sent: publish one with `POST /v1/templates/{name}/publish`.",
        ),
        Fault.TEMPLATE_FAILED: Kind(
            422,
            "The template cannot be filled",
            "The template is not written as Liquid is, or speaks of a variable that is not in `data`, or "
            "costs too much. `errors` names every missing variable at once, with the line that wants it. "
            "`POST /v1/templates/{name}/render` shows what would be sent.",
        ),
        Fault.TOO_MANY_REPORTS: Kind(
            429,
            "Too many reports came",
            "Reports of TLS and of abuse are taken without a key, so that few are taken of one network in a "
            "minute, and few at once. Nothing was kept: send the same report again after `Retry-After`.",
            retry_after_seconds=60,
        ),
        Fault.NAME_TAKEN: Kind(
            409,
            "The name is taken",
            "Another one of this tenant's has the name. Choose another name, or change what has it.",
        ),
        Fault.NO_RECIPIENTS: Kind(
            422,
            "The message has no recipients",
            "Give at least one mailbox in `to`, `cc` or `bcc`.",
        ),
        Fault.TOO_MANY_RECIPIENTS: Kind(
            422,
            "The message has too many recipients",
            "Split the recipients over several messages. The limit counts `to`, `cc` and `bcc` together.",
        ),
        Fault.MESSAGE_TOO_LARGE: Kind(
            413,
            "The message is too large",
            "The message, encoded as it would be sent, is larger than this installation sends. Many "
            "receivers refuse far less: link to large content instead.",
        ),
        Fault.REQUEST_TOO_LARGE: Kind(
            413,
            "The request body is too large",
            "The body is larger than this installation reads. The detail gives the limit in octets.",
        ),
        Fault.REQUEST_TIMEOUT: Kind(
            408,
            "The request body came too slowly",
            "The connection was closed because the body did not arrive in time (RFC 9110 §15.5.9). Nothing "
            "was accepted; send the request again on a new connection.",
            retry_after_seconds=1,
        ),
        Fault.UNSUPPORTED_MEDIA_TYPE: Kind(
            415,
            "The body is not in a supported format",
            "Send `Content-Type: application/json` and no content coding such as gzip (RFC 9110 §15.5.16).",
        ),
        Fault.IDEMPOTENCY_KEY_REUSED: Kind(
            422,
            "The idempotency key was used with another body",
            "An `Idempotency-Key` stands for one request body, octet for octet. Repeat that very body to get "
            "the first answer again, or use a new key for a new message.",
        ),
        Fault.RATE_LIMITED: Kind(
            429,
            "The API key submitted as much as it may",
            "An operator limits how many messages and recipients one API key may submit in a second and in a "
            "minute (`MAILER_KEY_*`), by HTTP and SMTP together. Nothing was accepted: wait as long as "
            "`Retry-After` says and send the same request again, with the same `Idempotency-Key`.",
            retry_after_seconds=1,
        ),
        Fault.TOO_MANY_REQUESTS: Kind(
            429,
            "Too many requests came from one address",
            "Pages that need no key, such as that of a link to unsubscribe, are asked for so many times in a "
            "second by one address. Nothing was changed: wait as long as `Retry-After` says.",
            retry_after_seconds=1,
        ),
        Fault.QUOTA_EXCEEDED: Kind(
            429,
            "As much was accepted of the tenant as may be",
            "An operator limits how many recipients are accepted of one tenant in any minute, hour or day, "
            "of all its keys together, by HTTP and SMTP. Nothing was accepted. The detail tells when there "
            "is room again, and `Retry-After` in how many seconds: send the same request then, with the same "
            "`Idempotency-Key`. A quota of a day opens little by little, as what was accepted is a day old.",
            retry_after_seconds=60,
        ),
        Fault.NAME_TAKEN: Kind(
            409,
            "The name is taken",
            "There is one of this name already. Choose another name, or change what is there.",
        ),
        Fault.CONFLICT: Kind(
            409,
            "It cannot be changed like that now",
            "What is asked contradicts the state of what is to be changed; the detail says how. Look at it "
            "again before you repeat the request.",
        ),
        Fault.LIMIT_REACHED: Kind(
            409,
            "There are as many as a tenant may have",
            "A tenant may have a limited number of these; the detail tells it. Remove or reuse some first.",
        ),
        Fault.NOT_FOUND: Kind(
            404,
            "There is nothing here",
            "The path is unknown, or the id in it is not one of this tenant's.",
        ),
        Fault.NOTHING_CAME: Kind(
            404,
            "No such message came in time",
            "The sandbox inbox was watched for as long as `timeout` says, and holds no message of this "
            "tenant that meets all conditions. Wait longer, or see with `GET /v1/messages/{id}` where it is.",
        ),
        Fault.METHOD_NOT_ALLOWED: Kind(
            405,
            "The method is not allowed here",
            "The path exists; the `Allow` header field lists the methods that it takes.",
        ),
        Fault.BUSY: Kind(
            503,
            "The server is busy",
            "The memory or disk space set aside for incoming messages is used up. Nothing was accepted: wait "
            "as long as `Retry-After` says and send the same request again, with the same `Idempotency-Key`.",
            retry_after_seconds=5,
        ),
        Fault.UNAVAILABLE: Kind(
            503,
            "The database did not answer",
            "It is not certain that the message was stored. Send the same request again with the same "
            "`Idempotency-Key`, then it is accepted once, whatever happened before.",
            retry_after_seconds=2,
        ),
        Fault.INTERNAL: Kind(
            500,
            "The server failed",
            "This is a fault of the server, which has logged it under the `request_id`. The same request may "
            "be sent again with the same `Idempotency-Key`.",
        ),
    }
)
