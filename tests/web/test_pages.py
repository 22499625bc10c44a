"""The JSON and the pages of /inbox."""

from __future__ import annotations

import base64
from pathlib import Path

import dkim
import httpx
import nacl.encoding
import nacl.signing
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.web.conftest import Books, Put

PLAIN = (
    b"From: Shop <shop@sender.example>\r\nTo: b@receiver.example\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nhello\r\n"
)
MIXED = (
    b"From: shop@sender.example\r\nSubject: both\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=m\r\n\r\n"
    b"--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n"
    b"--a\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\ncaf\xe9\r\n"
    b"--a\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.b64encode('<p>café <img src="cid:logo@x"> <img src="cid:none@x"></p>'.encode())
    + b"\r\n--a--\r\n"
    b"--m\r\nContent-Type: image/png\r\nContent-ID: <logo@x>\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\niVBORw0K\r\n"
    b"--m\r\nContent-Type: text/html; name*=utf-8''%E2%82%AC.html\r\nContent-Disposition: attachment\r\n\r\n"
    b"<script>1</script>\r\n"
    b"--m\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nwithin\r\n--m--\r\n"
)


async def body(pages: httpx.AsyncClient, key: str) -> dict[str, object]:
    answer = await pages.get(f"/inbox/messages/{key}")
    return answer.json()  # type: ignore[no-any-return]


async def test_the_list_shows_the_newest_first(pages: httpx.AsyncClient, put: Put) -> None:
    first, second = put(PLAIN), put(PLAIN, "c@other.example")
    listing = (await pages.get("/inbox/messages")).json()

    assert listing["total"] == 2
    assert [message["key"] for message in listing["messages"]] == [second, first]
    assert listing["messages"][0] == {
        "key": second,
        "received_at": "2026-11-22T12:00:02Z",
        "delivered_to": "c@other.example",
        "return_path": "<bounce@sender.example>",
        "from": "Shop <shop@sender.example>",
        "to": "b@receiver.example",
        "subject": "Grüße",
        "size_bytes": listing["messages"][0]["size_bytes"],
    }


async def test_the_list_of_one_recipient(pages: httpx.AsyncClient, put: Put) -> None:
    wanted = [put(PLAIN, "C@other.example") for _ in range(2)]
    put(PLAIN)
    listing = (await pages.get("/inbox/messages", params={"recipient": "c@OTHER.example", "limit": 1})).json()

    assert (listing["total"], [m["key"] for m in listing["messages"]]) == (2, [wanted[1]])


async def test_an_unchanged_list_costs_no_body(pages: httpx.AsyncClient, put: Put) -> None:
    put(PLAIN)
    tag = (await pages.get("/inbox/messages")).headers["etag"]
    unchanged = await pages.get("/inbox/messages", headers={"If-None-Match": tag})
    put(PLAIN)
    changed = await pages.get("/inbox/messages", headers={"If-None-Match": tag})

    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert (changed.status_code, changed.json()["total"]) == (200, 2)


@pytest.mark.parametrize("limit", ["0", "1001", "x"])
async def test_a_wrong_limit_is_refused(pages: httpx.AsyncClient, limit: str) -> None:
    assert (await pages.get("/inbox/messages", params={"limit": limit})).status_code == 422


async def test_a_folder_that_does_not_exist_yet_is_an_empty_inbox(pages: httpx.AsyncClient) -> None:
    listing = (await pages.get("/inbox/messages")).json()
    page = await pages.get("/inbox")

    assert listing == {"total": 0, "messages": []}
    assert "No mail yet." in page.text


async def test_a_message_is_taken_apart(pages: httpx.AsyncClient, put: Put) -> None:
    key = put(MIXED)
    message = await body(pages, key)

    assert message["text"] == "café"
    assert str(message["html"]).startswith("<p>café")
    assert message["attachments"] == [
        {"number": 2, "filename": "part-2.png", "content_type": "image/png", "size_bytes": 6,
         "url": f"/inbox/messages/{key}/parts/2"},
        {"number": 3, "filename": "€.html", "content_type": "text/html", "size_bytes": 18,
         "url": f"/inbox/messages/{key}/parts/3"},
        {"number": 4, "filename": "part-4.eml", "content_type": "message/rfc822", "size_bytes": 24,
         "url": f"/inbox/messages/{key}/parts/4"},
    ]  # fmt: skip
    assert {"name": "Subject", "value": "both"} in message["headers"]  # type: ignore[operator]


async def test_an_image_that_the_message_carries_is_put_in(pages: httpx.AsyncClient, put: Put) -> None:
    """RFC 2392."""
    document = (await pages.get(f"/inbox/messages/{put(MIXED)}/html")).text

    assert '<img src="data:image/png;base64,iVBORw0K">' in document
    assert '<img src="cid:none@x">' in document


async def test_the_source_is_the_file_byte_for_byte(pages: httpx.AsyncClient, put: Put, folder: Path) -> None:
    key = put(MIXED)
    answer = await pages.get(f"/inbox/messages/{key}/raw")

    assert answer.content == (folder / "new" / key).read_bytes()
    assert answer.headers["content-type"] == "message/rfc822"


async def test_a_download_is_never_shown_by_the_browser(pages: httpx.AsyncClient, put: Put) -> None:
    answer = await pages.get(f"/inbox/messages/{put(MIXED)}/parts/3")

    assert answer.content == b"<script>1</script>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert (
        answer.headers["content-disposition"]
        == "attachment; filename=\"_.html\"; filename*=UTF-8''%E2%82%AC.html"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize("show", ["", "text", "html", "headers", "source", "nonsense"])
async def test_every_view_is_a_page_without_inline_script_or_style(
    pages: httpx.AsyncClient, put: Put, show: str
) -> None:
    page = await pages.get(f"/inbox/view/{put(MIXED)}", params={"show": show})

    assert page.status_code == 200
    assert "script-src 'self'; style-src 'self'" in page.headers["content-security-policy"]
    assert page.text.count("<script") == page.text.count('<script src="/inbox/assets/inbox.js" defer>') == 1
    assert " style=" not in page.text and "<style" not in page.text


@pytest.mark.parametrize(
    "path",
    ["messages/{}", "messages/{}/raw", "messages/{}/html", "messages/{}/parts/0", "view/{}", "assets/{}"],
)
@pytest.mark.parametrize(
    "key", ["1795348802.M000000P1Q0000000.mailer", "%2e%2e", "%2e%2e%2fnew", "inbox.py", "x" * 5000]
)
async def test_what_is_not_kept_is_not_found(pages: httpx.AsyncClient, put: Put, path: str, key: str) -> None:
    put(PLAIN)

    assert (await pages.get(f"/inbox/{path.format(key)}", follow_redirects=True)).status_code == 404


@pytest.mark.parametrize("number", ["-1", "1", "99"])
async def test_a_part_that_is_not_there(pages: httpx.AsyncClient, put: Put, number: str) -> None:
    assert (await pages.get(f"/inbox/messages/{put(PLAIN)}/parts/{number}")).status_code == 404


async def test_html_of_a_message_without_any(pages: httpx.AsyncClient, put: Put) -> None:
    assert (await pages.get(f"/inbox/messages/{put(PLAIN)}/html")).status_code == 404


@pytest.mark.parametrize(("name", "kind"), [("inbox.js", "text/javascript"), ("inbox.css", "text/css")])
async def test_the_assets(pages: httpx.AsyncClient, name: str, kind: str) -> None:
    assert (await pages.get(f"/inbox/assets/{name}")).headers["content-type"].startswith(kind)


def signed(message: bytes, books: Books) -> bytes:
    """Under an RSA and an Ed25519 signature by dkimpy, with the records put into the books."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    edwards = nacl.signing.SigningKey.generate()
    seed = edwards.encode(nacl.encoding.Base64Encoder)
    verify = edwards.verify_key.encode(nacl.encoding.Base64Encoder)
    books.records[b"r._domainkey.sender.example."] = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    books.records[b"e._domainkey.sender.example."] = b"v=DKIM1; k=ed25519; p=" + verify
    how = {"canonicalize": (b"relaxed", b"relaxed"), "include_headers": [b"from", b"subject", b"to"]}
    by_rsa = dkim.sign(message, b"r", b"sender.example", pem, **how)
    by_edwards = dkim.sign(
        message, b"e", b"sender.example", seed, signature_algorithm=b"ed25519-sha256", **how
    )
    return by_rsa + by_edwards + message


async def test_every_signature_has_a_verdict_from_our_own_books(
    pages: httpx.AsyncClient, put: Put, books: Books
) -> None:
    """RFC 8463 §3: RSA and Ed25519 side by side."""
    message = await body(pages, put(signed(PLAIN, books)))

    both = {"result": "pass", "domain": "sender.example", "reason": ""}
    assert message["dkim"] == [
        both | {"selector": "r", "algorithm": "rsa-sha256"},
        both | {"selector": "e", "algorithm": "ed25519-sha256"},
    ]


async def test_a_changed_body_fails(pages: httpx.AsyncClient, put: Put, books: Books) -> None:
    message = await body(pages, put(signed(PLAIN, books).replace(b"hello", b"hullo")))

    assert [(v["result"], v["reason"][:18]) for v in message["dkim"]] == [("fail", "body hash mismatch")] * 2  # type: ignore[attr-defined]


async def test_a_changed_field_fails(pages: httpx.AsyncClient, put: Put, books: Books) -> None:
    message = await body(pages, put(signed(PLAIN, books).replace(b"Shop <", b"Bank <")))

    assert [v["result"] for v in message["dkim"]] == ["fail", "fail"]  # type: ignore[attr-defined]


async def test_a_key_that_we_do_not_know(pages: httpx.AsyncClient, put: Put, books: Books) -> None:
    content = signed(PLAIN, books)
    books.records.clear()
    message = await body(pages, put(content))

    assert [v["result"] for v in message["dkim"]] == ["permerror"] * 2  # type: ignore[attr-defined]
    assert books.asked == [b"r._domainkey.sender.example.", b"e._domainkey.sender.example."]


async def test_a_signature_that_is_none(pages: httpx.AsyncClient, put: Put) -> None:
    message = await body(pages, put(b"DKIM-Signature: nonsense\r\n" + PLAIN))

    assert [v["result"] for v in message["dkim"]] == ["permerror"]  # type: ignore[attr-defined]


async def test_a_hundred_signatures_buy_ten_verdicts(pages: httpx.AsyncClient, put: Put) -> None:
    """RFC 6376 §8.4."""
    line = b"DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s; h=from; bh=YQ==; b=YQ==\r\n"

    assert len((await body(pages, put(line * 100 + PLAIN)))["dkim"]) == 10  # type: ignore[arg-type]


async def test_the_page_says_the_verdict(pages: httpx.AsyncClient, put: Put, books: Books) -> None:
    page = (await pages.get(f"/inbox/view/{put(signed(PLAIN, books))}")).text

    assert page.count('<li class="pass"><strong>pass</strong>') == 2
