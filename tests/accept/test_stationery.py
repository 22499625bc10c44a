"""Templates at the doors: read once, and what is published is sent within a second."""

from __future__ import annotations

import pytest

from mailer import clock
from mailer.accept.stationery import Stationery
from mailer.accept.submission import Fault, SubmissionError
from mailer.compose.templating import TemplateFault
from mailer.compose.wording import Finish, Wording
from mailer.store import Store
from mailer.templates import shelf
from tests.support.mailroom import Mailroom


class Shop:
    """A stationery on a store with the template `hello`, and its clock."""

    def __init__(self, store: Store) -> None:
        self.room = Mailroom.furnish(store, now=clock.now())
        self.seconds = 100.0
        self.stationery = Stationery(store, monotonic=lambda: self.seconds)
        shelf.create(
            store, self.room.tenant_id, "hello", Wording("one", "x", None), publishes=True,
            new_id=self.room.new_id, now=clock.now(),
        )  # fmt: skip

    def add(self, subject: str, *, publishes: bool) -> None:
        shelf.add_version(
            self.room.store, self.room.tenant_id, "hello", Wording(subject, "x", None), publishes=publishes,
            now=clock.now(),
        )  # fmt: skip

    def subject(self, number: int | None = None) -> str:
        form, _ = self.stationery.stored(self.room.tenant_id, "hello", number)
        return form.fill({}, Finish()).subject


@pytest.fixture
def shop(store: Store) -> Shop:
    return Shop(store)


def test_what_is_published_is_sent_a_second_later_at_most(shop: Shop) -> None:
    assert shop.subject() == "one"
    shop.add("two", publishes=True)
    shop.seconds += 0.9
    within = shop.subject()
    shop.seconds += 0.1

    assert within in ("one", "two")
    assert shop.subject() == "two"


def test_the_process_that_published_it_sends_it_at_once(shop: Shop) -> None:
    assert shop.subject() == "one"
    shop.add("two", publishes=True)
    shop.stationery.forget(shop.room.tenant_id)

    assert shop.subject() == "two"


def test_a_version_that_was_made_just_now_is_found(shop: Shop) -> None:
    assert shop.subject() == "one"
    shop.add("two", publishes=False)

    assert (shop.subject(2), shop.subject(1), shop.subject()) == ("two", "one", "one")


@pytest.mark.parametrize(("name", "number"), [("hello", 2), ("bye", None), ("hello", 2**31 - 1)])
def test_what_is_not_there_is_refused(shop: Shop, name: str, number: int | None) -> None:
    with pytest.raises(SubmissionError) as caught:
        shop.stationery.stored(shop.room.tenant_id, name, number)

    assert caught.value.fault is Fault.UNKNOWN_TEMPLATE


def test_another_tenant_does_not_get_what_this_one_has_read(shop: Shop) -> None:
    assert shop.subject() == "one"

    with pytest.raises(SubmissionError):
        shop.stationery.stored(shop.room.tenant_id + 1, "hello", None)


def test_a_form_is_made_once_for_the_same_words(shop: Shop) -> None:
    words = Wording("s", "{{ a }}", None)

    assert shop.stationery.given(words) is shop.stationery.given(Wording("s", "{{ a }}", None))


def test_forms_do_not_fill_the_memory(shop: Shop) -> None:
    first = Wording("s", "0" + "x" * 200_000, None)
    form = shop.stationery.given(first)
    for n in range(1, 12):
        shop.stationery.given(Wording("s", f"{n}" + "x" * 200_000, None))

    assert shop.stationery.given(first) is not form


def test_words_that_are_no_template_are_refused_each_time(shop: Shop) -> None:
    for _ in range(2):
        with pytest.raises(TemplateFault):
            shop.stationery.given(Wording("s", "{{", None))
