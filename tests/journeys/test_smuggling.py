"""What a laxer server would take for the end of a message never leaves, whatever door it came by.

The receiver keeps every octet. Only CRLF ends a line on the wire, each dot at a line's start is doubled, and
the commands that were hidden in the content are nowhere commands (RFC 5321 §2.3.8, §4.5.2; CVE-2023-51764).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.instance import Instance, Ledger, Ready, installed, wait_for
from tests.support.raw_doors import SmtpSession, by_bdat
from tests.support.raw_sink import RawSink, running_raw_sink

# The ends that one server or another was found to take, and what relays were found to make of them.
FAKE_ENDS = [
    b"\n.\n", b"\n.\r", b"\n.\r\n", b"\r.\r", b"\r.\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\n\n.\r\n",
    b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n\0.\0\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\xc2\x85.\xc2\x85",
    b"\xe2\x80\xa8.\xe2\x80\xa8", b"\x0b.\x0b", b"\x0c.\x0c", b"\x1e.\x1e", b"\r\n.\x20\r\n", b"\r\n. \n",
    b"\r\n\t.\r\n", b"\r\n..\r\n", b"\r\n...\r\n", b"\r\n.\\r\\n", b"\r\n=2E\r\n", b"&#13;&#10;.&#13;&#10;",
]  # fmt: skip
REAL_END = b"\r\n.\r\n"
SMUGGLED = (
    b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nSubject: SMUGGLED\r\n\r\nx\r\n"
)
PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def sink() -> Iterator[RawSink]:
    with running_raw_sink() as running:
        yield running


@pytest.fixture(scope="module")
def instance(sink: RawSink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    settings = {"MAILER_ROUTES": f"*=127.0.0.1:{sink.port};tls=none", "MAILER_RETRY_DELAYS": "1s"}
    with installed(tmp_path_factory.mktemp("smuggling") / "data", settings, http_port=0) as running:
        yield running


@pytest.fixture
def ready(instance: Instance) -> Ready:
    assert instance.ready is not None
    return instance.ready


def letter(ready: Ready, end: bytes) -> bytes:
    head = f"From: shop@{ready.domain}\r\nTo: ann@example.net\r\nSubject: hello\r\n\r\nfirst"
    return head.encode() + end + SMUGGLED


@pytest.mark.parametrize("end", FAKE_ENDS, ids=repr)
def test_by_data_a_fake_end_is_content_or_refused(ready: Ready, end: bytes) -> None:
    """Sent raw: not even the dots are doubled, as a smuggler would."""
    session = SmtpSession(ready)
    try:
        session.ask(b"MAIL FROM:<app@example.org> BODY=8BITMIME\r\n")
        session.ask(b"RCPT TO:<ann@example.net>\r\n")
        session.ask(b"DATA\r\n")
        code, words = session.ask(letter(ready, end) + REAL_END)
        after = session.ask(b"NOOP\r\n")
    finally:
        session.close()

    is_clean = not re.search(rb"\0|\r(?!\n)|(?<!\r)\n", end)
    assert (code, words[:6]) == ((250, "2.0.0 ") if is_clean else (550, "5.6.0 "))
    assert after[0] == 250


@pytest.mark.parametrize("end", [*FAKE_ENDS, REAL_END], ids=repr)
def test_by_bdat_even_the_real_end_is_content(ready: Ready, end: bytes) -> None:
    with by_bdat(ready) as door:
        answer = door(letter(ready, end), "ann@example.net")

    is_clean = not re.search(rb"\0|\r(?!\n)|(?<!\r)\n", end)
    assert answer.is_accepted == is_clean
    assert answer.is_proper


@pytest.mark.parametrize("field", ["text", "html"])
@pytest.mark.parametrize("end", [*FAKE_ENDS, REAL_END], ids=repr)
def test_by_http_an_end_is_text_like_any_other(
    instance: Instance, ready: Ready, field: str, end: bytes
) -> None:
    body = (b"first" + end + SMUGGLED).decode()

    answer = instance.send(
        **{"from": f"shop@{ready.domain}", "to": "ann@example.net", "subject": "hi", field: body}
    )

    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("field", ["subject", "from", "to", "headers"])
@pytest.mark.parametrize("end", [e for e in [*FAKE_ENDS, REAL_END] if re.search(rb"[\r\n\0]", e)], ids=repr)
def test_by_http_no_header_field_takes_a_line_end(
    instance: Instance, ready: Ready, field: str, end: bytes
) -> None:
    forged = (b"x" + end + SMUGGLED).decode()
    message: dict[str, object] = {
        "from": f"shop@{ready.domain}", "to": "ann@example.net", "subject": "hi", "text": "x",
    }  # fmt: skip
    value: object = {
        "subject": forged, "from": f"{forged} <shop@{ready.domain}>", "to": f"{forged} <ann@example.net>",
        "headers": {"X-Note": forged},
    }[field]  # fmt: skip

    answer = instance.send(**{**message, field: value})

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_nothing_of_it_left(instance: Instance, sink: RawSink) -> None:
    """Runs after the others: all that was accepted went out, and this is what was on the wire."""
    ledger = Ledger(f"sqlite:///{instance.data / 'mailer.sqlite3'}")
    wait_for("the queue to drain", lambda: not ledger.waiting(), within_seconds=PATIENCE_SECONDS)
    accepted = ledger.count("state = 'delivered'")
    commands = [line for session in sink.sessions for line in session.commands]
    wires = [received.wire for received in sink.received]

    assert len(wires) == accepted > 60
    for session in sink.sessions:
        assert not re.search(rb"\0|\r(?!\n)|(?<!\r)\n", session.octets)
    for wire in wires:
        assert not re.search(rb"(?:^|\n)\.(?!\.)", wire)
    assert not [line for line in commands if b"evil" in line or b"victim" in line]
    assert {line[:4] for line in commands} <= {b"EHLO", b"MAIL", b"RCPT", b"DATA", b"QUIT", b"RSET", b"NOOP"}
    assert all(received.recipients == ("ann@example.net",) for received in sink.received)
