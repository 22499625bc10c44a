"""What operators see: health, metrics, one log line a request; and problems that explain themselves."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from fastapi import APIRouter
from structlog.testing import capture_logs

from mailer.accept.http.app import HttpParts, create_app
from mailer.accept.http.catalogue import CATALOGUE
from mailer.accept.submission import Fault
from mailer.store import Store
from mailer.store.tables import usage
from tests.accept.http.conftest import LETTER, Door


async def get(parts: HttpParts, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=create_app(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://mailer.test") as client:
        return await client.get(path)


# ---- health


async def test_a_process_is_live_whatever_it_depends_on(parts: HttpParts) -> None:
    answer = await get(replace(parts, readiness={"disk": lambda: "full"}), "/health/live")

    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


async def test_ready_means_that_all_checks_pass(parts: HttpParts) -> None:
    answer = await get(replace(parts, readiness={"disk": lambda: None}), "/health/ready")

    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "reasons": {}})


async def test_not_ready_says_why(parts: HttpParts) -> None:
    answer = await get(replace(parts, readiness={"disk": lambda: "full"}), "/health/ready")

    assert (answer.status_code, answer.json()) == (503, {"status": "not-ready", "reasons": {"disk": "full"}})


async def test_without_its_database_a_process_is_live_and_not_ready(parts: HttpParts) -> None:
    gone = Store("postgresql+psycopg://nobody@127.0.0.1:1/none")
    live = await get(replace(parts, store=gone), "/health/live")
    ready = await get(replace(parts, store=gone), "/health/ready")
    metrics = await get(replace(parts, store=gone), "/metrics")
    gone.close()

    assert live.status_code == 200
    assert (ready.status_code, list(ready.json()["reasons"])) == (503, ["database"])
    assert "\nmailer_store_up 0.0\n" in metrics.text
    assert "mailer_unaccounted_recipients" not in metrics.text


# ---- metrics


async def test_metrics_tell_the_queue_and_that_nothing_is_lost(door: Door) -> None:
    await door.send({**LETTER, "to": ["a@example.org", "b@example.org"]})

    lines = (await door.get("/metrics")).text.splitlines()
    assert "mailer_unaccounted_recipients 0.0" in lines
    assert 'mailer_recipients{state="queued"} 2.0' in lines
    assert 'mailer_processes{role="worker"} 1.0' in lines
    assert "mailer_http_body_held_bytes 0.0" in lines
    assert 'mailer_http_requests_total{method="POST",route="/v1/messages",status="202"} 1.0' in lines


async def test_a_lost_recipient_shows_in_the_metrics(door: Door) -> None:
    await door.send()
    with door.room.store.write() as c:
        c.execute(usage.update().values(accepted=usage.c.accepted + 1))

    assert "\nmailer_unaccounted_recipients 1.0\n" in (await door.get("/metrics")).text


async def test_ids_in_paths_make_no_metric_labels(door: Door) -> None:
    await door.get("/v1/messages/msg_0000000000005")
    await door.get("/any/thing")

    text = (await door.get("/metrics")).text
    assert 'route="/v1/messages/{message_id}",status="404"' in text
    assert 'route="none",status="404"' in text
    assert "/any/thing" not in text


# ---- the log


async def test_a_request_is_one_line_in_the_log_without_any_address(door: Door) -> None:
    with capture_logs() as logged:
        answer = await door.send()

    [line] = [entry for entry in logged if entry["event"] == "http.answered"]
    assert line["log_level"] == "info"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/messages", 202)
    assert (line["request_id"], line["tenant_id"]) == (answer.headers["x-request-id"], door.room.tenant_id)
    assert "@" not in str(logged)
    assert door.key.text not in str(logged)


async def test_a_refused_request_is_logged_with_its_fault(door: Door) -> None:
    with capture_logs() as logged:
        await door.send({**LETTER, "to": "ada@example.org, bob@example.org"})

    [line] = [entry for entry in logged if entry["event"] == "http.answered"]
    assert (line["status"], line["fault"]) == (422, "invalid-field")
    assert "@" not in str(logged)


async def test_every_answer_has_an_id_of_its_own(door: Door) -> None:
    answers = [await door.get(path) for path in ("/health/live", "/nowhere", "/v1/events", "/docs")]

    assert len({a.headers["x-request-id"] for a in answers}) == 4
    assert {a.headers["x-content-type-options"] for a in answers} == {"nosniff"}


# ---- problems


def test_every_fault_has_its_kind_of_problem() -> None:
    assert set(CATALOGUE) == set(Fault)
    assert all(kind.title and kind.advice and kind.status >= 400 for kind in CATALOGUE.values())


def test_what_says_try_again_says_when() -> None:
    """RFC 9110 §10.2.3, and the reverse: no time is given where the same request can never succeed."""
    told = {fault for fault, kind in CATALOGUE.items() if kind.retry_after_seconds is not None}

    assert told == {
        Fault.BUSY,
        Fault.UNAVAILABLE,
        Fault.REQUEST_TIMEOUT,
        Fault.RATE_LIMITED,
        Fault.QUOTA_EXCEEDED,
        Fault.TOO_MANY_REPORTS,
        Fault.TOO_MANY_REQUESTS,
    }


@pytest.mark.parametrize("fault", Fault)
async def test_the_type_of_a_problem_can_be_looked_up(door: Door, fault: Fault) -> None:
    answer = await door.get(f"/problems/{fault}")

    assert answer.status_code == 200
    assert CATALOGUE[fault].title in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "fault"),
    [
        ("GET", "/", 404, "not-found"),
        ("GET", "/v1/messages/", 404, "not-found"),
        ("GET", "/problems/none", 404, "not-found"),
        ("POST", "/v1/nothing", 404, "not-found"),
        ("PUT", "/v1/messages", 405, "method-not-allowed"),
        ("DELETE", "/v1/events", 405, "method-not-allowed"),
        ("POST", "/health/live", 405, "method-not-allowed"),
    ],
)
async def test_what_reaches_no_route_is_a_problem_too(
    door: Door, method: str, path: str, status: int, fault: str
) -> None:
    answer = await door.client.request(method, path)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (answer.json()["type"], answer.json()["status"]) == (f"/problems/{fault}", status)


async def test_a_refused_method_lists_those_that_are_taken(door: Door) -> None:
    """RFC 9110 §15.5.6: MUST."""
    answer = await door.client.put("/v1/messages")

    assert answer.headers["allow"] == "GET, POST"


# ---- pages


async def test_further_pages_are_served_and_stay_out_of_the_api_document(parts: HttpParts) -> None:
    inbox = APIRouter()

    @inbox.get("/inbox")
    def page() -> str:
        return "no mail"

    served = await get(replace(parts, routers=[inbox]), "/inbox")
    document = await get(replace(parts, routers=[inbox]), "/openapi.json")

    assert served.json() == "no mail"
    assert "/inbox" not in document.json()["paths"]


@pytest.mark.parametrize("path", ["/docs", "/problems/busy"])
async def test_pages_for_people_load_nothing_and_run_nothing(door: Door, path: str) -> None:
    answer = await door.get(path)

    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text
    assert "src=" not in answer.text
