"""The DNS records that a sending domain must publish, as data.

    sending.toml   which records, for what purpose, in which words: the only place that knows
    records.py     DomainFacts + sending.toml -> Record: plain values, names and texts complete
    render.py      Record -> text: zone file, include file, table, JSON

`records(facts)` answers "what must the world find"; `render(records, format)` writes it for a reader. Every
provider's own form (Domain Connect templates, octoDNS and Terraform sources) is one more renderer over the
same records, and a check of what is really published compares against them, so nothing about a record is
known twice. Pure: no network, no database, no clock; the caller brings names and public keys.

The zone file is a whole zone, with an SOA and NS of its own, so that a name server loads it as it is and
hosted DNS services import it (they leave the SOA and NS out). The include file is for a zone that exists.
"""

from dns_templates.records import DkimKey, DomainFacts, Purpose, Record, TemplateError, records
from dns_templates.render import Format, render

__all__ = ["DkimKey", "DomainFacts", "Format", "Purpose", "Record", "TemplateError", "records", "render"]
