"""/v1/templates, and messages that are made of one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from mailer.accept.http.templating import MOST_BYTES
from mailer.identity import tenants
from mailer.store import Store
from mailer.store.tables import content, message
from tests.accept.http.conftest import LETTER, Door, bearer

HELLO = {
    "name": "hello",
    "subject": "Hello {{ name }}",
    "html": "<style>p{color:red}</style>\n<p>Order {{ order.number }} for {{ name }}</p>",
    "publish": True,
}
ADA = {"name": "Ada <3", "order": {"number": 4711}}


class Desk:
    """Requests with a key that may do everything of acme's."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.headers = bearer(door.keyring.issue(scopes=("send", "read", "templates")))

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.door.client.request(
            method, f"/v1/templates{path}", json=body, headers={**self.headers, **headers}
        )

    async def send(self, **template: Any) -> httpx.Response:
        body = {key: value for key, value in LETTER.items() if key not in ("subject", "text")}
        return await self.door.send({**body, "template": template})


@pytest.fixture
async def desk(door: Door) -> AsyncIterator[Desk]:
    made = Desk(door)
    assert (await made.ask("POST", "", HELLO)).status_code == 201
    yield made


def stored(store: Store) -> EmailMessage:
    """The one message in the store, as it will be sent."""
    with store.read() as c:
        row = c.execute(select(content.c.headers, content.c.body)).one()
    parsed = message_from_bytes(row.headers + b"\r\n" + row.body, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def rows(store: Store) -> int:
    with store.read() as c:
        return len(c.execute(select(message.c.id)).all())


def fault_of(answer: httpx.Response) -> tuple[int, str, list[str]]:
    problem = answer.json()
    pointers = [error.get("pointer", error.get("parameter")) for error in problem.get("errors", ())]
    return answer.status_code, problem["type"].removeprefix("/problems/"), pointers


# ---- kept


async def test_a_template_is_kept_and_shown_as_it_was_written(desk: Desk) -> None:
    seen = (await desk.ask("GET", "/hello")).json()

    assert (seen["name"], seen["published"], seen["latest"]) == ("hello", 1, 1)
    assert seen["content"]["html"] == HELLO["html"]
    assert seen["content"]["text"] is None
    assert seen["content"]["variables"] == [
        {"name": "name", "required": True}, {"name": "order.number", "required": True},
    ]  # fmt: skip
    assert (await desk.ask("GET", f"/{seen['id']}")).json() == seen
    assert (await desk.ask("GET", "/hello/versions/1")).json() == seen["content"]


async def test_templates_are_listed_page_by_page(desk: Desk) -> None:
    for name in ("bye", "welcome"):
        await desk.ask("POST", "", {**HELLO, "name": name})

    first = (await desk.ask("GET", "?limit=2")).json()
    rest = (await desk.ask("GET", f"?limit=2&after={first['next_after']}")).json()
    assert [t["name"] for t in first["templates"] + rest["templates"]] == ["bye", "hello", "welcome"]
    assert rest["next_after"] is None


async def test_a_new_version_is_sent_once_it_is_published_and_the_old_one_again(desk: Desk) -> None:
    made = await desk.ask("POST", "/hello/versions", {"subject": "Bye", "text": "x"})
    one = (await desk.ask("POST", "/hello/render", {"data": ADA})).json()
    await desk.ask("POST", "/hello/publish", {"version": 2})
    two = (await desk.ask("POST", "/hello/render", {})).json()
    back = await desk.ask("POST", "/hello/publish", {"version": 1})

    assert (made.status_code, made.json()["latest"], made.json()["published"]) == (201, 2, 1)
    assert (one["version"], one["subject"], two["version"], two["subject"]) == (1, "Hello Ada <3", 2, "Bye")
    assert back.json()["published"] == 1


async def test_a_deleted_template_is_gone_and_what_was_sent_stays(desk: Desk) -> None:
    sent = await desk.send(name="hello", data=ADA)
    gone = await desk.ask("DELETE", "/hello")

    assert (gone.status_code, gone.content) == (204, b"")
    assert (await desk.ask("GET", "/hello")).status_code == 404
    assert (await desk.ask("DELETE", "/hello")).status_code == 404
    assert (await desk.send(name="hello", data=ADA)).status_code == 422
    assert (await desk.door.get(sent.headers["location"])).json()["subject"] == "Hello Ada <3"


@pytest.mark.parametrize(
    ("body", "status", "fault", "pointers"),
    [
        ({**HELLO}, 409, "name-taken", ["/name"]),
        ({**HELLO, "name": "a b"}, 422, "invalid-field", ["/name"]),
        ({**HELLO, "name": "tmpl_x"}, 422, "invalid-field", ["/name"]),
        ({**HELLO, "name": "x", "html": "a\n{{ b"}, 422, "template-failed", ["/html"]),
        ({**HELLO, "name": "x", "subject": "{% if %}"}, 422, "template-failed", ["/subject"]),
        ({**HELLO, "name": "x", "text": "\0"}, 422, "template-failed", ["/text"]),
        ({"name": "x", "subject": "s"}, 422, "template-failed", ["/text"]),
        ({**HELLO, "nmae": "x"}, 422, "invalid-field", ["/nmae"]),
        ({**HELLO, "name": "x", "publish": "yes"}, 422, "invalid-field", ["/publish"]),
        ({"html": 1}, 422, "invalid-field", ["/subject", "/html", "/name"]),
        ([], 422, "invalid-field", [""]),
    ],
)
async def test_what_is_no_template_is_refused_with_the_place_of_its_faults(
    desk: Desk, body: Any, status: int, fault: str, pointers: list[str]
) -> None:
    assert fault_of(await desk.ask("POST", "", body)) == (status, fault, pointers)


async def test_a_fault_in_a_template_is_told_with_its_line(desk: Desk) -> None:
    answer = await desk.ask("POST", "/hello/versions", {"subject": "s", "html": "a\nb {% if c %}\nd"})

    assert "expected tag endif, found its end (html, line 2)" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/gone", None),
        ("GET", "/tmpl_0000000000005", None),
        ("GET", "/hello/versions/2", None),
        ("GET", "/hello/versions/0", None),
        ("GET", "/hello/versions/99999999999999999999", None),
        ("GET", "/hello/versions/x", None),
        ("POST", "/gone/versions", {"subject": "s", "text": "t"}),
        ("POST", "/gone/publish", {"version": 1}),
        ("POST", "/gone/render", {}),
        ("DELETE", "/gone", None),
        ("GET", "/a%00b", None),
    ],
)
async def test_what_is_not_there_is_404(desk: Desk, method: str, path: str, body: Any) -> None:
    assert fault_of(await desk.ask(method, path, body))[:2] == (404, "not-found")


@pytest.mark.parametrize(("content_type", "status"), [("application/json", 400), ("text/plain", 415)])
async def test_a_body_that_is_no_json_is_the_senders_fault(
    desk: Desk, content_type: str, status: int
) -> None:
    answer = await desk.door.client.post(
        "/v1/templates", content=b"{", headers={**desk.headers, "Content-Type": content_type}
    )

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_body_that_is_too_large_is_refused_before_anybody_is_asked_for_a_key(
    desk: Desk, is_announced: bool
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MOST_BYTES // 65536 + 2):
            yield b" " * 65536

    headers = {"Content-Type": "application/json", "Authorization": "none"}
    if is_announced:
        headers["Content-Length"] = str(MOST_BYTES + 1)
    answer = await desk.door.client.post("/v1/templates", content=endless(), headers=headers)

    assert fault_of(answer)[:2] == (413, "request-too-large")


# ---- who


ROUTES = [
    ("POST", "", {**HELLO, "name": "new"}, "templates"),
    ("POST", "/hello/versions", {"subject": "s", "text": "t"}, "templates"),
    ("POST", "/hello/publish", {"version": 1}, "templates"),
    ("DELETE", "/hello", None, "templates"),
    ("GET", "", None, "read"),
    ("GET", "/hello", None, "read"),
    ("GET", "/hello/versions/1", None, "read"),
    ("POST", "/hello/render", {"data": ADA}, "read"),
]


@pytest.mark.parametrize(("method", "path", "body", "scope"), ROUTES)
async def test_each_route_needs_its_scope(desk: Desk, method: str, path: str, body: Any, scope: str) -> None:
    others = tuple({"send", "read", "templates", "manage"} - {scope})
    refused = await desk.ask(method, path, body, **bearer(desk.door.keyring.issue(scopes=others)))
    strange = await desk.ask(method, path, body, Authorization="Bearer nonsense")
    allowed = await desk.ask(method, path, body, **bearer(desk.door.keyring.issue(scopes=(scope,))))

    assert (refused.status_code, strange.status_code) == (403, 401)
    assert allowed.status_code < 300


@pytest.mark.parametrize(("method", "path", "body", "scope"), [route for route in ROUTES if route[1]])
async def test_another_tenants_template_is_not_there(
    desk: Desk, method: str, path: str, body: Any, scope: str
) -> None:
    keyring = desk.door.keyring
    strangers = bearer(keyring.issue(to=keyring.globex, scopes=("send", "read", "templates")))
    before = (await desk.ask("GET", "/hello")).json()

    assert (await desk.ask(method, path, body, **strangers)).status_code == 404
    assert (await desk.ask("GET", "", **strangers)).json()["templates"] == []
    assert (await desk.ask("GET", "/hello")).json() == before


async def test_another_tenants_template_cannot_be_sent(desk: Desk) -> None:
    keyring = desk.door.keyring
    key = bearer(keyring.issue(to=keyring.globex))

    body = {"from": "a@globex.example", "to": "b@x.example", "template": {"name": "hello", "data": ADA}}
    answer = await desk.door.send(body, **key)

    assert fault_of(answer) == (422, "unknown-template", ["/template"])


async def test_a_suspended_tenant_may_look_but_not_write(desk: Desk) -> None:
    tenants.suspend(desk.door.room.store, "acme")
    fresh = bearer(desk.door.keyring.issue(scopes=("read", "templates")))

    assert (await desk.ask("GET", "/hello", **fresh)).status_code == 200
    assert fault_of(await desk.ask("DELETE", "/hello", **fresh))[:2] == (403, "tenant-suspended")


# ---- tried


async def test_a_trial_shows_what_would_be_sent(desk: Desk) -> None:
    tried = (await desk.ask("POST", "/hello/render", {"data": ADA})).json()
    await desk.send(name="hello", data=ADA)

    sent = stored(desk.door.room.store)
    plain, html = sent.get_body(("plain",)), sent.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert tried["missing"] == []
    assert sent["Subject"] == tried["subject"]
    assert plain.get_content().splitlines() == tried["text"].splitlines()
    assert html.get_content().splitlines() == tried["html"].splitlines()
    assert tried["text"] == "Order 4711 for Ada <3\n"
    assert '<p style="color: red;">Order 4711 for Ada &lt;3</p>' in tried["html"]


async def test_a_trial_names_every_variable_that_is_missing(desk: Desk) -> None:
    tried = await desk.ask("POST", "/hello/render", {"data": {}})

    assert tried.status_code == 200
    assert tried.json()["missing"] == [
        {"name": "name", "part": "subject", "line": 1},
        {"name": "order.number", "part": "html", "line": 2},
        {"name": "name", "part": "html", "line": 2},
    ]


async def test_a_trial_that_costs_too_much_is_refused(desk: Desk) -> None:
    loops = "{% for i in (1..9999) %}" * 3 + "{% endfor %}" * 3
    await desk.ask("POST", "", {"name": "heavy", "subject": "s", "text": loops})

    assert fault_of(await desk.ask("POST", "/heavy/render", {}))[:2] == (422, "template-failed")


async def test_a_trial_of_a_version_that_is_not_there_is_refused(desk: Desk) -> None:
    assert fault_of(await desk.ask("POST", "/hello/render", {"version": 7})) == (
        422, "invalid-field", ["/version"],
    )  # fmt: skip


# ---- sent


async def test_a_message_may_name_a_version(desk: Desk) -> None:
    await desk.ask("POST", "/hello/versions", {"subject": "Bye", "text": "x"})
    template_id = (await desk.ask("GET", "/hello")).json()["id"]

    answer = await desk.send(id=template_id, version=2)

    assert answer.status_code == 202
    assert stored(desk.door.room.store)["Subject"] == "Bye"


async def test_a_missing_variable_refuses_the_message_and_names_all_of_them(desk: Desk) -> None:
    answer = await desk.send(name="hello", data={"order": {}})

    assert fault_of(answer) == (
        422, "template-failed", ["/template/data/name", "/template/data/order/number"],
    )  # fmt: skip
    assert "`name` (subject, line 1) and 1 more" in answer.json()["detail"]
    assert "`order.number` is not in the data (html, line 2)" in answer.text
    assert rows(desk.door.room.store) == 0


@pytest.mark.parametrize(
    ("change", "fault", "pointer"),
    [
        ({"template": {"name": "gone"}}, "unknown-template", "/template"),
        ({"template": {"name": "hello", "version": 2}}, "unknown-template", "/template"),
        ({"template": {"name": "hello", "id": "tmpl_0000000000005"}}, "invalid-field", "/template"),
        ({"template": {"data": {}}}, "invalid-field", "/template"),
        ({"template": {"name": "hello", "version": 0}}, "invalid-field", "/template/version"),
        ({"template": {"name": "hello", "dta": {}}}, "invalid-field", "/template/dta"),
        ({"template": {"name": "hello", "data": ADA}, "subject": "x"}, "invalid-field", "/subject"),
        ({"template": {"name": "hello", "data": ADA}, "text": "x"}, "invalid-field", "/text"),
        ({"html": "<style>p{top:0}</style><p style='{;:'>", "inline_css": True}, "template-failed", "/html"),
    ],
)
async def test_a_template_that_cannot_be_sent_refuses_the_message(
    desk: Desk, change: dict[str, Any], fault: str, pointer: str
) -> None:
    body = {"from": "shop@acme.example", "to": "ada@example.org", **change}

    assert fault_of(await desk.door.send(body)) == (422, fault, [pointer])
    assert rows(desk.door.room.store) == 0


async def test_a_repeat_gets_the_first_answer_though_the_template_is_gone(desk: Desk) -> None:
    body = {"from": "shop@acme.example", "to": "ada@example.org", "template": {"name": "hello", "data": ADA}}
    first = await desk.door.send(body, **{"Idempotency-Key": "k"})
    await desk.ask("DELETE", "/hello")
    second = await desk.door.send(body, **{"Idempotency-Key": "k"})
    other = await desk.door.send({**body, "tags": ["x"]}, **{"Idempotency-Key": "k"})

    assert (second.status_code, second.content) == (202, first.content)
    assert second.headers["idempotent-replayed"] == "true"
    assert fault_of(other)[1] == "unknown-template"
    assert rows(desk.door.room.store) == 1


async def test_an_unpublished_template_is_not_sent_unless_a_version_is_named(desk: Desk) -> None:
    await desk.ask("POST", "", {"name": "draft", "subject": "s", "text": "t"})

    assert fault_of(await desk.send(name="draft"))[1] == "unknown-template"
    assert (await desk.send(name="draft", version=1)).status_code == 202


async def test_literal_html_is_finished_only_where_that_is_asked_for(desk: Desk) -> None:
    page = "<style>p{color:red}</style><p>{{ literal }}</p>"
    body = {**LETTER, "text": None, "html": page}
    await desk.door.send(body)
    alone = stored(desk.door.room.store)
    with desk.door.room.store.write() as c:
        c.execute(content.delete())
    await desk.door.send({**body, "inline_css": True, "auto_text": True})
    both = stored(desk.door.room.store)

    plain, html = both.get_body(("plain",)), both.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert alone.get_content().splitlines() == [page]
    assert plain.get_content().splitlines() == ["{{ literal }}"]
    assert '<p style="color: red;">{{ literal }}</p>' in html.get_content()
