"""A decoded send request becomes a Submission: every mailbox and header field parsed, limits kept.

Whatever could not become a message is refused here with a pointer to it, so that composing, which
knows nothing of JSON, only meets what it can write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mailer.accept.credentials import Identity
from mailer.accept.http.wire import Address, Addresses, AnyAddress, SendRequest, pointer
from mailer.accept.submission import Envelope, Fault, Submission, SubmissionError
from mailer.compose import headers
from mailer.compose.address import AddressError, Mailbox, parse_addr_spec, parse_mailbox
from mailer.compose.headers import HeaderError
from mailer.compose.mime import Draft

_KINDS = ("to", "cc", "bcc")
_REPLY_TO = 25  # mailboxes; more are a mistake


def submission_of(
    request: SendRequest,
    identity: Identity,
    *,
    most_recipients: int,
    idempotency_key: str | None,
    body_sha256: bytes,
) -> Submission:
    """Raises SubmissionError and nothing else, whatever the request."""
    if request.text is None and request.html is None:
        raise _invalid("a message needs a text, an html, or both", "text")
    groups = {kind: _as_list(getattr(request, kind)) for kind in _KINDS}
    _check_number(groups, most_recipients)
    seen: set[tuple[str, str]] = set()
    distinct = {kind: tuple(_distinct(kind, getattr(request, kind), seen)) for kind in _KINDS}
    draft = Draft(
        from_=_mailbox(request.from_, "from"),
        to=distinct["to"],
        cc=distinct["cc"],
        reply_to=_reply_to(request),
        subject=_subject(request),
        text=request.text,
        html=request.html,
        headers=_header_fields(request),
    )
    return Submission(
        key_id=identity.key_id,
        secret_hash=identity.secret_hash,
        draft=draft,
        recipients=tuple(Envelope(mailbox, kind) for kind in _KINDS for mailbox in distinct[kind]),
        stream=request.stream,
        tags=tuple(request.tags or ()),
        metadata=request.metadata or {},
        idempotency_key=idempotency_key,
        body_sha256=body_sha256,
    )


def _as_list(given: Addresses) -> list[AnyAddress]:
    if given is None:
        return []
    return given if isinstance(given, list) else [given]


def _check_number(groups: dict[str, list[AnyAddress]], most: int) -> None:
    """Before they are parsed: a million addresses would hold up everybody else."""
    number = sum(map(len, groups.values()))
    if number == 0:
        raise SubmissionError(Fault.NO_RECIPIENTS, "a message needs at least one recipient", pointer="/to")
    if number > most:
        longest = max(groups, key=lambda kind: len(groups[kind]))
        raise SubmissionError(
            Fault.TOO_MANY_RECIPIENTS,
            f"a message may have {most} recipients, this one has {number}",
            pointer=pointer(longest),
        )


def _distinct(field: str, given: Addresses, seen: set[tuple[str, str]]) -> Iterator[Mailbox]:
    """Mailboxes of `field` not seen before: the same mailbox in To and Cc gets one copy, as To."""
    for mailbox in _mailboxes(field, given):
        # Local parts are compared as they are (RFC 5321 §2.4).
        key = (mailbox.local, mailbox.domain)
        if key not in seen:
            seen.add(key)
            yield mailbox


def _mailboxes(field: str, given: Addresses) -> Iterator[Mailbox]:
    if isinstance(given, list):
        for index, address in enumerate(given):
            yield _mailbox(address, field, index)
    elif given is not None:
        yield _mailbox(given, field)


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


def _reply_to(request: SendRequest) -> tuple[Mailbox, ...]:
    if len(_as_list(request.reply_to)) > _REPLY_TO:
        raise _invalid(f"reply_to may name {_REPLY_TO} mailboxes", "reply_to")
    return tuple(_distinct("reply_to", request.reply_to, set()))


def _subject(request: SendRequest) -> str:
    try:
        headers.check_field_text(request.subject, "the subject")
    except HeaderError as error:
        raise _invalid(str(error), "subject") from None
    return request.subject


def _header_fields(request: SendRequest) -> tuple[tuple[str, str], ...]:
    """Checked one by one, so that a fault has its place, then together for those that stand alone."""
    if not request.headers:
        return ()
    steps: Iterable[str | int]
    if isinstance(request.headers, dict):
        steps, given = list(request.headers), tuple(request.headers.items())
    else:
        steps = range(len(request.headers))
        given = tuple((header.name, header.value) for header in request.headers)
    for step, (name, value) in zip(steps, given, strict=True):
        try:
            headers.check_custom_header(name, value)
        except HeaderError as error:
            raise _invalid(str(error), "headers", step) from None
    try:
        headers.check_custom_headers(given)
    except HeaderError as error:
        raise _invalid(str(error), "headers") from None
    return given


def _invalid(detail: str, *steps: str | int) -> SubmissionError:
    return SubmissionError(Fault.INVALID_FIELD, detail, pointer=pointer(*steps))
