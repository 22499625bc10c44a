"""`mailer reports`, as an operator types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mailer import clock
from mailer.cli import main
from mailer.ids import IdMaker
from mailer.report.formats.dmarc import AggregateReport, PublishedPolicy, Record
from mailer.report.formats.tlsrpt import TlsPolicy, TlsReport
from mailer.report.keeping import Received, complaints, dmarc, tls
from mailer.report.keeping.complaints import Complaint
from mailer.store import Store

Run = Callable[..., Result]
DOMAIN = "sandbox.mailer.test"
BEGIN = datetime(2026, 11, 20, tzinfo=UTC)
DAYS = ("--from", "2026-11-01", "--to", "2026-11-20")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `mailer ...` on a database with reports on the sandbox's domain."""

    def run(*arguments: str) -> Result:
        env = {"MAILER_DATA_DIR": str(tmp_path / "data")}
        return CliRunner(env=env).invoke(main, arguments, catch_exceptions=False)

    assert run("provision").exit_code == 0
    store = Store(f"sqlite:///{tmp_path}/data/mailer.sqlite3")
    record = Record(
        source_ip="192.0.2.1", messages=4, disposition="none", dkim_aligned=True, spf_aligned=False,
        header_from=DOMAIN, envelope_from="", envelope_to="", reasons=(), dkim=(), spf=(),
    )  # fmt: skip
    report = AggregateReport(
        organization="Receiver", contact="", report_id="r", begins_at=BEGIN, ends_at=BEGIN, version="",
        generator="", errors=(), policy=PublishedPolicy(domain=DOMAIN), records=(record,), unreadable=0,
    )  # fmt: skip
    policy = TlsPolicy(type="sts", domain=DOMAIN, lines=(), hosts=(), successful=3, failed=1, failures=())
    how: dict[str, Any] = {
        "received": Received(via="mail"), "new_id": IdMaker(1, clock.wall_ms),
        "now": BEGIN + timedelta(days=1),
    }  # fmt: skip
    with store.write() as c:
        dmarc.keep(c, report, **how)
        tls_report = TlsReport(
            organization="S", contact="", report_id="t", begins_at=BEGIN, ends_at=BEGIN, policies=(policy,)
        )
        tls.keep(c, tls_report, **how)
        complaints.keep(
            c, Complaint(names=("x",), domains=(DOMAIN,), format="arf", kind="abuse", arrived_at=BEGIN), **how
        )
    store.close()
    return run


def test_reports_are_shown_for_people(run: Run) -> None:
    assert "4 messages, 4 passed (100.0%)" in run("reports", "dmarc", DOMAIN, *DAYS).stdout
    assert "192.0.2.1" in run("reports", "dmarc", DOMAIN, *DAYS).stdout
    assert "3 sessions with TLS, 1 failed" in run("reports", "tls", DOMAIN, *DAYS).stdout
    assert "1 complaints, 0 of them verified" in run("reports", "complaints", DOMAIN, *DAYS).stdout


def test_reports_are_shown_for_programs(run: Run) -> None:
    told = json.loads(run("reports", "dmarc", DOMAIN, *DAYS, "--json").stdout)

    assert told["totals"]["messages"] == 4
    assert told["by_day"] == [{"day": "2026-11-20", "messages": 4, "aligned": 4}]
    assert json.loads(run("reports", "tls", DOMAIN, "--json", *DAYS).stdout)["failed"] == 1
    assert (
        json.loads(run("reports", "complaints", DOMAIN, "--json", *DAYS).stdout)["totals"]["complaints"] == 1
    )


def test_other_days_have_none(run: Run) -> None:
    assert "0 messages, none passed" in run("reports", "dmarc", DOMAIN, "--to", "2026-11-19").stdout


@pytest.mark.parametrize(
    "arguments",
    [("nobody.example",), (DOMAIN, "--from", "soon"), (DOMAIN, "--from", "2026-02-02", "--to", "2026-02-01")],
)
def test_what_makes_no_sense_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    try:
        result = run("reports", "dmarc", *arguments)
    except SystemExit as left:
        assert left.code
        return

    assert result.exit_code
