"""What a tenant's own key may change about keys and streams, judged inside the transaction that changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from mailer import clock
from mailer.identity import api_keys, own_keys, streams, tenants
from mailer.identity.asking import Asker
from mailer.identity.names import BadName, Limited, NameTaken, NotAllowed, NotNow, TooMany, Unknown
from mailer.identity.own_keys import NewApiKey
from mailer.identity.rights import Rights
from mailer.identity.streams import NewStream, StreamChange
from mailer.ids import IdMaker
from mailer.store import Store
from mailer.store.tables import api_key

NOW = clock.now()
EVERYTHING = Rights(scopes=api_keys.SCOPES)
PLAIN = NewApiKey("shop", Rights(), None)
NEWS = NewStream("news", "broadcast", "retry")


@pytest.fixture
def asker(store: Store, new_id: IdMaker) -> Asker:
    """A key of acme that may do everything."""
    acme = tenants.create(store, "acme", in_doubt="retry", new_id=new_id, now=NOW)
    made = api_keys.create(store, "acme", "first", rights=EVERYTHING, new_id=new_id, now=NOW)
    return Asker(acme.id, made.key_id)


def another(store: Store, asker: Asker, new_id: IdMaker, rights: Rights = EVERYTHING) -> Asker:
    issued = own_keys.issue(store, asker, NewApiKey("another", rights, None), new_id=new_id, now=NOW)
    return replace(asker, key_id=issued.key.id)


def test_rights_are_kept_in_order_and_domains_must_be_the_tenants(
    store: Store, asker: Asker, new_id: IdMaker
) -> None:
    rights = Rights(scopes=("send", "read", "send"), streams=("transactional", "broadcast"))
    issued = own_keys.issue(store, asker, NewApiKey("k", rights, None), new_id=new_id, now=NOW)

    with pytest.raises(BadName) as raised:
        own_keys.issue(
            store, asker, NewApiKey("k", Rights(domains=("acme.example",)), None), new_id=new_id, now=NOW
        )

    assert own_keys.one(store, asker.tenant_id, issued.key.id).rights == Rights(
        scopes=("read", "send"), streams=("broadcast", "transactional")
    )
    assert raised.value.at == ("domains", 0)


def test_two_keys_that_revoke_each_other_at_once_do_not_both_succeed(
    store: Store, asker: Asker, new_id: IdMaker
) -> None:
    other = another(store, asker, new_id)
    start = threading.Barrier(2)
    refused: list[NotAllowed] = []

    def revoke(by: Asker, key_id: int) -> None:
        start.wait()
        try:
            own_keys.revoke(store, by, key_id, now=NOW)
        except NotAllowed as error:
            refused.append(error)

    threads = [
        threading.Thread(target=revoke, args=pair) for pair in ((asker, other.key_id), (other, asker.key_id))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    left = [key for key in api_keys.listed(store, "acme") if key.state(NOW) == api_keys.ACTIVE]
    assert (len(refused), len(left)) == (1, 1)


def test_a_key_withdrawn_since_the_door_looked_changes_nothing(
    store: Store, asker: Asker, new_id: IdMaker
) -> None:
    other = another(store, asker, new_id)
    own_keys.revoke(store, asker, other.key_id, now=NOW)
    before = (own_keys.listed(store, asker.tenant_id, limit=9), streams.listed(store, asker.tenant_id))

    acts: list[Callable[[], object]] = [
        lambda: own_keys.issue(store, other, PLAIN, new_id=new_id, now=NOW),
        lambda: own_keys.rename(store, other, asker.key_id, "mine", now=NOW),
        lambda: own_keys.revoke(store, other, asker.key_id, now=NOW),
        lambda: own_keys.rotate(store, other, asker.key_id, overlap=timedelta(0), new_id=new_id, now=NOW),
        lambda: streams.create(store, other, NEWS, new_id=new_id, now=NOW),
        lambda: streams.change(store, other, "broadcast", StreamChange(in_doubt="give-up"), now=NOW),
        lambda: streams.archive(store, other, "broadcast", now=NOW),
        lambda: streams.restore(store, other, "broadcast", now=NOW),
    ]
    for act in acts:
        with pytest.raises(NotAllowed):
            act()

    after = (own_keys.listed(store, asker.tenant_id, limit=9), streams.listed(store, asker.tenant_id))
    assert after == before


def test_a_key_without_the_scope_manage_changes_nothing(store: Store, asker: Asker, new_id: IdMaker) -> None:
    sender = another(store, asker, new_id, Rights())

    with pytest.raises(NotAllowed):
        own_keys.issue(store, sender, PLAIN, new_id=new_id, now=NOW)


def test_a_key_of_another_tenant_is_unknown(store: Store, asker: Asker, new_id: IdMaker) -> None:
    tenants.create(store, "globex", in_doubt="retry", new_id=new_id, now=NOW)
    theirs = api_keys.create(store, "globex", "k", new_id=new_id, now=NOW).key_id

    for act in (
        lambda: own_keys.one(store, asker.tenant_id, theirs),
        lambda: own_keys.revoke(store, asker, theirs, now=NOW),
        lambda: own_keys.rename(store, asker, theirs, "mine", now=NOW),
    ):
        with pytest.raises(Unknown):
            act()


def test_an_overlap_does_not_lengthen_a_keys_life(store: Store, asker: Asker, new_id: IdMaker) -> None:
    hour = timedelta(hours=1)
    short = own_keys.issue(store, asker, NewApiKey("short", Rights(), NOW + hour), new_id=new_id, now=NOW).key
    issued = own_keys.rotate(store, asker, short.id, overlap=24 * hour, new_id=new_id, now=NOW)

    assert own_keys.one(store, asker.tenant_id, short.id).expires_at == NOW + hour
    assert issued.key.expires_at == NOW + hour


def test_an_expired_key_is_not_rotated(store: Store, asker: Asker, new_id: IdMaker) -> None:
    hour = timedelta(hours=1)
    short = own_keys.issue(store, asker, NewApiKey("short", Rights(), NOW + hour), new_id=new_id, now=NOW).key

    with pytest.raises(NotNow):
        own_keys.rotate(store, asker, short.id, overlap=hour, new_id=new_id, now=NOW + hour)


def test_a_tenant_has_a_limited_number_of_good_keys(store: Store, asker: Asker, new_id: IdMaker) -> None:
    row = {"tenant_id": asker.tenant_id, "name": "one of many", "secret_hash": b"", "scopes": ["send"],
           "created_at": NOW}  # fmt: skip
    many = [{**row, "id": new_id()} for _ in range(own_keys.MOST - 1)]
    with store.write() as connection:
        connection.execute(api_key.insert(), many)

    with pytest.raises(TooMany):
        another(store, asker, new_id)
    api_keys.revoke(store, many[0]["id"], now=NOW)

    assert another(store, asker, new_id)


def test_a_stream_is_changed_archived_and_restored(store: Store, asker: Asker, new_id: IdMaker) -> None:
    made = streams.create(store, asker, NEWS, new_id=new_id, now=NOW)
    changed = streams.change(store, asker, "news", StreamChange(in_doubt="give-up"), now=NOW)
    archived = [streams.archive(store, asker, "news", now=NOW) for _ in range(2)]
    restored = streams.restore(store, asker, "news", now=NOW)

    assert (made.state, made.in_doubt, changed.in_doubt) == ("active", "retry", "give-up")
    assert [s.state for s in archived] == ["archived", "archived"]
    assert restored == changed == streams.one(store, asker.tenant_id, "news")


def test_a_name_that_is_taken_is_refused_and_nothing_is_changed(
    store: Store, asker: Asker, new_id: IdMaker
) -> None:
    with pytest.raises(NameTaken):
        streams.create(store, asker, replace(NEWS, name="broadcast"), new_id=new_id, now=NOW)

    assert [s.name for s in streams.listed(store, asker.tenant_id)] == ["transactional", "broadcast"]


def test_a_key_limited_to_streams_changes_those_only(store: Store, asker: Asker, new_id: IdMaker) -> None:
    limited = another(store, asker, new_id, Rights(scopes=api_keys.SCOPES, streams=("broadcast",)))

    with pytest.raises(Limited):
        streams.change(store, limited, "transactional", StreamChange(in_doubt="give-up"), now=NOW)
    changed = streams.change(store, limited, "broadcast", StreamChange(in_doubt="give-up"), now=NOW)

    assert changed.in_doubt == "give-up"


def test_streams_of_another_tenant_are_unknown(store: Store, asker: Asker, new_id: IdMaker) -> None:
    streams.create(store, asker, NEWS, new_id=new_id, now=NOW)
    globex = tenants.create(store, "globex", in_doubt="retry", new_id=new_id, now=NOW)
    key = api_keys.create(store, "globex", "k", rights=EVERYTHING, new_id=new_id, now=NOW)

    with pytest.raises(Unknown):
        streams.archive(store, Asker(globex.id, key.key_id), "news", now=NOW)

    assert streams.one(store, asker.tenant_id, "news").state == "active"
