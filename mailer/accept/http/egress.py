"""/v1/egress-ips, /v1/pools and /v1/pool-uses: where mail leaves from. For the operator alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Path, Response
from pydantic import Field, StrictInt, WithJsonSchema

from mailer.accept.credentials import Authenticator
from mailer.accept.http import openapi
from mailer.accept.http.asked import Asked, examples, id_path, left_out, number_of, refusals
from mailer.accept.http.callers import Caller, as_json
from mailer.accept.http.shapes import At, Shape, shown_as
from mailer.accept.http.smallbody import SmallBody
from mailer.accept.submission import Fault
from mailer.identity import api_keys, egress, pools
from mailer.identity.pools import NewPool, PoolChange
from mailer.ids import IdMaker
from mailer.store import Store

_IPS = "/egress-ips"
_POOLS = "/pools"
_USES = "/pool-uses"
_MEMBER = f"{_POOLS}/{{name}}/members/{{ip}}"
EgressId = Annotated[int, *shown_as("ip")]
EgressIdText = Annotated[str, id_path("ip", "an egress IP")]
PoolName = Annotated[
    str, Path(description="Name of a pool", json_schema_extra={"pattern": f"^{pools.NAME_PATTERN}$"})
]


def _form(name: str, most: int) -> Any:
    """Text of a form that the document names and the database judges."""
    return Field(max_length=most, json_schema_extra={"format": name})


Address = Annotated[str, _form("ip-address", 60)]
Helo = Annotated[str, _form("domain", 255)]
TenantText = Annotated[str, _form("tenant", 200)]
PoolText = Annotated[str, _form("pool", 60)]
PoolOrNone = Annotated[
    str,
    Field(max_length=60),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "pool", "maxLength": 60}, {"const": ""}]}),
]
State = Literal["active", "draining", "off"]
Kind = Literal["transactional", "broadcast"]


class SightingShape(Shape):
    """What the workers of one host found."""

    host: str
    ipv4_here: bool
    ipv6_here: bool
    ipv4_name: str | None = Field(description="Name of the PTR record that leads back to the address")
    ipv6_name: str | None = Field(description="Without one nothing leaves over IPv6")
    checked_at: At


class EgressIp(Shape):
    """An address that mail leaves from."""

    id: EgressId
    ipv4: str | None
    ipv6: str | None
    helo: str
    state: State = Field(description="draining: takes only what was greylisted on it")
    pools: Sequence[str]
    hosts: Sequence[SightingShape]
    notes: Sequence[str] = Field(description="What keeps mail from leaving from it, or makes it unwelcome")
    created_at: At


class EgressIpList(Shape):
    egress_ips: Sequence[EgressIp] = Field(description="The oldest first")


class EgressIpRequest(Asked):
    """An address, or one of each family that go by the same name."""

    addresses: list[Address] = Field(min_length=1, max_length=2, description="IPv4, IPv6, or one of each")
    helo: Helo = Field(description="Name given in EHLO, as in the address's PTR and A records")


class EgressIpChange(Asked):
    """What is to be other than before."""

    helo: Helo = left_out()
    state: State = left_out()


class Member(Shape):
    egress_id: EgressId
    address: str
    weight: int


class Pool(Shape):
    """Egress IPs that share mail."""

    name: str
    kind: Kind
    owner: str | None = Field(description="The only tenant that may use it; null: any")
    overflow: str | None = Field(description="Pool that takes what has no room here; null: it waits")
    is_default: bool = Field(description="Of the streams of its kind that nothing else maps")
    members: Sequence[Member]
    created_at: At


class PoolList(Shape):
    pools: Sequence[Pool] = Field(description="The oldest first")


class PoolRequest(Asked):
    """A pool to be made. Its kind and owner are never changed."""

    name: str = Field(pattern=f"^{pools.NAME_PATTERN}$")
    kind: Kind = "transactional"
    owner: TenantText | None = None
    overflow: PoolText | None = None
    is_default: bool = False


class PoolUpdate(Asked):
    """What is to be other than before. overflow: empty for none."""

    overflow: PoolOrNone = left_out()
    is_default: bool = left_out()


class MemberRequest(Asked):
    weight: StrictInt = Field(
        1, ge=0, le=pools.MOST_WEIGHT, description="0: takes only what the others cannot"
    )


class Use(Shape):
    """Whose mail leaves from a pool."""

    tenant: str
    stream: str | None = Field(description="null: all streams of the tenant that have none of their own")
    pool: str


class UseList(Shape):
    uses: Sequence[Use]


class UseRequest(Asked):
    tenant: TenantText
    stream: Annotated[str, _form("stream", 100)] | None = None
    pool: PoolText | None = Field(description="null: it is mapped to no pool any more")


_NAMES_OTHERS = {openapi.FAULTS: (Fault.NOT_FOUND,)}  # in its body
_NEW_IP = examples(pair={"addresses": ["203.0.113.5", "2001:db8::5"], "helo": "out5.example.org"})
_CHANGED_IP = examples(drained={"state": "draining"})
_NEW_POOL = examples(codes={"name": "codes", "overflow": "main"})
_CHANGED_POOL = examples(default={"is_default": True})
_NEW_MEMBER = examples(half={"weight": 5})
_NEW_USE = examples(stream={"tenant": "acme", "stream": "broadcast", "pool": "news"})


def router(
    store: Store, authenticator: Authenticator, *, new_id: IdMaker, now: Callable[[], datetime]
) -> APIRouter:
    """Synchronous functions: FastAPI runs them in threads, where the database may be used."""
    routes = APIRouter(
        prefix="/v1", tags=["egress"], route_class=SmallBody,
        dependencies=[Depends(Caller(authenticator, api_keys.OPERATE))],
    )  # fmt: skip
    _ip_routes(routes, store, new_id=new_id, now=now)
    _pool_routes(routes, store, new_id=new_id, now=now)
    _member_routes(routes, store)
    return routes


def egress_number(text: str) -> int:
    """The id in a path. Raises SubmissionError (NOT_FOUND)."""
    return number_of("ip", text, what="egress IP")


def _ip_routes(routes: APIRouter, store: Store, *, new_id: IdMaker, now: Callable[[], datetime]) -> None:
    @routes.get(_IPS, response_model=EgressIpList, summary="List egress IPs")
    def list_egress_ips() -> Response:
        """With the hosts they are on and their PTR names, as the workers found them."""
        return as_json(EgressIpList.model_validate({"egress_ips": egress.listed(store)}))

    @routes.post(_IPS, response_model=EgressIp, status_code=201, summary="Add an egress IP")
    def add_egress_ip(request: Annotated[EgressIpRequest, Body(openapi_examples=_NEW_IP)]) -> Response:
        """An address that is on no host is taken all the same, and reported; nothing leaves from it."""
        with refusals():
            made = egress.add(store, request.addresses, request.helo, new_id=new_id, now=now())
        shown = EgressIp.model_validate(made)
        return as_json(shown, location=f"/v1{_IPS}/{shown.model_dump(mode='json')['id']}")

    @routes.get(f"{_IPS}/{{id}}", response_model=EgressIp, summary="Get an egress IP")
    def get_egress_ip(id: EgressIdText) -> Response:
        with refusals():
            return as_json(EgressIp.model_validate(egress.one(store, egress_number(id))))

    @routes.patch(f"{_IPS}/{{id}}", response_model=EgressIp, summary="Change an egress IP")
    def change_egress_ip(
        id: EgressIdText, request: Annotated[EgressIpChange, Body(openapi_examples=_CHANGED_IP)]
    ) -> Response:
        """Holds from the next attempt on."""
        with refusals():
            made = egress.change(store, egress_number(id), helo=request.helo, state=request.state)
        return as_json(EgressIp.model_validate(made))

    @routes.delete(f"{_IPS}/{{id}}", response_model=EgressIp, summary="Remove an egress IP")
    def remove_egress_ip(id: EgressIdText) -> Response:
        """It must be in no pool. Its warm-up goes with it."""
        with refusals():
            return as_json(EgressIp.model_validate(egress.remove(store, egress_number(id))))


def _pool_routes(routes: APIRouter, store: Store, *, new_id: IdMaker, now: Callable[[], datetime]) -> None:
    @routes.get(_POOLS, response_model=PoolList, summary="List pools")
    def list_pools() -> Response:
        return as_json(PoolList.model_validate({"pools": pools.listed(store)}))

    @routes.post(
        _POOLS, response_model=Pool, status_code=201, summary="Make a pool", openapi_extra=_NAMES_OTHERS
    )  # fmt: skip
    def create_pool(request: Annotated[PoolRequest, Body(openapi_examples=_NEW_POOL)]) -> Response:
        """Without members: nothing leaves from it until it has one."""
        new = NewPool(**request.model_dump())
        with refusals():
            made = pools.create(store, new, new_id=new_id, now=now())
        return as_json(Pool.model_validate(made), location=f"/v1{_POOLS}/{made.name}")

    @routes.get(f"{_POOLS}/{{name}}", response_model=Pool, summary="Get a pool")
    def get_pool(name: PoolName) -> Response:
        with refusals():
            return as_json(Pool.model_validate(pools.one(store, name)))

    @routes.patch(f"{_POOLS}/{{name}}", response_model=Pool, summary="Change a pool")
    def change_pool(
        name: PoolName, request: Annotated[PoolUpdate, Body(openapi_examples=_CHANGED_POOL)]
    ) -> Response:
        """Holds from the next attempt on."""
        changed = PoolChange(overflow=request.overflow, is_default=request.is_default)
        with refusals():
            return as_json(Pool.model_validate(pools.change(store, name, changed)))

    @routes.delete(f"{_POOLS}/{{name}}", response_model=Pool, summary="Remove a pool")
    def remove_pool(name: PoolName) -> Response:
        """Nothing may be mapped to it, nor overflow into it."""
        with refusals():
            return as_json(Pool.model_validate(pools.remove(store, name)))


def _member_routes(routes: APIRouter, store: Store) -> None:
    @routes.put(_MEMBER, response_model=Pool, summary="Put an IP into a pool")
    def put_pool_member(
        name: PoolName,
        ip: EgressIdText,
        request: Annotated[MemberRequest, Body(openapi_examples=_NEW_MEMBER)],
    ) -> Response:
        """Or change its weight there. May be repeated."""
        with refusals():
            made = pools.put_member(store, name, egress_number(ip), weight=request.weight)
        return as_json(Pool.model_validate(made))

    @routes.delete(_MEMBER, response_model=Pool, summary="Take an IP out of a pool")
    def remove_pool_member(name: PoolName, ip: EgressIdText) -> Response:
        """May be repeated."""
        with refusals():
            return as_json(Pool.model_validate(pools.drop_member(store, name, egress_number(ip))))

    @routes.get(_USES, response_model=UseList, summary="List whose mail leaves from which pool")
    def list_pool_uses() -> Response:
        return as_json(UseList.model_validate({"uses": pools.uses(store)}))

    @routes.put(
        _USES, response_model=UseList, summary="Map a tenant's or a stream's mail to a pool",
        openapi_extra=_NAMES_OTHERS,
    )  # fmt: skip
    def put_pool_use(request: Annotated[UseRequest, Body(openapi_examples=_NEW_USE)]) -> Response:
        """Holds from the next attempt on. May be repeated."""
        with refusals():
            found = pools.use(store, request.tenant, request.stream, request.pool)
        return as_json(UseList.model_validate({"uses": found}))
