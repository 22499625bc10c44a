"""What comes back, and in sandbox mode where mail ends: the inbox.

The inbox is a catching MX: it takes every recipient over real SMTP, with TLS, and keeps one file a
recipient in a Maildir, so that sandbox mail passes the same relay path as live mail and nothing leaves the
machine. catcher.py is the desk behind mailer/listener, trace.py writes what a final delivery adds on
top (RFC 5321 §4.4), maildir.py keeps and finds, inbox.py runs it all. mailer/web shows it at /inbox; mutt, or
Python's `mailbox`, may read the folder as well.

simulator.py has recipients that bounce, defer, fall silent, hang up. What some of them send back (replies.py,
replier.py) goes by SMTP to the reverse-path of the message, and so comes to the same MX: returned.py reads
mail for our return-paths, recognised.py says what it means, and the recipient's event is told. There is no
shorter way from a simulated complaint to its event than a real one has.

Decisions. A file is renamed into `new/` before the 250, so whatever kills the process loses nothing it
answered for; it is not fsynced, since this is the end of a test, not of a mail's journey: a power cut may
take the last seconds. Bytes below the three trace fields are kept exactly; content with a bare CR or LF, or
with NUL, is refused as hosts of the world do (RFC 5321 §2.3.8), because an inbox that takes what they refuse
hides faults. What came back is noted before it is kept and answered, so that its sender tries again while the
database is away.
"""
