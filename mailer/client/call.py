"""One request to the API and what may be done about its failure. Nothing here does input or output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from mailer.client.errors import ApiError, UnreadableAnswer, error_of

T = TypeVar("T")

JSON = "application/json"
_PASSING = frozenset({429, 503})  # nothing was done: the same request may succeed later
_UNCERTAIN = frozenset({408, 500, 502, 504})  # it may have been done: only what may be repeated is


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """A request, and the type of its answer's JSON.

    path        after the base URL
    body        octets; None: none
    answer      what a 2xx holds; None for an answer without content
    repeatable  doing it twice does no more than doing it once
    wait        seconds that the server may hold the request back by its own design
    """

    method: str
    path: str
    answer: type[T] | None
    params: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    repeatable: bool = False
    wait: float = 0.0

    def decode(self, content: bytes) -> T:
        """The answer of a 2xx. Raises UnreadableAnswer."""
        if self.answer is None:
            return None  # type: ignore[return-value] # T is None then
        try:
            return msgspec.json.decode(content, type=self.answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnreadableAnswer(f"{self.method} {self.path}: {error}") from error


def json_body(value: Any) -> bytes:
    return msgspec.json.encode(value)


def changing(
    method: str, path: str, answer: type[T] | None, body: Mapping[str, Any], *, repeatable: bool = False
) -> Call[T]:
    """A call with a JSON object; members that are None are left out."""
    said = {name: value for name, value in body.items() if value is not None}
    return Call(
        method=method,
        path=path,
        answer=answer,
        headers={"Content-Type": JSON},
        body=json_body(said),
        repeatable=repeatable,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often and how long apart a failed call is made again.

    retries      after the first try; 0: never
    first_pause  seconds, doubled with every further one, up to longest_pause
    """

    retries: int = 3
    first_pause: float = 0.5
    longest_pause: float = 20.0

    def after_break(self, call: Call[Any], *, tried: int, was_sent: bool, draw: float) -> float | None:
        """Seconds to wait after a connection that failed in try number `tried`; None: give up."""
        if tried > self.retries or (was_sent and not call.repeatable):
            return None
        return self._pause(tried, draw)

    def after_answer(self, call: Call[Any], error: ApiError, *, tried: int, draw: float) -> float | None:
        """The same after an answer that was not 2xx. The server's own Retry-After is kept to, if bearable."""
        if tried > self.retries:
            return None
        if error.status not in _PASSING and not (error.status in _UNCERTAIN and call.repeatable):
            return None
        if error.retry_after is None:
            return self._pause(tried, draw)
        return error.retry_after * (1 + draw / 4) if error.retry_after <= self.longest_pause else None

    def _pause(self, tried: int, draw: float) -> float:
        """Between half and all of the step, so that clients that failed together do not come together."""
        step = min(self.first_pause * 2.0 ** min(tried - 1, 30), self.longest_pause)
        return step * (0.5 + draw / 2)


USUAL = Patience()


def failure_of(status: int, headers: Mapping[str, str], content: bytes) -> ApiError:
    """The error that an answer other than 2xx stands for."""
    return error_of(status, headers.get("retry-after"), headers.get("content-type", ""), content)


def pairs(**given: object) -> Iterator[tuple[str, str]]:
    """Query parameters: None is left out, a list is repeated, a truth is `true` or `false`."""
    for name, value in given.items():
        if value is None:
            continue
        for one in value if isinstance(value, list | tuple | set | frozenset) else (value,):
            yield name, _shown(one)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    isoformat = getattr(value, "isoformat", None)
    return str(isoformat()) if isoformat else str(value)
