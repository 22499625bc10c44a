"""What a receiver would say about each DKIM signature, had it our own books for a DNS."""

from __future__ import annotations

import binascii
import enum
import re
from collections.abc import Callable
from dataclasses import dataclass

import dkim

from mailer.web.reading import header_fields

Lookup = Callable[[bytes], bytes | None]

_MOST_SIGNATURES = 10  # a hostile message must not buy CPU by the signature (RFC 6376 §8.4)
_TAG = re.compile(r"(?:^|;)\s*([a-zA-Z]+)\s*=\s*([^;]*)")


class Result(enum.StrEnum):
    """RFC 8601 §2.7.1."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one signature, in the order of the message. reason: why it did not pass; else empty."""

    result: Result
    domain: str
    selector: str
    algorithm: str
    reason: str = ""


def verdicts(message: bytes, lookup: Lookup) -> list[Verdict]:
    """One for each DKIM-Signature, at most ten; empty for a message without any.

    lookup  the TXT record of `<selector>._domainkey.<domain>.`, None where there is none. It alone is
            asked, never the DNS: sandbox keys are not published, and a look-up would tell a stranger
            that his message was opened.
    """
    signatures = [value for name, value in header_fields(message) if name.lower() == "dkim-signature"]
    return [_verdict(message, n, value, lookup) for n, value in enumerate(signatures[:_MOST_SIGNATURES])]


def _verdict(message: bytes, number: int, signature: str, lookup: Lookup) -> Verdict:
    tags = {name: re.sub(r"\s+", "", value) for name, value in _TAG.findall(signature)}
    result, reason = _verified(message, number, lookup)
    return Verdict(result, tags.get("d", ""), tags.get("s", ""), tags.get("a", ""), reason)


def _verified(message: bytes, number: int, lookup: Lookup) -> tuple[Result, str]:
    found: list[bytes | None] = []

    def from_books(name: bytes, timeout: float = 5) -> bytes | None:
        found.append(lookup(name))
        return found[-1]

    try:
        passed = dkim.DKIM(message).verify(idx=number, dnsfunc=from_books)
    except dkim.ValidationError as error:
        return Result.FAIL, _sentence(error)
    except (dkim.DKIMException, binascii.Error, ValueError, KeyError, IndexError) as error:
        return Result.PERMERROR, _sentence(error)
    if passed:
        return Result.PASS, ""
    if found == [None]:
        return Result.PERMERROR, "no key for this selector in our books"
    return Result.FAIL, "the signature does not verify with the published key"


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
