"""Reports that programs send about mail of our domains, read from the octets they came in.

    dmarc           DMARC aggregate reports: XML (RFC 7489 Appendix C, RFC 9990), plain, gzip or zip
    dmarc_failure   DMARC failure reports (RFC 6591): the fields of their machine-readable part
    tlsrpt          SMTP TLS reports: JSON (RFC 8460 §4.4), plain or gzip
    xarf            abuse reports in XARF v4: JSON (xarf.org)

    unpack          gzip and zip, no further than a limit
    xmlstream       XML read as a stream, with everything off that reaches outside or grows
    jsondoc         JSON with a limit on what it may become in memory
    values          texts, domains, addresses and instants as strangers write them

Each has `parse(content, media_type)`, which answers with the report or with Unparsable and never raises:
whoever knows one of our addresses can send anything here. Pure: no clock, no network, no database.

Decisions. The octets say what they are, not the media type or the file name: vendors call a gzip `.xml`, and
a zip `application/octet-stream`. A document type is refused as such, so that there are no entities to expand
and nothing to fetch. What costs time or memory has a limit of its own (octets, elements, depth, records), so
that the largest report allowed is read within two seconds on a small machine. A report that is cut short is
refused whole: its totals would be wrong without anybody seeing it. A single record that cannot be read is
left out and counted.
"""

from mailer.report.formats.values import Unparsable

__all__ = ["Unparsable"]
