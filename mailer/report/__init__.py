"""What comes back, and in sandbox mode where mail ends: the inbox.

The way of a mail that comes back:

    desk.py          the SMTP server's owner: addresses of ours only (destinations.py), kept before the 250
    reader.py        a thread that reads what was kept: the mail's meaning, whose it is, and one transaction
    reading/         octets to a typed reading; pure, bounded, never raises
    formats/         what DMARC, TLS and abuse reports say; pure as well
    matching.py      whose it is, and whether it proves it; trust.py: by whose signature it may
    consequences.py  what follows: events, once; what is held against an address policy/suppression.py decides
    passing.py       letters to postmaster and abuse, on to the operator's mailbox

Decisions. Nothing is parsed before it is on disk and answered, so that no octets of a stranger stand between
a sender and its 250, and a parser that fails loses nothing: the mail is kept, marked, and shown. A reader
claims under its incarnation and settles in the transaction that carries the events; one that dies leaves its
mail to the next, and what killed three is set aside. Only a token of ours or an agreed provider's signature
proves anything; whatever else matches is shown as unverified. Nothing that is taken here makes mail to its
sender.

The inbox is a catching MX: it takes every recipient over real SMTP, with TLS, and keeps one file a
recipient in a Maildir, so that sandbox mail passes the same relay path as live mail and nothing leaves the
machine. catcher.py is the desk behind mailer/listener, trace.py writes what a final delivery adds on
top (RFC 5321 §4.4), maildir.py keeps and finds, inbox.py runs it all. mailer/web shows it at /inbox; mutt, or
Python's `mailbox`, may read the folder as well.

simulator.py has recipients that bounce, defer, fall silent, hang up. What some of them send back (replies.py,
replier.py) goes by SMTP to the reverse-path of the message, and so comes to the same MX, which keeps it to be
read as desk.py does. There is no shorter way from a simulated complaint to its event than a real one has.

Decisions. A file is renamed into `new/` before the 250, so whatever kills the process loses nothing it
answered for; it is not fsynced, since this is the end of a test, not of a mail's journey: a power cut may
take the last seconds. Bytes below the three trace fields are kept exactly; content with a bare CR or LF, or
with NUL, is refused as hosts of the world do (RFC 5321 §2.3.8), because an inbox that takes what they refuse
hides faults. What came back is on disk before it is kept and answered, so that its sender tries again while
the database is away.
"""
