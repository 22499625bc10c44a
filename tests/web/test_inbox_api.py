"""/v1/inbox: each tenant finds its own mail, at once or as soon as it comes, and nobody else's."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx
import pytest
from msgspec import structs

from mailer import clock, ids
from mailer.accept.http.app import create_app
from mailer.compose.verp import constant_keys, make_token
from mailer.identity import tenants
from mailer.queue.ownership import Owner, owners_of
from mailer.report.maildir import Delivery, Maildir
from mailer.report.trace import trace_fields
from mailer.store import Store, StoreUnavailable
from mailer.web.inbox_api import InboxApi
from mailer.web.owned import OwnMail
from mailer.web.shelf import Shelf
from mailer.web.waiting import WaitingRoom
from tests.accept.http.conftest import Keyring, bearer, copied, two_tenants, working_parts
from tests.support.mailroom import Mailroom
from tests.web.conftest import ARRIVAL, NOON_MS

SECRET = b"s" * 32
LETTER = b"From: Shop <shop@acme.example>\r\nTo: ann@example.org\r\nSubject: Your order 1042\r\n\r\nhi\r\n"


@dataclass
class Post:
    """Keeps mail as the inbox would, for a recipient that was accepted for a tenant."""

    room: Mailroom
    maildir: Maildir

    def keep(
        self,
        content: bytes = LETTER,
        *,
        to: str = "ann@example.org",
        return_path: str | None = None,
        tenant_id: int | None = None,
    ) -> str:
        """The key. return_path: instead of the recipient's own."""
        number = self.accepted(tenant_id)
        path = f"{make_token(number, SECRET)}@bounce.acme.example" if return_path is None else return_path
        key = self.maildir.new_key()
        self.maildir.deliver([Delivery(key, trace_fields(ARRIVAL, path, to, key) + content)])
        return key

    def accepted(self, tenant_id: int | None = None) -> int:
        """Id of a recipient of a message just accepted."""
        message = self.room.message()
        self.room.accept(structs.replace(message, tenant_id=tenant_id or self.room.tenant_id))
        return message.recipients[0].id


@pytest.fixture
def store(furnished_sqlite: Path, tmp_path: Path) -> Iterator[Store]:
    with copied(furnished_sqlite, tmp_path) as store:
        yield store


@pytest.fixture
def keyring(store: Store) -> Keyring:
    return two_tenants(store)


@pytest.fixture
def post(keyring: Keyring, folder: Path) -> Post:
    wall = itertools.count(NOON_MS, 1000).__next__
    return Post(keyring.room, Maildir(folder, keep=1000, wall_ms=wall))


@dataclass
class Closing:
    """Whether the server is about to stop."""

    now: bool = False


@pytest.fixture
def closing() -> Closing:
    return Closing()


@pytest.fixture
async def api(
    keyring: Keyring, folder: Path, tmp_path: Path, closing: Closing
) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a good key of acme."""
    mail = OwnMail(Shelf(folder), constant_keys(SECRET).read, partial(owners_of, keyring.room.store))
    waiting = WaitingRoom(
        mail, monotonic=clock.monotonic, is_closing=lambda: closing.now, places=3, places_a_tenant=2
    )
    with working_parts(keyring.room, tmp_path, ring=lambda: None) as parts:
        app = create_app(replace(parts, apis=[InboxApi(mail, waiting, lambda name: None)]))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://mailer.test", headers=bearer(keyring.issue())
        ) as client:
            yield client


def of_globex(keyring: Keyring, *scopes: str) -> dict[str, str]:
    return bearer(keyring.issue(to=keyring.globex, scopes=scopes or ("send", "read")))


async def listed(api: httpx.AsyncClient, **parameters: str) -> list[str]:
    answer = await api.get("/v1/inbox", params=parameters)
    assert answer.status_code == 200, answer.text
    return [message["key"] for message in answer.json()["messages"]]


# ---- whose it is


async def test_a_tenant_sees_the_copies_of_its_own_messages_newest_first(
    api: httpx.AsyncClient, post: Post, keyring: Keyring
) -> None:
    first, second = post.keep(), post.keep()
    other = post.keep(tenant_id=keyring.globex.id)

    theirs = await api.get("/v1/inbox", headers=of_globex(keyring))
    assert await listed(api) == [second, first]
    assert [message["key"] for message in theirs.json()["messages"]] == [other]


@pytest.mark.parametrize("path", ["", "/raw"])
async def test_another_tenants_mail_is_not_there(
    api: httpx.AsyncClient, post: Post, keyring: Keyring, path: str
) -> None:
    key = post.keep()

    own = await api.get(f"/v1/inbox/{key}{path}")
    strange = await api.get(f"/v1/inbox/{key}{path}", headers=of_globex(keyring))
    unknown = await api.get(f"/v1/inbox/{key.replace('Q', 'Q9', 1)}{path}")
    assert (own.status_code, strange.status_code, unknown.status_code) == (200, 404, 404)
    assert {**strange.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}


async def test_another_tenant_can_delete_nothing_and_waits_in_vain(
    api: httpx.AsyncClient, post: Post, keyring: Keyring
) -> None:
    key, stranger = post.keep(), of_globex(keyring)

    emptied = await api.delete("/v1/inbox", headers=stranger)
    deleted = await api.delete(f"/v1/inbox/{key}", headers=stranger)
    waited = await api.get("/v1/inbox/wait?timeout=0", headers=stranger)
    assert (emptied.json(), deleted.status_code, waited.status_code) == ({"deleted": 0}, 404, 404)
    assert await listed(api) == [key]


@pytest.mark.parametrize(
    "return_path",
    [
        f"{make_token(5, SECRET)}@bounce.acme.example",  # of nobody
        f"{make_token(5, b'another secret')}@bounce.acme.example",
        "someone@example.org",
    ],
)
async def test_mail_that_no_tenant_sent_is_nobodys(
    api: httpx.AsyncClient, post: Post, return_path: str
) -> None:
    post.keep(return_path=return_path)

    assert await listed(api) == []


async def test_a_notice_with_a_null_return_path_is_known_by_its_reference(
    api: httpx.AsyncClient, post: Post
) -> None:
    reference = f"X-Mailer-Ref: {make_token(post.accepted(), SECRET)}\r\n".encode()
    ours = post.keep(reference + LETTER, return_path="")
    post.keep(reference + LETTER, return_path="x@y.example")  # forwarded, with a reverse-path of its own

    assert await listed(api) == [ours]


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("GET", "/v1/inbox", ("send",)),
        ("GET", "/v1/inbox/wait", ("send",)),
        ("GET", "/v1/inbox/key", ("send",)),
        ("GET", "/v1/inbox/key/raw", ("send",)),
        ("DELETE", "/v1/inbox", ("read",)),
        ("DELETE", "/v1/inbox/key", ("read",)),
    ],
)
async def test_a_key_needs_the_scope(
    api: httpx.AsyncClient, keyring: Keyring, method: str, path: str, scopes: tuple[str, ...]
) -> None:
    refused = await api.request(method, path, headers=bearer(keyring.issue(scopes=scopes)))
    anonymous = await api.request(method, path, headers={"Authorization": ""})

    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/forbidden")
    assert anonymous.status_code == 401


async def test_a_suspended_tenant_may_look_and_delete_nothing(
    api: httpx.AsyncClient, post: Post, keyring: Keyring
) -> None:
    key = post.keep()
    tenants.suspend(keyring.room.store, "acme")

    refused = await api.delete("/v1/inbox")
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/tenant-suspended")
    assert await listed(api) == [key]


@pytest.mark.parametrize("path", ["/v1/inbox", "/v1/inbox/wait", "/v1/inbox/{key}"])
async def test_while_the_database_is_away_nobody_is_told_whose_it_is(
    keyring: Keyring, post: Post, folder: Path, tmp_path: Path, path: str
) -> None:
    def away(recipient_ids: object) -> dict[int, Owner]:
        raise StoreUnavailable("away")

    key = post.keep()
    mail = OwnMail(Shelf(folder), constant_keys(SECRET).read, away)
    api = InboxApi(mail, WaitingRoom(mail, monotonic=clock.monotonic), lambda name: None)
    with working_parts(keyring.room, tmp_path, ring=lambda: None) as parts:
        transport = httpx.ASGITransport(app=create_app(replace(parts, apis=[api])))
        async with httpx.AsyncClient(transport=transport, base_url="http://mailer.test") as client:
            answer = await client.get(path.format(key=key), headers=bearer(keyring.issue()))

    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")


# ---- what is found


async def test_a_message_is_shown_taken_apart(api: httpx.AsyncClient, post: Post) -> None:
    key = post.keep(
        b"From: =?utf-8?q?Gr=C3=BCn?= <a@acme.example>\r\nTo: ann@example.org\r\nSubject: both\r\n"
        b"Content-Type: multipart/mixed; boundary=m\r\n\r\n"
        b"--m\r\nContent-Type: text/html\r\n\r\n<a href='https://x.example/?a=1&amp;b=2'><b>Go</b> on</a>\r\n"
        b"--m\r\nContent-Type: text/plain\r\n\r\nsee https://y.example/z.\r\n"
        b"--m\r\nContent-Type: application/pdf; name=bill.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        b"JVBERg==\r\n--m--\r\n",
        to="Ann+tag@example.org",
    )

    seen = (await api.get(f"/v1/inbox/{key}")).json()
    assert (seen["recipient"], seen["from"]) == ("Ann+tag@example.org", "Grün <a@acme.example>")
    assert seen["return_path"].endswith("@bounce.acme.example")
    assert seen["received_at"] == "2026-11-22T12:00:01.000Z"
    assert seen["links"] == [
        {"url": "https://x.example/?a=1&b=2", "text": "Go on"},
        {"url": "https://y.example/z", "text": None},
    ]
    assert seen["text"] == "see https://y.example/z."
    assert [(a["filename"], a["content_type"], a["size_bytes"]) for a in seen["attachments"]] == [
        ("bill.pdf", "application/pdf", 4)
    ]
    assert {"name": "Subject", "value": "both"} in seen["headers"]
    assert (seen["dkim"], seen["fault"]) == ([], None)
    assert seen["message_id"].startswith("msg_") and seen["recipient_id"].startswith("rcpt_")


async def test_the_source_is_given_octet_for_octet(api: httpx.AsyncClient, post: Post) -> None:
    key = post.keep(LETTER + b"\xff\x00\r\n")

    answer = await api.get(f"/v1/inbox/{key}/raw")
    assert answer.content.endswith(LETTER + b"\xff\x00\r\n")
    assert answer.headers["content-type"] == "message/rfc822"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"recipient": "ANN@example.org"}, [0]),
        ({"recipient": "ann"}, []),
        ({"subject": "WELC"}, [1]),
        ({"from": "bob"}, [1]),
        ({"from": "shop@acme.example"}, [0]),
        ({"since": "2026-11-22T12:00:02Z"}, [1]),
        ({"since": "2026-11-22T13:00:01+01:00"}, [1, 0]),
        ({"since": "2027-01-01T00:00:00Z"}, []),
        ({"since": "0001-01-01T00:00:00+14:00"}, [1, 0]),
        ({"limit": "1"}, [1]),
        ({"subject": "order", "recipient": "ann@example.org"}, [0]),
        ({"subject": "order", "recipient": "carl@example.org"}, []),
    ],
)
async def test_it_is_narrowed_down(
    api: httpx.AsyncClient, post: Post, query: dict[str, str], found: list[int]
) -> None:
    keys = [
        post.keep(),
        post.keep(b"From: Bob <bob@acme.example>\r\nSubject: Welcome\r\n\r\n", to="carl@example.org"),
    ]

    assert await listed(api, **query) == [keys[n] for n in found]


async def test_a_key_is_a_place_in_time_and_a_message_has_its_copies(
    api: httpx.AsyncClient, post: Post
) -> None:
    first, second = post.keep(), post.keep()
    message_id = (await api.get(f"/v1/inbox/{first}")).json()["message_id"]

    assert await listed(api, since=first) == [second]
    assert await listed(api, since=second) == []
    assert await listed(api, message_id=message_id) == [first]
    assert await listed(api, message_id=ids.show("msg", 5)) == []


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("since=yesterday", "since"),
        ("since=2026-02-31T00:00:00Z", "since"),
        ("since=2026-02-01T00:00:00", "since"),
        ("message_id=5", "message_id"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=1.0", "limit"),
        ("subject=", "subject"),
        ("recipent=a@b.example", "recipent"),
        ("from=a&from=b", "from"),
    ],
)
async def test_a_bad_parameter_is_named(api: httpx.AsyncClient, query: str, parameter: str) -> None:
    answer = await api.get(f"/v1/inbox?{query}")

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-field")
    assert answer.json()["errors"][0]["parameter"] == parameter


@pytest.mark.parametrize("key", ["x", "..%2F..%2Fetc%2Fpasswd", "%00", "1795348800.M000000P1Q0000000.mailer"])
async def test_what_is_no_key_is_not_found(api: httpx.AsyncClient, key: str) -> None:
    answers = [await api.get(f"/v1/inbox/{key}"), await api.delete(f"/v1/inbox/{key}")]

    assert {answer.status_code for answer in answers} == {404}


async def test_what_was_deleted_is_gone(api: httpx.AsyncClient, post: Post) -> None:
    first, second, third = post.keep(), post.keep(to="carl@example.org"), post.keep()

    one = await api.delete(f"/v1/inbox/{first}")
    some = await api.delete("/v1/inbox?recipient=carl@example.org")
    left = await listed(api)
    rest = await api.delete("/v1/inbox")
    assert [answer.json() for answer in (one, some, rest)] == [{"deleted": 1}] * 3
    assert left == [third]
    assert [(await api.get(f"/v1/inbox/{key}")).status_code for key in (first, second, third)] == [404] * 3
    assert (await api.delete(f"/v1/inbox/{first}")).status_code == 404


# ---- waiting


async def test_a_wait_ends_when_the_message_comes(api: httpx.AsyncClient, post: Post) -> None:
    old = post.keep()
    waiting = asyncio.create_task(
        api.get("/v1/inbox/wait", params={"recipient": "ann@example.org", "since": old, "timeout": 20})
    )
    _, pending = await asyncio.wait([waiting], timeout=0.3)
    post.keep(to="carl@example.org")
    wanted = post.keep()

    answer = await waiting
    assert pending
    assert (answer.status_code, answer.json()["key"]) == (200, wanted)
    assert answer.json()["text"] == "hi\r\n"


async def test_what_is_there_already_is_answered_at_once_the_newest_first(
    api: httpx.AsyncClient, post: Post
) -> None:
    post.keep()
    newest = post.keep()

    answer = await api.get("/v1/inbox/wait?subject=order&timeout=0")
    assert answer.json()["key"] == newest


async def test_a_wait_in_vain_says_so_with_a_problem_of_its_own(api: httpx.AsyncClient, post: Post) -> None:
    post.keep()

    answer = await api.get("/v1/inbox/wait?subject=never&timeout=1")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/nothing-came")
    assert answer.json()["detail"] == "no message met all conditions within 1 seconds"


@pytest.mark.parametrize("timeout", ["121", "-1", "x", "1.5"])
async def test_a_wait_has_bounds(api: httpx.AsyncClient, timeout: str) -> None:
    answer = await api.get("/v1/inbox/wait", params={"timeout": timeout})

    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "timeout")


async def test_so_many_may_wait_and_one_tenant_does_not_take_all_places(
    api: httpx.AsyncClient, post: Post, keyring: Keyring
) -> None:
    here = {"subject": "order", "timeout": 20}
    own = [asyncio.create_task(api.get("/v1/inbox/wait", params=here)) for _ in range(3)]
    done, _ = await asyncio.wait(own, return_when=asyncio.FIRST_COMPLETED)
    [refused] = [task.result() for task in done]
    theirs = asyncio.create_task(api.get("/v1/inbox/wait", params=here, headers=of_globex(keyring)))
    post.keep()
    post.keep(tenant_id=keyring.globex.id)

    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/busy")
    assert refused.headers["retry-after"]
    assert (await theirs).status_code == 200
    assert sorted([(await task).status_code for task in own]) == [200, 200, 503]
    assert (await api.get("/v1/inbox/wait", params=here)).status_code == 200


async def test_nobody_who_waits_holds_up_the_end_of_the_server(
    api: httpx.AsyncClient, post: Post, closing: Closing
) -> None:
    waiting = asyncio.create_task(api.get("/v1/inbox/wait?timeout=100"))
    _, pending = await asyncio.wait([waiting], timeout=0.3)
    closing.now = True

    answer = await asyncio.wait_for(waiting, 10)
    assert pending
    assert answer.status_code == 503


async def test_in_live_mode_there_is_no_inbox(keyring: Keyring, tmp_path: Path) -> None:
    with working_parts(keyring.room, tmp_path, ring=lambda: None) as parts:
        transport = httpx.ASGITransport(app=create_app(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://mailer.test") as client:
            answer = await client.get("/v1/inbox", headers=bearer(keyring.issue()))

    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
