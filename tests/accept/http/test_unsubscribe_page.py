"""/u/TOKEN as mail readers, people and scanners use it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from mailer import clock
from mailer.accept.http.app import HttpParts, create_app
from mailer.accept.http.clickform import fields_of
from mailer.accept.http.peers import Turnstile, peer_of
from mailer.accept.http.unsubscribe_words import LANGUAGES, chosen
from mailer.accept.http.unsubscribing import UnsubscribeParts, router
from mailer.compose.subscriber import Subscriber, make_token
from mailer.policy.suppressionkey import Keys
from mailer.store.tables import event_new, tenant
from tests.accept.http.conftest import Door, Keyring, working_parts

SECRET, EARLIER = bytes(range(32)), bytes(32)
KEYS = Keys(bytes(32))
ONE_CLICK = "List-Unsubscribe=One-Click"
BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def parts(keyring: Keyring, tmp_path: Path, rings: list[None]) -> Iterator[HttpParts]:
    room = keyring.room
    page = router(
        UnsubscribeParts(
            store=room.store, secrets=[SECRET, EARLIER], keys=KEYS, proxies=[ip_network("127.0.0.0/8")],
            new_id=room.new_id, now=clock.now, monotonic=clock.monotonic,
        )
    )  # fmt: skip
    with working_parts(room, tmp_path, ring=lambda: rings.append(None)) as working:
        yield replace(working, routers=(page,))


@pytest.fixture
def app(parts: HttpParts) -> FastAPI:
    return create_app(parts)


def link(door: Door, secret: bytes = SECRET, address: str = "ada.lovelace@example.org") -> str:
    m = door.room.message()
    door.room.accept(m)
    whom = Subscriber(door.room.tenant_id, door.room.stream_id, m.recipients[0].id, address)
    return f"/u/{make_token(whom, secret)}"


def told(door: Door) -> list[str]:
    with door.room.store.read() as c:
        found = c.execute(select(event_new.c.type, event_new.c.data).order_by(event_new.c.seq)).all()
    return [row.data["reason"] for row in found if row.type == "unsubscribed"]


async def post(door: Door, path: str, **given: Any) -> httpx.Response:
    """As a stranger does: without a key."""
    headers = {**given.pop("headers", {}), "Authorization": ""}
    return await door.client.post(path, headers=headers, **given)


@pytest.mark.parametrize(
    "given",
    [
        {"data": {"List-Unsubscribe": "One-Click"}},
        {"files": {"List-Unsubscribe": (None, "One-Click")}},
        {"content": ONE_CLICK},
        {"content": ONE_CLICK + "\r\n", "headers": {"Content-Type": "text/plain"}},
        {
            "content": ONE_CLICK,
            "headers": {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        },
    ],
    ids=["urlencoded", "multipart", "no-type", "text", "with-charset"],
)
async def test_a_mail_readers_one_click_unsubscribes(door: Door, given: dict[str, object]) -> None:
    """RFC 8058 §3.2: urlencoded or multipart, without cookies, and no redirect follows."""
    answer = await post(door, link(door), **given)

    assert answer.status_code == 200
    assert not answer.has_redirect_location
    assert "set-cookie" not in answer.headers
    assert told(door) == ["one_click"]


async def test_a_second_click_is_answered_alike_and_told_once(door: Door) -> None:
    path = link(door)

    answers = [await post(door, path, content=ONE_CLICK) for _ in range(3)]
    answers += await asyncio.gather(*(post(door, path, content=ONE_CLICK) for _ in range(3)))

    assert {(a.status_code, a.text) for a in answers} == {(200, answers[0].text)}
    assert told(door) == ["one_click"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_what_opens_links_before_people_do_unsubscribes_nobody(door: Door, method: str) -> None:
    path = link(door)

    answers = [await door.client.request(method, path, headers=BROWSER) for _ in range(3)]

    assert {a.status_code for a in answers} <= {200, 204}
    assert told(door) == []


async def test_the_page_asks_and_its_form_does_it(door: Door) -> None:
    path = link(door)

    asked = await door.client.get(path, headers=BROWSER)
    form = {"List-Unsubscribe": "One-Click", "by": "page"}
    for name, value in form.items():
        assert f'name="{name}" value="{value}"' in asked.text
    done = await post(door, path, data=form, headers=BROWSER)

    assert '<form method="post">' in asked.text
    assert "a\u2026@example.org" in asked.text
    assert "lovelace" not in asked.text  # whoever got the link passed on learns no address
    assert "<script" not in asked.text
    assert (done.status_code, told(door)) == (200, ["page"])


@pytest.mark.parametrize(
    ("wanted", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("fr", "fr"),
        ("it, fr;q=0.3, en;q=0.2", "fr"),
        ("ja", "en"),
        ("", "en"),
        ("de;q=0", "en"),
        ("de;q=x, ;;, fr;q=0.1", "fr"),
        ("*", "en"),
    ],
)
async def test_the_page_speaks_the_readers_language(door: Door, wanted: str, language: str) -> None:
    answer = await door.client.get(link(door), headers={**BROWSER, "Accept-Language": wanted})

    assert answer.headers["content-language"] == language
    assert f'<html lang="{language}">' in answer.text
    assert LANGUAGES[language].button in answer.text


@given(st.text(max_size=100))
def test_whatever_language_is_asked_for_nothing_raises(text: str) -> None:
    assert chosen(text).language in LANGUAGES


async def test_nobody_keeps_the_page_lists_it_or_learns_where_it_was(door: Door) -> None:
    answer = await door.client.get(link(door), headers=BROWSER)

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "noindex" in answer.headers["x-robots-tag"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "form-action 'self'" in answer.headers["content-security-policy"]
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_options_and_other_methods_say_what_there_is(door: Door) -> None:
    path = link(door)

    options = await door.client.options(path, headers={"Origin": "https://evil.example"})
    others = [await door.client.request(method, path) for method in ("PUT", "DELETE", "PATCH")]

    assert options.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert not [name for name in options.headers if name.startswith("access-control-")]
    assert {a.status_code for a in others} == {405}
    assert told(door) == []


@pytest.mark.parametrize("change", [lambda p: p[:-1], lambda p: p + "A", lambda p: "/u/x", lambda p: p[:30]])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_link_that_is_not_whole_is_nobodys(door: Door, method: str, change: object) -> None:
    assert callable(change)
    path = change(link(door))

    program = await door.client.request(method, path, content=ONE_CLICK)
    person = await door.client.request(method, path, content=ONE_CLICK, headers=BROWSER)

    assert (program.status_code, person.status_code) == (404, 404)
    assert program.json()["type"] == "/problems/not-found"
    assert LANGUAGES["en"].unknown_title in person.text
    assert told(door) == []


async def test_a_token_of_another_installation_is_nobodys(door: Door) -> None:
    answer = await post(door, link(door, b"x" * 32), content=ONE_CLICK)

    assert answer.status_code == 404


async def test_a_link_of_an_earlier_secret_works(door: Door) -> None:
    answer = await post(door, link(door, EARLIER), content=ONE_CLICK)

    assert (answer.status_code, told(door)) == (200, ["one_click"])


async def test_a_link_works_while_its_tenant_is_suspended(door: Door) -> None:
    path = link(door)
    with door.room.store.write() as c:
        c.execute(update(tenant).values(state="suspended"))

    answer = await post(door, path, content=ONE_CLICK)

    assert (answer.status_code, told(door)) == (200, ["one_click"])


@pytest.mark.parametrize(
    "body", ["", "List-Unsubscribe=", "List-Unsubscribe=Two-Click", "a=b", "\xff=\xff", "&" * 100, "{}"]
)
async def test_a_post_without_the_wish_changes_nothing(door: Door, body: str) -> None:
    path = link(door)

    program = await post(door, path, content=body.encode("latin-1"))
    person = await post(door, path, content=body.encode("latin-1"), headers=BROWSER)

    assert (program.status_code, person.status_code) == (400, 400)
    assert program.json()["type"] == "/problems/malformed-request"
    assert LANGUAGES["en"].unclear_title in person.text
    assert told(door) == []


async def test_a_large_body_is_not_read(door: Door) -> None:
    answer = await post(door, link(door), content=ONE_CLICK + "&x=" + "x" * 9000)

    assert (answer.status_code, told(door)) == (413, [])


async def test_who_guesses_is_stopped_soon_and_who_knows_late(door: Door) -> None:
    path = link(door)

    guesses = [await door.client.get("/u/AQAA", headers={"X-Forwarded-For": "192.0.2.7"}) for _ in range(30)]
    known = [await post(door, path, content=ONE_CLICK) for _ in range(100)]

    assert [a.status_code for a in guesses][:10] == [404] * 10
    assert guesses[-1].status_code == 429
    assert guesses[-1].json()["type"] == "/problems/too-many-requests"
    assert int(guesses[-1].headers["retry-after"]) >= 1
    assert {a.status_code for a in known} == {200}


async def test_the_page_is_no_operation_of_the_api(door: Door) -> None:
    document = (await door.client.get("/openapi.json")).json()

    assert not [path for path in document["paths"] if path.startswith("/u/")]


@pytest.mark.parametrize(
    ("client", "forwarded", "peer"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1, 127.0.0.2", "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1, rubbish", "127.0.0.1"),
        ("::ffff:127.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", "", "127.0.0.1"),
    ],
)
def test_only_our_own_proxies_say_who_asks(client: str, forwarded: str | None, peer: str) -> None:
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]

    assert peer_of({"client": (client, 1), "headers": headers}, [ip_network("127.0.0.0/8")]) == peer


def test_turns_come_back_with_time() -> None:
    now = [0.0]
    turnstile = Turnstile(lambda: now[0], burst=2, per_second=1)

    turnstile.charge("192.0.2.1", 3)
    waits = [turnstile.wait("192.0.2.1"), turnstile.wait("192.0.2.2")]
    now[0] = 2.5

    assert waits == [2.0, 0.0]
    assert turnstile.wait("192.0.2.1") == 0.0


@given(
    st.binary(max_size=300),
    st.sampled_from(["multipart/form-data; boundary=b", "multipart/form-data", "a/b", ""]),
)
def test_whatever_the_body_nothing_raises(body: bytes, content_type: str) -> None:
    fields_of(body, content_type)
    fields_of(b"--b\r\n" + body + b"\r\n--b--\r\n", content_type)
