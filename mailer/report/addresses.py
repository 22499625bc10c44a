"""Where reports are asked to be sent: local parts at the return-path host of a sending domain.

That host lies below the domain, so that reports are sent there without a record of consent: RFC 7489 §7.1
asks for one only outside the organisational domain, and RFC 8460 for none.
"""

from __future__ import annotations

DMARC_REPORTS = "dmarc-reports"  # aggregate and failure reports
TLS_REPORTS = "tls-reports"
COMPLAINTS = "complaints"  # what feedback loops are registered with
POSTMASTER = "postmaster"  # RFC 5321 §4.5.1
ABUSE = "abuse"  # RFC 2142 §2

LOCAL_PARTS = frozenset({DMARC_REPORTS, TLS_REPORTS, COMPLAINTS, POSTMASTER, ABUSE})


def dmarc_reports(return_path_domain: str) -> str:
    return f"{DMARC_REPORTS}@{return_path_domain}"


def tls_reports(return_path_domain: str) -> str:
    return f"{TLS_REPORTS}@{return_path_domain}"
