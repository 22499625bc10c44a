"""Files in composed messages, as a strict parser reads them: names in any script, octets unchanged."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mailer.compose.attachments import Attachment, AttachmentError, Disposition, attachment
from mailer.compose.dkim import Letter, body_hash, sign
from mailer.compose.mime import Draft, compose
from mailer.compose.parameters import parameter, structured
from tests.compose.drafts import BODY_TEXT
from tests.compose.test_dkim import AT, ED25519_KEY, RECORDS, RSA_KEY
from tests.compose.test_mime import BOUNDARY, DATE, MESSAGE_ID, NOTE
from tests.compose.verifiers import OpenDkim, dkimpy_verdicts

PDF = attachment("invoice.pdf", b"%PDF-1.7\n\x00\xff")
LOGO = attachment("logo.png", b"\x89PNG\r\n", content_id="logo")
LETTER = b"From: a@b.example\r\nSubject: inner\r\n\r\nHello\r\n"

# No halves of characters, controls, or changes of direction; not white space alone.
FILENAMES = st.text(
    st.characters(
        exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\u202a\u202b\u202c\u202d\u202e"
        "\u2066\u2067\u2068\u2069",
    ),
    min_size=1, max_size=255,
).filter(str.strip) | st.text("ab.\"\\;=?%*' é文", min_size=1, max_size=120).filter(str.strip)  # fmt: skip
CONTENT_TYPES = st.sampled_from(
    [None, "application/pdf", "Text/Calendar; method=REQUEST; charset=UTF-8", "text/csv", "image/png",
     'application/x-thing; a="b \\"c\\" d"', "text/html"]
)  # fmt: skip


@st.composite
def attachments(draw: st.DrawFn) -> Attachment:
    return attachment(
        draw(FILENAMES),
        draw(st.binary(max_size=400)),
        content_type=draw(CONTENT_TYPES),
        disposition=draw(st.sampled_from([None, *Disposition])),
    )


_MODERATE = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def whole(draft: Draft, boundary: str = BOUNDARY) -> bytes:
    composed = compose(draft, message_id=MESSAGE_ID, date=DATE, boundary=boundary)
    return composed.headers + b"\r\n" + composed.body


def parsed(draft: Draft) -> EmailMessage:
    message = message_from_bytes(whole(draft), policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def note(*files: Attachment, text: str | None = "Hello\n", html: str | None = None) -> Draft:
    return replace(NOTE, text=text, html=html, attachments=files)


def files_in(message: EmailMessage) -> list[EmailMessage]:
    return [part for part in message.walk() if part.get_content_disposition() is not None]


def tree(message: EmailMessage) -> object:
    """Content types, nested as the parts are."""
    if not message.is_multipart() or message.get_content_maintype() == "message":
        return message.get_content_type()
    return message.get_content_subtype(), *(tree(part) for part in message.iter_parts())


# ---- what goes in comes out


@given(st.lists(attachments(), min_size=1, max_size=4), BODY_TEXT, st.none() | BODY_TEXT)
@_MODERATE
def test_whatever_goes_in_comes_out(files: list[Attachment], text: str, html: str | None) -> None:
    message = parsed(note(*files, text=text, html=html))

    found = files_in(message)
    assert [f["content-disposition"].params["filename"] for f in found] == [a.filename for a in files]
    assert [f.get_payload(decode=True) for f in found] == [a.content for a in files]
    assert [f.get_content_type() for f in found] == [a.media_type.essence for a in files]
    assert [f.get_content_disposition() for f in found] == [str(a.disposition) for a in files]
    for file, a in zip(found, files, strict=True):
        parameters = {k.lower(): v for k, v in file["content-type"].params.items()}
        assert parameters == {**dict(a.media_type.parameters), "name": a.filename}


@given(st.lists(attachments(), min_size=1, max_size=4), BODY_TEXT)
@_MODERATE
def test_its_lines_are_short_and_seven_bit(files: list[Attachment], text: str) -> None:
    octets = whole(note(*files, text=text))

    assert octets.isascii()
    assert b"\x00" not in octets
    assert octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n")
    assert max(map(len, octets.split(b"\r\n"))) <= 998


@given(st.lists(attachments(), min_size=1, max_size=4))
@_MODERATE
def test_a_strict_parser_finds_no_defect_but_the_name_for_outlook(files: list[Attachment]) -> None:
    message = parsed(note(*files, html="<p>a</p>"))

    assert [part.defects for part in message.walk() if part.defects] == []
    for part in message.walk():
        for name, value in part.items():
            # RFC 2047 §5 forbids encoded-words between quotes: there for who does not read RFC 2231.
            found = [d for d in value.defects if "encoded" not in str(d)]
            assert (name == "Content-Type" or value.defects == ()) and found == []


@given(FILENAMES)
@_MODERATE
def test_a_parameter_takes_any_text_and_gives_it_back(value: str) -> None:
    field = structured("Content-Disposition", "attachment", parameter("filename", value))

    message = message_from_bytes(field.encode("ascii") + b"\r\n", policy=policy.default)
    assert message["content-disposition"].params["filename"] == value
    assert message["content-disposition"].defects == ()
    assert max(map(len, field.split("\r\n"))) <= 78


@pytest.mark.parametrize(
    ("filename", "written"),
    [
        ("invoice.pdf", 'attachment; filename="invoice.pdf"'),
        ("my invoice.pdf", 'attachment; filename="my invoice.pdf"'),
        ("Grüße.pdf", "attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.pdf"),
        ('a"b.pdf', "attachment; filename*=utf-8''a%22b.pdf"),
        ("=?utf-8?q?a?=", "attachment; filename*=utf-8''%3D%3Futf-8%3Fq%3Fa%3F%3D"),
    ],
)
def test_a_name_is_written_as_its_rfc_says(filename: str, written: str) -> None:
    """RFC 2183 §2.3, RFC 2231 §4."""
    octets = whole(note(attachment(filename, b"x")))

    assert f"Content-Disposition: {written}\r\n".encode() in octets.replace(b"\r\n ", b" ")


def test_who_knows_encoded_words_only_finds_the_name_too() -> None:
    octets = whole(note(attachment("Grüße.pdf", b"x")))

    written = octets.replace(b"\r\n ", b" ")
    assert b'Content-Type: application/pdf; name="=?utf-8?b?R3LDvMOfZS5wZGY=?="\r\n' in written


# ---- how parts nest


@pytest.mark.parametrize(
    ("draft", "structure"),
    [
        (note(PDF), ("mixed", "text/plain", "application/pdf")),
        (note(PDF, text=None, html="<p>"), ("mixed", "text/html", "application/pdf")),
        (note(PDF, html="<p>"), ("mixed", ("alternative", "text/plain", "text/html"), "application/pdf")),
        (note(PDF, text=None), ("mixed", "application/pdf")),
        (note(LOGO, text=None, html='<img src="cid:logo">'), ("related", "text/html", "image/png")),
        (
            note(LOGO, html='<img src="cid:logo">'),
            ("alternative", "text/plain", ("related", "text/html", "image/png")),
        ),
        (
            note(PDF, LOGO, html='<img src="cid:logo">'),
            (
                "mixed",
                ("alternative", "text/plain", ("related", "text/html", "image/png")),
                "application/pdf",
            ),
        ),
    ],
)
def test_parts_nest_as_readers_expect(draft: Draft, structure: object) -> None:
    assert tree(parsed(draft)) == structure


def test_the_related_part_names_the_type_of_its_root() -> None:
    """RFC 2387 §3.1: the parameter is required."""
    message = parsed(note(LOGO, text=None, html="<img src=cid:logo>"))

    assert message["content-type"].params["type"] == "text/html"


@pytest.mark.parametrize(
    "html", ["<p>no image</p>", '<img src="cid:other">', '<img src="cid:logo2">', "cidx:logo", None]
)
def test_an_inline_file_that_nothing_shows_still_arrives(html: str | None) -> None:
    """Beside the HTML several readers would show it nowhere."""
    message = parsed(note(LOGO, html=html))

    assert message.get_content_subtype() == "mixed"
    [logo] = files_in(message)
    assert (logo["Content-ID"], logo.get_content_disposition()) == ("<logo>", "inline")


@pytest.mark.parametrize(
    ("content_id", "html"),
    [
        ("logo@b.example", '<img src="cid:logo@b.example">'),
        ("logo@b.example", "<img src='CID:logo%40b.example'>"),
        ("a&b", '<img src="cid:a&amp;b">'),
        ("<logo>", "<td background=cid:logo>"),
        ("bg.1", "<div style='background: url(cid:bg.1)'>"),
    ],
)
def test_a_file_is_found_by_its_url_however_that_is_written(content_id: str, html: str) -> None:
    """RFC 2392 §2."""
    message = parsed(note(attachment("x.png", b"x", content_id=content_id), html=html))

    [file] = files_in(message)
    assert message.get_content_subtype() == "alternative"
    assert file["Content-ID"] == f"<{content_id.strip('<>')}>"


@pytest.mark.parametrize("text", [f"--{n}{BOUNDARY}{e}\n" for n in ("", "1", "2") for e in ("", "--")])
def test_text_that_holds_a_boundary_ends_no_part(text: str) -> None:
    message = parsed(note(PDF, LOGO, text=text, html=f"<img src=cid:logo>\n{text}"))

    assert [f.get_filename() for f in files_in(message)] == ["logo.png", "invoice.pdf"]
    [plain] = [p for p in message.walk() if p.get_content_type() == "text/plain"]
    assert plain.get_content().replace("\r\n", "\n") == text


# ---- a message in a message


@pytest.mark.parametrize("letter", [LETTER, LETTER.replace(b"\r\n", b"\n"), LETTER.removesuffix(b"\r\n")])
def test_an_attached_message_is_not_encoded(letter: bytes) -> None:
    """RFC 2046 §5.2.1 forbids it, and several readers cannot open one that is."""
    octets = whole(note(attachment("forwarded.eml", letter)))

    message = message_from_bytes(octets, policy=policy.default)
    assert isinstance(message, EmailMessage)
    [file] = files_in(message)
    assert (file.get_content_type(), file["Content-Transfer-Encoding"]) == ("message/rfc822", "7bit")
    assert file.get_content()["Subject"] == "inner"
    assert letter.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n--2=_b" in octets


@pytest.mark.parametrize(
    "letter", [LETTER + b"\xff", LETTER + b"a\nb\r\n", LETTER + b"x" * 999, LETTER + b"\0", LETTER + b"\r"]
)
def test_a_message_that_would_need_encoding_is_refused_or_sent_as_octets(letter: bytes) -> None:
    with pytest.raises(AttachmentError, match=r"5\.2\.1") as caught:
        attachment("a.eml", letter, content_type="message/rfc822")

    guessed = attachment("a.eml", letter)
    assert caught.value.field == "content"
    assert (guessed.media_type.essence, guessed.content) == ("application/octet-stream", letter)


def test_an_attached_message_with_our_boundary_is_refused() -> None:
    inner = attachment("a.eml", LETTER + b"--2=_b--\r\n")

    with pytest.raises(AttachmentError, match="boundary"):
        whole(note(inner))


# ---- what a file is


@pytest.mark.parametrize(
    ("filename", "content", "essence"),
    [
        ("a.PDF", b"", "application/pdf"),
        ("a.b.docx", b"", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("pdf", b"", "application/pdf"),
        ("unknown.thing", b"", "application/octet-stream"),
        ("README", b"", "application/octet-stream"),
    ],
)
def test_the_name_tells_the_type(filename: str, content: bytes, essence: str) -> None:
    assert attachment(filename, content).media_type.essence == essence


@pytest.mark.parametrize(
    ("content", "content_type", "charset"),
    [
        ("Grüße".encode(), None, "utf-8"),
        ("Grüße".encode("latin-1"), None, None),
        ("Grüße".encode("latin-1"), "text/csv; charset=iso-8859-1", "iso-8859-1"),
        (b"a", "text/csv", "utf-8"),
        ("é".encode() * 40_000 + b"\xc3", None, None),
    ],
)
def test_text_in_utf_8_says_so(content: bytes, content_type: str | None, charset: str | None) -> None:
    """RFC 2046 §4.1.2: text without a charset is US-ASCII."""
    made = attachment("a.csv", content, content_type=content_type)

    assert dict(made.media_type.parameters).get("charset") == charset


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"filename": "a\r\nBcc: eve@c.example"}, "filename"),
        ({"filename": "a\x00b"}, "filename"),
        ({"filename": "a\ud800b"}, "filename"),
        ({"filename": "annexe\u202efdp.exe"}, "filename"),
        ({"filename": "a\u2028b"}, "filename"),
        ({"filename": " "}, "filename"),
        ({"filename": "x" * 256}, "filename"),
        ({"content_type": "pdf"}, "content_type"),
        ({"content_type": ""}, "content_type"),
        ({"content_type": "application/pdf\r\nBcc: eve@c.example"}, "content_type"),
        ({"content_type": "application/pdf; a"}, "content_type"),
        ({"content_type": "application/pdf; a=b; A=c"}, "content_type"),
        ({"content_type": "application/pdf; a*=utf-8''b"}, "content_type"),
        ({"content_type": "application/" + "x" * 300}, "content_type"),
        ({"content_type": "tëxt/plain"}, "content_type"),
        ({"content_type": "multipart/mixed; boundary=x"}, "content_type"),
        ({"content_type": "Message/External-Body; access-type=URL"}, "content_type"),
        ({"content_type": "message/partial"}, "content_type"),
        ({"content_id": "a b"}, "content_id"),
        ({"content_id": "<a"}, "content_id"),
        ({"content_id": ""}, "content_id"),
        ({"content_id": "a>\r\nBcc: eve@c.example"}, "content_id"),
        ({"content_id": "a@b@c"}, "content_id"),
        ({"content_id": "x" * 201}, "content_id"),
    ],
)
def test_what_could_break_out_or_mislead_is_refused(fields: dict[str, str], field: str) -> None:
    filename = fields.pop("filename", "a.pdf")

    with pytest.raises(AttachmentError) as caught:
        attachment(
            filename, b"x", content_type=fields.get("content_type"), content_id=fields.get("content_id")
        )

    assert caught.value.field == field
    assert not re.search(r"eve|exe|xxx", str(caught.value))


# ---- signatures


def test_verifiers_of_others_agree_to_a_message_with_files(tmp_path: Path) -> None:
    files = (PDF, LOGO, attachment("a.eml", LETTER), attachment("Ωμέγα.txt", b" \t \r\n\r\n"))
    composed = compose(
        note(*files, html="<img src=cid:logo>"), message_id=MESSAGE_ID, date=AT, boundary=BOUNDARY
    )
    letter = Letter(
        composed.headers, body_hash(composed.body), domain="b.example", keys=(RSA_KEY, ED25519_KEY), at=AT
    )
    [signatures] = sign([letter])
    message = signatures + composed.headers + b"\r\n" + composed.body

    other = OpenDkim(RECORDS, tmp_path)
    assert dkimpy_verdicts(message, RECORDS) == other.verdicts(message) == [True, True]
    other.close()
