"""What takes back what comes back: a role of its own in live mode, and beside the inbox in a sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import dns.rdatatype
from dns.rdtypes.ANY.TXT import TXT

from mailer import clock
from mailer.accept.budget import ByteBudget
from mailer.accept.smtp.room import Room
from mailer.accept.smtp.tls import OwnCertificate, made_certificate
from mailer.bootstrap.links import links_of
from mailer.bootstrap.office import Office, Stop, announce, keep_lease, office, suppression_keys
from mailer.bootstrap.site_rules import RulesKeeper, rules_keeper
from mailer.compose.subscriber import find_in_words, read_mail_token
from mailer.compose.unsubscribe import Links
from mailer.config import Settings
from mailer.identity import operator
from mailer.identity.installation import recognise, secret_of
from mailer.identity.return_paths import TokenKeeper
from mailer.identity.vault import Vault
from mailer.listener import Limits, Rules
from mailer.relay.journal import Journal
from mailer.relay.smtp.lookup import Found, Lookup
from mailer.report.desk import DeskParts, Reception, ReturnsDesk
from mailer.report.pacing import PeerPace
from mailer.report.passing import Passer
from mailer.report.reader import Reader, ReaderParts
from mailer.report.serving import Server, serve
from mailer.report.trust import Trust

_MIB = 1024 * 1024
_MISSES_PER_MINUTE = 60  # addresses that are not here; a forwarder that gathers bounces has a few


def run(settings: Settings) -> int:
    """Takes and reads until it is told to stop; returns the exit code. Raises OSError: the port is in use."""
    stop = Stop()
    stop.on_signals()
    with office(settings, "returns") as own:
        # Nothing is written to it; its lock shows the sweeper of this host at once that we died.
        lock = Journal(own.journals, own.registration.id, own.lease.is_fresh)
        taking = Taking.open(settings, own, stop)
        keep_lease(own.lease, stop, taking.look)
        announce(settings, "returns", returns_port=taking.port)
        stop.event.wait()
        taking.close()
        lock.close(settled=True)
        own.sign_off()
        return stop.code


@dataclass(frozen=True, slots=True)
class Taking:
    """The listener, the reader, and what both know. reception: for another listener that takes the same."""

    reception: Reception
    _reader: Reader
    _server: Server
    _tokens: TokenKeeper
    _keeper: RulesKeeper

    @staticmethod
    def open(settings: Settings, own: Office, stop: Stop) -> Taking:
        """Listens, and reads. Raises OSError, StoreUnavailable, WrongSecret."""
        vault = Vault(secret_of(settings.secret_file, settings.secret))
        recognise(own.store, vault)
        tokens = TokenKeeper(own.store, vault, monotonic=clock.monotonic)
        links = links_of(settings, vault)
        keeper = rules_keeper(settings, own.store)
        reader = Reader(_reader_parts(settings, own, stop, _Known(tokens, links, keeper)))
        parts = DeskParts(
            store=own.store,
            host=settings.hostname,
            token_keys=tokens.keys,
            read_unsubscribe=lambda token: read_mail_token(token, links.secrets),
            pace=PeerPace(
                mails=settings.returns_per_minute, misses=_MISSES_PER_MINUTE, monotonic=clock.monotonic
            ),
            new_id=own.new_id,
            now=clock.now,
            on_kept=reader.wake,
        )
        reception = Reception(parts)
        server = serve(
            _rules(settings, ReturnsDesk(parts, reception)),
            (settings.returns_host, settings.returns_port),
            name="returns",
        )
        reader.start()
        return Taking(reception, reader, server, tokens, keeper)

    @property
    def port(self) -> int:
        return self._server.port

    def look(self) -> None:
        self._tokens.look()
        self._keeper.look()

    def close(self) -> None:
        """Takes no more; what is not read yet stays for the next."""
        self._server.stop()
        self._reader.stop()


def _rules(settings: Settings, desk: ReturnsDesk) -> Rules:
    certificate = settings.smtp_cert_file
    tls: Callable[[], Any] = (
        made_certificate(settings.data_dir / "tls", settings.hostname, clock.now())
        if certificate is None
        else OwnCertificate(certificate, settings.smtp_key_file or certificate)
    )
    return Rules(
        host=settings.hostname,
        desk=desk,
        tls=tls,
        budget=Room(ByteBudget(settings.byte_budget_mb * _MIB)),
        limits=Limits(
            size_bytes=settings.returns_size_mb * _MIB,
            text_line_octets=0,  # hosts that break rules report failures as well
            recipients=100,  # RFC 5321 §4.5.3.1.8
            messages=500,
            connections_per_peer=settings.returns_connections,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What a reader knows tokens and words by."""

    tokens: TokenKeeper
    links: Links
    keeper: RulesKeeper


def _reader_parts(settings: Settings, own: Office, stop: Stop, known: _Known) -> ReaderParts:
    passer = Passer(
        store=own.store,
        to=settings.operator_mailbox,
        find_operator=partial(operator.find, own.store, settings.operator_domain),
        host=settings.hostname,
        new_id=own.new_id,
        process_number=own.registration.process_number,
        now=clock.now,
    )
    trust = Trust(settings.feedback_providers, partial(_txt_record, settings))
    return ReaderParts(
        store=own.store,
        me=own.registration.id,
        process_number=own.registration.process_number,
        token_keys=known.tokens.keys,
        classifier=lambda: known.keeper.rules.classifier,
        find_subscriber=lambda words: find_in_words(words, known.links.secrets),
        is_trusted=trust,
        pass_on=passer.pass_on,
        # A sandbox asks no DNS: whatever comes there is of its own making.
        signer_of=trust.signer_of if settings.is_live else lambda _content: None,
        keys=suppression_keys(settings),
        new_id=own.new_id,
        now=clock.now,
        monotonic=clock.monotonic,
        on_fenced=stop.fenced,
    )


def _txt_record(settings: Settings, name: bytes) -> bytes | None:
    lookup = Lookup(settings.resolvers)
    answer = asyncio.run(lookup.ask(name.decode("ascii", "replace"), dns.rdatatype.TXT))
    if not isinstance(answer, Found):
        return None
    return next((b"".join(record.strings) for record in answer.records if isinstance(record, TXT)), None)
