"""Texts as parameters of MAIL and RCPT carry them: xtext, and its form for UTF-8 addresses."""

from __future__ import annotations

import re

_NOT_XCHAR = re.compile(r"[^!-*,-<>-~]")  # RFC 3461 §4: printable ASCII but "+" and "="
_NOT_QCHAR = re.compile(r"[^!-*,-<>-\[\]-~]")  # RFC 6533 §3: nor the backslash


def xtext(text: str) -> str:
    """ASCII `text` as xtext (RFC 3461 §4), shortest form: it decodes to the same."""
    return _NOT_XCHAR.sub(lambda found: f"+{ord(found[0]):02X}", text)


def utf8_xtext(text: str) -> str:
    """Any `text` as utf-8-addr-xtext (RFC 6533 §3), which every host with DSN takes: it is ASCII."""
    return _NOT_QCHAR.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", text)


def address_text(kind: str, address: str) -> str:
    """An address of this type as ORCPT carries it behind its semicolon (RFC 3461 §4.2)."""
    return utf8_xtext(address) if kind.lower() == "utf-8" else xtext(address)
