"""Reports by HTTP from strangers: taken, bounded, and without consequence."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import date
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest

from mailer import clock
from mailer.accept.http.app import create_app
from mailer.accept.http.reportdoor import ReportTakers
from mailer.queue.reports import complaints, tls
from mailer.queue.reports.span import Span
from mailer.report.posted import PostedReports
from mailer.store import Store, StoreUnavailable
from tests.accept.http.conftest import working_parts
from tests.report.test_formats import XARF
from tests.report.test_formats import tls as tls_document
from tests.support.mailroom import Mailroom

GZIP = {"Content-Type": "application/tlsrpt+gzip"}
JSON = {"Content-Type": "application/json"}
TOKEN = "a-token-of-twenty-characters"
PROXIES = (ip_network("192.0.2.0/28"),)
DAYS = date(2026, 11, 1), date(2026, 11, 30)


@dataclass
class Reports:
    client: httpx.AsyncClient
    room: Mailroom

    def tls(self) -> tls.Summary:
        return tls.summary(self.room.store, Span(self.room.domain_id, *DAYS))

    def complaints(self) -> complaints.Summary:
        return complaints.summary(self.room.store, Span(self.room.domain_id, *DAYS))


@pytest.fixture
async def reports(store: Store, tmp_path: Path) -> AsyncIterator[Reports]:
    room = Mailroom.furnish(store, now=clock.now())
    posted = PostedReports(store=store, new_id=room.new_id, now=clock.now)
    with working_parts(room, tmp_path, ring=lambda: None) as parts:
        takers = ReportTakers(tls=posted.tls, xarf=posted.xarf, xarf_token=TOKEN, proxies=PROXIES)
        app = create_app(replace(parts, reports=takers, monotonic=lambda: 60.0))
        transport = httpx.ASGITransport(app, client=("192.0.2.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Reports(client, room)


def packed(document: object) -> bytes:
    return gzip.compress(json.dumps(document).encode())


async def test_a_tls_report_is_taken_once(reports: Reports) -> None:
    answers = [
        await reports.client.post("/reports/tls", content=packed(tls_document()), headers=GZIP),
        await reports.client.post(
            "/reports/tls", json=tls_document(), headers={"Content-Type": "application/tlsrpt+json; v=1"}
        ),
    ]

    assert [(a.status_code, a.content) for a in answers] == [(201, b"")] * 2
    told = reports.tls()
    assert (told.reports, told.successful, told.failed) == (1, 3, 1)


async def test_no_answer_tells_which_domains_are_here(reports: Reports) -> None:
    policy = {"policy": {"policy-type": "sts", "policy-domain": "else.example"}}
    document = tls_document(policies=[policy])

    answer = await reports.client.post("/reports/tls", content=packed(document), headers=GZIP)

    assert (answer.status_code, answer.content) == (201, b"")


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"no report", GZIP, 400),
        (b"", GZIP, 400),
        (packed(tls_document()), JSON, 415),
        (packed(tls_document()), {}, 415),
        (b"x" * (300 * 1024), GZIP, 413),
        (gzip.compress(b" " * (50 << 20)), GZIP, 400),
    ],
)
async def test_what_is_no_report_is_refused(
    reports: Reports, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await reports.client.post("/reports/tls", content=content, headers=headers)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert reports.tls().reports == 0


async def test_one_network_sends_so_many_in_a_minute(reports: Reports) -> None:
    answers = [await reports.client.post("/reports/tls", content=b"x", headers=GZIP) for _ in range(31)]

    assert [a.status_code for a in answers] == [400] * 30 + [429]
    assert answers[-1].headers["retry-after"] == "60"


async def test_behind_a_proxy_each_network_has_its_own_number(reports: Reports) -> None:
    """What stands before the address that the proxy saw was written by whoever has it."""
    posted = [
        await reports.client.post(
            "/reports/tls", content=b"x", headers={**GZIP, "X-Forwarded-For": f"203.0.113.{i}, {peer}"}
        )
        for peer in ("198.51.100.1", "198.51.100.2")
        for i in range(31)
    ]

    assert [a.status_code for a in posted] == ([400] * 30 + [429]) * 2


async def test_tokens_are_not_guessed_at_any_pace(reports: Reports) -> None:
    answers = [await reports.client.post("/reports/xarf/wrong", json=XARF) for _ in range(31)]

    assert [a.status_code for a in answers] == [401] * 30 + [429]


async def test_an_abuse_report_is_taken_with_the_token(reports: Reports) -> None:
    said = {**JSON, "Authorization": f"Bearer {TOKEN}"}
    body = json.dumps(XARF).encode()

    answers = [
        await reports.client.post("/reports/xarf", content=body, headers=said),
        await reports.client.post(f"/reports/xarf/{TOKEN}", content=body, headers=JSON),
    ]

    assert [a.status_code for a in answers] == [201, 201]
    told = reports.complaints()
    assert (told.totals.complaints, told.totals.verified) == (1, 0)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/reports/xarf", JSON),
        ("/reports/xarf/wrong", JSON),
        ("/reports/xarf", {**JSON, "Authorization": "Bearer wrong"}),
        ("/reports/xarf", {**JSON, "Authorization": f"Basic {TOKEN}"}),
    ],
)
async def test_an_abuse_report_without_the_token_is_refused(
    reports: Reports, path: str, headers: dict[str, str]
) -> None:
    answer = await reports.client.post(path, content=json.dumps(XARF).encode(), headers=headers)

    assert answer.status_code == 401
    assert reports.complaints().totals.complaints == 0


async def test_an_abuse_report_on_something_else_is_refused(reports: Reports) -> None:
    document = XARF | {"category": "connection", "type": "ddos"}

    answer = await reports.client.post(f"/reports/xarf/{TOKEN}", json=document)

    assert answer.status_code == 400


async def test_without_a_token_there_is_no_door_for_abuse_reports(store: Store, tmp_path: Path) -> None:
    room = Mailroom.furnish(store, now=clock.now())
    with working_parts(room, tmp_path, ring=lambda: None) as parts:
        takers = ReportTakers(tls=lambda _: None, xarf=lambda _: None)
        transport = httpx.ASGITransport(create_app(replace(parts, reports=takers)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.post("/reports/xarf/", json=XARF)

    assert answer.status_code == 404


async def test_while_the_database_is_away_it_is_put_off(store: Store, tmp_path: Path) -> None:
    def away(_: bytes) -> str | None:
        raise StoreUnavailable("away")

    room = Mailroom.furnish(store, now=clock.now())
    with working_parts(room, tmp_path, ring=lambda: None) as parts:
        takers = ReportTakers(tls=away, xarf=away)
        transport = httpx.ASGITransport(create_app(replace(parts, reports=takers)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.post("/reports/tls", content=b"x", headers=GZIP)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
