"""The reply reader (RFC 5321 §4.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.protocol.reply import MAX_LINE_OCTETS, MAX_REPLY_OCTETS, ProtocolError, Reply, ReplyReader

_texts = st.text(st.characters(min_codepoint=32, exclude_categories=["C", "Z"]), max_size=40)
_replies = st.builds(Reply, st.integers(200, 599), st.lists(_texts, min_size=1, max_size=4).map(tuple))


def read(*segments: bytes) -> list[Reply]:
    reader = ReplyReader()
    return [reply for segment in segments for reply in reader.feed(segment)]


def wire(reply: Reply) -> bytes:
    *first, last = reply.lines
    return "".join([f"{reply.code}-{line}\r\n" for line in first] + [f"{reply.code} {last}\r\n"]).encode()


@pytest.mark.parametrize(
    ("octets", "reply"),
    [
        (b"250 ok\r\n", Reply(250, ("ok",))),
        (b"250\r\n", Reply(250, ("",))),
        (b"250 \r\n", Reply(250, ("",))),
        (b"250-a\r\n250-b\r\n250 c\r\n", Reply(250, ("a", "b", "c"))),
        (b"250-a\r\n250\r\n", Reply(250, ("a", ""))),
        (b"550 5.1.1 no\n", Reply(550, ("5.1.1 no",))),
        ("250 grüß\r\n".encode(), Reply(250, ("grüß",))),
        (b"250 gr\xfc\xdf\r\n", Reply(250, ("gr\\xfc\\xdf",))),
        (b"250 a\x00b\tc\x1b[31m\r\n", Reply(250, ("a\\x00b c\\x1b[31m",))),
    ],
)
def test_replies_as_peers_write_them(octets: bytes, reply: Reply) -> None:
    assert read(octets) == [reply]


@pytest.mark.parametrize(
    "octets",
    [
        b"hello\r\n",
        b"\r\n",
        b"25 ok\r\n",
        b"2500 ok\r\n",
        b"250ok\r\n",
        b"150 ok\r\n",
        b"650 ok\r\n",
        b" 250 ok\r\n",
        b"250-a\r\n251 b\r\n",
        b"250 " + b"x" * MAX_LINE_OCTETS + b"\r\n",
        b"x" * (MAX_LINE_OCTETS + 1),
        b"250-x\r\n" * (MAX_REPLY_OCTETS // 5 + 1),
    ],
)
def test_what_is_no_reply_ends_the_session(octets: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(octets)


def test_a_reply_before_garbage_is_heard() -> None:
    heard = []
    with pytest.raises(ProtocolError):
        for reply in ReplyReader().feed(b"250 taken\r\nrubbish\r\n"):
            heard.append(reply)

    assert heard == [Reply(250, ("taken",))]


@pytest.mark.parametrize("octets", [b"2", b"250 o", b"250 ok", b"250-a\r\n", b"250-a\r\n250 b\r"])
def test_an_unfinished_reply_is_no_reply(octets: bytes) -> None:
    reader = ReplyReader()

    assert list(reader.feed(octets)) == []
    assert not reader.is_between_replies


@given(replies=st.lists(_replies, max_size=5), data=st.data())
def test_replies_are_the_same_wherever_segments_end(replies: list[Reply], data: st.DataObject) -> None:
    octets = b"".join(wire(r) for r in replies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=8)))
    segments = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]

    assert read(*segments) == replies


@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([b"250 ok\r\n", b"250-", b"\r\n", b"\n"]), max_size=12)
)
def test_nothing_but_a_protocol_error_comes_of_any_octets(segments: list[bytes]) -> None:
    try:
        replies = read(*segments)
    except ProtocolError:
        return
    assert all(200 <= r.code <= 599 and r.text.isprintable() for r in replies)


@given(_replies)
def test_as_heard_is_what_stood_on_the_wire(reply: Reply) -> None:
    assert read("".join(line + "\r\n" for line in reply.as_heard()).encode()) == [reply]
