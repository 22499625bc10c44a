"""How the text of a mail is set: line width, HTML, quotes, footers, and the spacing of replies."""

from __future__ import annotations

import html
import random
import re
import textwrap
from collections.abc import Callable, Iterator

from tests.support.mutating.entity import Entity, decoded, put_text

_ADDRESS = r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
_COPY = re.compile(
    r"^[-=_*> \t]*(?:-{3,}.*(?:copy|original|header|unsent|returned|forwarded|message|mail).*"
    r"|.*(?:copy of the message|original message|message header|headers? follow).*)$"
    r"|^(?:>? ?)(?:received|return-path|message-id|from|to|subject|date): .*$",
    re.IGNORECASE | re.MULTILINE,
)
FOOTERS = (
    "This e-mail is confidential and intended solely for the use of the individual to whom it is addressed.\n"
    "If you received it in error, please notify the sender and delete it from your system.\n",
    "CONFIDENTIALITY NOTICE: This message, including any attachments, may contain privileged information. "
    "Any\n"
    "unauthorized review, use, disclosure or distribution is prohibited. If you are not the intended "
    "recipient,\n"
    "please contact the sender by reply e-mail and destroy all copies of the original message.\n",
    "This message has been scanned for viruses and dangerous content by MailScanner, and is believed to "
    "be clean.\n",
    "Lindenhof GmbH, Hauptstr. 1, 12345 Berlin. Please consider the environment before printing this "
    "e-mail.\n",
)


def _own(mail: Entity) -> Iterator[Entity]:
    """The plain texts that the mail's author wrote; none of a mail that is a header put into a text, or
    of data."""
    for part in mail.walk():
        text = decoded(part)
        if not part.is_plain() or not part.gap or text.lstrip().startswith(("{", "<")):
            continue
        if part is mail and re.search(r"^--\S+\nContent-", text, re.MULTILINE | re.IGNORECASE):
            continue
        yield part


def _said(text: str) -> tuple[str, str]:
    """What the author says, and the message that is put behind it."""
    cut = _COPY.search(text)
    return (text, "") if cut is None else (text[: cut.start()], text[cut.start() :])


def _each_text(mail: Entity, change: Callable[[str], str]) -> None:
    for part in _own(mail):
        said, copy = _said(decoded(part))
        if said.strip():
            put_text(part, change(said) + copy)


def rewrapped(mail: Entity, dice: random.Random) -> None:
    """Prose at another width; what is said of an address with its further lines further in; no list is
    joined."""
    width = dice.choice([48, 60, 72, 90, 120])
    _each_text(mail, lambda text: "\n\n".join(_wrapped(each, width) for each in text.split("\n\n")))


def _wrapped(paragraph: str, width: int) -> str:
    lines = paragraph.strip("\n").split("\n")
    head = paragraph[: len(paragraph) - len(paragraph.lstrip("\n"))]
    tail = paragraph[len(paragraph.rstrip("\n")) :] if paragraph.strip("\n") else ""
    is_prose = len(lines) > 1 and all(re.match(r"[A-Za-z(\"'][^:@<>]*$", line) for line in lines)
    is_prose = is_prose and all(len(line) > 35 for line in lines[:-1])
    if is_prose:
        return (
            head
            + textwrap.fill(
                " ".join(" ".join(lines).split()), width, break_long_words=False, break_on_hyphens=False
            )
            + tail
        )
    begins = re.match(rf"<{_ADDRESS}>: ", lines[0])
    if begins and all(line.startswith("    ") for line in lines[1:]):
        made = textwrap.fill(
            " ".join(" ".join(lines).split()), width, subsequent_indent="    ", break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
        return head + made + tail
    return paragraph


def footer(mail: Entity, dice: random.Random) -> None:
    """What gateways put below every mail. Below a text that the original ends, it would be part of that."""
    text = dice.choice(FOOTERS)
    for part in _own(mail):
        said, copy = _said(decoded(part))
        if not copy.strip():
            put_text(part, f"{said.rstrip()}\n\n{dice.choice(['', '-- ', '_' * 40, '*' * 60])}\n{text}")
        return


def typographic(mail: Entity, dice: random.Random) -> None:
    """Quotes as word processors set them, in UTF-8."""
    for part in _own(mail):
        text = decoded(part)
        if not text.isascii() or part.charset not in {"", "us-ascii", "utf-8", "iso-8859-1"} or '"@' in text:
            continue
        said, copy = _said(text)
        made = re.sub(r"(?<=[a-z])'(?=[a-z])", "\u2019", said)
        made = re.sub(r'"([^"\n]{1,80})"', "\u201c\\1\u201d", made)
        made = re.sub(r"(?<![\w'])'([^'\n]{1,80})'(?!\w)", "\u2018\\1\u2019", made)
        if made == said:
            continue
        given = re.sub(r'\s*;\s*charset\s*=\s*("[^"]*"|[^\s;]+)', "", part.get("content-type"), flags=re.I)
        part.put("Content-Type", f"{given or 'text/plain'}; charset=utf-8")
        if part.encoding in {"", "7bit"}:
            part.put("Content-Transfer-Encoding", "8bit")
        put_text(part, (made + copy).encode().decode("latin-1"))


def brackets(mail: Entity, dice: random.Random) -> None:
    """<a@b> and a@b where a line begins with one."""

    def change(text: str) -> str:
        if re.search(rf"^<{_ADDRESS}>", text, re.M):
            return re.sub(rf"^<({_ADDRESS})>(?=:|\s*$)", r"\1", text, flags=re.M)
        return re.sub(rf"^([ \t]*)({_ADDRESS})(?=:|\s*$)", r"\1<\2>", text, flags=re.M)

    _each_text(mail, change)


def reply_spacing(mail: Entity, dice: random.Random) -> None:
    """550-5.1.1, 550 5.1.1, 550 #5.1.1; and replies of several lines (RFC 5321 §4.2.1) put together on
    one."""

    def change(text: str) -> str:
        return re.sub(
            r"(?<![\w.-])([45]\d\d)[ -]([45]\.\d{1,3}\.\d{1,3})(?![\d.])",
            lambda m: dice.choice(["{} {}", "{}-{}", "{}  {}", "{} #{}", "{} ({})"]).format(m[1], m[2]),
            text,
        )

    _each_text(mail, change)
    for part in mail.walk():
        if part.type == "message/delivery-status" and not part.boundary:
            put_text(
                part,
                re.sub(
                    r"^diagnostic-code.*(?:\n[ \t].*)*",
                    lambda m: change(m[0]),
                    decoded(part),
                    flags=re.I | re.M,
                ),
            )


def reply_in_lines(mail: Entity, dice: random.Random) -> None:
    """A reply of one line as one of several, as hosts that join them write it: "550-5.1.1 No such 550
    5.1.1 user"."""
    for part in mail.walk():
        if part.type == "message/delivery-status" and not part.boundary:
            put_text(part, re.sub(
                r"^(diagnostic-code\s*:\s*smtp\s*;\s*)([45]\d\d) ([45]\.\d\.\d{1,3}) ([^\n]+)$",
                lambda m: m[1] + _in_lines(m[2], m[3], m[4], dice), decoded(part), flags=re.I | re.M,
            ))  # fmt: skip


def _in_lines(code: str, status: str, text: str, dice: random.Random) -> str:
    words = text.split(" ")
    at = dice.randint(1, max(1, len(words) - 1))
    return f"{code}-{status} {' '.join(words[:at])} {code} {status} {' '.join(words[at:])}"


def _html(text: str, dice: random.Random) -> str:
    keeps = dice.random() < 0.6
    made = []
    for paragraph in text.strip("\n").split("\n\n"):
        lines = []
        for line in paragraph.split("\n"):
            indent = len(line) - len(line.lstrip())
            lines.append(
                ("&nbsp;" * indent if keeps else "") + html.escape(line.strip(), quote=dice.random() < 0.5)
            )
        made.append("<p>" + "<br>\n".join(lines) + "</p>")
    style = "<style>p { margin: 0 }</style>" if dice.random() < 0.5 else ""
    return (
        f"<html><head><title>Report</title>{style}</head>\n<body>\n" + "\n".join(made) + "\n</body></html>\n"
    )


def as_html(mail: Entity, dice: random.Random) -> None:
    """The text as paragraphs of HTML in its place, where it returns no message."""
    for part in _own(mail):
        if not _said(decoded(part))[1].strip() and not part.charset.startswith("iso-2022"):
            given = re.search(r"charset\s*=\s*(\"[^\"]*\"|[^\s;]+)", part.get("content-type"), re.I)
            text = _html(decoded(part), dice)
            part.put("Content-Type", "text/html" + (f"; charset={given[1]}" if given else ""))
            put_text(part, text)
        return


def beside_html(mail: Entity, dice: random.Random) -> None:
    """RFC 2046 §5.1.4: the same as HTML beside the text."""
    for part in _own(mail):
        if _said(decoded(part))[1].strip() or part.charset.startswith("iso-2022"):
            return
        names = ("content-type", "content-transfer-encoding", "content-disposition", "content-description")
        plain = Entity(
            fields=[each for each in part.fields if each.partition(":")[0].strip().lower() in names],
            body=part.body,
        )
        charset = re.search(r"charset\s*=\s*(\"[^\"]*\"|[^\s;]+)", part.get("content-type"), re.I)
        rich = Entity(
            fields=["Content-Type: text/html" + (f"; charset={charset[1]}" if charset else "")],
            body=_html(decoded(part), dice),
        )
        part.fields = [each for each in part.fields if each not in plain.fields]
        part.boundary = f"=_alt_{dice.randrange(10**9)}"
        part.fields.append(f'Content-Type: multipart/alternative; boundary="{part.boundary}"')
        part.body, part.children, part.closing = "", [plain, rich], f"--{part.boundary}--\n"
        return


def blank_lines(mail: Entity, dice: random.Random) -> None:
    """One more empty line where there is one already."""
    _each_text(mail, lambda text: re.sub(r"\n\n(?=\S)", lambda m: dice.choice(["\n\n", "\n\n\n"]), text))


# The same in other letters. Each pair both ways.
_SPELLINGS = (
    ("could not", "couldn't"), ("does not", "doesn't"), ("is not", "isn't"), ("was not", "wasn't"),
    ("cannot", "can't"), ("did not", "didn't"), ("has not", "hasn't"), ("do not", "don't"),
    ("e-mail", "email"), ("recognized", "recognised"), ("unauthorized", "unauthorised"),
    ("authorized", "authorised"), ("can not", "cannot"), ("doesn't", "does not"), ("couldn't", "could not"),
    ("isn't", "is not"), ("wasn't", "was not"), ("can't", "cannot"), ("email", "e-mail"),
    ("recognised", "recognized"), ("didn't", "did not"), ("over quota", "over-quota"), ("non-existent",
    "nonexistent"),
)  # fmt: skip
_SPELLED = {old: new for old, new in _SPELLINGS}
_SPELLING = re.compile(
    r"(?<![\w@./-])(" + "|".join(re.escape(old) for old in _SPELLED) + r")(?![\w@.-])", re.IGNORECASE
)


def respelled(text: str, dice: random.Random) -> str:
    def change(match: re.Match[str]) -> str:
        new = _SPELLED[match[1].lower()]
        return new.capitalize() if match[1][0].isupper() else new

    return _SPELLING.sub(change, text)


# What hosts say for the same, each group any way.
_SAME = (
    ("user unknown", "unknown user", "no such user", "user does not exist", "user not found"),
    ("mailbox full", "mailbox is full", "user over quota", "mailbox quota exceeded"),
    ("mailbox unavailable", "mailbox not available"),
    ("message too large", "message size exceeds limit", "message is too large"),
    ("relay access denied", "relaying denied", "relay denied", "relaying not permitted"),
    ("connection timed out", "operation timed out"),
    ("host unknown", "unknown host", "no such host", "host not found"),
    ("account disabled", "account is disabled", "account has been disabled", "account deactivated"),
    ("account suspended", "account is suspended", "account has been suspended"),
    ("blocked for spam", "rejected as spam"),
    ("blacklisted", "blocklisted", "on a blocklist"),
    ("mailbox does not exist", "mailbox not found", "no such mailbox", "unknown mailbox", "mailbox unknown"),
    ("recipient does not exist", "recipient unknown", "no such recipient", "unknown recipient",
    "recipient not found"),
    ("try again later", "please try again later", "try later"),
)  # fmt: skip
_GROUPS = {each: group for group in _SAME for each in group}
_ANY_OF = re.compile(
    r"(?<![\w@.-])("
    + "|".join(re.escape(each) for each in sorted(_GROUPS, key=len, reverse=True))
    + r")(?![\w@-])",
    re.IGNORECASE,
)


def reworded(text: str, dice: random.Random) -> str:
    """Unless what stands around makes more of the words."""

    def change(match: re.Match[str]) -> str:
        new = dice.choice(_GROUPS[match[1].lower()])
        return new.capitalize() if match[1][0].isupper() else new

    return _ANY_OF.sub(change, text)


def synonyms(mail: Entity, dice: random.Random) -> None:
    state = dice.random()
    for part in _own(mail):
        said, copy = _said(decoded(part))
        put_text(part, reworded(said, random.Random(state)) + copy)
    for part in mail.walk():
        if part.type == "message/delivery-status" and not part.boundary:
            put_text(
                part,
                re.sub(
                    r"^diagnostic-code.*(?:\n[ \t].*)*",
                    lambda m: reworded(m[0], random.Random(state)),
                    decoded(part),
                    flags=re.I | re.M,
                ),
            )


def double_blanks(mail: Entity, dice: random.Random) -> None:
    _each_text(
        mail, lambda text: re.sub(r"(?<=[a-z.,]) (?=[A-Za-z])", lambda _: dice.choice([" ", " ", "  "]), text)
    )


def indented(mail: Entity, dice: random.Random) -> None:
    """The whole text further in."""
    by = dice.choice(["  ", "    ", "\t"])
    for part in _own(mail):
        said, copy = _said(decoded(part))
        if not copy.strip():
            put_text(part, re.sub(r"^(?=[^\n])", by, said, flags=re.M))


def capitals(mail: Entity, dice: random.Random) -> None:
    for part in _own(mail):
        text = decoded(part)
        said, copy = _said(text)
        if text.isascii() and not part.charset.startswith("iso-2022"):
            put_text(part, re.sub(r"\S+", lambda m: m[0] if "@" in m[0] else m[0].upper(), said) + copy)


_TELLING = re.compile(rf"{_ADDRESS}|(?<![\d.])[45]\d\d(?![\d.])|[245]\.\d\.\d", re.IGNORECASE)


def other_prose(mail: Entity, dice: random.Random) -> None:
    """Another host's sentences above a list of recipients with the replies; the list stays."""
    prose = dice.choice((
        "Hello, this is the mail server on mx.relay.example.\n\nYour message could not be delivered. The "
        "details follow.",
        "The delivery of your message failed permanently.",
        "Sorry, your e-mail was not delivered. This is an automatic notice; please do not answer it.",
    ))  # fmt: skip
    for part in _own(mail):
        said, copy = _said(decoded(part))
        paragraphs = [each for each in said.split("\n\n") if each.strip()]
        telling = [each for each in paragraphs if _TELLING.search(each)]
        with_reply = [
            each
            for each in telling
            if re.search(r"(?<![\d.])[45]\d\d[ -]", each) and re.search(_ADDRESS, each)
        ]
        if with_reply and len(telling) < len(paragraphs):
            put_text(part, "\n\n".join([prose, *telling]) + "\n\n" + copy)
        return


def other_words_beside(mail: Entity, dice: random.Random) -> None:
    """Another host's sentences beside fields that say all (RFC 3464 §2: the text is for people)."""
    fields = [p for p in mail.walk() if p.type == "message/delivery-status" and not p.boundary]
    if not fields or not all(
        re.search(r"^diagnostic-code\s*:.*[45]\d\d", decoded(p), re.I | re.M) for p in fields
    ):
        return
    for part in _own(mail):
        put_text(part, dice.choice((
            "Your message could not be delivered to some of its recipients. See the attached report.\n",
            "This report is for programs; your mail program shows what it says.\n",
        )))  # fmt: skip
        return


def diagnostic_unsaid(mail: Entity, dice: random.Random) -> None:
    """RFC 3464 §2.3.6: the field is optional, where the text quotes the reply beside the address."""
    texts = [decoded(part) for part in _own(mail)]
    if not any(
        re.search(rf"^<?{_ADDRESS}>?:.*(?:\n[ \t]+.*){{0,3}}[45]\d\d[ -]", text, re.M) for text in texts
    ):
        return
    for part in mail.walk():
        if part.type == "message/delivery-status" and not part.boundary:
            put_text(
                part, re.sub(r"^diagnostic-code.*\n(?:[ \t].*\n)*", "", decoded(part), flags=re.I | re.M)
            )


def spelling(mail: Entity, dice: random.Random) -> None:
    _each_text(mail, lambda text: respelled(text, dice))
    for part in mail.walk():
        if part.type == "message/delivery-status" and not part.boundary:
            put_text(
                part,
                re.sub(
                    r"^diagnostic-code.*(?:\n[ \t].*)*",
                    lambda m: respelled(m[0], dice),
                    decoded(part),
                    flags=re.I | re.M,
                ),
            )


def quoted(mail: Entity, dice: random.Random) -> None:
    """As somebody passes it on: angles before each line of a mail that is one text."""
    if mail.is_plain() and mail.gap and not re.search(r"^--\S+\nContent-", mail.body, re.M | re.I):
        text = decoded(mail)
        if not text.lstrip().startswith(("{", "<")):
            put_text(mail, "".join(f"> {line}\n" for line in text.rstrip("\n").split("\n")))


def tabs(mail: Entity, dice: random.Random) -> None:
    """Eight blanks at a line's beginning, or a tab."""
    _each_text(
        mail,
        lambda text: re.sub(r"^(?: {8}|\t)", lambda m: "\t" if m[0] != "\t" else " " * 8, text, flags=re.M),
    )


def hard_blanks(mail: Entity, dice: random.Random) -> None:
    """U+00A0 here and there, as editors of HTML leave them."""
    for part in _own(mail):
        text = decoded(part)
        if not text.isascii() or part.charset not in {"", "us-ascii", "utf-8", "iso-8859-1"}:
            continue
        said, copy = _said(text)
        made = re.sub(r"(?<=[a-z]) (?=[a-z])", lambda _: "\u00a0" if dice.random() < 0.2 else " ", said)
        given = re.sub(r'\s*;\s*charset\s*=\s*("[^"]*"|[^\s;]+)', "", part.get("content-type"), flags=re.I)
        part.put("Content-Type", f"{given or 'text/plain'}; charset=utf-8")
        if part.encoding in {"", "7bit"}:
            part.put("Content-Transfer-Encoding", "8bit")
        put_text(part, (made + copy).encode().decode("latin-1"))


def greeting(mail: Entity, dice: random.Random) -> None:
    """What gateways put above."""
    text = dice.choice((
        "CAUTION: This email originated from outside of the organization. Do not click links or open "
        "attachments\n"
        "unless you recognize the sender and know the content is safe.\n",
        "[External] Be careful with links.\n",
        "Dear Sir or Madam,\n",
    ))  # fmt: skip
    for part in _own(mail):
        put_text(part, f"{text}\n{decoded(part)}")
        return


CHANGES = {
    change.__name__.replace("_", "-"): change
    for change in (
        rewrapped, footer, typographic, brackets, reply_spacing, reply_in_lines, as_html, beside_html,
        blank_lines,
        other_prose, other_words_beside, diagnostic_unsaid, spelling, synonyms, double_blanks, indented,
        capitals, quoted, tabs, hard_blanks, greeting,
    )
}  # fmt: skip
