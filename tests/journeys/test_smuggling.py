"""What a laxer server would take for the end of a message never leaves, whatever door it came by.

The receiver keeps every octet. Only CRLF ends a line on the wire, each dot at a line's start is doubled, and
the commands that were hidden in the content are nowhere commands (RFC 5321 §2.3.8, §4.5.2; CVE-2023-51764).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.instance import Instance, Ledger, Ready, installed, wait_for
from tests.support.raw_doors import DOORS, SmtpSession, by_raw
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


@pytest.mark.parametrize("door", ["bdat", "raw"])
@pytest.mark.parametrize("end", [*FAKE_ENDS, REAL_END], ids=repr)
def test_where_a_length_ends_it_even_the_real_end_is_content(ready: Ready, door: str, end: bytes) -> None:
    with DOORS[door](ready) as submit:
        answer = submit(letter(ready, end), "ann@example.net")

    is_clean = not re.search(rb"\0|\r(?!\n)|(?<!\r)\n", end)
    assert answer.is_accepted == is_clean
    assert answer.is_proper


@pytest.mark.parametrize("end", [*FAKE_ENDS, REAL_END], ids=repr)
def test_by_raw_a_file_with_lf_lines_hides_no_end(ready: Ready, end: bytes) -> None:
    """Its line ends become CRLF, and with them those of a fake end."""
    octets = letter(ready, end.replace(b"\r\n", b"\n")).replace(b"\r\n", b"\n")
    with by_raw(ready) as submit:
        answer = submit(octets, "ann@example.net")

    assert answer.is_accepted == (not re.search(rb"[\0\r]", octets))
    assert answer.is_proper


# ---- by JSON: members that hold text or files, where an end is text like any other


def b64(octets: str) -> str:
    return b64encode(octets.encode()).decode()


Letter = dict[str, Any]
PLACES: dict[str, Callable[[str], Letter]] = {
    "text": lambda s: {"text": s},
    "html": lambda s: {"html": s},
    "html made into text": lambda s: {"html": s, "auto_text": True, "inline_css": True},
    "file": lambda s: {"text": "x", "attachments": [{"filename": "a.txt", "content": b64(s)}]},
    "html file": lambda s: {
        "html": "<img src='cid:a'>",
        "attachments": [{"filename": "a.html", "content": b64(s), "content_id": "a"}],
    },
    "words of a template": lambda s: {"template": {"name": "greeting", "data": {"name": s}}},
}
COMMON = {"to": "ann@example.net", "subject": "hi"}


@pytest.fixture(scope="module")
def template(instance: Instance) -> str:
    """One that writes its data into text and HTML, escaped and not."""
    html = "<p>{{ name }}</p><div>{{ name | safe }}</div>"
    words = {"name": "greeting", "subject": "hi", "text": "{{ name }}", "html": html, "publish": True}
    assert instance.post("/v1/templates", words).status_code == 201
    return "greeting"


def of_place(ready: Ready, place: str, end: bytes) -> Letter:
    made = PLACES[place]((b"first" + end + SMUGGLED).decode())
    common = {"to": "ann@example.net"} if "template" in made else COMMON
    return {"from": f"shop@{ready.domain}", **common, **made}


@pytest.mark.usefixtures("template")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("end", [*FAKE_ENDS, REAL_END], ids=repr)
def test_by_http_an_end_is_text_like_any_other(
    instance: Instance, ready: Ready, place: str, end: bytes
) -> None:
    answer = instance.send(**of_place(ready, place, end))

    assert answer.status_code == 202, answer.text


@pytest.mark.usefixtures("template")
@pytest.mark.parametrize("place", PLACES)
def test_in_a_batch_of_messages_it_is_too(instance: Instance, ready: Ready, place: str) -> None:
    messages = [of_place(ready, place, end) for end in [*FAKE_ENDS, REAL_END]]

    answer = instance.post("/v1/messages/batch", {"messages": messages})

    assert (answer.status_code, answer.json()["refused"]) == (200, 0), answer.text


@pytest.mark.usefixtures("template")
@pytest.mark.parametrize(
    "words",
    [
        {"template": {"name": "greeting"}},
        {"subject": "hi", "text": "{{ name }}", "html": "{{ name | safe }}"},
    ],
    ids=["stored", "in the batch"],
)
def test_in_the_data_of_a_batch_it_is_too(instance: Instance, ready: Ready, words: Letter) -> None:
    data = [(b"first" + end + SMUGGLED).decode() for end in [*FAKE_ENDS, REAL_END]]
    batch = {
        "message": {"from": f"shop@{ready.domain}", **words},
        "recipients": [{"to": "ann@example.net", "data": {"name": name}} for name in data],
    }

    answer = instance.post("/v1/messages/batch", batch)

    assert (answer.status_code, answer.json()["refused"]) == (200, 0), answer.text


@pytest.mark.parametrize("end", [*FAKE_ENDS, REAL_END], ids=repr)
def test_by_http_a_file_name_with_a_line_end_is_refused(instance: Instance, ready: Ready, end: bytes) -> None:
    name = (b"a" + end + SMUGGLED.replace(b"\r\n", end)).decode()[:255]
    files = [{"filename": name, "content": b64("x")}]

    answer = instance.send(**COMMON, **{"from": f"shop@{ready.domain}", "text": "x", "attachments": files})

    assert answer.status_code == (202 if name.isprintable() else 422), answer.text


def test_by_http_a_message_in_a_message_ends_with_it(instance: Instance, ready: Ready) -> None:
    """It may not be encoded (RFC 2046 §5.2.1): what is no line of text is refused."""
    inner = letter(ready, REAL_END).decode()
    files = [{"filename": "a.eml", "content": b64(text)} for text in (inner, inner.replace("\r\n", "\n"))]

    answers = [
        instance.send(**COMMON, **{"from": f"shop@{ready.domain}", "text": "x", "attachments": [file]})
        for file in files
    ]

    assert [answer.status_code for answer in answers] == [202, 202]


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

    assert len(wires) == accepted > 400
    for session in sink.sessions:
        assert not re.search(rb"\0|\r(?!\n)|(?<!\r)\n", session.octets)
    for wire in wires:
        assert not re.search(rb"(?:^|\n)\.(?!\.)", wire)
        head = wire.partition(b"\r\n\r\n")[0]
        assert not re.search(rb"(?m)^(?:MAIL FROM|RCPT TO|DATA)\b", head)
    assert not [line for line in commands if b"evil" in line or b"victim" in line]
    assert {line[:4] for line in commands} <= {b"EHLO", b"MAIL", b"RCPT", b"DATA", b"QUIT", b"RSET", b"NOOP"}
    assert all(received.recipients == ("ann@example.net",) for received in sink.received)
