"""Templates in the store, on both engines: versions never change, and one tenant never sees another's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mailer import clock, ids
from mailer.compose.wording import Wording
from mailer.identity import tenants
from mailer.store import Store
from mailer.store.tables import template_version
from mailer.templates import reading, shelf
from mailer.templates.shelf import BadName, Entry, NameTaken, UnknownVersion
from tests.support.mailroom import Mailroom

FIRST = Wording("first {{ a }}", "text", "<p>html</p>")
SECOND = Wording("second", None, "<p>html</p>")


@pytest.fixture
def room(store: Store) -> Mailroom:
    return Mailroom.furnish(store, now=clock.now())


@pytest.fixture
def stranger(room: Mailroom) -> int:
    """Another tenant."""
    return tenants.create(room.store, "globex", in_doubt="retry", new_id=room.new_id, now=clock.now()).id


def create(
    room: Mailroom, name: str = "hello", *, tenant_id: int | None = None, publishes: bool = False
) -> Entry:
    return shelf.create(
        room.store, tenant_id or room.tenant_id, name, FIRST, publishes=publishes, new_id=room.new_id,
        now=clock.now(),
    )  # fmt: skip


def add(room: Mailroom, name: str = "hello", *, publishes: bool = False) -> Entry:
    made = shelf.add_version(room.store, room.tenant_id, name, SECOND, publishes=publishes, now=clock.now())
    assert made is not None
    return made


def test_a_template_is_found_by_its_name_and_by_its_id(room: Mailroom) -> None:
    made = create(room)

    by_name = shelf.view(room.store, room.tenant_id, "hello")
    by_id = shelf.view(room.store, room.tenant_id, ids.show("tmpl", made.id))
    assert by_name == by_id
    assert by_name is not None
    assert (by_name.entry, by_name.shown.wording) == (made, FIRST)
    assert (made.published, made.latest) == (None, 1)


def test_versions_are_numbered_and_stay_as_they_were(room: Mailroom) -> None:
    create(room)
    second = add(room)

    view = shelf.view(room.store, room.tenant_id, "hello")
    old = shelf.content(room.store, room.tenant_id, "hello", 1)
    assert view is not None
    assert old is not None
    assert (second.latest, [v.number for v in view.versions]) == (2, [2, 1])
    assert (old.wording, view.shown.wording) == (FIRST, SECOND)


def test_what_is_sent_changes_only_when_a_version_is_published(room: Mailroom) -> None:
    made = create(room, publishes=True)
    add(room)
    before = reading.pointer(room.store, room.tenant_id, "hello")
    shelf.publish(room.store, room.tenant_id, "hello", 2)
    after = reading.pointer(room.store, room.tenant_id, "hello")
    back = shelf.publish(room.store, room.tenant_id, ids.show("tmpl", made.id), 1)

    assert before is not None
    assert after is not None
    assert back is not None
    assert (before.published, after.published, back.published) == (1, 2, 1)
    assert reading.wording(room.store, made.id, 2) == SECOND


def test_a_version_may_be_published_as_it_is_made(room: Mailroom) -> None:
    create(room)

    assert add(room, publishes=True).published == 2


@pytest.mark.parametrize("number", [2, 2**31 - 1])
def test_a_version_that_is_not_there_is_not_published(room: Mailroom, number: int) -> None:
    create(room)

    with pytest.raises(UnknownVersion):
        shelf.publish(room.store, room.tenant_id, "hello", number)


def test_two_who_add_a_version_at_once_get_one_each(room: Mailroom) -> None:
    create(room)

    with ThreadPoolExecutor(8) as pool:
        numbers = [entry.latest for entry in pool.map(lambda _: add(room), range(16))]

    assert sorted(numbers) == list(range(2, 18))


def test_a_name_stands_for_one_template_of_a_tenant(room: Mailroom, stranger: int) -> None:
    create(room)
    create(room, tenant_id=stranger)

    with pytest.raises(NameTaken):
        create(room)


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "-a", ".a", "ä", "a" * 101, "tmpl_1", "tmpl_0000000000005", "a\0", "a\n"]
)
def test_what_is_no_name_is_refused_and_not_found(room: Mailroom, name: str) -> None:
    with pytest.raises(BadName):
        create(room, name)

    assert shelf.view(room.store, room.tenant_id, name) is None


def test_the_list_is_by_name_and_goes_on_after_one(room: Mailroom, stranger: int) -> None:
    for name in ("b", "a", "c"):
        create(room, name)
    create(room, "other", tenant_id=stranger)

    first = shelf.listed(room.store, room.tenant_id, after="", limit=2)
    rest = shelf.listed(room.store, room.tenant_id, after="b", limit=2)
    assert [[e.name for e in page] for page in (first, rest)] == [["a", "b"], ["c"]]


def test_a_template_that_is_deleted_is_gone_with_its_versions(room: Mailroom) -> None:
    create(room)
    add(room)

    assert shelf.remove(room.store, room.tenant_id, "hello")
    assert not shelf.remove(room.store, room.tenant_id, "hello")
    with room.store.read() as c:
        assert c.execute(template_version.select()).all() == []
    assert create(room).latest == 1


def test_another_tenants_template_is_not_there(room: Mailroom, stranger: int) -> None:
    made = create(room, publishes=True)

    for name in ("hello", ids.show("tmpl", made.id)):
        assert shelf.view(room.store, stranger, name) is None
        assert shelf.content(room.store, stranger, name, 1) is None
        assert reading.pointer(room.store, stranger, name) is None
        assert shelf.publish(room.store, stranger, name, 1) is None
        assert shelf.add_version(room.store, stranger, name, SECOND, publishes=True, now=clock.now()) is None
        assert not shelf.remove(room.store, stranger, name)
    assert shelf.listed(room.store, stranger, after="", limit=9) == []
    assert shelf.view(room.store, room.tenant_id, "hello") is not None
