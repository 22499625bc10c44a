"""The MTA-STS policy of a domain, fetched by HTTPS (RFC 8461 §3.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from mailer.outward import NotAllowed, NotFound, TlsFailed
from mailer.policy.tls_sts import MOST_OCTETS, StsError, StsPolicy, parse_policy

SECONDS = 60.0  # for all of it (RFC 8461 §3.3)
_MEDIA_TYPE = "text/plain"


@dataclass(frozen=True, slots=True)
class NotFetched:
    """There is no policy to be had. result: the word of RFC 8460 §4.3."""

    result: str
    cause: str


class PolicyFetcher:
    """Lives on one event loop."""

    def __init__(
        self,
        make_transport: Callable[[], httpx.AsyncBaseTransport],
        *,
        user_agent: str,
        port: int = 443,
        seconds: float = SECONDS,
    ) -> None:
        """make_transport: called for the first policy; guarded, and verifies certificates."""
        self._make_transport = make_transport
        self._user_agent = user_agent
        self._port = port
        self._seconds = seconds
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def fetch(self, domain: str) -> StsPolicy | NotFetched:
        """Nothing the host or the network does raises."""
        try:
            async with asyncio.timeout(self._seconds):
                text = await self._get(f"https://mta-sts.{domain}:{self._port}/.well-known/mta-sts.txt")
            return parse_policy(text)
        except TlsFailed as error:
            return NotFetched("sts-webpki-invalid", str(error))
        except StsError as error:
            return NotFetched("sts-policy-invalid", str(error))
        except (TimeoutError, httpx.TimeoutException):
            return NotFetched("sts-policy-fetch-error", "no answer in time")
        except NotFound:
            return NotFetched("sts-policy-fetch-error", f"mta-sts.{domain} has no address")
        except NotAllowed as error:
            return NotFetched("sts-policy-fetch-error", f"not dialled: {error}")
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, _NotThere) as error:
            return NotFetched("sts-policy-fetch-error", str(error) or type(error).__name__)

    async def _get(self, url: str) -> str:
        """The body of a 200 in plain text. Redirects are not followed (RFC 8461 §3.3)."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                transport=self._make_transport(),
                headers={
                    "User-Agent": self._user_agent, "Accept": _MEDIA_TYPE, "Accept-Encoding": "identity",
                    "Connection": "close",
                },
                timeout=None,  # noqa: S113 - one deadline for the whole fetch stands above
                follow_redirects=False,
                trust_env=False,
            )  # fmt: skip
        async with self._client.stream("GET", url) as answer:
            if answer.status_code != httpx.codes.OK:
                raise _NotThere(f"answered {answer.status_code}")
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != _MEDIA_TYPE:
                # RFC 8461 §3.2: where strangers may put files, text/plain is what they may not choose.
                raise StsError(f"served as {kind[:60]!r}, not as {_MEDIA_TYPE}")
            body = bytearray()
            async for part in answer.aiter_raw():
                body += part
                if len(body) > MOST_OCTETS:
                    raise StsError(f"longer than {MOST_OCTETS} octets")
        try:
            return body.decode()
        except UnicodeDecodeError:
            raise StsError("not UTF-8") from None


class _NotThere(Exception):
    """Answered, but not with a policy."""
