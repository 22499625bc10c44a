"""Hypothesis strategies for what submitters send."""

from __future__ import annotations

import string
import unicodedata

from hypothesis import strategies as st

from mailer.compose.address import AddressError, Mailbox
from mailer.compose.headers import check_custom_header
from mailer.compose.mime import Draft

_LABEL_CHARS = string.ascii_lowercase + string.digits
_NAME_CHARS = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
FIELD_TEXT = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")) | st.just("\t"), max_size=200
) | st.text(string.ascii_letters + '  =?_"(),.é', max_size=400)
BODY_TEXT = (
    st.text(st.characters(exclude_categories=("Cs",)), max_size=400)
    | st.text("ab .=-\n\r\t_é", max_size=400)
    | st.lists(
        st.sampled_from(
            ["From me", ".", "..", "--=_b", "--=_b--", " ", "x" * 80, "é" * 40, "-- ", "\t", "", "a=b"]
        ),
        max_size=12,
    ).map("\n".join)
    | st.integers(60, 80).map(lambda n: "x" * n + "From here")
)  # fmt: skip


@st.composite
def domains(draw: st.DrawFn) -> str:
    labels = draw(st.lists(st.text(_LABEL_CHARS, min_size=1, max_size=20), min_size=1, max_size=4))
    return ".".join([*labels, draw(st.sampled_from(["example", "test", "xn--zckzah"]))])


@st.composite
def mailboxes(draw: st.DrawFn, *, ascii_only: bool = False) -> Mailbox:
    """Valid mailboxes of every kind: dotted, quoted, of any script, named or not."""
    ordinary = st.from_regex(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}(\.[a-z0-9]{1,10}){0,3}", fullmatch=True)
    quoted = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=25)
    scripted = st.text(st.characters(categories=("L", "N", "S")), min_size=1, max_size=12)
    local = draw(ordinary | quoted if ascii_only else ordinary | quoted | scripted)
    name = draw(
        st.just("")
        | st.text(_NAME_CHARS, max_size=120)
        | st.text(string.ascii_letters + ' .,"\\=?', max_size=90)
    )
    try:
        return Mailbox(name, unicodedata.normalize("NFC", local), draw(domains()))
    except AddressError:
        return Mailbox(name, "postmaster", "b.example")


def _takeable(header: tuple[str, str]) -> bool:
    try:
        check_custom_header(*header)
    except ValueError:
        return False
    return True


CUSTOM_HEADERS = st.lists(
    st.tuples(st.from_regex(r"X-[A-Za-z0-9-]{1,48}", fullmatch=True), FIELD_TEXT).filter(_takeable),
    max_size=3,
    unique_by=lambda header: header[0].lower(),
).map(tuple)


@st.composite
def drafts(draw: st.DrawFn, *, ascii_only: bool = False) -> Draft:
    people = st.lists(mailboxes(ascii_only=ascii_only), max_size=4).map(tuple)
    return Draft(
        from_=draw(mailboxes(ascii_only=ascii_only)),
        to=draw(people),
        cc=draw(people),
        reply_to=draw(people),
        subject=draw(FIELD_TEXT),
        text=draw(st.none() | BODY_TEXT),
        html=draw(st.none() | BODY_TEXT),
        headers=draw(CUSTOM_HEADERS),
    )
