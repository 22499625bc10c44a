"""What a worker in live mode is put together of, up to the look-ups and the guard."""

from __future__ import annotations

from pathlib import Path

from mailer import clock
from mailer.bootstrap.tls import TlsKnowledge
from mailer.bootstrap.worker import _make_carrier, _smtp_settings
from mailer.config import Settings
from mailer.policy.outcome import Unroutable
from mailer.policy.sites import SiteRules
from mailer.queue import tlsresults
from mailer.relay.connects import ConnectDesk
from mailer.store import Store, schema
from tests.support.dns_server import DnsServer, Zone
from tests.support.smtp_client import NotedJournal, mail

ZONE: Zone = {
    ("example.test", "MX"): ["10 mx.example.test."],
    ("mx.example.test", "A"): ["127.0.0.1"],
    ("_mta-sts.example.test", "TXT"): ['"v=STSv1; id=1;"'],
    ("mta-sts.example.test", "A"): ["127.0.0.1"],
}


async def test_a_stranger_leads_neither_mail_nor_the_fetch_of_a_policy_to_us(tmp_path: Path) -> None:
    """Not even to a network that the operator allows for callbacks."""
    store = Store(f"sqlite:///{tmp_path / 'mailer.sqlite3'}")
    schema.upgrade(store, epoch="test")
    async with DnsServer(ZONE) as dns:
        settings = Settings.load(
            {
                "MAILER_MODE": "live", "MAILER_DATA_DIR": str(tmp_path), "MAILER_RESOLVERS": dns.place,
                "MAILER_HOSTNAME": "mail.example.org", "MAILER_CALLBACK_NETWORKS": "127.0.0.0/8",
            }
        )  # fmt: skip
        known = TlsKnowledge(store)
        carrier = _make_carrier(
            settings,
            _smtp_settings(settings, SiteRules()),
            NotedJournal(),  # type: ignore[arg-type]
            lambda site: 1,
            known=known,
            connects=ConnectDesk(store, SiteRules(), now=clock.now, monotonic=clock.monotonic),
            egress_addresses=frozenset(),
        )
        report = await carrier.deliver(mail(domain="example.test"))
        await carrier.close(grace_seconds=0)
    known.synchronise(clock.now())
    known.flush()

    [kind] = tlsresults.of_day(store, clock.now().date().isoformat(), "example.test")
    assert isinstance(report.outcome, Unroutable)
    assert report.outcome.status == "5.4.4"
    assert kind.result == "sts-policy-fetch-error"
    assert kind.reason.startswith("not dialled:")
    store.close()
