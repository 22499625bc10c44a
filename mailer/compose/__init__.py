"""Bytes on the wire, pure: addresses, header fields, MIME, return-path tokens, DKIM.

A message is `per-recipient prefix + headers + CRLF + body`. `mime.compose` makes headers and body
once, whatever the number of recipients; `headers.per_recipient_prefix` and `dkim.sign` make what
differs, at the attempt. So content is stored once, that for many with its body hash, and a signature
costs the header fields and one RSA operation, not another walk over the body. A body that goes to one is
hashed where it is signed: at the door, for which callers wait, that costs some per cent of what it accepts.

Composed mail is 7-bit with lines of at most 78 octets where it can be (998 always), so that no hop
has a reason to re-encode it and break the signature (RFC 6376 §5.3). The one exception is an address whose
local part is not ASCII: it has no other form (RFC 6532 §3.2), and `Composed.needs_utf8` says so.

Written by hand rather than with `email.message`: the stdlib builds a token tree for each field when it
is set and again when it is folded (2.9 ms a message against 0.06 ms). The stdlib's strict parser
reads what we write in the tests instead.

  address    what a mailbox is, and which text is one
  fields     one header field as bytes: folding, encoded-words, address lists
  headers    which header fields a submitter may set; the fields of one recipient
  mime       a draft becomes headers and body
  submitted  a whole message that a submitter wrote becomes headers and body
  block      its header as fields;  authors  whose it is;  control  what X-Mailer-* fields ask for
  trace      the Received field, and messages that go round in circles
  downgrade  its 8-bit parts in 7 bits, for a peer that takes no more
  malformed  why a submitted message is refused
  wording    subject, text and HTML as templates, filled and finished
  templating, template_language, template_budget, template_source, template_filters
             one template: compiled, in which language, at what cost
  finishing  styles written into HTML; the text beside it
  dsn        the report of a message to its submitter;  deliverystatus  the part that programs read
  canonical  the relaxed form of headers and body that DKIM signs
  dkim       signatures
  verp       the token in the reverse-path that says whose bounce came back
"""
