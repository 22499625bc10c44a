"""Reading a request body: no larger, no slower, and no more of them at once than we can hold."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.types import Receive

from mailer.accept.budget import Hold
from mailer.accept.http.visits import ClientGone
from mailer.accept.submission import Fault, SubmissionError


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """What one body may take.

    request_bytes     largest body
    grace_seconds     time that any body may take
    bytes_per_second  beyond that, the pace that a sender must keep on average
    """

    request_bytes: int
    grace_seconds: float = 30.0
    bytes_per_second: int = 64 * 1024


Body = bytes | bytearray


async def read_body(
    headers: Mapping[bytes, bytes],
    receive: Receive,
    hold: Hold,
    limits: BodyLimits,
    at_hand: Body | None = None,
) -> Body:
    """The whole body, once in memory. Raises SubmissionError (too large, too slow, no room), ClientGone.

    A length announced is reserved before the first octet is read, so that uploads which began are not
    refused half-way for want of room.

    at_hand  the whole body, if it is there already
    """
    declared = _declared_length(headers)
    if declared > limits.request_bytes:
        raise _too_large(limits)
    hold.grow_to(declared)
    if at_hand is not None:
        if len(at_hand) > limits.request_bytes:
            raise _too_large(limits)
        hold.grow_to(len(at_hand))
        return at_hand
    try:
        async with asyncio.timeout(limits.grace_seconds) as deadline:
            return await _read(receive, hold, limits, deadline, declared)
    except TimeoutError:
        raise SubmissionError(
            Fault.REQUEST_TIMEOUT, "the request body did not arrive in time; nothing was accepted"
        ) from None


def _declared_length(headers: Mapping[bytes, bytes]) -> int:
    """0 when the body is chunked. The server refuses what RFC 9110 §8.6 does; this is for other servers."""
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        raise SubmissionError(Fault.MALFORMED_REQUEST, "Content-Length is not a number")
    return int(length)


async def _read(
    receive: Receive, hold: Hold, limits: BodyLimits, deadline: asyncio.Timeout, declared: int
) -> Body:
    body = bytearray()
    size = 0
    grace_ends = deadline.when() or 0.0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limits.request_bytes:
            raise _too_large(limits)
        hold.grow_to(size)
        is_last = not message.get("more_body", False)
        if is_last and size == len(chunk):
            return chunk  # nearly every body
        if not body:
            # At its size from the first: joining pieces at the end would need the room twice.
            body = bytearray(declared)
        body[size - len(chunk) : size] = chunk
        if is_last:
            del body[size:]
            return body
        deadline.reschedule(grace_ends + size / limits.bytes_per_second)


def _too_large(limits: BodyLimits) -> SubmissionError:
    return SubmissionError(
        Fault.REQUEST_TOO_LARGE, f"a request body may have {limits.request_bytes} octets at most"
    )
