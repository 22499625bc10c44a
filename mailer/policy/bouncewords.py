"""The words of a reply, and which phrases stand among them: found in one pass, however many there are.

A phrase is looked up by the rarest of its words, so that a line costs a look-up for each of its own words and
little more, whatever the number of phrases. Case, punctuation, line breaks, numbers and whose address it is
do not matter: "550-5.1.1 <a@b.example>... Unknown\\nuser!" has the words "addr unknown user". Nor does it how
a word is spelled where English has two ways: "doesn't" is "does not", "black-list" is "blacklist".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

STEM = 3  # letters that a word which ends in "*" begins with, at least
REACH = 7  # words that may stand between two parts of an expression
LONGEST = 4096  # characters that are looked at

_APOSTROPHE = re.compile(r"(?<=\w)['’`´](?=\w)")
# Bounded, so that a peer's thousand "@" cost no more than a few.
_ADDRESS = re.compile(
    r"<[^<>\s]{0,254}@[^<>\s]{0,254}>|[^\s<>()\[\]:;,\"'=]{1,64}@[^\s<>()\[\]:;,\"']{1,254}"
)
_BRACKETED = re.compile(r"<[^<>\s]{0,254}>")
_IPV4 = re.compile(r"\[?(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d)\]?")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{1,4}:){3,7}[0-9a-f:]{1,9}")
_COLONS_OF_IPV6 = 3
_BETWEEN = re.compile(r"\s+(\.\.\.|\+)\s+")
_WORD = re.compile(r"[^\W_]+")
# The words that stand for any address, for any IP and for what else stands in angle brackets.
ADDRESS, IP, BRACKETED = "addr", "ipaddr", "bracketed"

_VERBS = (
    "do",
    "does",
    "did",
    "is",
    "are",
    "was",
    "were",
    "has",
    "have",
    "had",
    "could",
    "would",
    "should",
    "must",
)
# One word that has another spelling, by what is looked for in its place.
_SPELLED: Mapping[str, tuple[str, ...]] = {
    **{f"{verb}nt": (verb, "not") for verb in _VERBS},
    "cant": ("can", "not"), "cannot": ("can", "not"), "wont": ("will", "not"), "doesnot": ("does", "not"),
    "recognised": ("recognized",), "unrecognised": ("unrecognized",), "authorised": ("authorized",),
    "unauthorised": ("unauthorized",), "authorisation": ("authorization",), "organisation": ("organization",),
}  # fmt: skip
# Two words that others write as one: the first, and what the second begins with.
_JOINED = {
    "e": "mail", "mail": "box", "black": "list", "block": "list", "white": "list", "grey": "list",
    "gray": "list",
    "non": "exist", "dial": "up", "null": "mx",
}  # fmt: skip
_SEVERAL = frozenset({*_SPELLED, *_JOINED})

# In small letters. What gives it away is looked for first: most lines have none.
_SIGNS_OF_ADVICE = ("contact ", "information", "assistance", "questions to", "check", "our web", "details")
_ADVICE = re.compile(
    r"\bcontact\s+(?:your|the|an?|our)\s+(?:[a-z-]+\s+){0,3}?"
    r"(?:administrators?|admin|postmaster|support|help\s?desk|provider|isp)\b"
    r"(?:\s+of\s+[^.;,()]{1,60})?(?:\s+(?:for|by|via)\s+[^.;,()]{1,60})?"
    r"|\bfor\s+(?:(?:more|further|additional|any)\s+)?(?:information|info|details|assistance|help)\b"
    r"|\b(?:direct|forward|send|address)\s+(?:(?:any|all|your)\s+)?(?:questions|inquiries)\s+to\b"
    r"(?:\s+[^\s@]{1,64}@[^\s@]{1,254})?"
    r"|\b(?:double[- ])?check(?:ing)?\s+(?:that\s+)?the\s+"
    r"(?:spelling|(?:[a-z'\u2019-]+\s+){0,3}?(?:address|name))\b"
    r"(?:\s+(?:and|for|is)\b[^.;()]{0,60})?"
    r"|\b(?:see|visit)\s+our\s+(?:web\s?site|web\s?page)\b"
)

Spans = dict[int, list[tuple[int, int]]]  # by phrase: first word, word after the last
Part = frozenset[int]  # phrases of which one must stand there


def words_of(text: str) -> list[str]:
    """Lower case, without accents; an address is one word, numbers are none."""
    text = text[:LONGEST]
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = text.lower()
    if "'" in text or not text.isascii():
        text = _APOSTROPHE.sub("", text)
    if "@" in text or "<" in text:
        text = _BRACKETED.sub(f" {BRACKETED} ", _ADDRESS.sub(f" {ADDRESS} ", text))
    text = _IPV4.sub(f" {IP} ", text)
    if text.count(":") >= _COLONS_OF_IPV6:
        text = _IPV6.sub(f" {IP} ", text)
    return _respelled([word for word in _WORD.findall(text) if not word.isdigit()])


def _respelled(words: list[str]) -> list[str]:
    """Each in the one spelling that is looked for."""
    if _SEVERAL.isdisjoint(words):
        return words
    found: list[str] = []
    for at, word in enumerate(words):
        second = _JOINED.get(word)
        if second is not None and at + 1 < len(words) and words[at + 1].startswith(second):
            continue
        first = words[at - 1] if at else ""
        if first in _JOINED and word.startswith(_JOINED[first]):
            found.append(first + word)
        else:
            found += _SPELLED.get(word, (word,))
    return found


def without_advice(text: str) -> str:
    """With one word for what it tells its reader to do: "your administrator" is in it whoever is to blame."""
    lowered = text[:LONGEST].lower()
    return _ADVICE.sub(" advice ", lowered) if any(sign in lowered for sign in _SIGNS_OF_ADVICE) else text


@dataclass(frozen=True, slots=True)
class _Entry:
    """number: of the phrase. offset: of the word it was looked up by. rest: offset and word of the others."""

    number: int
    offset: int
    length: int
    rest: tuple[tuple[int, str], ...]


class Phrases:
    """Numbers phrases while rules are read; then finds them. `seal` stands between both."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, ...], int] = {}
        self._exact: dict[str, list[_Entry]] = {}
        self._stems: dict[str, list[tuple[str, _Entry]]] = {}

    def number(self, phrase: str) -> int:
        """Of a phrase; a word of it may end in "*"."""
        return self._numbers.setdefault(tokens_of(phrase), len(self._numbers))

    def seal(self) -> None:
        uses = Counter(word for phrase in self._numbers for word in phrase)
        for phrase, number in self._numbers.items():
            offset = min(range(len(phrase)), key=lambda at: (phrase[at].endswith("*"), uses[phrase[at]]))
            rest = tuple((at, word) for at, word in enumerate(phrase) if at != offset)
            entry = _Entry(number, offset, len(phrase), rest)
            word = phrase[offset]
            if word.endswith("*"):
                self._stems.setdefault(word[:STEM], []).append((word[:-1], entry))
            else:
                self._exact.setdefault(word, []).append(entry)

    def find(self, words: Sequence[str]) -> Spans:
        """All that stand among the words."""
        found: Spans = {}
        exact, stems = self._exact, self._stems
        for at, word in enumerate(words):
            for entry in exact.get(word, ()):
                _note(found, words, at, entry)
            for stem, entry in stems.get(word[:STEM], ()):
                if word.startswith(stem):
                    _note(found, words, at, entry)
        return found


def _note(found: Spans, words: Sequence[str], at: int, entry: _Entry) -> None:
    start = at - entry.offset
    end = start + entry.length
    if start < 0 or end > len(words):
        return
    for offset, wanted in entry.rest:
        word = words[start + offset]
        if word != wanted and not (wanted[-1] == "*" and word.startswith(wanted[:-1])):
            return
    found.setdefault(entry.number, []).append((start, end))


def tokens_of(phrase: str) -> tuple[str, ...]:
    """The words of a phrase as rules write them, the stars kept."""
    kept = [part + "*" * (piece.endswith("*")) for piece in phrase.split() for part in [piece.rstrip("*")]]
    words = []
    for piece in kept:
        found = words_of(piece)
        words += [*found[:-1], found[-1] + "*" * piece.endswith("*")] if found else []
    return tuple(_respelled(words))


@dataclass(frozen=True, slots=True)
class Expression:
    """Parts that stand one after the other. reaches: how many words may stand before each."""

    parts: tuple[Part, ...]
    reaches: tuple[int, ...]

    @property
    def rarest(self) -> Part:
        """The part by which it is looked up."""
        return min(self.parts, key=len)

    @property
    def is_single(self) -> bool:
        """One part: it stands there wherever one of its phrases does."""
        return len(self.parts) == 1

    def stands_in(self, found: Spans) -> bool:
        ends: list[int] = []
        for at, (part, reach) in enumerate(zip(self.parts, self.reaches, strict=True)):
            spans = [span for number in found if number in part for span in found[number]]
            if at:
                spans = [(a, b) for a, b in spans if any(0 <= a - end <= reach for end in ends)]
            if not spans:
                return False
            ends = [end for _, end in spans]
        return True


class MalformedExpression(ValueError):
    """One sentence about what is wrong."""


def compile_expression(text: str, lists: Mapping[str, Iterable[str]], phrases: Phrases) -> Expression:
    """Phrases, or lists of them by name, in that order. Raises MalformedExpression.

    "no such + @recipient": one next to the other; "@recipient ... @missing": with some words between.
    """
    pieces = _BETWEEN.split(text.strip())
    parts = []
    for piece in pieces[::2]:
        if not piece.startswith("@"):
            members: Iterable[str] = (piece,)
        elif (members := lists.get(piece[1:], ())) == ():
            raise MalformedExpression(f"there is no list {piece[1:]!r} of words")
        parts.append(frozenset(_numbered(member, phrases) for member in members))
    reaches = (0, *(REACH if sign == "..." else 0 for sign in pieces[1::2]))
    return Expression(tuple(parts), reaches)


def _numbered(phrase: str, phrases: Phrases) -> int:
    tokens = tokens_of(phrase)
    if not tokens:
        raise MalformedExpression(f"{phrase!r} has no word to look for (numbers are none)")
    for token in tokens:
        if token.endswith("*") and len(token) <= STEM:
            raise MalformedExpression(f"{token!r} needs {STEM} letters before its *")
    return phrases.number(phrase)
