"""Changes of a reply line after which it means what it meant."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

from tests.support.mutating.names import KNOWN
from tests.support.mutating.words import respelled, reworded

_ADDRESS = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_IP = re.compile(r"(?<![\w.])(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}(?![\w.]*\d)")
_STATUS = re.compile(r"^([245]\d\d)([ -])([245]\.\d{1,3}\.\d{1,3})(?=\s)")
_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_HOST = re.compile(
    r"(?<![\w@./:-])[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|net|org|jp|de|uk|edu|example)(?![\w./-])",
    re.IGNORECASE,
)
_ID = re.compile(
    r"(?<![\w.@/=-])(?=[a-z0-9.-]*\d)(?=[a-z0-9.-]*[a-z])[a-z0-9]{6,}[a-z0-9.-]{4,}(?![\w@/])", re.IGNORECASE
)


def addresses(line: str, dice: random.Random) -> str:
    new = dice.choice(
        ["hugo@ox.example", "ines.pereira-lopes@a-rather-long-name-of-a-firm.example", "k1@b.example"]
    )
    return _ADDRESS.sub(new, line)


def ip_addresses(line: str, dice: random.Random) -> str:
    new = f"{dice.choice(['192.0.2', '198.51.100', '203.0.113'])}.{dice.randint(1, 250)}"
    return _IP.sub(new, line)


def hosts(line: str, dice: random.Random) -> str:
    new = f"mx{dice.randint(1, 99)}.northwind.example"
    return _HOST.sub(lambda m: m[0] if KNOWN.search(m[0]) else new, line)


def ids_within(line: str, dice: random.Random) -> str:
    """Those of letters and digits, ten and more, that are no name of a host."""
    return _ID.sub(
        lambda m: (
            m[0]
            if KNOWN.search(m[0]) or _HOST.fullmatch(m[0])
            else "".join(dice.choices("0123456789abcdef", k=14))
        ),
        line,
    )


def status_last(line: str, dice: random.Random) -> str:
    """550 No such user (#5.1.1)."""
    head = _STATUS.match(line)
    if head is None or re.search(r"[245]\.\d{1,3}\.\d", line[head.end() :]):
        return line  # it quotes another reply
    status = dice.choice(["(#{})", "[{}]", "({})", "#{}"]).format(head[3])
    return f"{head[1]}{line[head.end() :].rstrip()} {status}"


def codeless(line: str, dice: random.Random) -> str:
    """5.1.1 No such user, as hosts tell it that keep the code for themselves. For whom words tell."""
    return _STATUS.sub(r"\3", line)


def queries(line: str, dice: random.Random) -> str:
    """What a link says of the case in hand."""

    def change(match: re.Match[str]) -> str:
        url = match[0]
        tail = url[len(url.rstrip(".,;)>]\"'")) :]
        url = url[: len(url) - len(tail)]
        url = re.sub(r"^https?", lambda m: "http" if m[0].lower() == "https" else "https", url, flags=re.I)
        return f"{url}{'&' if '?' in url else '?'}r={dice.randrange(10**8):x}{tail}"

    return _URL.sub(change, line)


def _apart(line: str) -> tuple[str, str]:
    head = re.match(r"[245]\d\d(?:[ -]#?\(?#?[245]\.\d{1,3}\.\d{1,3}\)?)?(?=[ -])", line)
    return (head[0], line[head.end() :]) if head else ("", line)


def capitals(line: str, dice: random.Random) -> str:
    return line.upper()


def small_letters(line: str, dice: random.Random) -> str:
    return line.lower()


def sentence_case(line: str, dice: random.Random) -> str:
    return line.title()


def blanks(line: str, dice: random.Random) -> str:
    return re.sub(r"(?<=\w) (?=\w)", lambda _: dice.choice([" ", "  ", "\t"]), line)


def ids(line: str, dice: random.Random) -> str:
    """What hosts put behind what they say."""
    return line + dice.choice([
        " [4F2C81A09B]", " (k7si9123456wrb.42)", " - gsmtp-like id a1b2c3d4e5".replace("gsmtp-like id ", ""),
        f" id={dice.randrange(16**12):x}", f" ({dice.randrange(10**6)})", " [mx7.northwind.example]",
        f" {dice.randrange(16**10):010X}", " (#A17)", " S1234567890ABCDEF",
    ])  # fmt: skip


def spacing(line: str, dice: random.Random) -> str:
    return _STATUS.sub(
        lambda m: dice.choice(["{} {}", "{}-{}", "{}  {}", "{} #{}", "{} ({})"]).format(m[1], m[3]), line
    )


def in_lines(line: str, dice: random.Random) -> str:
    """As one reply of two lines (RFC 5321 §4.2.1), joined."""
    head, text = _apart(line)
    text, told = (text.partition(" (in reply to")[0], "".join(text.partition(" (in reply to")[1:]))
    words = text.split(" ")
    if not head or len(words) < 4:
        return line
    at = dice.randint(1, len(words) - 2)
    code, rest = head[:3], head[3:].strip(" -")
    first, second = " ".join(words[:at]).strip(), " ".join(words[at:])
    return f"{code}-{rest}{' ' if rest else ''}{first} {code} {rest} {second}{told}"


def advice(line: str, dice: random.Random) -> str:
    """What hosts add for whoever reads it, of no word of which anything follows."""
    return line.rstrip() + dice.choice([
        " Please contact your administrator for assistance.", " For more information see https://help.northwind.example/e/42",
        " (see https://www.northwind.example/e#r17)",
        " Please direct questions to postmaster@northwind.example.",
        " Contact the postmaster of the recipient's domain by other means.", "; please see our website",
        " Please check the spelling and resend your message.",
    ])  # fmt: skip


def preface(line: str, dice: random.Random) -> str:
    """Politeness between the code and what is said."""
    head, text = _apart(line)
    if not head or len(text.split()) < 2:
        return line
    return (
        head
        + dice.choice(
            [" Sorry,", " Error:", " Delivery failed:", " Message not delivered -", " mx7.northwind.example"]
        )
        + text
    )


def bare_code(line: str, dice: random.Random) -> str:
    """Without the enhanced status, for whom words tell."""
    return _STATUS.sub(r"\1", line)


def quoted(line: str, dice: random.Random) -> str:
    """As the host tells it that heard it."""
    if not re.match(r"[45]\d\d[ -]", line):
        return line
    return dice.choice([
        f"smtp; {line}", f"smtp;{line}", f"host mx.northwind.example[192.0.2.44] said: {line}",
        f"Remote host said: {line}",
        f'"{line}"', f"SMTP error from remote mail server after end of data: {line}",
    ])  # fmt: skip


def punctuation(line: str, dice: random.Random) -> str:
    """A full stop more or less, apostrophes as typographers set them."""
    made = line.rstrip(".!") + dice.choice(["", ".", "!", " ."])
    return re.sub(r"(?<=[A-Za-z])'(?=[a-z])", "\u2019", made)


def spelling(line: str, dice: random.Random) -> str:
    return respelled(line, dice)


def synonyms(line: str, dice: random.Random) -> str:
    return reworded(line, dice)


def hard_blanks(line: str, dice: random.Random) -> str:
    return re.sub(r"(?<=[a-z]) (?=[a-z])", "\u00a0", line, count=2)


LINES: Mapping[str, Callable[[str, random.Random], str]] = {
    change.__name__.replace("_", "-"): change
    for change in (
        addresses, ip_addresses, hosts, ids_within, status_last, codeless, advice,
        preface, queries, capitals, small_letters, sentence_case, blanks, ids, spacing,
        in_lines, bare_code, quoted, punctuation, spelling, hard_blanks, synonyms,
    )
}  # fmt: skip
