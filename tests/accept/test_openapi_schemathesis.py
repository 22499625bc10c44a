"""The application keeps what its OpenAPI document promises, whatever a client makes of the document.

Schemathesis plays the client over real HTTP against the real store and intake: requests that the
document allows and requests that it does not. No answer may be a 5xx, undocumented, or out of shape.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, SerializationContext
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from mailer import clock, ids
from mailer.accept.budget import ByteBudget
from mailer.accept.http.app import create_app
from mailer.accept.http.body import BodyLimits
from mailer.compose.verp import constant_keys, make_token
from mailer.identity import tenants
from mailer.identity.api_keys import OPERATE, SCOPES
from mailer.queue import fanout, verify
from mailer.queue.ownership import owners_of
from mailer.queue.settle import Heard
from mailer.report.maildir import Delivery, Maildir
from mailer.store import Store, schema
from mailer.store.tables import hold, suppression, webhook_attempt, webhook_callback, webhook_endpoint
from mailer.web.inbox_api import InboxApi
from mailer.web.owned import OwnMail
from mailer.web.shelf import Shelf
from mailer.web.waiting import WaitingRoom
from tests.accept.http.conftest import LETTER, Keyring, working_parts
from tests.accept.http.test_reported import fill
from tests.support.mailroom import DELIVERED, Mailroom
from tests.support.served import served

OURS = "shop@acme.example"
SECRET = b"s" * 32
ADDRESS = st.sampled_from([OURS, OURS, OURS, "Ада@acme.example", "max@bücher.example", "x@globex.example"])
# What JSON Schema cannot say, so that requests get past the first check of a field.
schemathesis.openapi.format("addr-spec", ADDRESS)
schemathesis.openapi.format("mailbox", ADDRESS | ADDRESS.map(lambda address: f"Ada <{address}>"))
schemathesis.openapi.format("domain", st.sampled_from(["example.org", "acme.example", "Bücher.example"]))
schemathesis.openapi.format("header-name", st.sampled_from(["X-Order", "X-Shop", "Comments", "X-Ünique"]))
schemathesis.openapi.format(
    "header-value", st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=99)
)
schemathesis.openapi.format("stream", st.sampled_from(["transactional", "broadcast", "broadcast", "other"]))
URLS = ["https://a.example/hook", "https://a.example:8443/", "http://a.example/", "https://10.0.0.1/", "x"]
schemathesis.openapi.format("callback-url", st.sampled_from(URLS))
schemathesis.openapi.format(
    "file-name", st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=99)
)
schemathesis.openapi.format(
    "media-type", st.sampled_from(["application/pdf", "text/plain", "image/png; a=b"])
)
schemathesis.openapi.format("content-id", st.sampled_from(["logo", "logo", "<a@acme.example>", "a b"]))
BASE64 = st.binary(max_size=99).map(lambda octets: base64.b64encode(octets).decode())
schemathesis.openapi.format("base64", BASE64)
MESSAGE = st.builds(
    "From: {}\r\nTo: ada@example.org\r\n\r\n{}".format, ADDRESS, st.text("ab.\r\n", max_size=20)
)
schemathesis.openapi.format("message", MESSAGE)
schemathesis.openapi.format(
    "base64-message", BASE64 | MESSAGE.map(lambda text: base64.b64encode(text.encode()).decode())
)
TEMPLATES = st.sampled_from(["hello", "welcome", "tmpl_0000000000005"])
schemathesis.openapi.format("template", TEMPLATES)
schemathesis.openapi.format("template-name", TEMPLATES)
schemathesis.openapi.format(
    "liquid",
    st.sampled_from(["", "Hi", "{{ name | default: 'you' }}", "{% if a %}x{% endif %}", "{{ a.b }}"]),
)
IPS = ["203.0.113.5", "203.0.113.5", "2001:db8::5", "198.51.100.7", "0.0.0.0", "out5.example.org"]
schemathesis.openapi.format("ip-address", st.sampled_from(IPS))
schemathesis.openapi.format("pool", st.sampled_from(["main", "main", "news", "none"]))
schemathesis.openapi.format("tenant", st.sampled_from(["acme", "globex", "nobody"]))
schemathesis.openapi.format("header-text", st.text(st.characters(categories=["L", "N", "P"]), max_size=99))


# Of nobody that other tests write to.
TARGETS = ["ada@else.example", "Ann@Else.example", "other.example", "*.more.example", "a@b@c", "*.", "@"]
schemathesis.openapi.format("suppression", st.sampled_from(TARGETS))


@schemathesis.serializer("message/rfc822", "text/csv")
def _octets(ctx: SerializationContext, value: Any) -> bytes:
    return value.encode("utf-8", "replace") if isinstance(value, str) else repr(value).encode()


CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance, negative_data_rejection, ignored_auth, missing_required_header,
    unsupported_method, allow_header_conformance,
]  # fmt: skip
EXAMPLES = 40
BATCH = "/v1/messages/batch"


class Promise:
    """A running application, its document, and a good key."""

    def __init__(self, url: str, keyring: Keyring, inbox: Path) -> None:
        self.room = keyring.room
        self.inbox = inbox
        self.headers = {"Authorization": f"Bearer {keyring.issue(scopes=(*SCOPES, OPERATE)).text}"}
        self.document = schemathesis.openapi.from_url(f"{url}/openapi.json")


@pytest.fixture(scope="module")
def promise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Promise]:
    folder = tmp_path_factory.mktemp("promise")
    store = Store(f"sqlite:///{folder}/mailer.sqlite3")
    schema.upgrade(store, epoch="test-epoch")
    room = Mailroom.furnish(store, now=clock.now())
    globex = tenants.create(store, "globex", in_doubt="retry", new_id=room.new_id, now=clock.now())
    with working_parts(room, folder, ring=lambda: None) as parts:
        roomy = replace(
            parts,
            body_limits=BodyLimits(request_bytes=1 << 24),
            budget=ByteBudget(1 << 28),
            apis=[inbox(room, folder / "inbox")],
        )
        with served(create_app(roomy)) as url:
            yield Promise(url, Keyring(room, globex), folder / "inbox")
    store.close()


def keep(room: Mailroom, folder: Path) -> None:
    """A message as the sandbox inbox keeps it."""
    message = room.message()
    room.accept(message)
    token = make_token(message.recipients[0].id, SECRET)
    maildir = Maildir(folder, keep=10, wall_ms=clock.wall_ms)
    trace = f"Return-Path: <{token}@bounce.acme.example>\r\nDelivered-To: ann@example.org\r\n".encode()
    maildir.deliver([Delivery(maildir.new_key(), trace + b"Subject: hello\r\n\r\nhi\r\n")])


def inbox(room: Mailroom, folder: Path) -> InboxApi:
    """By its clock minutes pass between two looks, so that no wait takes long."""
    mail = OwnMail(Shelf(folder), constant_keys(SECRET).read, partial(owners_of, room.store))
    waiting = WaitingRoom(mail, monotonic=partial(next, itertools.count(step=200.0)))
    return InboxApi(mail, waiting, lambda name: None)


WITH_INPUT = [
    ("POST", "/v1/messages"),
    ("GET", "/v1/messages"),
    ("POST", "/v1/messages/raw"),
    ("POST", "/v1/messages/validate"),
    ("GET", "/v1/messages/{message_id}"),
    ("GET", "/v1/messages/{message_id}/explain"),
    ("POST", "/v1/messages/{message_id}/cancel"),
    ("POST", "/v1/messages/{message_id}/retry"),
    ("GET", "/v1/events"),
    ("GET", "/v1/queue"),
    ("GET", "/v1/queue/count"),
    ("GET", "/v1/queue/actions"),
    ("POST", "/v1/queue/holds"),
    ("GET", "/v1/queue/holds/{hold_id}"),
    ("DELETE", "/v1/queue/holds/{hold_id}"),
    ("POST", "/v1/queue/requeue"),
    ("POST", "/v1/queue/move"),
    ("POST", "/v1/queue/bounce"),
    ("GET", "/v1/inbox"),
    ("GET", "/v1/inbox/wait"),
    ("GET", "/v1/inbox/{key}"),
    ("GET", "/v1/inbox/{key}/raw"),
    ("DELETE", "/v1/inbox/{key}"),
    ("DELETE", "/v1/inbox"),
    ("POST", "/v1/streams"),
    ("GET", "/v1/streams/{name}"),
    ("PATCH", "/v1/streams/{name}"),
    ("DELETE", "/v1/streams/{name}"),
    ("POST", "/v1/streams/{name}/restore"),
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("GET", "/v1/keys/{key_id}"),
    ("PATCH", "/v1/keys/{key_id}"),
    ("DELETE", "/v1/keys/{key_id}"),
    ("POST", "/v1/keys/{key_id}/rotate"),
    ("POST", BATCH),
    ("GET", "/v1/templates"),
    ("POST", "/v1/templates"),
    ("GET", "/v1/templates/{template}"),
    ("DELETE", "/v1/templates/{template}"),
    ("POST", "/v1/templates/{template}/versions"),
    ("GET", "/v1/templates/{template}/versions/{number}"),
    ("POST", "/v1/templates/{template}/publish"),
    ("POST", "/v1/templates/{template}/render"),
    ("POST", "/v1/webhook-endpoints"),
    ("GET", "/v1/webhook-endpoints/{endpoint_id}"),
    ("PATCH", "/v1/webhook-endpoints/{endpoint_id}"),
    ("DELETE", "/v1/webhook-endpoints/{endpoint_id}"),
    ("GET", "/v1/webhook-endpoints/{endpoint_id}/secret"),
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/secret/rotate"),
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/test"),
    ("GET", "/v1/webhook-endpoints/{endpoint_id}/attempts"),
    ("GET", "/v1/webhook-endpoints/{endpoint_id}/callbacks"),
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/callbacks/{callback_id}/retry"),
    ("GET", "/v1/returned"),
    ("GET", "/v1/returned/{returned_id}"),
    ("GET", "/v1/returned/{returned_id}/raw"),
    ("GET", "/v1/suppressions"),
    ("POST", "/v1/suppressions"),
    ("GET", "/v1/suppressions/{suppression_id}"),
    ("DELETE", "/v1/suppressions/{suppression_id}"),
    ("POST", "/v1/suppressions/import"),
    ("POST", "/v1/egress-ips"),
    ("GET", "/v1/egress-ips/{id}"),
    ("PATCH", "/v1/egress-ips/{id}"),
    ("DELETE", "/v1/egress-ips/{id}"),
    ("POST", "/v1/pools"),
    ("GET", "/v1/pools/{name}"),
    ("PATCH", "/v1/pools/{name}"),
    ("DELETE", "/v1/pools/{name}"),
    ("PUT", "/v1/pools/{name}/members/{ip}"),
    ("DELETE", "/v1/pools/{name}/members/{ip}"),
    ("PUT", "/v1/pool-uses"),
    ("POST", "/v1/brake/override"),
    ("POST", "/v1/brake/clear"),
    ("GET", "/v1/warmups/{ip}"),
    ("PUT", "/v1/warmups/{ip}"),
    ("GET", "/v1/warmups/{ip}/history"),
    ("POST", "/v1/warmups/{ip}/hold"),
    ("POST", "/v1/warmups/{ip}/resume"),
    ("POST", "/v1/warmups/{ip}/stop"),
    ("GET", "/v1/provider-rules/{name}"),
    ("PUT", "/v1/provider-rules/{name}"),
    ("DELETE", "/v1/provider-rules/{name}"),
    ("PUT", "/v1/limits"),
    ("DELETE", "/v1/limits"),
    ("GET", "/v1/domains/{domain}/dmarc"),
    ("GET", "/v1/domains/{domain}/dmarc/reports"),
    ("GET", "/v1/domains/{domain}/dmarc/reports/{report_id}"),
    ("GET", "/v1/domains/{domain}/dmarc/failures"),
    ("GET", "/v1/domains/{domain}/tls"),
    ("GET", "/v1/domains/{domain}/tls/reports"),
    ("GET", "/v1/domains/{domain}/tls/reports/{report_id}"),
    ("GET", "/v1/domains/{domain}/complaints"),
    ("GET", "/v1/domains/{domain}/complaints/reports"),
]
WITHOUT_INPUT = [
    ("GET", "/v1/queue/holds"),
    ("GET", "/v1/brake"),
    ("GET", "/v1/streams"),
    ("GET", "/v1/webhook-endpoints"),
    ("GET", "/v1/suppressions/export"),
    ("GET", "/v1/egress-ips"),
    ("GET", "/v1/pools"),
    ("GET", "/v1/pool-uses"),
    ("GET", "/v1/warmups"),
    ("GET", "/v1/provider-rules"),
    ("GET", "/v1/limits"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
]


def test_the_document_is_openapi(promise: Promise) -> None:
    promise.document.validate()

    assert promise.document.raw_schema["openapi"].startswith("3.1")


def test_every_documented_operation_is_tried(promise: Promise) -> None:
    documented = [result.ok() for result in promise.document.get_all_operations()]

    assert sorted((o.method.upper(), o.path) for o in documented) == sorted(WITH_INPUT + WITHOUT_INPUT)


@pytest.mark.parametrize(("method", "path"), WITH_INPUT + WITHOUT_INPUT)
def test_what_the_document_allows_is_answered_as_documented(promise: Promise, method: str, path: str) -> None:
    play(promise, method, path, GenerationMode.POSITIVE)


@pytest.mark.parametrize(("method", "path"), WITH_INPUT)
def test_what_the_document_does_not_allow_is_refused_as_documented(
    promise: Promise, method: str, path: str
) -> None:
    play(promise, method, path, GenerationMode.NEGATIVE)


def play(promise: Promise, method: str, path: str, mode: GenerationMode) -> None:
    operation = promise.document[path][method]
    checks = list(CHECKS)
    if path == BATCH:
        # A message that is none is refused by itself, in an answer about all of them.
        checks.remove(negative_data_rejection)

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    def tried(case: Case) -> None:
        # An unknown parameter whose value is an empty list is no part of the URL: nobody could refuse it.
        assume([] not in (case.query or {}).values())
        case.call_and_validate(headers=promise.headers, checks=checks)

    tried()


def test_a_message_is_as_documented_from_acceptance_to_its_end(promise: Promise) -> None:
    with promise.room.store.write() as c:
        c.execute(suppression.delete())  # random requests, and the document's examples, may have named ada
    accepted = call(promise, "POST", "/v1/messages", body=LETTER, media_type="application/json").json()
    steps = ((0.2, "peer", "220 mx.example"), (1.5, "us", "EHLO here.example"))
    heard = Heard(outcome="accepted", code=250, reply="250 2.0.0 ok", host="mx.example", steps=steps)
    promise.room.settle(promise.room.claim(), DELIVERED, heard)
    fanout.fan_out(promise.room.store)

    seen = call(promise, "GET", "/v1/messages/{message_id}", path_parameters={"message_id": accepted["id"]})
    call(promise, "GET", "/v1/messages/{message_id}/explain", path_parameters={"message_id": accepted["id"]})
    told = call(promise, "GET", "/v1/events", query={"type": ["delivered"]})
    assert seen.json()["recipients"][0]["attempts"][0]["conversation"][1]["line"] == "EHLO here.example"
    assert "delivered" in {event["type"] for event in told.json()["events"]}


def test_a_hold_is_as_documented_from_its_making_to_its_end(promise: Promise) -> None:
    with promise.room.store.write() as c:
        c.execute(hold.delete())  # random ones may have taken all places
    call(promise, "POST", "/v1/messages", body=LETTER, media_type="application/json")
    order = {"domain": "example.org", "reason": "trouble", "until": "2100-01-01T00:00:00Z"}
    placed = call(promise, "POST", "/v1/queue/holds", body=order, media_type="application/json").json()
    one = {"path_parameters": {"hold_id": placed["id"]}}
    got = call(promise, "GET", "/v1/queue/holds/{hold_id}", **one).json()
    listed = call(promise, "GET", "/v1/queue/holds").json()
    seen = call(promise, "GET", "/v1/queue").json()
    counted = call(promise, "GET", "/v1/queue/count", query={"domain": "example.org"}).json()
    call(promise, "DELETE", "/v1/queue/holds/{hold_id}", **one)
    order = {"domain": "example.org", "reason": "trouble", "status": "5.7.2"}
    ended = call(promise, "POST", "/v1/queue/bounce", body=order, media_type="application/json").json()
    done = call(promise, "GET", "/v1/queue/actions", query={"limit": 3}).json()["actions"]

    assert listed["holds"] == [got]
    assert counted["recipients"] == placed["recipients"] == ended["recipients"] >= 1
    assert seen["totals"]["queued"] >= 1
    assert [action["kind"] for action in done] == ["bounce", "release", "hold"]


def test_a_kept_message_is_as_documented_until_it_is_deleted(promise: Promise) -> None:
    keep(promise.room, promise.inbox)
    listed = call(promise, "GET", "/v1/inbox").json()["messages"]
    key = {"key": listed[0]["key"]}
    waited = call(promise, "GET", "/v1/inbox/wait", query={"subject": "hello", "timeout": 1})
    seen = call(promise, "GET", "/v1/inbox/{key}", path_parameters=key)
    raw = call(promise, "GET", "/v1/inbox/{key}/raw", path_parameters=key)
    deleted = call(promise, "DELETE", "/v1/inbox/{key}", path_parameters=key)

    assert waited.json() == seen.json()
    assert raw.content.endswith(b"\r\n\r\nhi\r\n")
    assert deleted.json() == {"deleted": 1}


def test_reports_are_as_documented(promise: Promise) -> None:
    """With something in them, which random requests never meet."""
    fill(promise.room, reports=2)
    of_acme = {
        "path_parameters": {"domain": "acme.example"},
        "query": {"from": "2026-11-01", "to": "2026-11-30"},
    }
    base = "/v1/domains/{domain}"
    for path in ("dmarc", "dmarc/failures", "tls", "complaints", "complaints/reports"):
        call(promise, "GET", f"{base}/{path}", **of_acme)
    [report, _] = call(promise, "GET", f"{base}/dmarc/reports", **of_acme).json()["reports"]
    [tls_report] = call(promise, "GET", f"{base}/tls/reports", **of_acme).json()["reports"]

    one = {"domain": "acme.example", "report_id": report["id"]}
    whole = call(promise, "GET", f"{base}/dmarc/reports/{{report_id}}", path_parameters=one).json()
    one["report_id"] = tls_report["id"]
    call(promise, "GET", f"{base}/tls/reports/{{report_id}}", path_parameters=one)
    assert whole["report"] == report


def test_an_endpoint_is_as_documented_from_its_making_to_its_end(promise: Promise) -> None:
    """With callbacks and attempts in it, which random requests never meet."""
    room, root = promise.room, "/v1/webhook-endpoints"
    with room.store.write() as c:
        c.execute(webhook_endpoint.delete())  # random ones may have taken all places
    wanted = {"url": "https://a.example/hook", "event_types": ["delivered"]}
    made = call(promise, "POST", root, body=wanted, media_type="application/json").json()
    one = {"endpoint_id": made["id"]}
    callback = call(promise, "POST", f"{root}/{{endpoint_id}}/test", path_parameters=one).json()[
        "callback_id"
    ]
    with room.store.write() as c:
        attempt = {"id": room.new_id(), "callback_id": ids.parse("whc", callback), "at": clock.now()}
        attempt |= {
            "endpoint_id": ids.parse("whe", made["id"]),
            "duration_ms": 5,
            "status": 500,
            "cause": "x",
        }
        c.execute(webhook_attempt.insert().values(attempt))
        c.execute(webhook_callback.update().values(attempts=1))

    attempts = call(promise, "GET", f"{root}/{{endpoint_id}}/attempts", path_parameters=one).json()
    callbacks = call(promise, "GET", f"{root}/{{endpoint_id}}/callbacks", path_parameters=one).json()
    both = {**one, "callback_id": callback}
    retry = f"{root}/{{endpoint_id}}/callbacks/{{callback_id}}/retry"
    again = call(promise, "POST", retry, path_parameters=both).json()
    changed = call(
        promise, "PATCH", f"{root}/{{endpoint_id}}", path_parameters=one, body={"state": "disabled"},
        media_type="application/json",
    ).json()  # fmt: skip
    call(promise, "DELETE", f"{root}/{{endpoint_id}}", path_parameters=one)
    assert [a["cause"] for a in attempts["attempts"]] == ["x"]
    assert [c["state"] for c in callbacks["callbacks"]] == [again["state"]] == ["due"]
    assert changed["state"] == "disabled"


def test_what_is_made_is_as_documented_and_where_it_is_said_to_be(promise: Promise) -> None:
    news = {"name": "news", "kind": "broadcast", "in_doubt": "give-up"}
    stream = call(promise, "POST", "/v1/streams", body=news, media_type="application/json")
    shop = {"name": "shop", "scopes": ["send"], "streams": ["news"], "domains": ["acme.example"]}
    made = call(promise, "POST", "/v1/keys", body=shop, media_type="application/json").json()
    mine = {"path_parameters": {"key_id": made["id"]}}
    call(promise, "GET", "/v1/keys/{key_id}", **mine)
    call(promise, "PATCH", "/v1/keys/{key_id}", body={"name": "desk"}, media_type="application/json", **mine)
    rotated = call(promise, "POST", "/v1/keys/{key_id}/rotate", **mine)
    revoked = call(promise, "DELETE", "/v1/keys/{key_id}", **mine)
    archived = call(promise, "DELETE", "/v1/streams/{name}", path_parameters={"name": "news"})

    assert (stream.status_code, rotated.status_code) == (201, 201)
    assert (revoked.json()["state"], archived.json()["state"]) == ("revoked", "archived")
    assert call(promise, "GET", "/v1/streams").json()["streams"][-1]["name"] == "news"


def test_a_list_is_as_documented_page_by_page(promise: Promise) -> None:
    for _ in range(2):
        call(promise, "POST", "/v1/messages", body=LETTER, media_type="application/json")

    first = call(promise, "GET", "/v1/messages", query={"limit": 1, "recipient": LETTER["to"]}).json()
    again = {"limit": 1, "recipient": LETTER["to"], "cursor": first["next_cursor"]}
    second = call(promise, "GET", "/v1/messages", query=again).json()
    assert first["messages"][0]["id"] > second["messages"][0]["id"]


def call(promise: Promise, method: str, path: str, **request: Any) -> schemathesis.Response:
    """The answer to a request that must succeed."""
    case = promise.document[path][method].Case(**request)
    answer = case.call_and_validate(headers=promise.headers, checks=CHECKS)
    assert answer.status_code < 300
    return answer


def test_after_all_that_nothing_is_lost_or_doubled(promise: Promise) -> None:
    assert verify.verify(promise.room.store).holds
