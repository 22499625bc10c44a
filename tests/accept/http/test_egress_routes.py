"""/v1/egress-ips, /v1/pools, /v1/pool-uses, /v1/warmups: the operator says where mail leaves from."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from mailer import clock, ids
from mailer.config.load import warmup_rules
from mailer.identity.api_keys import OPERATE, SCOPES
from mailer.policy.warmup import Counts
from mailer.queue import warmup
from mailer.queue.warmup import Heard
from tests.accept.http.conftest import Door, bearer

IP = {"addresses": ["203.0.113.5", "2001:DB8::5"], "helo": "out5.example.org"}
NOBODY = ids.show("ip", 5)
ROUTES = [
    ("GET", "/v1/egress-ips", None),
    ("POST", "/v1/egress-ips", IP),
    ("GET", f"/v1/egress-ips/{NOBODY}", None),
    ("PATCH", f"/v1/egress-ips/{NOBODY}", {"state": "off"}),
    ("DELETE", f"/v1/egress-ips/{NOBODY}", None),
    ("GET", "/v1/pools", None),
    ("POST", "/v1/pools", {"name": "main"}),
    ("GET", "/v1/pools/main", None),
    ("PATCH", "/v1/pools/main", {"is_default": True}),
    ("DELETE", "/v1/pools/main", None),
    ("PUT", f"/v1/pools/main/members/{NOBODY}", {"weight": 1}),
    ("DELETE", f"/v1/pools/main/members/{NOBODY}", None),
    ("GET", "/v1/pool-uses", None),
    ("PUT", "/v1/pool-uses", {"tenant": "acme", "pool": None}),
    ("GET", "/v1/warmups", None),
    ("GET", f"/v1/warmups/{NOBODY}", None),
    ("GET", f"/v1/warmups/{NOBODY}/history", None),
    ("PUT", f"/v1/warmups/{NOBODY}", {"plan": "steady"}),
    ("POST", f"/v1/warmups/{NOBODY}/hold", {}),
    ("POST", f"/v1/warmups/{NOBODY}/resume", None),
    ("POST", f"/v1/warmups/{NOBODY}/stop", {}),
]


class Operator:
    """Requests with an operator's key."""

    def __init__(self, door: Door) -> None:
        self._client = door.client
        self._headers = bearer(door.keyring.issue(scopes=(OPERATE,)))

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self._client.request(method, f"/v1{path}", json=body, headers=self._headers)

    async def made(self, path: str, body: Any) -> Any:
        answer = await self.ask("POST", path, body)
        assert answer.status_code == 201, answer.text
        return answer.json()


@pytest.fixture
def operator(door: Door) -> Operator:
    return Operator(door)


def fault(answer: httpx.Response) -> tuple[int, str, str | None]:
    problem = answer.json()
    [error] = problem.get("errors", [{}])
    return answer.status_code, problem["type"].removeprefix("/problems/"), error.get("pointer")


def test_every_route_is_tried(door: Door) -> None:
    paths = {path.split("/")[2] for _, path, _ in ROUTES}
    assert paths == {"egress-ips", "pools", "pool-uses", "warmups"}


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_only_the_operator_reaches_it(door: Door, method: str, path: str, body: Any) -> None:
    """A tenant's key with every right that a tenant can have is refused, and nothing is changed."""
    key = door.keyring.issue(scopes=SCOPES)

    answer = await door.client.request(method, path, json=body, headers=bearer(key))

    assert fault(answer)[:2] == (403, "forbidden")
    listed = await Operator(door).ask("GET", "/egress-ips")
    assert listed.json() == {"egress_ips": []}


async def test_a_tenant_cannot_make_itself_an_operators_key(door: Door) -> None:
    key = door.keyring.issue(scopes=SCOPES)

    answer = await door.client.post(
        "/v1/keys", json={"name": "more", "scopes": [OPERATE]}, headers=bearer(key)
    )

    assert answer.status_code in (403, 422)


async def test_an_ip_is_added_seen_and_reported_as_not_yet_looked_for(operator: Operator) -> None:
    made = await operator.ask("POST", "/egress-ips", IP)
    ip = made.json()

    seen = await operator.ask("GET", made.headers["location"].removeprefix("/v1"))

    assert made.status_code == 201
    assert seen.json() == ip
    assert (ip["ipv4"], ip["ipv6"], ip["helo"], ip["state"]) == (
        "203.0.113.5", "2001:db8::5", "out5.example.org", "active"
    )  # fmt: skip
    assert ip["notes"] == ["no worker has looked for it yet"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"addresses": ["out5.example.org"], "helo": "out5.example.org"}, "/addresses/0"),
        ({"addresses": ["203.0.113.5", "203.0.113.6"], "helo": "out5.example.org"}, "/addresses/1"),
        ({"addresses": ["0.0.0.0"], "helo": "out5.example.org"}, "/addresses/0"),
        ({"addresses": ["ff02::1"], "helo": "out5.example.org"}, "/addresses/0"),
        ({"addresses": ["203.0.113.5"], "helo": "not a host"}, "/helo"),
        ({"addresses": [], "helo": "out5.example.org"}, "/addresses"),
    ],
)
async def test_what_mail_cannot_leave_from_is_refused(
    operator: Operator, body: dict[str, Any], pointer: str
) -> None:
    assert fault(await operator.ask("POST", "/egress-ips", body)) == (422, "invalid-field", pointer)


async def test_an_address_is_taken_once(operator: Operator) -> None:
    await operator.made("/egress-ips", IP)

    again = await operator.ask("POST", "/egress-ips", {**IP, "addresses": ["2001:db8:0::5"]})

    assert fault(again) == (409, "name-taken", "/addresses")


async def test_an_ip_drains_and_leaves_its_pool_before_it_goes(operator: Operator) -> None:
    ip = await operator.made("/egress-ips", IP)
    await operator.made("/pools", {"name": "main"})
    await operator.ask("PUT", f"/pools/main/members/{ip['id']}", {"weight": 3})

    drained = await operator.ask("PATCH", f"/egress-ips/{ip['id']}", {"state": "draining"})
    kept = await operator.ask("DELETE", f"/egress-ips/{ip['id']}")
    left = [await operator.ask("DELETE", f"/pools/main/members/{ip['id']}") for _ in range(2)]
    gone = await operator.ask("DELETE", f"/egress-ips/{ip['id']}")

    assert (drained.json()["state"], drained.json()["pools"]) == ("draining", ["main"])
    assert fault(kept)[:2] == (409, "conflict")
    assert [a.json()["members"] for a in left] == [[], []]
    assert gone.status_code == 200
    assert (await operator.ask("GET", f"/egress-ips/{ip['id']}")).status_code == 404


async def test_a_pool_shows_its_members_by_weight(operator: Operator) -> None:
    ip = await operator.made("/egress-ips", IP)
    await operator.made("/pools", {"name": "main", "is_default": True})

    answer = await operator.ask("PUT", f"/pools/main/members/{ip['id']}", {"weight": 0})

    assert answer.json()["members"] == [{"egress_id": ip["id"], "address": "203.0.113.5", "weight": 0}]
    assert (await operator.ask("GET", "/pools")).json()["pools"] == [answer.json()]


async def test_one_pool_a_kind_is_the_default(operator: Operator) -> None:
    for body in (
        {"name": "main", "is_default": True},
        {"name": "news", "kind": "broadcast", "is_default": True},
        {"name": "other", "is_default": True},
    ):
        await operator.made("/pools", body)

    found = (await operator.ask("GET", "/pools")).json()["pools"]

    assert {p["name"]: p["is_default"] for p in found} == {"main": False, "news": True, "other": True}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (
            {"name": "news2", "kind": "broadcast", "overflow": "codes"},
            "/overflow",
        ),  # into a transactional one
        ({"name": "any", "overflow": "globexs"}, "/overflow"),  # another tenant's
        ({"name": "acmes", "owner": "acme", "overflow": "globexs"}, "/overflow"),
        ({"name": "globex2", "owner": "globex", "is_default": True}, "/is_default"),
        ({"name": "Bad Name"}, "/name"),
    ],
)
async def test_a_pool_that_would_mix_what_must_stay_apart_is_refused(
    operator: Operator, body: dict[str, Any], pointer: str
) -> None:
    await operator.made("/pools", {"name": "codes"})
    await operator.made("/pools", {"name": "globexs", "owner": "globex"})

    refused = await operator.ask("POST", "/pools", body)

    assert fault(refused) == (422, "invalid-field", pointer)
    assert len((await operator.ask("GET", "/pools")).json()["pools"]) == 2


async def test_a_pool_that_others_rest_on_is_not_removed(operator: Operator) -> None:
    await operator.made("/pools", {"name": "spare"})
    await operator.made("/pools", {"name": "main", "overflow": "spare"})
    await operator.ask("PUT", "/pool-uses", {"tenant": "acme", "stream": None, "pool": "main"})

    spare, main = [await operator.ask("DELETE", f"/pools/{name}") for name in ("spare", "main")]
    await operator.ask("PATCH", "/pools/main", {"overflow": ""})
    await operator.ask("PUT", "/pool-uses", {"tenant": "acme", "pool": None})

    assert [fault(a)[:2] for a in (spare, main)] == [(409, "conflict")] * 2
    assert [(await operator.ask("DELETE", f"/pools/{n}")).status_code for n in ("spare", "main")] == [
        200,
        200,
    ]


async def test_streams_and_tenants_are_mapped(operator: Operator) -> None:
    await operator.made("/pools", {"name": "main"})
    await operator.made("/pools", {"name": "news", "kind": "broadcast"})
    await operator.ask("PUT", "/pool-uses", {"tenant": "globex", "pool": "main"})

    answer = await operator.ask(
        "PUT", "/pool-uses", {"tenant": "globex", "stream": "broadcast", "pool": "news"}
    )

    assert answer.json()["uses"] == [
        {"tenant": "globex", "stream": None, "pool": "main"},
        {"tenant": "globex", "stream": "broadcast", "pool": "news"},
    ]
    assert (await operator.ask("GET", "/pool-uses")).json() == answer.json()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"tenant": "globex", "stream": "broadcast", "pool": "main"}, (422, "invalid-field", "/pool")),
        ({"tenant": "globex", "pool": "acmes"}, (422, "invalid-field", "/pool")),
        ({"tenant": "nobody", "pool": "main"}, (404, "not-found", None)),
        ({"tenant": "globex", "stream": "none", "pool": "main"}, (404, "not-found", None)),
        ({"tenant": "globex", "pool": "none"}, (404, "not-found", None)),
    ],
)
async def test_a_use_that_must_not_be_is_refused(
    operator: Operator, body: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    await operator.made("/pools", {"name": "main"})
    await operator.made("/pools", {"name": "acmes", "owner": "acme"})

    assert fault(await operator.ask("PUT", "/pool-uses", body)) == expected


# ---- warm-up ----------------------------------------------------------------------------------------------


async def warming_ip(operator: Operator, door: Door) -> str:
    """An IP on the first day of its warm-up that sent google all it may."""
    ip: str = (await operator.made("/egress-ips", IP))["id"]
    await operator.ask("PUT", f"/warmups/{ip}", {"plan": "steady", "target_per_day": 50_000})
    key = (ids.parse("ip", ip), "google")
    store, rules = door.room.store, warmup_rules()
    warmup.reserve(store, door.room.worker.id, {key: 10**6}, rules=rules, now=clock.now())
    warmup.observe(store, {key: Heard(Counts(delivered=99, bounced=1))})
    return ip


async def test_a_warm_up_shows_plan_stage_use_and_forecast(operator: Operator, door: Door) -> None:
    ip = await warming_ip(operator, door)

    found = (await operator.ask("GET", f"/warmups/{ip}")).json()

    [google] = found["providers"]
    assert (found["plan"], found["target_per_day"], found["state"]) == ("steady", 50_000, "running")
    assert (google["provider"], google["stage"], google["used"], google["cap"]) == ("google", 1, 100, 100)
    assert (google["verdict"], google["forecast"]) == ("green", "if every day advances it")
    assert google["warm_on"] > f"{clock.now():%Y-%m-%d}"
    assert (await operator.ask("GET", "/warmups")).json() == {"warmups": [found]}
    assert (await operator.ask("GET", f"/warmups/{ip}/history")).json() == {"days": []}


async def test_a_warm_up_is_held_resumed_and_stopped(operator: Operator, door: Door) -> None:
    ip = await warming_ip(operator, door)
    steps = [
        ("hold", {"reason": "a listing"}), ("resume", None), ("stop", {}), ("resume", None),
    ]  # fmt: skip

    answers = [await operator.ask("POST", f"/warmups/{ip}/{step}", body) for step, body in steps]

    held, resumed, stopped, again = answers
    assert (held.json()["state"], held.json()["reason"]) == ("held", "a listing")
    assert held.json()["providers"][0]["forecast"] == "an operator holds it"
    assert (resumed.json()["state"], resumed.json()["reason"]) == ("running", None)
    assert (stopped.json()["state"], stopped.json()["providers"][0]["cap"]) == ("stopped", None)
    assert again.status_code == 404


async def test_a_warm_up_by_no_plan_or_of_no_ip_is_refused(operator: Operator) -> None:
    ip = await operator.made("/egress-ips", IP)

    no_plan = await operator.ask("PUT", f"/warmups/{ip['id']}", {"plan": "hasty"})
    no_ip = await operator.ask("PUT", f"/warmups/{NOBODY}", {"plan": "steady"})
    not_started = await operator.ask("GET", f"/warmups/{ip['id']}")

    assert fault(no_plan) == (422, "invalid-field", "/plan")
    assert [no_ip.status_code, not_started.status_code] == [404, 404]


async def test_metrics_tell_the_same(operator: Operator, door: Door) -> None:
    await warming_ip(operator, door)

    text = (await door.client.get("/metrics")).text

    at = '{ip="203.0.113.5",provider="google"}'
    assert f"mailer_warmup_stage{at} 1.0" in text
    assert f"mailer_warmup_cap_messages{at} 100.0" in text
    assert f"mailer_warmup_used_messages{at} 100.0" in text
    assert 'mailer_warmup_held{ip="203.0.113.5",plan="steady"} 0.0' in text
    assert f"mailer_warmup_warm_on_timestamp_seconds{at} " in text
