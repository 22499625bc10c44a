"""The self-signed certificate of the inbox."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from mailer.listener.certificate import server_context

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def made(folder: Path, now: datetime) -> bytes:
    server_context(folder, "inbox.localhost", now, name="inbox")
    return (folder / "inbox.pem").read_bytes()


def test_it_is_made_once_and_renewed_before_it_ends(tmp_path: Path) -> None:
    first = made(tmp_path, NOW)
    later = made(tmp_path, NOW + timedelta(days=794))
    renewed = made(tmp_path, NOW + timedelta(days=796))

    assert later == first
    assert x509.load_pem_x509_certificate(renewed).not_valid_after_utc > NOW + timedelta(days=1600)


def test_a_broken_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "inbox.pem").write_bytes(b"half a ce")

    assert x509.load_pem_x509_certificate(made(tmp_path, NOW)).not_valid_after_utc > NOW


def test_the_key_is_private(tmp_path: Path) -> None:
    made(tmp_path, NOW)

    assert (tmp_path / "inbox.pem").stat().st_mode & 0o777 == 0o600
