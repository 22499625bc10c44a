"""Templates and batches with the real command: the examples of the documents, and a crash in the middle."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.instance import ROOT, Instance, Ledger, installed, wait_for

DOCUMENT = ROOT / "docs/sending-many.md"
EXAMPLES = re.findall(r"^```(sh|python)\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
PEOPLE = 1000


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with installed(tmp_path_factory.mktemp("many") / "data", {}, http_port=0) as running:
        yield running


def run(instance: Instance, language: str, example: str) -> str:
    """What the example prints, against this instance."""
    assert instance.ready is not None
    here = example.replace("http://127.0.0.1:8025", instance.ready.http_url)
    command = ["sh", "-ec", here] if language == "sh" else [sys.executable, "-c", here]
    done = subprocess.run(
        command, env={**os.environ, "MAILER_API_KEY": instance.ready.api_key}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_of_the_document_work_in_order(instance: Instance) -> None:
    created, tried, sent, filled, different = (run(instance, *example) for example in EXAMPLES)

    assert '"published":1' in created
    assert '"missing":[{"name":"order.lines"' in tried
    assert '"status":"accepted"' in sent
    assert re.fullmatch(
        r"msg_\w{13}\nthe template needs `until` \(text, line 3\), missing in the data\n", filled
    )
    assert different == "2\n"


def test_the_names_in_the_document_are_those_of_the_api(instance: Instance) -> None:
    paths = instance.get("/openapi.json")["paths"]
    told = re.findall(r"^\| `(GET|POST|DELETE) (/v1/[^?` ]+)", DOCUMENT.read_text(), re.MULTILINE)
    known = [(m.upper(), path.replace("{template}", "{name}")) for path in paths for m in paths[path]]

    assert [one for one in known if "/templates" in one[1]] != []
    assert set(told) == {one for one in known if "/templates" in one[1]}


def batch_of(sender: str) -> dict[str, Any]:
    people = [{"to": f"user{n}@example{n % 7}.net", "data": {"n": n}} for n in range(PEOPLE)]
    words = {"subject": "no {{ n }}", "html": "<style>p{color:red}</style><p>no {{ n }}</p>"}
    return {"message": {"from": sender, **words}, "recipients": people}


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'data' / 'mailer.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


def test_a_batch_that_was_killed_in_the_middle_is_completed_by_sending_it_again(
    tmp_path: Path, database: str
) -> None:
    with installed(tmp_path / "data", {"MAILER_DATABASE_URL": database}) as instance:
        assert instance.ready is not None
        batch = batch_of(f"shop@{instance.ready.domain}")
        ledger = Ledger(database)
        victim = instance.pid("http")
        sending = threading.Thread(target=send, args=(instance, batch), daemon=True)
        sending.start()
        wait_for("the first of the batch", lambda: ledger.count("1 = 1", "message"), within_seconds=30)
        os.kill(victim, signal.SIGKILL)
        sending.join()
        instance.wait_for_successor("http", victim)
        cut = ledger.count("1 = 1", "message")

        answer = wait_for("an answer", lambda: send(instance, batch), within_seconds=30).json()

        replayed = sum("replayed" in result for result in answer["results"])
        assert 0 < cut < PEOPLE
        assert (answer["accepted"], answer["refused"], replayed) == (PEOPLE, 0, cut)
        assert ledger.count("1 = 1", "message") == PEOPLE
        assert len({result["id"] for result in answer["results"]}) == PEOPLE
        wait_for("the deliveries", lambda: not ledger.waiting(), within_seconds=120)
        assert ledger.count("state = 'delivered'") == PEOPLE
        assert instance.verify()[0] == 0


def send(instance: Instance, batch: dict[str, Any]) -> httpx.Response | None:
    """None where the connection broke."""
    assert instance.ready is not None
    headers = {"Authorization": f"Bearer {instance.ready.api_key}", "Idempotency-Key": "monday"}
    with suppress(httpx.TransportError):
        return httpx.post(
            f"{instance.ready.http_url}/v1/messages/batch", json=batch, headers=headers, timeout=60
        )
    return None
