"""What became of a recipient, from the words of a report: the action, then the classifier's judgement."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources

from mailer.policy.bounceclass import Action, Blame, BounceClass, Group
from mailer.policy.classifier import Classifier, Judgement, Said
from mailer.policy.sites import SiteRules
from mailer.protocol.enhanced import EnhancedStatus
from mailer.protocol.phase import Phase
from mailer.report.reading.kinds import DeliveryAction
from mailer.report.reading.statusfields import status_in
from mailer.report.reading.wording import wording

_WORDS_CHARS = 4000

# Where a host quotes a reply: at the beginning, or behind "said:" and its like. Not a part of an address.
_REPLY = re.compile(
    r"(?:^|[\s\"'(<\[:>])(?P<code>[45][0-5]\d)(?:[ \-:#,;]{1,3}|$)"
    r"(?:\(?#?(?P<status>[245]\.\d{1,3}\.\d{1,3})\b)?"
)
_QUOTED = re.compile(
    r"(?:said|replied|responded|response|returned|error|was|\][:)]?|refused to talk to me)"
    r"[^\n:]{0,60}?:[ \t\"'\[]*"
    r"(?P<reply>[245][0-5]\d[ \-].*)",
    re.DOTALL | re.IGNORECASE,
)
_BARE = re.compile(r"(?<=[\]\w][ \t])[245]\.\d{1,3}\.\d{1,3}[ \t].*", re.DOTALL)  # 1&1 leaves the code out
_CONTINUED = re.compile(r"(?<=\s)(?P<code>[245][0-5]\d)-(?=[245]?\.?\S)")
_SAID_BY = re.compile(r"\bhost\s+([A-Za-z0-9.-]{3,250})\s*\[[0-9A-Fa-f.:]{3,45}\]", re.IGNORECASE)
# Postfix names the command behind the reply, Exim before it, qmail-remote.c in words of its own.
_PHASES = tuple(
    (re.compile(pattern, re.IGNORECASE), phase)
    for pattern, phase in (
        (
            r"in reply to (?:end of DATA|\.)|end[- ]of[- ]data|final dot|after I sent the message",
            Phase.END_OF_DATA,
        ),
        (
            r"in reply to RCPT|after (?:pipelined )?RCPT|RCPT command|not like (?:recipient|our RCPT)",
            Phase.RCPT,
        ),
        (
            r"in reply to MAIL|after (?:pipelined |sending )?MAIL|MAIL command|but sender was rejected",
            Phase.MAIL,
        ),
        (r"in reply to DATA|after (?:pipelined )?DATA|failed on DATA", Phase.DATA),
        (r"in reply to (?:EHLO|HELO)|after (?:EHLO|HELO)|my name was rejected", Phase.EHLO),
        (r"refused to talk to me|(?:after )?initial connection|but greeting failed", Phase.GREETING),
    )
)
# The host gave up because its own time was over. From the bounce templates of qmail (qmail-send.c), Exim
# (retry.c), Postfix (qmgr_message.c), sendmail (deliver.c), OpenSMTPD (queue.c), Exchange (5.4.7 of
# https://learn.microsoft.com/exchange/mail-flow/non-delivery-reports-and-bounce-messages); others assumed.
_EXPIRED = wording("expired")
# Replies that a queue waits for the end of: that it waited too long is what came of them.
_PATIENCE = frozenset(
    {
        BounceClass.SERVER_ERROR,
        BounceClass.NETWORK_ERROR,
        BounceClass.RATE_LIMITED,
        BounceClass.GREYLISTED,
        BounceClass.EXPIRED,
        BounceClass.PROTOCOL_ERROR,
    }
)


class Judge:
    """Asks one classifier."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier

    def of(
        self,
        action: DeliveryAction,
        said: Sequence[str],
        rest: Sequence[str] = (),
        *,
        status: EnhancedStatus | None = None,
        remote_mta: str | None = None,
        has_expired: bool = False,
    ) -> Judgement:
        """said: what was said of the recipient, the most telling first.

        rest  other words of the mail, asked where neither those nor the status mean anything
        """
        if action is DeliveryAction.DELAYED:
            return _decided(BounceClass.DELAYED, status, "action-delayed", Blame.REMOTE)
        if action is not DeliveryAction.FAILED:
            return _decided(BounceClass.DELIVERED, status, f"action-{action}", Blame.REMOTE)
        expired = has_expired or (status is not None and (status.subject, status.detail) == (4, 7))
        if not expired and not any(_EXPIRED.search(text) for text in (*said, *rest)):
            return self._heard(said, rest, status, remote_mta)
        # What the host heard last says more than that it lost patience, where it says whose fault that is.
        last = self._heard(
            [_EXPIRED.sub(" ", text) for text in said], (), _unless_expired(status), remote_mta
        )
        if _tells(last) and last.bounce_class not in _PATIENCE:
            return last
        return _decided(BounceClass.EXPIRED, status or last.status, "queue-time", Blame.REMOTE)

    def _heard(
        self, said: Sequence[str], rest: Sequence[str], status: EnhancedStatus | None, remote: str | None
    ) -> Judgement:
        best: Judgement | None = None
        for text in said:
            judgement = self._said(text, status, remote)
            if _tells(judgement):
                return judgement
            best = best or judgement
        if status is not None and status.subject:
            judgement = self.classifier.classify(Said(text="", status=status))
            if _tells(judgement):
                return judgement
        for text in rest:
            judgement = self._said(text, status, remote)
            if _tells(judgement):
                return judgement
        return best or self.classifier.classify(Said(text="", status=status))

    def _said(self, text: str, status: EnhancedStatus | None, remote: str | None) -> Judgement:
        text = text[:_WORDS_CHARS]
        code, found = reply_in(text)
        host = _SAID_BY.search(text)
        provider = provider_of(host[1] if host is not None else remote or "")
        said = Said(
            text=_reply_of(text, code),
            code=code,
            status=_specific(telling(status, found), code),
            provider=provider,
            phase=phase_in(text),
        )
        judgement = self.classifier.classify(said)
        if not _tells(judgement) and said.text != text:
            judgement = self.classifier.classify(replace(said, text=text))
        return judgement


def reply_in(text: str) -> tuple[int | None, EnhancedStatus | None]:
    """Code and enhanced status of the reply that `text` is or quotes."""
    match = _REPLY.search(text)
    status = status_in(text)
    if match is None:
        continued = _CONTINUED.search(text)
        return (int(continued["code"]) if continued is not None else None), status
    if match["status"]:
        status = status_in(match["status"]) or status
    return int(match["code"]), status


def _reply_of(text: str, code: int | None) -> str:
    """The reply that `text` quotes, without what the host says of it; all of it where it quotes none."""
    if code is None:
        bare = _BARE.search(text)
        return text if bare is None else bare[0]
    quoted = _QUOTED.search(text)
    return text if quoted is None else quoted["reply"]


def telling(given: EnhancedStatus | None, found: EnhancedStatus | None) -> EnhancedStatus | None:
    """The one that says more: hosts that know no better write 5.0.0 in the field (RFC 3463 §3.1)."""
    if given is None or (given.subject == 0 and found is not None):
        return found
    if (
        found is not None
        and given.detail == 0
        and (found.class_, found.subject) == (given.class_, given.subject)
    ):
        return found
    return given


def _specific(status: EnhancedStatus | None, code: int | None) -> EnhancedStatus | None:
    """None in place of x.0.0 without a reply: a host's way to say that it knows none (RFC 3463 §3.1)."""
    return None if status is not None and code is None and not status.subject else status


def phase_in(text: str) -> Phase | None:
    for pattern, phase in _PHASES:
        if pattern.search(text):
            return phase
    return None


def _tells(judgement: Judgement) -> bool:
    return judgement.bounce_class.group not in _SILENT


_SILENT = frozenset({Group.UNDETERMINED, Group.INFO, Group.NONE, Group.AUTO, Group.REPORT})


def _unless_expired(status: EnhancedStatus | None) -> EnhancedStatus | None:
    """A status x.4.7 would only say again that the time was over (RFC 3463 §3.5)."""
    return None if status is not None and status.subject == 4 else status


def _decided(bounce_class: BounceClass, status: EnhancedStatus | None, rule: str, blame: Blame) -> Judgement:
    action = Action.RETRY if bounce_class is BounceClass.DELAYED else Action.FAIL
    return Judgement(bounce_class, action, blame, status, rule, "reading", "RFC 3464 §2.3.3")


def provider_of(host: str) -> str | None:
    """The provider in sites.toml whose MX `host` is."""
    found = _sites().provider_of(host) if host else None
    return None if found is None else found.name


@functools.cache
def _sites() -> SiteRules:
    file = resources.files("mailer.policy") / "data" / "sites.toml"
    return SiteRules.parse({"sites.toml": file.read_text(encoding="utf-8")})
