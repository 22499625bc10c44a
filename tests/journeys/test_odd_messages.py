"""Messages from the tests of other projects, through every door that takes whole messages, to the wire.

They lie beside the checkout, or where MIME_CORPUS says. Each is submitted as it is, with CRLF line ends, and
with CRLF or LF and an author whose domain is ours, without whom most are nobody's to send. Each is accepted
or refused with a proper reply, in under two seconds. What is accepted arrives octet for octet, but for what
the docstring of mailer/compose/submitted.py lists; `_expected` says it once more, in other words.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.instance import Instance, Ledger, installed, wait_for
from tests.support.raw_doors import DOORS, MENDS_LINE_ENDS, Answer
from tests.support.raw_sink import RawSink, running_raw_sink

CORPUS = Path(os.environ.get("MIME_CORPUS", Path(__file__).parents[2] / "../shared/corpora/mime"))
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())
MOST_SECONDS = 2.0
PATIENCE_SECONDS = 120
FORMS = ("as it is", "crlf", "ours", "ours in lf")
# The signatures, our own mark, our trace.
ADDED_ON_TOP = {b"dkim-signature", b"x-mailer-ref", b"received"}
TAKEN_OUT = re.compile(rb"(?i)(?:bcc|resent-bcc|return-path|x-mailer-[!-9;-~]*)[ \t]*:")

pytestmark = [
    pytest.mark.skipif(not FILES, reason="the corpus of odd messages is not on this machine"),
    pytest.mark.timeout(600),
]


@dataclass(frozen=True, slots=True)
class Submitted:
    """One file in one form by one door, the door's answer, and what arrived; None: nothing did."""

    door: str
    name: str
    octets: bytes
    answer: Answer
    arrived: bytes | None


def _form(path: Path, form: str, domain: str) -> bytes:
    octets = path.read_bytes()
    if form == "as it is":
        return octets
    octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    if form == "crlf":
        return octets
    ours = _with_our_author(octets, domain)
    return ours if form == "ours" else ours.replace(b"\r\n", b"\n")


def _with_our_author(octets: bytes, domain: str) -> bytes:
    """From is ours, once; Sender, which must be ours as well, is no more."""
    head, empty_line, body = octets.partition(b"\r\n\r\n")
    lines = re.split(rb"\r\n(?![ \t])", head)
    others = [line for line in lines if not re.match(rb"(?i)(?:from|sender)[ \t]*:", line)]
    ours = b"From: Corpus <shop@" + domain.encode() + b">"
    # Not above a mailbox file's own first line.
    at = 1 if re.match(rb">?From ", head) else 0
    return b"\r\n".join([*others[:at], ours, *others[at:]]) + empty_line + body


@pytest.fixture(scope="module")
def sink() -> Iterator[RawSink]:
    with running_raw_sink() as running:
        yield running


@pytest.fixture(scope="module")
def instance(sink: RawSink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    settings = {"MAILER_ROUTES": f"*=127.0.0.1:{sink.port};tls=none"}
    with installed(tmp_path_factory.mktemp("odd") / "data", settings, http_port=0) as running:
        yield running


@pytest.fixture(scope="module", params=DOORS)
def submitted(request: pytest.FixtureRequest, instance: Instance, sink: RawSink) -> Sequence[Submitted]:
    """All files in all forms by one door, once the queue is empty."""
    assert instance.ready is not None
    sent = {}
    with DOORS[request.param](instance.ready) as door:
        for (number, path), form in itertools.product(enumerate(FILES), FORMS):
            recipient = f"{request.param}.{number}.{FORMS.index(form)}@example.net"
            octets = _form(path, form, instance.ready.domain)
            name = f"{path.relative_to(CORPUS)}, {form}"
            sent[recipient] = (request.param, name, octets, door(octets, recipient))
    ledger = Ledger(f"sqlite:///{instance.data / 'mailer.sqlite3'}")
    wait_for("the queue to drain", lambda: not ledger.waiting(), within_seconds=PATIENCE_SECONDS)
    arrived = _by_recipient(sink)
    return [Submitted(*facts, arrived.get(recipient)) for recipient, facts in sent.items()]


def _by_recipient(sink: RawSink) -> Mapping[str, bytes]:
    names = [name for received in sink.received for name in received.recipients]
    assert len(names) == len(set(names)), "something arrived twice"
    return {received.recipients[0]: received.content for received in sink.received}


def _expected(s: Submitted, arrived: bytes) -> bytes:
    """What should have arrived, below what was added on top."""
    is_mended = s.door in MENDS_LINE_ENDS and b"\r" not in s.octets
    octets = s.octets.replace(b"\n", b"\r\n") if is_mended else s.octets
    head, _, body = octets.partition(b"\r\n\r\n")
    if octets.startswith(b"\r\n"):
        head, body = b"", octets[2:]
    fields = re.split(rb"\r\n(?![ \t])", head.removesuffix(b"\r\n"))
    if re.match(rb">?From (?![ \t]*:)", head):
        fields = fields[1:]
    fields = [re.sub(rb"\A([!-9;-~]+)[ \t]+:", rb"\1:", f) for f in fields if not TAKEN_OUT.match(f)]
    fields = [f for f in fields if not re.fullmatch(rb"(?i)(?:date|message-id):[ \t\r\n]*", f)]
    # What was missing is at the end of the header; its value is ours to choose.
    last = _fields(arrived)[-2:]
    for name in (b"date:", b"message-id:"):
        if not any(f.lower().startswith(name) for f in fields):
            fields += [f for f in last if f.lower().startswith(name)]
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    return b"\r\n".join(fields) + b"\r\n\r\n" + body


def _fields(message: bytes) -> list[bytes]:
    return re.split(rb"\r\n(?![ \t])", message.partition(b"\r\n\r\n")[0])


def _is_as_expected(s: Submitted) -> bool:
    """That, and on top of it nothing but whole fields that are ours."""
    if s.arrived is None:
        return True
    expected = _expected(s, s.arrived)
    on_top = s.arrived[: len(s.arrived) - len(expected)]
    names = {field.partition(b":")[0].lower() for field in _fields(on_top)}
    return s.arrived.endswith(expected) and on_top.endswith(b"\r\n") and names - {b""} == ADDED_ON_TOP


def _where(submitted: Sequence[Submitted], fault: Callable[[Submitted], bool]) -> list[str]:
    return [f"{s.name}: {s.answer.words} in {s.answer.seconds:.2f} s" for s in submitted if fault(s)]


def test_each_is_answered_properly_and_soon(submitted: Sequence[Submitted]) -> None:
    assert _where(submitted, lambda s: not s.answer.is_proper) == []
    assert _where(submitted, lambda s: s.answer.seconds > MOST_SECONDS) == []


def test_none_is_put_off_or_our_own_failure(submitted: Sequence[Submitted]) -> None:
    """What is wrong with a message is wrong for good."""
    assert _where(submitted, lambda s: s.answer.is_put_off) == []


def test_the_accepted_arrived_and_the_refused_did_not(submitted: Sequence[Submitted]) -> None:
    assert _where(submitted, lambda s: s.answer.is_accepted != (s.arrived is not None)) == []
    # A corpus that is refused whole would prove nothing.
    assert sum(s.answer.is_accepted for s in submitted) >= 100


def test_what_arrived_is_what_was_submitted(submitted: Sequence[Submitted]) -> None:
    assert _where(submitted, lambda s: not _is_as_expected(s)) == []


def test_nobody_crashed_and_the_books_balance(instance: Instance, submitted: Sequence[Submitted]) -> None:
    code, findings = instance.verify()

    assert code == 0, findings
    assert "failed" not in (instance.data / "log/http.log").read_text()
