"""A decoded send request becomes a Submission: every mailbox and header field parsed, limits kept.

Whatever could not become a message is refused here with a pointer to it, so that composing, which
knows nothing of JSON, only meets what it can write. A dry run is told of every fault, and goes on without
what is at fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from mailer.accept import times
from mailer.accept.credentials import Identity
from mailer.accept.http.complaints import Complain, stop, tried
from mailer.accept.http.files import attachments_of
from mailer.accept.http.wire import Address, Addresses, AnyAddress, HeaderField, SendRequest, pointer
from mailer.accept.submission import Envelope, Fault, Submission, SubmissionError
from mailer.compose import headers
from mailer.compose.address import AddressError, Mailbox, parse_addr_spec, parse_mailbox
from mailer.compose.headers import HeaderError
from mailer.compose.mime import Draft
from mailer.policy.tls import Wish

_TLS_REQUIRED = "tls-required"
_REPLY_TO = 25  # mailboxes; more are a mistake
_NOBODY = Mailbox("", "nobody", "invalid.invalid")  # RFC 2606 §2: stands for a From that was complained about


def submission_of(
    request: SendRequest,
    identity: Identity,
    *,
    most_recipients: int,
    idempotency_key: str | None,
    body_sha256: bytes,
    now: datetime,
    complain: Complain = stop,
) -> Submission:
    """Raises what `complain` raises, a SubmissionError, and nothing else, whatever the request."""
    if request.text is None and request.html is None:
        complain(_invalid("a message needs a text, an html, or both", "text"))
    envelopes = _envelopes(request, most_recipients, complain)
    draft = Draft(
        tried(complain, _author, request.from_) or _NOBODY,
        tuple([e.mailbox for e in envelopes if e.kind == "to"]),
        tuple([e.mailbox for e in envelopes if e.kind == "cc"]) if request.cc else (),
        _reply_to(request.reply_to, complain) if request.reply_to else (),
        tried(complain, _subject, request.subject) or "",
        request.text,
        request.html,
        _with_tls_required(request.tls, _header_fields(request.headers, complain) if request.headers else ()),
        attachments_of(request.attachments, complain) if request.attachments else (),
    )
    return Submission(
        key_id=identity.key_id,
        secret_hash=identity.secret_hash,
        content=draft,
        recipients=tuple(envelopes),
        stream=request.stream,
        tags=tuple(request.tags or ()),
        metadata=request.metadata or {},
        idempotency_key=idempotency_key,
        body_sha256=body_sha256,
        tenant_id=identity.tenant_id,
        unsubscribe=request.unsubscribe,
        tls=request.tls or _as_written(draft.headers),
        due_at=tried(complain, times.due_at, request.send_at, now),
        expires_at=tried(complain, times.expires_at, request.expires_at, request.send_at, now),
    )


def _envelopes(request: SendRequest, most: int, complain: Complain) -> list[Envelope]:
    """One for each mailbox, of the first field that names it: who is in To and Cc gets one copy, as To."""
    groups = {"to": request.to, "cc": request.cc, "bcc": request.bcc}
    try:
        _check_number(groups, most)
    except SubmissionError as error:
        complain(error)
        return []
    envelopes = []
    seen = set()
    for kind, given in groups.items():
        for mailbox in _mailboxes(kind, given, complain):
            # Local parts are compared as they are (RFC 5321 §2.4).
            key = (mailbox.local, mailbox.domain)
            if key not in seen:
                seen.add(key)
                envelopes.append(Envelope(mailbox, kind))
    return envelopes


def _check_number(groups: Mapping[str, Addresses], most: int) -> None:
    """Before they are parsed: a million addresses would hold up everybody else."""
    numbers = {kind: _number(given) for kind, given in groups.items()}
    total = sum(numbers.values())
    if total == 0:
        raise SubmissionError(Fault.NO_RECIPIENTS, "a message needs at least one recipient", pointer="/to")
    if total > most:
        raise SubmissionError(
            Fault.TOO_MANY_RECIPIENTS,
            f"a message may have {most} recipients, this one has {total}",
            pointer=pointer(max(numbers, key=lambda kind: numbers[kind])),
        )


def _number(given: Addresses) -> int:
    if given is None:
        return 0
    return len(given) if isinstance(given, list) else 1


def _mailboxes(field: str, given: Addresses, complain: Complain) -> list[Mailbox]:
    if given is None:
        return []
    if isinstance(given, list):
        found = [tried(complain, _mailbox, address, field, index) for index, address in enumerate(given)]
    else:
        found = [tried(complain, _mailbox, given, field)]
    return [mailbox for mailbox in found if mailbox is not None]


def _author(given: AnyAddress) -> Mailbox:
    return _sender(given) if isinstance(given, str) else _mailbox(given, "from")


@lru_cache(maxsize=1024)
def _sender(given: str) -> Mailbox:
    """Few write nearly everything, so this one is worth remembering."""
    return _mailbox(given, "from")


def _mailbox(given: AnyAddress, *steps: str | int) -> Mailbox:
    try:
        if not isinstance(given, Address):
            return parse_mailbox(given)
        steps = (*steps, "address")
        mailbox = parse_addr_spec(given.address)
        steps = (*steps[:-1], "name")
        return mailbox.named(given.name) if given.name else mailbox
    except AddressError as error:
        raise _invalid(str(error), *steps) from None


def _reply_to(given: Addresses, complain: Complain) -> tuple[Mailbox, ...]:
    if _number(given) > _REPLY_TO:
        complain(_invalid(f"reply_to may name {_REPLY_TO} mailboxes", "reply_to"))
        return ()
    return tuple(_mailboxes("reply_to", given, complain))


def _subject(subject: str) -> str:
    try:
        headers.check_field_text(subject, "the subject")
    except HeaderError as error:
        raise _invalid(str(error), "subject") from None
    return subject


def _header_fields(
    fields: dict[str, str] | list[HeaderField], complain: Complain
) -> tuple[tuple[str, str], ...]:
    """Checked one by one, so that a fault has its place, then together for those that stand alone."""
    steps: Sequence[str | int]
    if isinstance(fields, dict):
        steps, given = tuple(fields), tuple(fields.items())
    else:
        steps, given = range(len(fields)), tuple((field.name, field.value) for field in fields)
    good = []
    for step, (name, value) in zip(steps, given, strict=True):
        try:
            headers.check_custom_header(name, value)
        except HeaderError as error:
            complain(_invalid(str(error), "headers", step))
        else:
            good.append((name, value))
    try:
        headers.check_custom_headers(good)
    except HeaderError as error:
        complain(_invalid(str(error), "headers"))
        return ()
    return tuple(good)


def _with_tls_required(tls: str | None, fields: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Hosts behind the next one read it in the header (RFC 8689 §5)."""
    if tls != Wish.OPTIONAL or any(name.lower() == _TLS_REQUIRED for name, _ in fields):
        return fields
    return (*fields, ("TLS-Required", "No"))


def _as_written(fields: Sequence[tuple[str, str]]) -> str | None:
    said = [value.strip().lower() for name, value in fields if name.lower() == _TLS_REQUIRED]
    return Wish.OPTIONAL if said == ["no"] else None


def _invalid(detail: str, *steps: str | int) -> SubmissionError:
    return SubmissionError(Fault.INVALID_FIELD, detail, pointer=pointer(*steps))
