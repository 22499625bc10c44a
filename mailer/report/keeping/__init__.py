"""Reports about domains of ours, written to the database; the rest is nobody's business here.

    received    how a report came, and whose word it is
    owners      the sending domain that a name belongs to
    authreports  all but complaints, by their kind
    dmarc, failures, tls, complaints   `keep(connection, report, received=..., new_id=..., now=...)`

`keep` writes in the caller's transaction and answers whether anything was new: the same report again, by
mail or by HTTP, changes nothing. A repeat of the whole transaction is therefore harmless. Nothing kept here
changes the state of any mail, suppresses, or decides: strangers send these.

Decisions. A report is filed under the most specific sending domain that its names lie in, so one about
example.com with mail of news.example.com is told to the owner of each, and none sees the other's part. What
one domain gets in a day is bounded, since whoever can send mail can make up reports. Ids of reports can be
guessed, so an unsigned one never stands in the way of one that is signed: that takes its place.
"""

from mailer.report.keeping.received import Received

__all__ = ["Received"]
