"""Whatever the octets: a batch is understood item by item, or refused with pointers into it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.accept.http.batch import Reader
from mailer.accept.http.catalogue import CATALOGUE
from mailer.accept.stationery import Stationery
from mailer.accept.submission import SubmissionError
from mailer.store import Store
from tests.accept.http.test_wire import IDENTITY, JSON, MAILBOX, NOON, REQUEST, points_into

WORDS = st.sampled_from(
    ["Hi {{ a }}", "{{ a.b }}", "{{", "{% if a %}x{% endif %}", "plain", "{{ a | times: a }}"]
)
TEMPLATE = st.fixed_dictionaries({}, optional={"name": st.just("x"), "version": JSON, "data": JSON})
SHARED = st.fixed_dictionaries(
    {"from": MAILBOX},
    optional={
        "subject": WORDS,
        "text": WORDS,
        "html": WORDS,
        "to": MAILBOX,
        "template": TEMPLATE,
        "tags": JSON,
    },
)
DATA = st.dictionaries(st.sampled_from("ab"), JSON, max_size=2)
RECIPIENT = st.fixed_dictionaries(
    {"to": MAILBOX}, optional={"data": DATA | JSON, "tags": JSON, "metadata": JSON, "more": JSON}
)
BATCH = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(REQUEST | JSON, max_size=3) | JSON,
        "message": SHARED | REQUEST | JSON,
        "recipients": st.lists(RECIPIENT | JSON, max_size=3) | JSON,
    },
)  # fmt: skip
COPIES = st.fixed_dictionaries(
    {"message": SHARED, "recipients": st.lists(RECIPIENT | JSON, min_size=1, max_size=3)}
)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Its database has no tables: what would be read from there is not there."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('none')}/none.sqlite3")
    stationery = Stationery(store, monotonic=lambda: 0.0)
    yield Reader(IDENTITY, stationery, 20, "key", NOON)
    store.close()


def outcomes(reader: Reader, raw: bytes) -> list[SubmissionError | str | None]:
    """Of each item the refusal, or the key it will be remembered by."""
    try:
        items = reader.items(raw, b"")
    except SubmissionError as error:
        return [error]
    found: list[SubmissionError | str | None] = []
    for item in items:
        try:
            found.append(item.submission().idempotency_key)
        except SubmissionError as error:
            found.append(error.moved(item.place))
    return found


@given(batch=BATCH | COPIES | JSON)
def test_every_batch_is_understood_or_refused_with_pointers_into_it(reader: Reader, batch: Any) -> None:
    for outcome in outcomes(reader, json.dumps(batch).encode()):
        if isinstance(outcome, SubmissionError):
            assert outcome.fault in CATALOGUE
            # Of a variable that is missing its whole path may be.
            places = [pointer.partition("/data")[0] for pointer, _ in outcome.errors]
            assert all(points_into(place, batch) for place in places), outcome.errors
        else:
            assert outcome is not None


@given(raw=st.binary(max_size=60) | st.binary(max_size=30).map(lambda b: b'{"messages": [' + b + b"]}"))
def test_any_octets_are_understood_or_refused(reader: Reader, raw: bytes) -> None:
    assert outcomes(reader, raw) is not None


def test_the_keys_of_the_items_are_no_clients_own_and_fit_their_column(reader: Reader) -> None:
    batch = {"messages": [{"from": "a@x.example", "to": "b@x.example", "text": "x"}] * 1000}

    keys = outcomes(reader, json.dumps(batch).encode())
    assert len(set(keys)) == 1000
    assert all(isinstance(key, str) and " " in key and len(key) <= 256 for key in keys)
