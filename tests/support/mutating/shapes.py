"""What a mail is wrapped in: its fields, its parts, their encodings, and the message that it returns."""

from __future__ import annotations

import random
import re
from base64 import b64encode
from collections.abc import Callable

from tests.support.mutating.entity import Entity, as_base64, as_quoted_printable, decoded, put_text, text_of

_TRACE = ("received", "return-path", "from ", "resent-", "delivered-to")
_ENCODABLE = frozenset({"text/plain", "text/html", "message/delivery-status", "message/feedback-report"})
_STATUS_NAMES = re.compile(
    r"^(reporting-mta|final-recipient|action|status|remote-mta|diagnostic-code)\b", re.I
)


def header_case(mail: Entity, dice: random.Random) -> None:
    """RFC 5322 §1.2.2: names of fields have no case."""
    how = dice.choice([str.upper, str.lower, str.title])
    for part in mail.walk():
        for at, each in enumerate(part.fields):
            name, colon, value = each.partition(":")
            if colon and not each.startswith("From "):
                part.fields[at] = f"{how(name)}:{value}"


def header_order(mail: Entity, dice: random.Random) -> None:
    """RFC 5322 §3.6: the order of fields means nothing, but for those of the trace."""
    for part in mail.walk():
        free = [at for at, each in enumerate(part.fields) if not each.lower().startswith(_TRACE)]
        moved = dice.sample(free, len(free))
        part.fields = [
            part.fields[dict(zip(free, moved, strict=True)).get(at, at)] for at in range(len(part.fields))
        ]


def refolded(mail: Entity, dice: random.Random) -> None:
    """RFC 5322 §2.2.3: at any white space, with a tab or spaces."""
    for part in mail.walk():
        for at, each in enumerate(part.fields):
            name, colon, value = each.partition(":")
            if not colon or each.startswith("From "):
                continue
            fold = dice.choice(["\n\t", "\n ", "\n        "])
            words = re.sub(r"\n[ \t]+", " ", value).strip().split(" ")
            made = words[0] + "".join(
                (fold if dice.random() < 0.4 else " ") + word for word in words[1:] if word
            )
            part.fields[at] = f"{name}: {made}"


def unfolded(mail: Entity, dice: random.Random) -> None:
    """Each field on one line, as long as it is."""
    for part in mail.walk():
        part.fields = [re.sub(r"\n[ \t]+", " ", each) for each in part.fields]


def line_ends(mail: Entity, dice: random.Random) -> None:
    mail.crlf = not mail.crlf


def trailing_blanks(mail: Entity, dice: random.Random) -> None:
    for part in mail.walk():
        if part.encoding not in {"base64", "quoted-printable"} and not part.boundary:
            part.body = re.sub(r"(?<=\S)\n", lambda _: dice.choice(["\n", " \n", "  \n", "\t\n"]), part.body)


def boundaries(mail: Entity, dice: random.Random) -> None:
    for part in mail.walk():
        if part.boundary:
            new = dice.choice(["=_NextPart_{:08x}", "{:x}.{:d}/mx.relay.example", "b{:d}"]).format(
                dice.randrange(16**8), dice.randrange(10**9)
            )
            if new in part.preamble or any(new in text_of(child) for child in part.children):
                continue
            given = next(f for f in part.fields if f.lower().startswith("content-type"))
            at = part.fields.index(given)
            part.fields[at] = re.sub(
                r'(boundary\s*=\s*)(?:"[^"\n]*"|[^\s;"]+)',
                lambda m, new=new: f'{m[1]}"{new}"',
                given,
                flags=re.I,
            )
            part.closing = part.closing.replace(f"--{part.boundary}--", f"--{new}--", 1)
            part.boundary = new


def _encode(mail: Entity, encode: Callable[[str], str], name: str) -> None:
    for part in mail.walk():
        kind = part.type or "text/plain"
        if part.boundary or kind not in _ENCODABLE or not part.body or not part.gap:
            continue
        if part is mail and not part.get("content-type") and _holds_header(part.body):
            continue  # what follows is read as a message's own; hosts that do this encode nothing
        text = decoded(part)
        part.put("Content-Transfer-Encoding", name)
        part.body = encode(text)


def _holds_header(body: str) -> bool:
    return bool(re.search(r"^--\S+\nContent-", body, re.MULTILINE | re.IGNORECASE))


def quoted_printable(mail: Entity, dice: random.Random) -> None:
    """RFC 2045 §6.7, with soft line breaks anywhere, and letters encoded that need not be."""
    _encode(
        mail, lambda text: as_quoted_printable(text, lambda: dice.randint(20, 75), dice), "quoted-printable"
    )


def base64(mail: Entity, dice: random.Random) -> None:
    width = dice.choice([60, 64, 72, 76])
    _encode(mail, lambda text: as_base64(text, width), dice.choice(["base64", "BASE64", "Base64"]))


def unencoded(mail: Entity, dice: random.Random) -> None:
    """RFC 6152: octets as they are."""
    _encode(mail, lambda text: text, dice.choice(["8bit", "8BIT", "binary"]))


def charset_named(mail: Entity, dice: random.Random) -> None:
    """ASCII is ASCII in all of these."""
    for part in mail.walk():
        is_ascii = part.body.isascii() and part.charset in {"", "us-ascii"} and decoded(part).isascii()
        is_divided = part is mail and _holds_header(part.body)
        if part.is_plain() and is_ascii and part.gap and not is_divided:
            name = dice.choice(["utf-8", '"UTF-8"', "iso-8859-1", "ISO-8859-15", "windows-1252"])
            given = re.sub(
                r'\s*;\s*charset\s*=\s*("[^"]*"|[^\s;]+)', "", part.get("content-type"), flags=re.I
            )
            part.put("Content-Type", f"{given or 'text/plain'}; charset={name}")


def charset_changed(mail: Entity, dice: random.Random) -> None:
    """The same characters by other octets."""
    for part in mail.walk():
        text = decoded(part)
        if not part.is_plain() or part.charset in {"", "us-ascii"}:
            continue
        try:
            characters = text.encode("latin-1").decode(part.charset)
            octets = characters.encode(dice.choice(["utf-8", "utf-8", "gb18030", "iso-2022-jp"]))
        except (LookupError, UnicodeError):
            continue
        for name in ("iso-2022-jp", "utf-8", "gb18030"):
            try:
                if octets.decode(name) == characters:
                    break
            except UnicodeError:
                continue
        part.put(
            "Content-Type",
            re.sub(r'(charset\s*=\s*)("[^"]*"|[^\s;]+)', rf"\1{name}", part.get("content-type"), flags=re.I),
        )
        part.put("Content-Transfer-Encoding", part.encoding or "8bit")
        put_text(part, octets.decode("latin-1"))


_MORE = (
    "Received: from edge.forwarder.example (edge.forwarder.example [203.0.113.77])\n"
    "\tby mx.ours.example (Postfix) with ESMTPS id 4F2C81A09B\n\tfor <in@ours.example>; Tue, 3 Nov 2026 "
    "08:15:12 +0100 (CET)",
    "Received: by edge.forwarder.example (8.17.1/8.17.1/Submit) id 5A3Fx0021987; Tue, 3 Nov 2026 07:15:10 "
    "GMT",
)
_OTHERS = (
    "X-Spam-Status: No, score=-0.2 required=5.0 tests=BAYES_40 autolearn=no",
    "X-Virus-Scanned: Debian amavisd-new at forwarder.example",
    "ARC-Seal: i=1; a=rsa-sha256; d=forwarder.example; s=arc; t=1793690110; cv=none; "
    "b=QmFzZTY0\n\tYW5kIG1vcmU=",
    "ARC-Authentication-Results: i=1; mx.forwarder.example; spf=pass; dkim=none; dmarc=none",
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=forwarder.example; s=s1;\n"
    "\th=from:to:subject; bh=Zm9v; b=YmFy",
    "X-Originating-IP: [203.0.113.78]",
    "X-MS-Exchange-Organization-SCL: -1",
    "X-Loop: in@ours.example",
    "Authentication-Results: mx.ours.example; spf=none smtp.helo=edge.forwarder.example",
    "Delivered-To: in@ours.example",
    "X-Envelope-To: <in@ours.example>",
)


def more_received(mail: Entity, dice: random.Random) -> None:
    if mail.is_regular or mail.fields[:1]:
        at = 1 if mail.fields and mail.fields[0].startswith("From ") else 0
        mail.fields[at:at] = dice.sample(_MORE, dice.randint(1, len(_MORE)))


def more_fields(mail: Entity, dice: random.Random) -> None:
    """What hosts on the way add."""
    for each in dice.sample(_OTHERS, 5):
        at = 1 if mail.fields and mail.fields[0].startswith("From ") else 0
        mail.fields.insert(dice.randint(at, len(mail.fields)), each)


def _originals(mail: Entity) -> list[Entity]:
    return [
        part
        for part in mail.walk()
        if part.type in {"message/rfc822", "text/rfc822-headers"}
        and not part.boundary
        and "\n" in part.body
        and part.encoding not in {"base64", "quoted-printable"}
    ]


def original_cut(mail: Entity, dice: random.Random) -> None:
    """RFC 6522 §3: the header alone, as text/rfc822-headers. Of a message that is one itself it would
    lose all."""
    for part in _originals(mail):
        head, _, body = part.body.lstrip("\n").partition("\n\n")
        if part.type == "message/rfc822" and not _is_report(body, head):
            part.put("Content-Type", "text/rfc822-headers")
            part.body = head + "\n"


def original_whole(mail: Entity, dice: random.Random) -> None:
    """The header with some body behind it, as message/rfc822."""
    for part in _originals(mail):
        head, _, body = part.body.lstrip("\n").partition("\n\n")
        if not _is_report(body, head):
            part.put("Content-Type", "message/rfc822")
            part.body = f"{head}\n\nHello, this is our news of the month.\n\nYours, the shop\n"


def _is_report(body: str, head: str) -> bool:
    return bool(
        re.search(
            r"multipart/report|failure notice|undeliver|returned mail|delivery|mailer-daemon", head, re.I
        )
        or re.search(r"^(final-recipient|feedback-type)", body, re.I | re.M)
    )


def subject_prefixed(mail: Entity, dice: random.Random) -> None:
    given = mail.get("subject")
    if given and not given.lower().startswith("unsubscribe"):
        mail.put(
            "Subject", f"{dice.choice(['[SPAM]', '*****SPAM*****', '[EXT]', 'Fwd:', '[our-list]'])} {given}"
        )


def outer_text(mail: Entity, dice: random.Random) -> None:
    """RFC 2046 §5.1.1: what stands before the first part, and behind the last, is not shown."""
    if mail.boundary:
        mail.preamble = dice.choice(
            [
                "This is a multi-part message in MIME format.\n\n",
                "This is a MIME-encapsulated message\n\n",
                "\n",
                "",
            ]
        )
        mail.closing = f"--{mail.boundary}--\n" + dice.choice(["", "\nend of the report\n", "\n\n\n"])


def wrapped(mail: Entity, dice: random.Random) -> None:
    """As a list or a gateway does that adds its own part: around it another multipart/mixed."""
    if not mail.boundary or not mail.gap:
        return
    names = ("content-type", "content-transfer-encoding", "content-description")
    inner = Entity(
        fields=[each for each in mail.fields if each.partition(":")[0].strip().lower() in names],
        boundary=mail.boundary, preamble=mail.preamble, children=mail.children, closing=mail.closing,
    )  # fmt: skip
    mail.fields = [each for each in mail.fields if each not in inner.fields]
    mail.boundary = f"=_outer_{dice.randrange(10**9)}"
    mail.fields.append(f'Content-Type: multipart/mixed; boundary="{mail.boundary}"')
    mail.preamble, mail.children, mail.closing = "", [inner], f"--{mail.boundary}--\n"
    if dice.random() < 0.5:
        footer = Entity(
            fields=["Content-Type: text/plain; charset=us-ascii"],
            body="-- \nPassed on by edge.forwarder.example\n",
        )
        mail.children.append(footer)


def without_version(mail: Entity, dice: random.Random) -> None:
    """RFC 2045 §4 wants MIME-Version; hosts leave it out."""
    mail.drop("mime-version")


def _status_parts(mail: Entity) -> list[Entity]:
    return [part for part in mail.walk() if part.type == "message/delivery-status" and not part.boundary]


def status_order(mail: Entity, dice: random.Random) -> None:
    """RFC 3464 §2.3: no order of the fields of a recipient is asked for."""
    for part in _status_parts(mail):
        groups = [_grouped(group) for group in re.split(r"\n[ \t]*\n", decoded(part).strip("\n"))]
        if all(all(_STATUS_NAMES.match(f) or re.match(r"[A-Za-z-]+[ \t]*:", f) for f in g) for g in groups):
            for group in groups[1:]:
                dice.shuffle(group)
            put_text(part, "\n\n".join("\n".join(group) for group in groups) + "\n")


def _grouped(text: str) -> list[str]:
    found: list[str] = []
    for line in text.split("\n"):
        if line[:1] in {" ", "\t"} and found:
            found[-1] += "\n" + line
        else:
            found.append(line)
    return found


def status_written(mail: Entity, dice: random.Random) -> None:
    """Case of names, brackets, blanks and comments in the fields of RFC 3464."""
    for part in _status_parts(mail):
        how = dice.choice([str.lower, str.upper, str.title])
        made = []
        for each in decoded(part).split("\n"):
            name, colon, value = each.partition(":")
            if not colon or each[:1] in {" ", "\t"}:
                made.append(each)
                continue
            low = name.strip().lower()
            if low in {"final-recipient", "original-recipient"} and "<" not in value and "(" not in value:
                value = re.sub(
                    r"^\s*rfc822\s*;\s*(\S+@\S+)\s*$",
                    lambda m: dice.choice([" RFC822; {}", " rfc822;{}", " rfc822; <{}>",
                    "  rfc822 ;  {}"]).format(m[1]),
                    value, flags=re.I,
                )  # fmt: skip
            elif low == "status" and "(" not in value:
                value = (
                    f"{value.rstrip()}{dice.choice(['', ' ', ' (permanent failure)'])}"
                    if "5." in value
                    else value
                )
            elif low == "action" and "(" not in value:
                value = dice.choice([value, value.upper(), value.title()])
            elif low in {"reporting-mta", "remote-mta"} and ";" in value and "(" not in value:
                value = f"{value.rstrip()}{dice.choice(['', ' (its name)'])}"
            made.append(f"{how(name)}:{value}")
        put_text(part, "\n".join(made))


def status_refolded(mail: Entity, dice: random.Random) -> None:
    """RFC 3464 §2.1.1: fields are folded as those of a header are."""
    for part in _status_parts(mail):
        fold = dice.choice(["\n ", "\n\t", "\n    "])
        made = [
            re.sub(r"(?<=\S) (?=\S)", lambda _, fold=fold: fold if dice.random() < 0.25 else " ", each)
            if re.match(r"diagnostic-code\s*:", each, re.I)
            else each
            for each in decoded(part).split("\n")
        ]
        put_text(part, "\n".join(made))


_DAEMONS = (
    "Mail Delivery Subsystem <MAILER-DAEMON@{}>", "MAILER-DAEMON@{} (Mail Delivery System)", "postmaster@{}",
    "Mail Delivery System <Mailer-Daemon@{}>", '"Mail Administrator" <Postmaster@{}>', "<mailer-daemon@{}>",
)  # fmt: skip
_SUBJECTS = (
    "Undelivered Mail Returned to Sender", "failure notice", "Delivery Status Notification (Failure)",
    "Mail delivery failed: returning message to sender", "Returned mail: see transcript for details",
    "Undeliverable: your news", "DELIVERY FAILURE: see below", "Mail System Error - Returned Mail",
)  # fmt: skip
_IS_DAEMON = re.compile(r"mailer-daemon|postmaster|mail delivery", re.IGNORECASE)
_IS_FAILURE = re.compile(r"undeliver|returned mail|failure|failed|delivery status", re.IGNORECASE)


def sender_other(mail: Entity, dice: random.Random) -> None:
    """By any of the names that MTAs sign with, where it is signed with one."""
    given = mail.get("from")
    if _IS_DAEMON.search(given) and "@" in given:
        host = re.sub(r"[^A-Za-z0-9.-].*$", "", given.rpartition("@")[2])
        mail.put("From", dice.choice(_DAEMONS).format(host or "mx.relay.example"))


def subject_other(mail: Entity, dice: random.Random) -> None:
    """As other MTAs title the same, where the title is one of theirs and says no more."""
    given = mail.get("subject")
    if (
        _IS_FAILURE.search(given)
        and ":" not in given
        and "delay" not in given.lower()
        and "warning" not in given.lower()
    ):
        mail.put("Subject", dice.choice(_SUBJECTS))


def subject_encoded(mail: Entity, dice: random.Random) -> None:
    """RFC 2047: words that need no encoding in one, in two pieces."""
    given = mail.get("subject")
    if (
        given
        and given.isascii()
        and "=?" not in given
        and len(given) < 60
        and "unsubscribe" not in given.lower()
    ):
        at = dice.randint(1, len(given))
        words = [_encoded_word(each, dice) for each in (given[:at], given[at:]) if each]
        mail.put("Subject", "\n ".join(words))


def _encoded_word(text: str, dice: random.Random) -> str:
    if dice.random() < 0.5:
        return f"=?utf-8?B?{b64encode(text.encode()).decode()}?="
    return "=?iso-8859-1?Q?" + "".join(c if c.isalnum() else f"={ord(c):02X}" for c in text) + "?="


def without_return_path(mail: Entity, dice: random.Random) -> None:
    """A file that was taken before the final delivery (RFC 5321 §4.4), where the sender says enough."""
    if _IS_DAEMON.search(mail.get("from")):
        mail.drop("return-path")


def null_return_path(mail: Entity, dice: random.Random) -> None:
    """RFC 5321 §6.1: reports have the null reverse-path, whether or not the file shows it."""
    if _IS_DAEMON.search(mail.get("from")) or mail.type == "multipart/report":
        mail.put("Return-Path", dice.choice(["<>", "<MAILER-DAEMON>"]))


def sender_unknown(mail: Entity, dice: random.Random) -> None:
    """A report of fields is one whoever signs it."""
    if mail.type == "multipart/report":
        mail.put("From", dice.choice(["mta7@relay.example", "Systemadministration <it@relay.example>"]))


def mailbox_file(mail: Entity, dice: random.Random) -> None:
    """RFC 4155: with the line that a mailbox file has before each message."""
    if mail.fields and not mail.fields[0].startswith("From "):
        mail.fields.insert(0, "From MAILER-DAEMON Tue Nov  3 08:15:12 2026")


def part_fields(mail: Entity, dice: random.Random) -> None:
    """RFC 2183, RFC 2045 §8: what else parts say of themselves."""
    for part in mail.walk():
        if part is not mail and part.gap and part.is_regular:
            part.put(
                "Content-Disposition", dice.choice(["inline", "attachment", 'inline; filename="part.txt"'])
            )
            part.put("Content-ID", f"<{dice.randrange(10**9)}@relay.example>")


def report_type_unsaid(mail: Entity, dice: random.Random) -> None:
    """RFC 6522 §3 requires the parameter; it is left out often enough."""
    for part in mail.walk():
        if part.type == "multipart/report" and "delivery-status" in part.get("content-type"):
            part.put(
                "Content-Type",
                re.sub(r';\s*report-type\s*=\s*("[^"]*"|[^\s;]+)', "", part.get("content-type"), flags=re.I),
            )


def status_mislabelled(mail: Entity, dice: random.Random) -> None:
    """Gateways that know no message/delivery-status call it a text or a file."""
    for part in _status_parts(mail):
        part.put("Content-Type", dice.choice(["text/plain", "application/octet-stream; name=details.txt"]))


def attachment(mail: Entity, dice: random.Random) -> None:
    """One more part behind the others."""
    if mail.boundary:
        mail.children.append(Entity(
            fields=["Content-Type: image/png; name=logo.png", "Content-Transfer-Encoding: base64"],
            body=as_base64("\x89PNG\n not one", 76),
        ))  # fmt: skip


def part_order(mail: Entity, dice: random.Random) -> None:
    """RFC 6522 §3 has an order; gateways have their own."""
    if mail.type in {"multipart/report", "multipart/mixed"} and len(mail.children) > 1:
        dice.shuffle(mail.children)


def original_dropped(mail: Entity, dice: random.Random) -> None:
    """RFC 6522 §3: the third part is optional, where the fields of the second say all."""
    if mail.type == "multipart/report" and any(
        "final-recipient" in p.body.lower() for p in _status_parts(mail)
    ):
        gone = {id(part) for part in mail.children if part.type in {"message/rfc822", "text/rfc822-headers"}}
        mail.children = [part for part in mail.children if id(part) not in gone]


def truncated(mail: Entity, dice: random.Random) -> None:
    """Cut off in the returned message, as hosts do that return so many octets; the last delimiter goes
    along."""
    last = mail.children[-1] if mail.children else None
    if last is not None and last.type == "message/rfc822" and not last.boundary and "\n\n" in last.body:
        head, blank, body = last.body.partition("\n\n")
        if not _is_report(body, head):
            last.body = head + blank + body[: len(body) // 2]
            mail.closing = ""


def subject_dropped(mail: Entity, dice: random.Random) -> None:
    """Where a part for a host's report shows what the mail is, it needs no title."""
    if mail.type == "multipart/report":
        mail.put("Subject", dice.choice(["", "(no subject)", "Mail"]))


def internationalized(mail: Entity, dice: random.Random) -> None:
    """RFC 6533: the types for addresses beyond ASCII, which may hold others."""
    for part in _status_parts(mail):
        text = decoded(part)
        part.put("Content-Type", "message/global-delivery-status")
        put_text(
            part,
            re.sub(r"^((?:final|original)-recipient\s*:\s*)rfc822\s*;", r"\1utf-8;", text, flags=re.I | re.M),
        )


def loose_colons(mail: Entity, dice: random.Random) -> None:
    """RFC 5322 §4.5: blanks before the colon, and more of them behind it."""
    for part in mail.walk():
        part.fields = [
            each
            if each.startswith("From ")
            else re.sub(r"^([!-9;-~]+):[ \t]*", rf"\1{dice.choice(['', ' '])}:  ", each)
            for each in part.fields
        ]


def type_case(mail: Entity, dice: random.Random) -> None:
    """RFC 2045 §5.1: types, and names of parameters, have no case."""
    for part in mail.walk():
        for at, each in enumerate(part.fields):
            if re.match(r"content-type\s*:", each, re.I):
                part.fields[at] = re.sub(
                    r"^([^:]+:\s*)([\w.+-]+/[\w.+-]+)",
                    lambda m: m[1] + dice.choice([str.upper, str.title])(m[2]),
                    each,
                )


def parameters_in_pieces(mail: Entity, dice: random.Random) -> None:
    """RFC 2231 §3."""
    for part in mail.walk():
        if len(part.boundary) > 1:
            given = re.sub(r"\s+", " ", next(f for f in part.fields if f.lower().startswith("content-type")))
            at = part.fields.index(next(f for f in part.fields if f.lower().startswith("content-type")))
            half = len(part.boundary) // 2
            pieces = f'boundary*0="{part.boundary[:half]}";\n boundary*1="{part.boundary[half:]}"'
            part.fields[at] = re.sub(
                r'boundary\s*=\s*(?:"[^"\n]*"|[^\s;"]+)', lambda _, pieces=pieces: pieces, given, flags=re.I
            )


def odd_encodings(mail: Entity, dice: random.Random) -> None:
    """Base64 without line breaks or padding, quoted-printable with small hexadecimal digits."""
    if dice.random() < 0.5:
        _encode(mail, lambda text: as_base64(text, 10**6).rstrip("=\n") + "\n", "base64")
    else:
        _encode(
            mail,
            lambda text: re.sub(
                r"=[0-9A-F]{2}", lambda m: m[0].lower(), as_quoted_printable(text, lambda: 70, dice)
            ),
            "Quoted-Printable",
        )


def feedback_order(mail: Entity, dice: random.Random) -> None:
    """RFC 5965 §3: no order of the fields is asked for."""
    for part in mail.walk():
        if part.type == "message/feedback-report" and not part.boundary:
            group = _grouped(decoded(part).strip("\n"))
            if all(re.match(r"[A-Za-z-]+[ \t]*:", each) for each in group):
                dice.shuffle(group)
                put_text(part, "\n".join(group) + "\n")


CHANGES = {
    change.__name__.replace("_", "-"): change
    for change in (
        header_case, header_order, refolded, unfolded, line_ends, trailing_blanks, boundaries,
        quoted_printable,
        base64, unencoded, charset_named, charset_changed, more_received, more_fields, original_cut,
        original_whole, subject_prefixed, outer_text, wrapped, without_version, status_order, status_written,
        status_refolded, sender_other, subject_other, subject_encoded, without_return_path, null_return_path,
        sender_unknown, mailbox_file,
        part_order, original_dropped, truncated, subject_dropped, internationalized, loose_colons, type_case,
        parameters_in_pieces, odd_encodings, feedback_order, part_fields, report_type_unsaid,
        status_mislabelled, attachment,
    )
}  # fmt: skip
