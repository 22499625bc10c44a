"""SMTP to the next hop (RFC 5321): hosts in order, sessions kept, one transaction a recipient.

    carrier      SmtpCarrier: what the worker calls; knows what is under way, and how to stop
    attempt      one consignment over the hosts of its plan, until one gives the outcome
    plan         routes and MX sets as targets in the order of trying; recently unreachable ones last
    opening      connect, greeting, EHLO, STARTTLS, AUTH; each failure names its phase
    session      what came of it: one connection, reused while it is in step
    transaction  MAIL, RCPT, DATA or BDAT, content, dot; the only code that may send a message
    chunking     whether BDAT pays, and what is known of hosts that handle it badly
    protocol     the wire: replies are counted, so that none is taken for another's
    content      commands and content as octets; what a peer lacks for this mail
    tls          contexts, and the memory of who speaks TLS
    tls_policies what the hosts of a domain must prove (mailer/policy/tls.py decides): from dane, from sts
                 and sts_fetch, and from our own rules
    handshake    what a handshake proved, and why one failed
    tls_results  what became of it, counted for reports
    lookup       DNS questions (mailer/relay/hosts.py makes MX sets of the answers)

aiosmtplib connects a session (EHLO, STARTTLS, AUTH); the mail transaction is ours on top of it, since it
has to be pipelined, timed by phase, and to tell "refused" from "broken" from "in doubt". Mailing through
aiosmtplib's `sendmail` costs three times the CPU and four round trips a message instead of two.

Not done here: pipelining the next envelope behind the content, BINARYMIME (RFC 3030 §3).
"""
