"""Octets of a strange mail as text: transfer encodings, charsets and encoded-words, however written.

Nothing in it raises. What is damaged is read as far as it goes: a bounce with one wrong octet still says
whose mailbox is gone.
"""

from __future__ import annotations

import binascii
import re

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
# RFC 2047 §2; the language of RFC 2231 §5 is dropped. Blanks within are illegal and written all the same.
_ENCODED_WORD = re.compile(r"=\?([A-Za-z0-9_.:-]{1,40})(?:\*[^?]{0,40})?\?([bBqQ])\?([^?\r\n]{0,2000})\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)[ \t\r\n]+(?==\?)")
# Charsets that mail is written in. Any other name may be one of Python's codecs that are none, or that take
# quadratic time ("punycode", "unicode_escape").
_CHARSET = re.compile(
    r"(?:iso[-_]?8859[-_]?\d{1,2}|latin[-_]?\d|windows[-_]?\d{3,4}|cp[-_]?\d{3,4}|ibm\d{3,4}|koi8[-_][ru]"
    r"|utf[-_]?(?:7|8|16|32)(?:[-_]?[lb]e)?|iso[-_]?2022[-_](?:jp|kr)(?:[-_]\w{1,4})?"
    r"|shift[-_]?jis|sjis|euc[-_](?:jp|kr)"
    r"|gb2312|gbk|gb18030|hz|big5(?:[-_]?hkscs)?|ks_c_5601[-_]1987|tis[-_]620|mac[-_]?\w{1,12})",
    re.IGNORECASE,
)
_ENCODED_WORDS_MOST = 200


def unwrapped(body: bytes, encoding: str) -> bytes:
    """`body` without its transfer encoding (RFC 2045 §6). An unknown one is none."""
    name = encoding.strip().strip("\"'").lower()
    if name == "base64":
        return _from_base64(body)
    if name == "quoted-printable":
        return binascii.a2b_qp(body)
    return body


def _from_base64(body: bytes) -> bytes:
    """RFC 2045 §6.8: what is no character of it is skipped. Padding ends it only where nothing follows."""
    chars = _NOT_BASE64.sub(b"", body)
    spare = len(chars) % 4
    if spare == 1:
        chars = chars[:-1]
    elif spare:
        chars += b"=" * (4 - spare)
    try:
        return binascii.a2b_base64(chars)
    except binascii.Error:
        return b""


def text_of(octets: bytes, charset: str | None) -> str:
    """`octets` as text: in UTF-8 if they are that, else in `charset`, else in Windows-1252.

    UTF-8 comes first since text that is valid in it by chance is rare, and mail that names a wrong charset
    is not. Escape sequences of ISO 2022 are ASCII as well, hence the exception.
    """
    name = (charset or "").strip().strip("\"'").lower()
    if not name.startswith(("iso-2022", "iso2022", "utf-16", "utf-32", "utf-7", "hz")):
        try:
            return octets.decode("utf-8-sig")
        except UnicodeDecodeError:
            pass
    if _CHARSET.fullmatch(name):
        try:
            return octets.decode("windows-1252" if name in {"iso-8859-1", "latin1"} else name, "replace")
        except (LookupError, UnicodeError):
            pass
    return octets.decode("windows-1252", "replace")


def plain(value: str) -> str:
    """A field's value with its encoded-words read (RFC 2047 §6.2): those side by side are joined."""
    if "=?" not in value:
        return value
    joined = _BETWEEN_WORDS.sub(r"\1", value)
    return _ENCODED_WORD.sub(_word, joined, count=_ENCODED_WORDS_MOST)


def _word(match: re.Match[str]) -> str:
    charset, kind, text = match.groups()
    octets = text.encode("utf-8", "surrogateescape")
    if kind in "bB":
        return text_of(_from_base64(octets), charset)
    return text_of(binascii.a2b_qp(octets, header=True), charset)
