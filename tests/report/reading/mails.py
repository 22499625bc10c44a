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
# What hosts write that make no report of fields.
QMAIL = """Hi. This is the qmail-send program at relay.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<ann@there.example>:
192.0.2.1 does not like recipient.
Remote host said: 550 5.1.1 User unknown
Giving up on 192.0.2.1.

<bob@there.example>:
User is over the quota. (#5.2.2)

--- Below this line is a copy of the message.

"""
EXIM = """This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  ann@there.example
    host mx.there.example [192.0.2.1]
    SMTP error from remote mail server after RCPT TO:<ann@there.example>:
    550 5.1.1 User unknown
  bob@there.example
    (generated from list@relay.example)
    mailbox is full

------ This is a copy of the message, including all the headers. ------

"""
POSTFIX = """This is the mail system at host relay.example.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to <postmaster@relay.example>

                   The mail system

<ann@there.example>: host mx.there.example[192.0.2.1] said: 550 5.1.1
    <ann@there.example>: User unknown (in reply to RCPT TO command)

<bob@there.example>: host mx.there.example[192.0.2.1] said: 552 5.2.2
    <robert@there.example>: Mailbox full (in reply to RCPT TO command)
"""
SENDMAIL = """The original message was received at Mon, 2 Nov 2026 10:00:00 GMT
from localhost [127.0.0.1]

   ----- The following addresses had permanent fatal errors -----
<ann@there.example>
    (reason: 550 5.1.1 User unknown)
<bob@there.example>

   ----- Transcript of session follows -----
... while talking to mx.there.example.:
>>> RCPT To:<ann@there.example>
<<< 550 5.1.1 User unknown
550 5.1.1 <ann@there.example>... User unknown
>>> RCPT To:<bob@there.example>
<<< 552 5.2.2 Mailbox full

   ----- Message header follows -----
"""
DOMINO = """Your message

  Subject: Hello

was not delivered to:

  ann@there.example

because:

  User ann (ann@there.example) not listed in Domino Directory
"""
EXCHANGE = """Your message

  To:      shop@shop.example
  Subject: Hello

did not reach the following recipient(s):

ann@there.example on Mon, 2 Nov 2026 10:00:00 +0000
    The recipient name is not recognized
    MSEXCH:IMS:There:SITE:HOST 0 (000C05A6) Unknown Recipient
"""
X400 = EXCHANGE.replace("ann@there.example on", "c=US;a= ;p=There;o=Site;dda:SMTP=ann@there.example; on")
EXCHANGE_ONLINE = """Delivery has failed to these recipients or groups:

ann@there.example<mailto:ann@there.example>
The email address you entered couldn't be found.

Diagnostic information for administrators:

ann@there.example
Remote Server returned '550 5.1.1 RESOLVER.ADR.RecipNotFound; not found'
"""
OPENSMTPD = """    Hi!

    An error has occurred while attempting to deliver a message for
    the following list of recipients:

ann@there.example: 550 5.1.1 User unknown

    Below is a copy of the original message:
"""


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
