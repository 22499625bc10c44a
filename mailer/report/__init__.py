"""What comes back, and in sandbox mode where mail ends: the inbox.

The inbox is a catching MX: it takes every recipient over real SMTP, with TLS, and keeps one file a
recipient in a Maildir, so that sandbox mail passes the same relay path as live mail and nothing leaves the
machine. catcher.py speaks SMTP (on aiosmtpd), trace.py writes what a final delivery adds on top
(RFC 5321 §4.4), maildir.py keeps and finds, certificate.py makes the certificate for STARTTLS, inbox.py
runs it all. mailer/web shows it at /inbox; mutt, or Python's `mailbox`, may read the folder as well.

Decisions. A file is renamed into `new/` before the 250, so whatever kills the process loses nothing it
answered for; it is not fsynced, since this is the end of a test, not of a mail's journey: a power cut may
take the last seconds. The stock DATA reader of aiosmtpd, a coroutine step a line, was replaced: it takes
more CPU than all the rest of the product spends on a message. Bytes below the three trace fields are kept
exactly, bare CR and LF too, because an inbox that repairs what it shows hides faults.
"""
