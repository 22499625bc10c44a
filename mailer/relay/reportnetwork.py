"""What sending reports asks of the network: DNS, and a POST to a URL that a stranger named."""

from __future__ import annotations

import asyncio

import dns.rdatatype
import httpx

from mailer.compose.tlsreport import MEDIA_TYPE
from mailer.outward import GuardedTransport, NotAllowed, NotFound, TlsFailed
from mailer.relay.smtp.lookup import Answer, Lookup

_SECONDS = 60.0


class ReportNetwork:
    """Lives on one event loop.

    Certificates of URLs are checked: RFC 8460 §3 lets that be left out, but those whose TLS is broken can ask
    for mail.
    """

    def __init__(self, lookup: Lookup, transport: GuardedTransport, *, user_agent: str) -> None:
        self._lookup = lookup
        self._client = httpx.AsyncClient(
            transport=transport,
            headers={"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity"},
            timeout=None,  # noqa: S113 - one deadline for the whole call stands below
            follow_redirects=False,
            trust_env=False,
        )

    async def ask(self, name: str, rdtype: dns.rdatatype.RdataType) -> Answer:
        return await self._lookup.ask(name, rdtype)

    async def post(self, url: str, content: bytes) -> str | None:
        """Why it failed; None: it was taken. The answer's body is not read."""
        try:
            async with asyncio.timeout(_SECONDS):
                request = self._client.build_request(
                    "POST", url, content=content, headers={"Content-Type": MEDIA_TYPE}
                )
                response = await self._client.send(request, stream=True)
                await response.aclose()
        except (TimeoutError, httpx.TimeoutException):
            return "no answer in time"
        except NotAllowed:
            return "the host must not be dialled"
        except NotFound:
            return "the host has no address"
        except TlsFailed:
            return "TLS with the host failed"
        except (httpx.TransportError, httpx.InvalidURL) as error:
            return f"not reached: {type(error).__name__}"
        return None if response.is_success else f"answered {response.status_code}"

    async def close(self) -> None:
        await self._client.aclose()
