"""What the page to unsubscribe says, in the languages it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Of one language. question, done: with {stream} and {address} in them."""

    language: str
    asks: str
    question: str
    button: str
    done_title: str
    done: str
    unknown_title: str
    unknown: str
    unclear_title: str
    unclear: str
    busy_title: str
    busy: str


_ENGLISH = Words(
    language="en",
    asks="Unsubscribe",
    question="Do you want to stop getting messages of “{stream}” at {address}?",
    button="Unsubscribe",
    done_title="You are unsubscribed",
    done="No more messages of “{stream}” will be sent to {address}. One that is on its way may still arrive.",
    unknown_title="This link does not work",
    unknown="It is incomplete, or not one of ours. Please open the link in the message once more, or copy all"
    " of it.",
    unclear_title="Nothing was changed",
    unclear="To unsubscribe, open the link in the message and use the button there.",
    busy_title="Too many requests",
    busy="Nothing was changed. Please try again in a moment.",
)
_GERMAN = Words(
    language="de",
    asks="Abmelden",
    question="Möchten Sie keine Nachrichten von „{stream}“ mehr an {address} bekommen?",
    button="Abmelden",
    done_title="Sie sind abgemeldet",
    done="An {address} werden keine Nachrichten von „{stream}“ mehr geschickt. Eine, die schon unterwegs ist,"
    " kann noch ankommen.",
    unknown_title="Dieser Link funktioniert nicht",
    unknown="Er ist unvollständig oder nicht von uns. Bitte öffnen Sie den Link in der Nachricht noch einmal,"
    " oder kopieren Sie ihn ganz.",
    unclear_title="Nichts wurde geändert",
    unclear="Um sich abzumelden, öffnen Sie den Link in der Nachricht und drücken Sie dort auf den Knopf.",
    busy_title="Zu viele Anfragen",
    busy="Nichts wurde geändert. Bitte versuchen Sie es gleich noch einmal.",
)
_FRENCH = Words(
    language="fr",
    asks="Se désabonner",
    question="Voulez-vous ne plus recevoir les messages de « {stream} » à l’adresse {address} ?",
    button="Se désabonner",
    done_title="Vous êtes désabonné(e)",
    done="Plus aucun message de « {stream} » ne sera envoyé à {address}. Un message déjà en route peut encore"
    " arriver.",
    unknown_title="Ce lien ne fonctionne pas",
    unknown="Il est incomplet ou ne vient pas de nous. Veuillez ouvrir encore une fois le lien du message, ou"
    " le copier en entier.",
    unclear_title="Rien n’a été changé",
    unclear="Pour vous désabonner, ouvrez le lien du message et utilisez le bouton qui s’y trouve.",
    busy_title="Trop de demandes",
    busy="Rien n’a été changé. Veuillez réessayer dans un instant.",
)
LANGUAGES: Mapping[str, Words] = {words.language: words for words in (_ENGLISH, _GERMAN, _FRENCH)}
_MOST_RANGES = 20


def chosen(accept_language: str) -> Words:
    """By Accept-Language (RFC 9110 §12.5.4); English where none of ours is asked for. Never raises."""
    best, weight = _ENGLISH, 0.0
    for text in accept_language.split(",")[:_MOST_RANGES]:
        tag, _, parameter = text.strip().lower().partition(";")
        words = LANGUAGES.get(tag.strip().partition("-")[0])
        quality = _quality(parameter)
        if words is not None and quality > weight:
            best, weight = words, quality
    return best


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return min(1.0, float(value))
    except ValueError:
        return 0.0
