"""Hostile bytes: nothing raises, nothing of a stranger's becomes markup, a header field or a path."""

from __future__ import annotations

from html.parser import HTMLParser

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer.web.hostile import disposition, framed, safe_name
from mailer.web.reading import read
from mailer.web.verdict import verdicts
from mailer.web.words import field_text, text_of
from tests.web.conftest import Put

ATTACK = "\"'><script src=//evil.example></script><img src=x onerror=alert(1)>"
HEADERS = [
    b"Content-Type: multipart/mixed; boundary=b",
    b"Content-Type: text/html; charset=",
    b"Content-Type: message/rfc822",
    b"Content-Type: multipart/digest; boundary*0=a; boundary*1=b",
    b"Content-Transfer-Encoding: base64",
    b"Content-Transfer-Encoding: x-uuencode",
    b"Content-Transfer-Encoding: quoted-printable",
    b"Content-Disposition: attachment; filename*=",
    b"Content-Type: text/plain; charset*=x'y'%ff",
    b"Content-Disposition: attachment; filename*0*=utf-16''%ff; filename*1=\"",
    b"Content-ID: <",
    b"\xff\xfe: x",
    b"Subject: =?utf-7?b?+2AA-?=",
    b"DKIM-Signature: v=1; a=rsa-sha256; b==; bh=!; h=; d=; s=",
    b" folded",
    b"",
    b"DKIM-Signature: v=1; a=ed25519-sha256; b=YQ==; bh=YQ==; h=from; d=a.b; s=c; l=1; t=1; x=0; c=a/b/c",
    b"Content-Type: text/plain; charset=unicode_escape",
    b"Content-Type: text/plain; charset=rot13",
    b"--b",
    b"--b--",
    b"begin 644 x",
    b"\\xZZ",
    b'Content-Type: multipart/mixed; boundary=""',
]

hostile = st.lists(st.sampled_from(HEADERS) | st.binary(max_size=40), max_size=25).map(b"\r\n".join)
names = st.text(st.characters(exclude_categories=["Cs"]))


class Tags(HTMLParser):
    """All start tags of a document and all its text."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@given(data=hostile | st.binary(max_size=300), record=st.none() | st.binary(max_size=40))
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_message_makes_reading_raise(data: bytes, record: bytes | None) -> None:
    reading = read(data)
    verdicts(data, lambda name: record)

    shown = [part.text + str(part.filename) for part in reading.parts] + [
        value for _, value in reading.fields
    ]
    assert "".join(shown).encode() == "".join(shown).encode("utf-8", "replace")


@given(
    value=st.binary(max_size=100)
    | st.lists(st.sampled_from([b"=?utf-8?q?a=C3?=", b"=?x?b?!?=", b" "])).map(b"".join)
)
def test_no_field_makes_decoding_raise(value: bytes) -> None:
    text = field_text(value)

    assert text.encode().decode() == text  # no lone surrogate, which no page could show


@given(
    octets=st.binary(max_size=50),
    charset=st.sampled_from(["utf-7", "utf-16", "idna", "hex", "cp037", "x", "", "\0"]),
)
def test_no_charset_makes_decoding_raise(octets: bytes, charset: str) -> None:
    text = text_of(octets, charset)

    assert text.encode().decode() == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        ("rohes Grüße".encode(), "rohes Grüße"),
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?= und =?iso-8859-1?Q?K=FC=DFe_?=!", "Grüße und Küße !"),
        (b"=?utf-8?b?4oI=?= =?utf-8?b?rA==?=", "€"),  # a character cut in two, against RFC 2047 §5
        (b"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),  # RFC 2047 §6.2
        (b"=?utf-8*en?q?a?= b", "a b"),  # RFC 2231 §5
        (b"=?utf-8?b?!!!?=", ""),
    ],
)
def test_encoded_words(value: bytes, text: str) -> None:
    assert field_text(value) == text


def test_parts_nested_too_deep_leave_the_source() -> None:
    layer = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n"
    reading = read(b"".join(layer % (n, n) for n in range(3000)))

    assert reading.parts == () and reading.fault is not None


def test_a_message_of_many_parts_shows_the_first_500() -> None:
    data = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 2000 + b"--b--"

    assert len(read(data).parts) == 500


@pytest.mark.parametrize(
    ("filename", "saved"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\autoexec.bat", "autoexec.bat"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ('a"\r\nSet-Cookie: x=1; b=".txt', 'a"Set-Cookie: x=1; b=".txt'),
        (".bashrc", "bashrc"),
        ("...", "attachment"),
        ("\x00", "attachment"),
        ("x" * 500 + ".pdf", "x" * 99 + ".pdf"),
        ("Straße 北京.txt", "Straße 北京.txt"),
    ],
)
def test_file_names_are_made_harmless(filename: str, saved: str) -> None:
    assert safe_name(filename) == saved


@given(filename=names)
def test_no_file_name_leaves_its_header_field_or_folder(filename: str) -> None:
    """RFC 6266 §4: one quoted string, one extended value, ASCII throughout."""
    value = disposition(filename)

    assert value.isascii() and value.isprintable()
    assert value.count('"') == 2
    assert not {"/", "\\"} & set(value.partition('filename="')[2].partition('"')[0])


@pytest.mark.parametrize(
    ("html", "document"),
    [
        ("<p>x", '<base target="_blank"><p>x'),
        (
            "<!doctype html><html a=b><head c=d><p>",
            '<!doctype html><html a=b><head c=d><base target="_blank"><p>',
        ),
        ("\ufeff <!DOCTYPE html>\n<header>", '\ufeff <!DOCTYPE html>\n<base target="_blank"><header>'),
    ],
)
def test_links_open_in_a_tab_of_their_own(html: str, document: str) -> None:
    assert framed(html, ()) == document


@pytest.mark.parametrize("show", ["text", "headers", "source"])
async def test_nothing_of_the_mail_becomes_markup(pages: httpx.AsyncClient, put: Put, show: str) -> None:
    attack = ATTACK.encode()
    fields = [b"From: %s", b"To: %s", b"Subject: %s", b"X-A: %s", b"DKIM-Signature: d=%s"]
    key = put(
        b"\r\n".join(field % attack for field in fields)
        + b"\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
        + attack
        + b"\r\n--b\r\nContent-Type: text/html\r\n"
        + b"Content-Disposition: attachment; filename*=utf-8''%22%3E%3Cscript%3E.html\r\n\r\nx\r\n--b--\r\n",
        recipient=f"{ATTACK}@receiver.example",
        reverse_path=ATTACK,
    )
    page = Tags((await pages.get(f"/inbox/view/{key}", params={"show": show})).text)

    assert [attrs for tag, attrs in page.tags if tag == "script"] == [
        {"src": "/inbox/assets/inbox.js", "defer": None}
    ]
    assert not [
        tag for tag, attrs in page.tags if tag == "img" or any(name.startswith("on") for name in attrs)
    ]
    assert "".join(page.words).count(ATTACK) >= 7


async def test_the_frame_is_a_document_that_may_do_nothing(pages: httpx.AsyncClient, put: Put) -> None:
    key = put(b"Content-Type: text/html\r\n\r\n<script>1</script>")
    document = await pages.get(f"/inbox/messages/{key}/html")
    page = Tags((await pages.get(f"/inbox/view/{key}")).text)

    policy = document.headers["content-security-policy"]
    [frame] = [attrs for tag, attrs in page.tags if tag == "iframe"]
    assert "default-src 'none'" in policy and "script-src" not in policy
    assert policy.endswith("sandbox allow-popups allow-popups-to-escape-sandbox")
    assert frame["sandbox"] == "allow-popups allow-popups-to-escape-sandbox"
    assert document.headers["referrer-policy"] == "no-referrer"
