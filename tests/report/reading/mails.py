"""Mails for the tests of reading: put together from parts, ours alone."""

from __future__ import annotations

REF = "abcdefghijklmnopqrstuvwxyz"
ORIGINAL = (
    f"Return-Path: <{REF}@bounces.shop.example>\n"
    "From: Shop <orders@shop.example>\nTo: Ann <ann@there.example>\nSubject: Your order\n"
    f"Message-ID: <m1@shop.example>\nX-Mailer-Ref: {REF}\nMIME-Version: 1.0\n\nThank you.\n"
)
STATUS = (
    "Reporting-MTA: dns; mx.relay.example\nArrival-Date: Mon, 02 Nov 2026 10:00:00 +0000\n\n"
    "Final-Recipient: rfc822; ann@there.example\nAction: failed\nStatus: 5.1.1\n"
    "Remote-MTA: dns; mx.there.example\nDiagnostic-Code: smtp; 550 5.1.1 <ann@there.example>: User unknown\n"
)


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("utf-8", "surrogateescape")


def dsn(
    status: str = STATUS,
    *,
    kind: str = "message/delivery-status",
    words: str = "Your message could not be delivered.\n",
    original: str = ORIGINAL,
    original_kind: str = "message/rfc822",
) -> bytes:
    return crlf(
        "Return-Path: <>\nFrom: Mail Delivery System <mailer-daemon@relay.example>\n"
        f"To: <{REF}@bounces.shop.example>\nSubject: Undelivered Mail Returned to Sender\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"\nMIME-Version: 1.0\n\n'
        f"--=_b\nContent-Type: text/plain\n\n{words}\n--=_b\nContent-Type: {kind}\n\n{status}\n"
        f"--=_b\nContent-Type: {original_kind}\n\n{original}\n--=_b--\n"
    )


def text_bounce(
    words: str, *, sender: str = "MAILER-DAEMON@relay.example", subject: str = "failure notice"
) -> bytes:
    return crlf(f"Return-Path: <>\nFrom: {sender}\nTo: bounce@shop.example\nSubject: {subject}\n\n{words}")


def plain_mail(header: str, body: str = "Hello.\n") -> bytes:
    return crlf(f"{header}\n\n{body}")
