"""The application keeps what its OpenAPI document promises, whatever a client makes of the document.

Schemathesis plays the client over real HTTP against the real store and intake: requests that the
document allows and requests that it does not. No answer may be a 5xx, undocumented, or out of shape.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
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

from mailer import clock
from mailer.accept.http.app import create_app
from mailer.identity import tenants
from mailer.queue import verify
from mailer.store import Store, schema
from tests.accept.http.conftest import LETTER, Keyring, working_parts
from tests.support.mailroom import Mailroom
from tests.support.processes import wait_until

ADDRESS = st.sampled_from(["shop@acme.example", "ada@example.org", "дора@bücher.example", "x@globex.example"])
# What JSON Schema cannot say, so that requests get past the first check of a field.
schemathesis.openapi.format("addr-spec", ADDRESS)
schemathesis.openapi.format("mailbox", ADDRESS | ADDRESS.map(lambda address: f"Ada <{address}>"))
schemathesis.openapi.format("header-name", st.sampled_from(["X-Order", "References", "List-Id", "X-Ünique"]))
schemathesis.openapi.format(
    "header-value", st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=99)
)
schemathesis.openapi.format("header-text", st.text(st.characters(categories=["L", "N", "P"]), max_size=99))

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance, negative_data_rejection, ignored_auth, missing_required_header,
    unsupported_method, allow_header_conformance,
]  # fmt: skip
EXAMPLES = 25


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The application behind the server and the parsers that it has in production."""
    config = uvicorn.Config(app, port=0, loop="uvloop", http="httptools", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until("the HTTP server listens", lambda: server.started, seconds=10)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


class Promise:
    """A running application, its document, and a good key."""

    def __init__(self, url: str, keyring: Keyring) -> None:
        self.store = keyring.room.store
        self.headers = {"Authorization": f"Bearer {keyring.issue().text}"}
        self.document = schemathesis.openapi.from_url(f"{url}/openapi.json")


@pytest.fixture(scope="module")
def promise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Promise]:
    folder = tmp_path_factory.mktemp("promise")
    store = Store(f"sqlite:///{folder}/mailer.sqlite3")
    schema.upgrade(store, epoch="test-epoch")
    room = Mailroom.furnish(store, now=clock.now())
    globex = tenants.create(store, "globex", in_doubt="retry", new_id=room.new_id, now=clock.now())
    with working_parts(room, folder, ring=lambda: None) as parts, served(create_app(parts)) as url:
        yield Promise(url, Keyring(room, globex))
    store.close()


OPERATIONS = [
    ("POST", "/v1/messages"),
    ("GET", "/v1/messages/{message_id}"),
    ("GET", "/v1/messages/{message_id}/explain"),
    ("GET", "/v1/events"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
]


def test_every_documented_operation_is_tried(promise: Promise) -> None:
    documented = [result.ok() for result in promise.document.get_all_operations()]

    assert sorted((o.method.upper(), o.path) for o in documented) == sorted(OPERATIONS)


@pytest.mark.parametrize("mode", GenerationMode, ids=str)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_as_documented(
    promise: Promise, method: str, path: str, mode: GenerationMode
) -> None:
    """mode: requests as the document allows them, or as it does not."""
    operation = promise.document[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    def tried(case: Case) -> None:
        case.call_and_validate(headers=promise.headers, checks=CHECKS)

    tried()


def test_a_message_as_the_examples_have_it_is_accepted(promise: Promise) -> None:
    operation = promise.document["/v1/messages"]["POST"]
    body = {**LETTER, "headers": {"X-Order": "4711"}, "tags": ["order"]}
    answer = operation.Case(body=body, media_type="application/json").call(headers=promise.headers)

    assert answer.status_code == 202


def test_after_all_that_nothing_is_lost_or_doubled(promise: Promise) -> None:
    assert verify.verify(promise.store).holds
