"""Why a call failed. Catch `MailerError` for all of it, or the class that can be acted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec


class MailerError(Exception):
    """Root of all that a client raises."""


class ConnectionFailed(MailerError):
    """No answer came: refused, reset or timed out. What was asked may have been done if it was sent."""


class UnreadableAnswer(MailerError):
    """The answer is not what the API promises: another server, or a newer or older API."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field. pointer: RFC 6901, into the request's body; parameter: of the query."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class ApiError(MailerError):
    """The server refused (RFC 9457).

    word         the last part of the problem's type, stable: "from-not-allowed"; "" if it gave none
    status       of HTTP
    detail       a sentence for people
    errors       the fields at fault
    request_id   names the request in the server's log
    doc          where the problem is explained; a path on the server
    retry_after  seconds that the server asks to wait; None if it does not
    """

    def __init__(
        self,
        status: int,
        word: str,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        request_id: str | None = None,
        doc: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {word}: {detail}" if word else f"{status}: {detail}")
        self.status = status
        self.word = word
        self.detail = detail
        self.errors = errors
        self.request_id = request_id
        self.doc = doc
        self.retry_after = retry_after


class InvalidRequest(ApiError):
    """400, 413, 415, 422: the request must be changed; `errors` points at what is wrong."""


class AuthenticationFailed(ApiError):
    """401: the API key is missing or not good."""


class NotAllowed(ApiError):
    """403: the key or its tenant may not do this."""


class NotFound(ApiError):
    """404: there is no such thing, or it is somebody else's."""


class Conflict(ApiError):
    """409: it contradicts what is there."""


class RateLimited(ApiError):
    """429: too much at once; tried again already as often as the client may."""


class ServerFailed(ApiError):
    """5xx: not the caller's fault; tried again already where that was safe."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest, 401: AuthenticationFailed, 403: NotAllowed, 404: NotFound, 409: Conflict,
    413: InvalidRequest, 415: InvalidRequest, 422: InvalidRequest, 429: RateLimited,
}  # fmt: skip


def error_of(status: int, retry_after: str | None, content_type: str, content: bytes) -> ApiError:
    """Of an answer other than 2xx, also one that some proxy in between wrote."""
    kind = ServerFailed if status >= 500 else _BY_STATUS.get(status, ApiError)
    seconds = float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else None
    problem = _problem(content_type, content)
    if problem is None:
        return kind(status, "", "the answer explains nothing", retry_after=seconds)
    return kind(
        status,
        str(problem.get("type", "")).rpartition("/")[2],
        str(problem.get("detail") or problem.get("title") or ""),
        errors=tuple(_field_error(given) for given in problem.get("errors") or () if isinstance(given, dict)),
        request_id=problem.get("request_id"),
        doc=problem.get("doc"),
        retry_after=seconds,
    )


def _problem(content_type: str, content: bytes) -> dict[str, Any] | None:
    if content_type.partition(";")[0].strip().lower() != "application/problem+json":
        return None
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return document if isinstance(document, dict) else None


def _field_error(given: dict[str, Any]) -> FieldError:
    return FieldError(str(given.get("detail", "")), given.get("pointer"), given.get("parameter"))
