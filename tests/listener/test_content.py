"""Content by DATA and by BDAT: where it ends, what it may hold, what becomes of too much of it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.listener import Limits
from mailer.listener.content import has_longer_line
from tests.listener.serving import EHLO, ENVELOPE, Room, Served, serving

OPEN = EHLO + ENVELOPE
DATA = OPEN + b"DATA\r\n"
CONTENT = b"Subject: x\r\n\r\n.dot\r\n..\r\n\r\n.\tx\r\nend\r\n"
STUFFED = b"Subject: x\r\n\r\n..dot\r\n...\r\n\r\n..\tx\r\nend\r\n.\r\n"

_LINE = st.binary(max_size=60).map(lambda line: line.translate(None, b"\r\n\0"))
_TEXT = st.lists(_LINE | st.sampled_from([b".", b"..", b""]), max_size=12).map(
    lambda lines: b"".join(line + b"\r\n" for line in lines)
)


def stuffed(content: bytes) -> bytes:
    """As a client sends it (RFC 5321 §4.5.2)."""
    lines = content.split(b"\r\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b".\r\n"


def statuses(replies: list[str]) -> list[str]:
    return [reply[:9] for reply in replies]


@pytest.mark.parametrize("cut", range(1, len(STUFFED)))
def test_content_may_be_cut_anywhere(shared: Served, cut: int) -> None:
    with shared.client() as client:
        client.open()
        client.send(ENVELOPE + b"DATA\r\n")
        assert [client.reply().code for _ in range(3)] == [250, 250, 354]
        client.send(STUFFED[:cut])
        client.send(STUFFED[cut:] + b"NOOP\r\n")

        assert [client.reply().code for _ in range(2)] == [250, 250]
    assert shared.desk.contents[-1] == CONTENT


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"..\r\n..\r\n.\r\n", b".\r\n.\r\n"),
        (b".x\r\n.\r\n", b"x\r\n"),
        (b"a\r\n.b\r\n.\r\n", b"a\r\nb\r\n"),
        (b"x" * 998 + b"\r\n.\r\n", b"x" * 998 + b"\r\n"),
        (b".." + b"x" * 997 + b"\r\n.\r\n", b"." + b"x" * 997 + b"\r\n"),
    ],
)
def test_dots_are_unstuffed(shared: Served, sent: bytes, content: bytes) -> None:
    """RFC 5321 §4.5.2, §4.5.3.1.6: the dot that was added does not count either."""
    replies = shared.talk(DATA + sent + b"NOOP\r\n")

    assert statuses(replies[4:]) == ["250 2.6.0", "250 2.0.0"]
    assert shared.desk.contents[-1] == content


@given(content=_TEXT, cut=st.integers(0, 200))
def test_text_passes_through_data_octet_for_octet(shared: Served, content: bytes, cut: int) -> None:
    octets = stuffed(content)

    replies = shared.talk(DATA + octets[:cut], octets[cut:])

    assert statuses(replies[4:]) == ["250 2.6.0"]
    assert shared.desk.contents[-1] == content


@given(content=_TEXT, end=_LINE, cuts=st.lists(st.integers(0, 200), max_size=4))
def test_text_passes_through_bdat_octet_for_octet(
    shared: Served, content: bytes, end: bytes, cuts: list[int]
) -> None:
    """RFC 3030 §2: neither dots nor the ends of chunks mean anything, nor must the last line end."""
    octets, at = content + end, [0, *sorted(cuts), 1000]
    *first, last = [octets[a:b] for a, b in itertools.pairwise(at)]
    sent = [b"BDAT %d\r\n%s" % (len(chunk), chunk) for chunk in first]
    sent.append(b"BDAT %d LAST\r\n%s" % (len(last), last))

    replies = shared.talk(OPEN + b"".join(sent))

    assert statuses(replies[3:]) == ["250 2.0.0"] * len(first) + ["250 2.6.0"]
    assert shared.desk.contents[-1] == octets


_FAKE_ENDS = [
    b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n",
    b"\r\n.\0\r\n", b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\n\n.\n\n", b"\n", b"\r", b"\0", b"\r\n\r", b"\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("fake", _FAKE_ENDS)
def test_what_only_looks_like_the_end_is_content_and_is_refused(shared: Served, fake: bytes) -> None:
    """RFC 5321 §2.3.8, §4.1.1.4: one reply to all of it, and the smuggled envelope never reaches the desk."""
    mails, taken = len(shared.desk.mails), len(shared.desk.taken)
    smuggled = b"MAIL FROM:<evil@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nx"

    replies = shared.talk(DATA + b"first" + fake + smuggled + b"\r\n.\r\nNOOP\r\n")

    assert statuses(replies[4:]) == ["550 5.6.0", "250 2.0.0"]
    assert (len(shared.desk.mails), len(shared.desk.taken)) == (mails + 1, taken)


@pytest.mark.parametrize("fake", _FAKE_ENDS)
def test_bdat_refuses_the_same(shared: Served, fake: bytes) -> None:
    content = b"first" + fake + b"x\r\n"
    split = content.index(fake) + 1

    replies = shared.talk(
        OPEN + b"BDAT %d\r\n" % split + content[:split]
        + b"BDAT %d LAST\r\n" % (len(content) - split) + content[split:] + b"NOOP\r\n"
    )  # fmt: skip

    assert statuses(replies[3:]) == ["250 2.0.0", "550 5.6.0", "250 2.0.0"]


def test_bdat_may_hold_what_ends_data(shared: Served) -> None:
    content = b"a\r\n.\r\nQUIT\r\n"

    replies = shared.talk(OPEN + b"BDAT %d LAST\r\n" % len(content) + content)

    assert statuses(replies[3:]) == ["250 2.6.0"]
    assert shared.desk.contents[-1] == content


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"BDAT 0 LAST\r\n", ["250 2.6.0"]),
        (b"bdat 0 last\r\n", ["250 2.6.0"]),
        (b"BDAT 3\r\nx\r\nBDAT 0 LAST\r\n", ["250 2.0.0", "250 2.6.0"]),
        (b"BDAT 3\r\nx\r\nDATA\r\n", ["250 2.0.0", "503 5.5.1"]),
        (b"BDAT 3\r\nx\r\nMAIL FROM:<x@y.example>\r\n", ["250 2.0.0", "503 5.5.1"]),
        (b"BDAT 3\r\nx\r\nRCPT TO:<x@y.example>\r\n", ["250 2.0.0", "503 5.5.1"]),
        (b"BDAT 3\r\nx\r\nNOOP\r\nBDAT 0 LAST\r\n", ["250 2.0.0", "250 2.0.0", "250 2.6.0"]),
        (b"BDAT 3\r\nx\r\nRSET\r\nBDAT 3 LAST\r\nx\r\n", ["250 2.0.0", "250 2.0.0", "503 5.5.1"]),
        (b"BDAT 3 LAST\r\nx\r\nBDAT 6 LAST\r\nNOOP\r\nNOOP\r\n", ["250 2.6.0", "503 5.5.1", "250 2.0.0"]),
        (b"BDAT\r\nNOOP\r\n", ["501 5.5.4"]),
        (b"BDAT x\r\nNOOP\r\n", ["501 5.5.4"]),
        (b"BDAT -1\r\nNOOP\r\n", ["501 5.5.4"]),
        (b"BDAT 1 FIRST\r\nNOOP\r\n", ["501 5.5.4"]),
        (b"BDAT 99999999999999999999 LAST\r\nNOOP\r\n", ["552 5.3.4"]),
    ],
)
def test_chunks_in_any_order(shared: Served, sent: bytes, answers: list[str]) -> None:
    """RFC 3030 §2. A chunk of unknown length ends the session: commands could not be told from content."""
    assert statuses(shared.talk(OPEN + sent)[3:]) == answers


def test_a_chunk_is_read_also_when_it_comes_too_soon(shared: Served) -> None:
    """RFC 3030 §4.2: a pipelining client sends it before it hears that MAIL or RCPT was refused."""
    replies = shared.talk(
        EHLO + b"BDAT 6\r\nNOOP\r\nMAIL FROM:<a@b.example>\r\nBDAT 6 LAST\r\nNOOP\r\nNOOP\r\n"
    )

    assert statuses(replies[1:]) == ["503 5.5.1", "250 2.1.0", "554 5.5.1", "250 2.0.0"]


_PIECES = [
    b"EHLO x\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<c@d.example>\r\n", b"DATA\r\n", b".\r\n",
    b"BDAT 3\r\n", b"BDAT 2 LAST\r\n", b"RSET\r\n", b"AUTH PLAIN AAA=\r\n", b"STARTTLS\r\n", b"\r\n", b"\n",
    b"\r", b"x", b"\0", b"\xff", b'MAIL FROM:<"\\', b" SIZE=", b"VRFY \xc3\xa4\r\n", b"HELO \xff\r\n",
    b"QUIT\r\n",
]  # fmt: skip
SMALL = Limits(size_bytes=1000, discard_bytes=50_000, text_line_octets=0)


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"x" * 998 + b"\r\n", "250 2.6.0"),
        (b"x" * 999 + b"\r\n", "552 5.3.4"),
        (b".\r\n" * 333, "250 2.6.0"),
        (b".\r\n" * 334, "552 5.3.4"),
        (b"x" * 20_000 + b"\r\n", "552 5.3.4"),
    ],
)
def test_size_is_counted_without_stuffing(content: bytes, answer: str) -> None:
    """RFC 1870 §4, §6.3: refused after the end, and the session goes on."""
    with serving(limits=SMALL) as served:
        by_data = served.talk(DATA + stuffed(content) + b"NOOP\r\n")
        by_bdat = served.talk(OPEN + b"BDAT %d LAST\r\n" % len(content) + content + b"NOOP\r\n")

    assert statuses(by_data[4:]) == [answer, "250 2.0.0"]
    assert statuses(by_bdat[3:]) == [answer, "250 2.0.0"]


def test_chunks_together_may_not_exceed_the_size() -> None:
    with serving(limits=SMALL) as served:
        chunk = b"BDAT 600\r\n" + b"x" * 600

        replies = served.talk(OPEN + chunk * 3 + b"BDAT 0 LAST\r\n")

    assert statuses(replies[3:]) == ["250 2.0.0", "552 5.3.4", "503 5.5.1", "503 5.5.1"]


def test_content_without_end_is_cut_off() -> None:
    with serving(limits=SMALL) as served, served.client() as client:
        client.open()
        client.send(ENVELOPE + b"DATA\r\n" + b"x" * 60_000)

        assert statuses(client.rest()[2:]) == ["354 End d", "552 5.3.4"]


def test_too_long_a_line_is_refused(shared: Served) -> None:
    """RFC 5321 §4.5.3.1.6: 1,000 octets with CRLF."""
    replies = shared.talk(DATA + b"a\r\n" + b"x" * 999 + b"\r\n.\r\nNOOP\r\n")

    assert statuses(replies[4:]) == ["550 5.6.0", "250 2.0.0"]


@given(lines=st.lists(st.integers(0, 12), max_size=8), most=st.integers(1, 10), is_ended=st.booleans())
def test_long_lines_are_found(lines: list[int], most: int, is_ended: bool) -> None:
    content = b"\r\n".join(b"x" * octets for octets in lines) + b"\r\n" * is_ended

    assert has_longer_line(content, most) == any(octets > most for octets in lines)


def test_a_full_server_says_so_before_the_content() -> None:
    room = Room(1000)
    with serving(budget=room) as served:
        replies = served.talk(
            EHLO + b"MAIL FROM:<a@b.example> SIZE=1001\r\nRCPT TO:<c@d.example>\r\nDATA\r\nNOOP\r\n"
        )

    assert statuses(replies[3:]) == ["452 4.3.1", "250 2.0.0"]
    assert room.held_octets == 0


def test_a_server_that_fills_up_reads_to_the_end_and_puts_off() -> None:
    room = Room(1000)
    with serving(budget=room) as served:
        by_data = served.talk(DATA + b"x\r\n" * 500 + b".\r\n" + OPEN + b"DATA\r\nx\r\n.\r\n")
        by_bdat = served.talk(OPEN + b"BDAT 1500 LAST\r\n" + b"x\r\n" * 500 + OPEN + b"BDAT 3 LAST\r\nx\r\n")
        taken = served.desk.contents

    assert statuses(by_data[4:]) == [
        "452 4.3.1",
        "250 HELP",
        "250 2.1.0",
        "250 2.1.5",
        "354 End d",
        "250 2.6.0",
    ]
    assert statuses(by_bdat[3:]) == ["452 4.3.1", "250 HELP", "250 2.1.0", "250 2.1.5", "250 2.6.0"]
    assert taken == [b"x\r\n"] * 2
    assert room.held_octets == 0


@pytest.mark.parametrize("sent", [DATA + b"x" * 500, OPEN + b"BDAT 500\r\n" + b"x" * 500 + b"BDAT 9\r\nx"])
def test_who_leaves_in_the_middle_gives_its_room_back(sent: bytes) -> None:
    room = Room(1000)
    with serving(budget=room) as served:
        served.talk(sent)

        assert served.desk.taken == []
    assert room.held_octets == 0


@given(octets=st.binary(max_size=300) | st.lists(st.sampled_from(_PIECES)).map(b"".join))
def test_whatever_is_sent_is_answered_in_smtp_or_not_at_all(shared: Served, octets: bytes) -> None:
    """The client raises on what is not a reply (RFC 5321 §4.2); the next session finds the server well."""
    shared.talk(octets)

    assert shared.talk(b"QUIT\r\n") == ["221 2.0.0 Bye"]
