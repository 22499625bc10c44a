"""Who and where: addresses, hosts, IP addresses, ids and dates of a mail, replaced the same way wherever
they stand."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

from tests.support.mutating.entity import Entity, decoded, put_text

_ADDRESS = re.compile(
    r"(?:(?<=SMTP=)|(?<![\w.!#$%&*+/=?^`{|}~'-]))([A-Za-z0-9._+-]{1,64})@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)"
)
_ROLES = re.compile(
    r"^(postmaster|mailer[-_]?daemon|abuse|no[-_.]?reply|do[-_.]?not[-_.]?reply|bounces?|root|mta|majordomo|admin\w*|"
    r"support|help\w*|fbl\w*|feedback\w*|complaints?|staff|scomp|info|symantec\w*|imss|interscan|mdaemon|mail\w*|"
    r"\w*daemon\w*|auto\w*|notif\w*|unsub\w*|spam\w*|delivery\w*|undisclosed\w*)",
    re.IGNORECASE,
)
# Local parts that are words as well: alone they are those.
_WORDS = re.compile(
    r"[a-z]{1,5}|recipients?|senders?|username|destination|someone|unknown|account"
    r"|mailbox|invalid|undeliver\w*|"
    r"nobody|anybody|address\w*|notfound|receiver|rejected?|disabled|user\w?"
    r"|customer|subscriber|contact"
)
# Names by which a provider is known, or that a rule looks for: what a mail of theirs means depends on
# whose it is.
KNOWN = re.compile(
    r"(google|gmail|outlook|hotmail|live\.|msn|microsoft|office|exchange|yahoo|aol|icloud|apple|me\.com|qq\.com|163|126|"
    r"yeah|gmx|web\.de|mail\.ru|yandex|t-online|telekom|orange|wanadoo|free\.fr|sfr|laposte|libero|virgilio|iol|"
    r"comcast|cox|att\.|verizon|docomo|ezweb|softbank|vodafone|proofpoint|pphosted|mimecast|barracuda|cisco|iphmx|"
    r"ironport|messagelabs|symantec|amazon|aws|sendgrid|spamhaus|spamcop|sorbs|abuseat|rfc|zoho|godaddy|secureserver|"
    r"facebook|postini|trend|mcafee|kundenserver|1and1|ionos|aruba|rambler|interia|onet|wp\.pl|seznam|uol|terra|"
    r"x\.smtp|boxbe|spamarrest|ml\.|sourceforge|senderbase|surbl|uribl|dnsbl|openspf|dmarc|njabl|invaluement|"
    r"kpn|ziggo|telenet|telia|tim\.|bluewin|freenet|proton|suremail|returnpath|au\.com|nifty|biglobe|dion)",
    re.IGNORECASE,
)
_DOMAINS = (
    "lindenhof.example",
    "ox.example",
    "a-rather-long-name-of-a-firm.example",
    "b7.quarter.example",
    "strand-und-meer.example",
    "post.nine.example",
    "kiosk.example",
)
_LOCALS = (
    "hugo",
    "m.tanaka",
    "ines.pereira-lopes",
    "kv",
    "rosalind_whittaker",
    "piet77",
    "vertrieb",
    "u4711x",
    "zoe+orders",
    "jd",
    "marie.claire.dubois",
    "tomasz",
)
_IP = re.compile(r"(?<![\w.])(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}(?![\w.]*\d)")
_QUEUE_ID = re.compile(
    r"(?<=\bid[ =])([A-Za-z0-9]{8,20})\b|(?<=queue id )([A-Za-z0-9]{6,20})\b|(?<=Queue-ID: "
    r")([A-Za-z0-9]{6,20})\b"
)
_DATE = re.compile(
    r"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), +)?\d{1,2} "
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d"
)
_MESSAGE_ID = re.compile(r"^(?:message-id|in-reply-to|references)[ \t]*:[ \t\n]*<([^<>\s]+)>", re.I | re.M)


def _everywhere(mail: Entity, change: Callable[[str], str]) -> None:
    for part in mail.walk():
        part.fields = [_field(each, change) for each in part.fields]
        part.preamble = change(part.preamble)
        if part.boundary or part.type.partition("/")[0] not in {"", "text", "message", "multipart"}:
            continue
        text = decoded(part)
        changed = change(text)
        if changed != text:
            put_text(part, changed)


def _field(text: str, change: Callable[[str], str]) -> str:
    """A boundary is no name, even where it has one in it."""
    return text if re.match(r"content-type\s*:", text, re.I) else change(text)


def _all_text(mail: Entity) -> str:
    return "\n".join(
        "\n".join(part.fields) + "\n" + ("" if part.boundary else decoded(part)) for part in mail.walk()
    )


def _replacing(pairs: Mapping[str, str], before: str, after: str) -> Callable[[str], str]:
    if not pairs:
        return lambda text: text
    sought = "|".join(re.escape(each) for each in sorted(pairs, key=len, reverse=True))
    pattern = re.compile(f"{before}({sought}){after}", re.IGNORECASE)
    return lambda text: pattern.sub(lambda m: pairs[m[1].lower()], text)


def _addresses(text: str) -> list[str]:
    return list(dict.fromkeys(match[0].lower() for match in _ADDRESS.finditer(text)))


def _is_person(address: str) -> bool:
    return not _ROLES.match(address)


def _renamed(mail: Entity, dice: random.Random, wanted: Callable[[str], bool]) -> Mapping[str, str]:
    """Addresses that are `wanted` get another local part and another domain."""
    text = _all_text(mail)
    if '"@' in text or "?=@" in text or "\\@" in text:
        return {}  # local parts that only a parser finds the beginning of
    message_ids = {match[1].lower() for match in _MESSAGE_ID.finditer(text)}
    taken: set[str] = set()
    domains: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for address in _addresses(text):
        if not wanted(address) or not _is_person(address) or address in message_ids:
            continue
        local = dice.choice([each for each in _LOCALS if each not in taken] or [f"p{len(taken)}"])
        taken.add(local)
        domain = address.partition("@")[2]
        new = domains.setdefault(
            domain, dice.choice([d for d in _DOMAINS if d not in domains.values()] or list(_DOMAINS))
        )
        pairs[address] = f"{local}@{new}"
    # A local part alone ("user ann unknown", "ann... unknown") goes with its address.
    alone = {
        a.partition("@")[0]: b.partition("@")[0]
        for a, b in pairs.items()
        if not _WORDS.fullmatch(a.partition("@")[0])
    }
    whole = _replacing(pairs, r"(?:(?<=SMTP=)|(?<![A-Za-z0-9._+=-]))", r"(?![A-Za-z0-9-]|\.[A-Za-z0-9])")
    part = _replacing(alone, r"(?<![A-Za-z0-9._+=@-])", r"(?![A-Za-z0-9._@+=/-])")
    _everywhere(mail, lambda text: part(whole(text)))
    return pairs


def recipients(mail: Entity, dice: random.Random) -> Mapping[str, str]:
    """All people's addresses but those that the report is sent to, and from."""
    ours = {
        a
        for each in mail.fields
        if re.match(r"(to|from|return-path|delivered-to)\s*:", each, re.I)
        for a in _addresses(each)
    }
    return _renamed(mail, dice, lambda address: address not in ours)


def senders(mail: Entity, dice: random.Random) -> Mapping[str, str]:
    """The addresses that the report is sent to."""
    ours = {
        a for each in mail.fields if re.match(r"(to|delivered-to)\s*:", each, re.I) for a in _addresses(each)
    }
    return _renamed(mail, dice, lambda address: address in ours)


def hosts(mail: Entity, dice: random.Random) -> Mapping[str, str]:
    """Domains of hosts and addresses, but for those of providers whose words are known by them."""
    text = _all_text(mail)
    if '"@' in text or "?=@" in text or "\\@" in text:
        return {}
    found = [match[2].lower() for match in _ADDRESS.finditer(text)]
    found += [
        m[1].lower()
        for m in re.finditer(r"\b(?:mx|mail|smtp|host|relay)\d*\.([a-z0-9-]+(?:\.[a-z0-9-]+)+)\b", text, re.I)
    ]
    ends = list(dict.fromkeys(_registrable(each) for each in found if not KNOWN.search(each)))
    pairs = {}
    for at, each in enumerate(ends[:40]):
        pairs[each] = dice.choice(
            ["hx{}.example", "northwind{}.test.example", "a-place-to-go{}.example"]
        ).format(at)
    change = _replacing(pairs, r"(?<![A-Za-z0-9-])", r"(?![A-Za-z0-9-]|\.[A-Za-z0-9])")
    _everywhere(mail, change)
    return {address: change(address) for address in _addresses(text) if change(address) != address}


def _registrable(domain: str) -> str:
    labels = domain.split(".")
    short = len(labels) > 2 and len(labels[-2]) <= 3 and len(labels[-1]) == 2
    return ".".join(labels[-3:] if short else labels[-2:])


def ip_addresses(mail: Entity, dice: random.Random) -> None:
    found = list(dict.fromkeys(match[0] for match in _IP.finditer(_all_text(mail))))
    pairs = {
        each: f"{dice.choice(['192.0.2', '198.51.100', '203.0.113'])}.{dice.randint(1, 250)}"
        for each in found
    }
    _everywhere(mail, lambda text: _IP.sub(lambda m: pairs.get(m[0], m[0]), text))


def queue_ids(mail: Entity, dice: random.Random) -> None:
    found = {
        g.lower()
        for match in _QUEUE_ID.finditer(_all_text(mail))
        for g in match.groups()
        if g and re.search(r"\d", g)
    }
    pairs = {
        each: "".join(dice.choices("0123456789ABCDEF", k=dice.randint(10, 14))) for each in sorted(found)
    }
    _everywhere(mail, _replacing(pairs, r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"))


def dates(mail: Entity, dice: random.Random) -> None:
    new = dice.choice(["Wed, 14 Oct 2026 23:59:01", "Sat, 1 Aug 2026 04:05:06", "3 Feb 2027 10:11:12"])
    _everywhere(mail, lambda text: _DATE.sub(new, text))


def message_ids(mail: Entity, dice: random.Random) -> None:
    found = {match[1].lower() for match in _MESSAGE_ID.finditer(_all_text(mail))}
    pairs = {
        each: f"{dice.randrange(10**14)}.{dice.choice('ABC')}{at}@ids.example"
        for at, each in enumerate(sorted(found))
    }
    _everywhere(mail, _replacing(pairs, "(?<=<)", "(?=>)"))


CHANGES = {
    change.__name__.replace("_", "-"): change
    for change in (recipients, senders, hosts, ip_addresses, queue_ids, dates, message_ids)
}
