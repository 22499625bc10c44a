"""What TLS a host must prove before it gets a recipient's mail, and whether a session proved it. Pure.

In this order (RFC 7672 §2.2, RFC 8461 §2):

    DANE        secure, usable TLSA records decide; MTA-STS cannot mend their failure
    failed      a TLSA look-up that is bogus or unanswered: not this host
    unusable    secure TLSA records of which none counts: TLS, by whatever certificate
    MTA-STS     enforce: only hosts that the policy names, and a certificate of the web's authorities;
                testing: the same is tried, its failure is reported, and the mail goes all the same
    otherwise   opportunistic

and never less than the sender wants: its message, its stream, or a rule for the provider or the domain. A
message with "TLS-Required: No" (RFC 8689 §5) asks for the opposite: what its recipient's domain demands is
not heeded then, what our own rules demand is.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mailer.policy import tls_dane
from mailer.policy.tls_dane import Tlsa
from mailer.policy.tls_sts import StsMode, StsPolicy


class Wish(enum.StrEnum):
    """What the sender wants of TLS."""

    NONE = ""  # what the recipient's domain demands
    OPTIONAL = "optional"  # not even that: rather in clear than not at all (TLS-Required: No)
    ENCRYPTED = "encrypted"  # TLS with whatever certificate
    REQUIRED = "required"  # TLS with a host that proved to be the one it should be
    REQUIRETLS = "requiretls"  # that, and every host after it must do the same (RFC 8689 §2)


# Words for streams and rules.
RULES = (Wish.ENCRYPTED, Wish.REQUIRED)


class Need(enum.IntEnum):
    """The proof that is demanded of a host, from the least on."""

    OPTIONAL = 0  # TLS where offered; clear text also for a host that was seen with TLS
    OPPORTUNISTIC = 1  # TLS where offered, any certificate (RFC 7435 §3)
    ENCRYPTED = 2  # TLS, any certificate
    VERIFIED = 3  # TLS, a certificate of the web's authorities for the host's name (RFC 8461 §4.2)
    DANE = 4  # TLS, a certificate that the TLSA records name (RFC 7672 §3)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The sender's wish, and whose it is: "message", "stream", "provider-rule", "domain-rule"."""

    wish: Wish = Wish.NONE
    by: str = ""


class PolicyType(enum.StrEnum):
    """RFC 8460 §4.4."""

    STS = "sts"
    TLSA = "tlsa"
    NONE = "no-policy-found"


@dataclass(frozen=True, slots=True)
class Published:
    """The policy of the recipient's domain that a session is reported under (RFC 8460 §4.4).

    recipient  the domain of the recipient, whose owner gets the report
    domain     what the policy was published for: that domain, or for TLSA the host
    lines      the policy as it was found: lines of the MTA-STS policy, or TLSA records
    """

    type: PolicyType
    recipient: str
    domain: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one host must prove for one recipient domain's mail.

    by          who demands it, one word; "" nobody
    tlsa        usable records, where DANE decides
    names       reference identifiers for usage 2 (RFC 7672 §3.2.2); the first one goes into SNI
    is_lenient  a failure to prove it is reported and the mail goes all the same (RFC 8461 §5, testing)
    fault       a failure of the host that is reported although it may have the mail (RFC 8460 §4.3)
    published   what the session is reported under; None: nothing is reported
    """

    need: Need = Need.OPPORTUNISTIC
    by: str = ""
    tlsa: tuple[Tlsa, ...] = ()
    names: tuple[str, ...] = ()
    is_lenient: bool = False
    fault: str = ""
    published: Published | None = None


@dataclass(frozen=True, slots=True)
class Barred:
    """A host that must not get this domain's mail. result: the word of RFC 8460 §4.3."""

    cause: str
    result: str
    published: Published | None = None


ANYTHING = Demand()
NOTHING_WANTED = Wanted()


@dataclass(frozen=True, slots=True)
class Proof:
    """What a session proved about its host.

    usage  of the TLSA record that named its certificate; None: no DANE
    tlsa, names
           what that was judged by
    failure
           the word of RFC 8460 §4.3 for what failed before, where a lenient demand let the session be
    """

    is_encrypted: bool = False
    is_verified: bool = False
    usage: int | None = None
    tlsa: tuple[Tlsa, ...] = ()
    names: tuple[str, ...] = ()
    failure: str = ""


def meets(proof: Proof, demand: Demand) -> bool:
    """Whether a session that proved this may carry mail with this demand.

    A lenient demand is met by a session that failed at it, too: it was tried, and that is reported.
    """
    if demand.need is Need.DANE:
        same = proof.tlsa == demand.tlsa and (
            proof.usage == tls_dane.END_ENTITY or proof.names == demand.names
        )
        return proof.usage is not None and same
    if demand.need is Need.VERIFIED:
        return proof.is_verified or (demand.is_lenient and bool(proof.failure))
    return proof.is_encrypted or demand.need is not Need.ENCRYPTED


@dataclass(frozen=True, slots=True)
class TlsaFound:
    """What the look-up of a host's TLSA records came to (RFC 7672 §2.2).

    records     all of a secure answer, usable or not
    is_secure   it was; else what was found does not count
    failure     no answer, or a bogus one; None: there was one
    base        TLSA base domain (RFC 7672 §2.2.3): the host, or what it is an alias of
    """

    base: str
    records: tuple[Tlsa, ...] = ()
    is_secure: bool = False
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a recipient's domain. sts: its live policy; None: it has none.

    is_mx_secure  its MX set came with DNSSEC's word for it
    """

    domain: str
    sts: StsPolicy | None = None
    is_mx_secure: bool = False


def demand_of(host: str, found: TlsaFound | None, facts: Facts, wanted: Wanted) -> Demand | Barred:
    """What an MX host must prove. found: None where DANE cannot apply (the MX set is not secure)."""
    own = _own_need(wanted.wish)
    if wanted.wish is Wish.OPTIONAL:
        return Demand(need=Need.OPTIONAL, by="tls-required-no")
    if found is not None and found.failure is not None:
        published = Published(PolicyType.TLSA, facts.domain, found.base)
        return Barred(
            f"no answer for the TLSA records of {host}: {found.failure}", "dnssec-invalid", published
        )
    if found is not None and found.is_secure and found.records:
        return _by_tlsa(host, found, facts, wanted)
    if wanted.wish is Wish.REQUIRETLS and not _is_known_host(host, facts):
        why = "REQUIRETLS needs a host that DNSSEC or MTA-STS vouches for (RFC 8689 §4.2.1)"
        return Barred(f"{why}, and {host} is none", "validation-failure")
    if facts.sts is not None and facts.sts.mode is not StsMode.NONE:
        return _by_sts(host, facts.domain, facts.sts, wanted)
    need = max(Need.OPPORTUNISTIC, own)
    return Demand(
        need=need, by=wanted.by if own > Need.OPPORTUNISTIC else "", published=_no_policy(facts.domain)
    )


def _by_tlsa(host: str, found: TlsaFound, facts: Facts, wanted: Wanted) -> Demand | Barred:
    published = Published(PolicyType.TLSA, facts.domain, found.base, tuple(map(str, found.records)))
    records = tls_dane.usable(found.records)
    if records:
        by_issuer = any(r.usage == tls_dane.TRUST_ANCHOR for r in records)
        names = (found.base, *(name for name in (host, facts.domain) if by_issuer and name != found.base))
        names = tuple(dict.fromkeys(names))
        return Demand(need=Need.DANE, by="dane", tlsa=records, names=names, published=published)
    # RFC 7672 §2.2: somebody wanted TLS, and did not manage to say by which certificate. That they have no
    # DANE leaves their MTA-STS policy in force.
    if facts.sts is not None and facts.sts.mode is StsMode.ENFORCE:
        return _by_sts(host, facts.domain, facts.sts, wanted)
    own = _own_need(wanted.wish)
    if own > Need.ENCRYPTED:
        return Demand(need=own, by=wanted.by, published=published)
    return Demand(need=Need.ENCRYPTED, by="dane-unusable", published=published)


def _by_sts(host: str, domain: str, policy: StsPolicy, wanted: Wanted) -> Demand | Barred:
    published = Published(PolicyType.STS, domain, domain, policy.lines)
    is_lenient = policy.mode is StsMode.TESTING
    own = _own_need(wanted.wish)
    if not policy.names(host):
        cause = f"the MTA-STS policy of {domain} does not name the host {host}"
        if not is_lenient:
            return Barred(cause, "validation-failure", published)
        need, by = max(own, Need.OPPORTUNISTIC), wanted.by or "mta-sts-testing"
        return Demand(need=need, by=by, fault="validation-failure", published=published)
    if own >= Need.VERIFIED:
        return Demand(need=Need.VERIFIED, by=wanted.by, published=published)
    if is_lenient and own is Need.ENCRYPTED:
        return Demand(need=Need.ENCRYPTED, by=wanted.by, published=published)
    by = "mta-sts-testing" if is_lenient else "mta-sts"
    return Demand(need=Need.VERIFIED, by=by, is_lenient=is_lenient, published=published)


def _is_known_host(host: str, facts: Facts) -> bool:
    named = facts.sts is not None and facts.sts.mode is StsMode.ENFORCE and facts.sts.names(host)
    return facts.is_mx_secure or named


@lru_cache(maxsize=4096)
def _no_policy(domain: str) -> Published:
    return Published(PolicyType.NONE, domain, domain)


def _own_need(wish: Wish) -> Need:
    match wish:
        case Wish.OPTIONAL:
            return Need.OPTIONAL
        case Wish.ENCRYPTED:
            return Need.ENCRYPTED
        case Wish.REQUIRED | Wish.REQUIRETLS:
            return Need.VERIFIED
        case _:
            return Need.OPPORTUNISTIC


_STRICTNESS = (Wish.OPTIONAL, Wish.NONE, Wish.ENCRYPTED, Wish.REQUIRED, Wish.REQUIRETLS)


def strictest(wishes: Sequence[Wanted]) -> Wanted:
    """Of several wishes the one that asks for the most; the first of equals.

    One for less than nothing, TLS-Required: No, yields to any rule and holds where there is none.
    """
    said = [w for w in wishes if w.wish is not Wish.NONE]
    if not said:
        return NOTHING_WANTED
    return max(said, key=lambda w: _STRICTNESS.index(w.wish))


@lru_cache(maxsize=64)
def wanted_by(message: str | None, stream: str | None) -> Wanted:
    """Of what stands in the columns of a message and its stream; None: nothing."""
    return strictest([Wanted(Wish(message or ""), "message"), Wanted(Wish(stream or ""), "stream")])
