"""The recipients of a transaction, each once, with what its submitter asked of DSNs (RFC 3461 §4)."""

from __future__ import annotations

from collections.abc import Iterable

from mailer.accept.submission import Envelope
from mailer.compose.address import Mailbox, parse_addr_spec
from mailer.listener import Notify, Path, RcptParameters, Transaction
from mailer.policy import notices

_DEFAULT = frozenset({Notify.FAILURE})


def mailbox_of(path: Path) -> Mailbox:
    """Raises AddressError: an address literal, or <postmaster>, which is nobody's here."""
    return parse_addr_spec(path.text)


def envelopes(t: Transaction) -> tuple[Envelope, ...]:
    """Distinct mailboxes in the order they were named.

    One that is named twice gets one copy, as ever, and one DSN at most. It is told of whatever any of its
    RCPT commands asks for, so NEVER holds only where all say it; the first ORCPT that was said stands.
    """
    if len(t.recipients) == 1:
        [only] = t.recipients
        return (_envelope(t, mailbox_of(only.path), [only.parameters]),)
    named: dict[Mailbox, list[RcptParameters]] = {}
    for recipient in t.recipients:
        named.setdefault(mailbox_of(recipient.path), []).append(recipient.parameters)
    return tuple([_envelope(t, mailbox, said) for mailbox, said in named.items()])


def _envelope(t: Transaction, mailbox: Mailbox, said: list[RcptParameters]) -> Envelope:
    return Envelope(mailbox, "to", notify=_notify(t.reverse_path, said), orcpt=_orcpt(said))


def _notify(reverse_path: Path, said: list[RcptParameters]) -> str | None:
    """As the column holds it. Words in one order, so that the same wish is the same text."""
    words = said[0].notify if len(said) == 1 else _union(parameters.notify for parameters in said)
    if not reverse_path.text and words != {Notify.NEVER}:
        return None  # RFC 5321 §4.5.5: nobody is to be told
    return ",".join(word for word in Notify if word in words) if words else notices.NOT_SAID


def _union(asked: Iterable[frozenset[Notify]]) -> frozenset[Notify]:
    every = list(asked)
    if not any(every):
        return frozenset()  # not said at all, and so not to be said on
    words = frozenset[Notify]().union(*(words or _DEFAULT for words in every))
    return words if words == {Notify.NEVER} else words - {Notify.NEVER}


def _orcpt(said: list[RcptParameters]) -> str | None:
    given = [parameters.orcpt for parameters in said if parameters.orcpt is not None]
    return ";".join(given[0]) if given else None
