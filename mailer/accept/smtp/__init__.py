"""SMTP submission (RFC 6409): what the listener asks of us, answered with the one way in.

    desk       envelope and content become a Submission; its receipt or refusal becomes a reply
    envelopes  recipients, each once, with what was asked of DSNs
    login      an API key as password, and what guessers meet
    sessions   how many of one key there may be at once
    room       the budget of octets that both doors share
    tls        the certificate shown, read anew when its file changes

The protocol is spoken by mailer/listener. A submission is taken when it is on disk, then answered 250.
Neither the client's address nor its name is put into Received: they say where a tenant's programs run.
"""
