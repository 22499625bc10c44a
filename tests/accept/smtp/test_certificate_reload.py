"""The operator's own certificate: a renewed file is shown from the next handshake on, without a restart."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer.accept.smtp.tls import OwnCertificate
from tests.listener.serving import EHLO, Client, Served, serving
from tests.support.certificates import server_context


def certificate(folder: Path, name: str) -> bytes:
    """PEM text of a new key and its certificate."""
    folder.mkdir(exist_ok=True)
    server_context(folder, name)
    return (folder / f"{name}.pem").read_bytes()


def replace(path: Path, octets: bytes) -> None:
    """As renewal programs do: written beside it, then renamed."""
    half = path.with_suffix(".part")
    half.write_bytes(octets)
    half.rename(path)


def shown(client: Client) -> str:
    """The certificate that a client was shown."""
    assert isinstance(client.socket, ssl.SSLSocket)
    octets = client.socket.getpeercert(binary_form=True)
    assert octets is not None
    return ssl.DER_cert_to_PEM_cert(octets)


def handshake(served: Served) -> str:
    with served.client() as client:
        client.open()
        client.start_tls()
        assert client.ask(EHLO).startswith("250 ")
        return shown(client)


def ends_with(pem: bytes, certificate: str) -> bool:
    return pem.decode().strip().endswith(certificate.strip())


@pytest.fixture
def first(tmp_path: Path) -> bytes:
    return certificate(tmp_path / "made", "one.example.net")


@pytest.fixture
def second(tmp_path: Path) -> bytes:
    return certificate(tmp_path / "made", "two.example.net")


@pytest.fixture
def path(tmp_path: Path, first: bytes) -> Path:
    (tmp_path / "smtp.pem").write_bytes(first)
    return tmp_path / "smtp.pem"


@pytest.fixture
def served(path: Path) -> Iterator[Served]:
    with serving(tls=OwnCertificate(path, path)) as running:
        yield running


def test_the_next_handshake_shows_the_renewed_certificate(
    served: Served, path: Path, first: bytes, second: bytes
) -> None:
    before = handshake(served)
    replace(path, second)
    after = handshake(served)

    assert ends_with(first, before)
    assert ends_with(second, after)


def test_a_session_goes_on_over_the_renewal(served: Served, path: Path, second: bytes) -> None:
    with served.client() as client:
        client.open()
        client.start_tls()
        client.send(EHLO)
        client.reply()
        replace(path, second)
        handshake(served)

        assert client.ask(b"NOOP\r\n").startswith("250 ")


@pytest.mark.parametrize("octets", [b"", b"half a ce"], ids=["empty", "half written"])
def test_while_the_file_is_no_certificate_the_old_one_stays(
    served: Served, path: Path, first: bytes, second: bytes, octets: bytes
) -> None:
    path.write_bytes(octets)
    meanwhile = handshake(served)
    replace(path, second)
    after = handshake(served)

    assert ends_with(first, meanwhile)
    assert ends_with(second, after)


def test_a_file_that_is_gone_for_a_moment_does_no_harm(served: Served, path: Path, first: bytes) -> None:
    path.rename(path.with_suffix(".old"))
    meanwhile = handshake(served)

    assert ends_with(first, meanwhile)


def test_certificate_and_key_in_two_files_may_be_renewed_one_after_the_other(
    tmp_path: Path, first: bytes, second: bytes
) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(first)
    key.write_bytes(first)
    with serving(tls=OwnCertificate(chain, key)) as served:
        replace(chain, second)
        between = handshake(served)
        replace(key, second)
        after = handshake(served)

    assert ends_with(first, between)
    assert ends_with(second, after)


def test_the_same_content_again_is_no_change(served: Served, path: Path, first: bytes) -> None:
    os.utime(path)

    assert ends_with(first, handshake(served))
