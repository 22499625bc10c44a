"""The installation's secret: read or made, and proved to be the one this database was sealed with."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from pathlib import Path

from sqlalchemy import select

from mailer.identity.names import IdentityError
from mailer.identity.vault import Vault
from mailer.store import Store, dialect
from mailer.store.tables import meta

_SECRET_BYTES = 32
_PROOF = "secret_proof"


class WrongSecret(IdentityError):
    """The secret is missing, damaged, or not this installation's."""


def secret_of(path: Path, given: bytes | None) -> bytes:
    """`given`, or else the secret in `path`, made at the first call (mode 600). Raises WrongSecret, OSError.

    Processes that start together agree on one: the file appears whole or not at all.
    """
    if given is not None:
        return given
    with contextlib.suppress(FileNotFoundError):
        return _read(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        _write_durably(fresh, secrets.token_bytes(_SECRET_BYTES).hex())
        with contextlib.suppress(FileExistsError):  # another process was first: its secret holds
            path.hardlink_to(fresh)
    finally:
        fresh.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return _read(path)


def recognise(store: Store, vault: Vault) -> None:
    """The database belongs to this secret from now on; raises WrongSecret if it belongs to another.

    Without this a second host with a secret of its own would find out at its first signature.
    """
    proof = vault.derive("proof").hex()
    with store.write() as connection:
        first = dialect.insert(connection, meta).values(key=_PROOF, value=proof)
        connection.execute(first.on_conflict_do_nothing())
        known = connection.execute(select(meta.c.value).where(meta.c.key == _PROOF)).scalar_one()
    if not hmac.compare_digest(known, proof):
        raise WrongSecret(
            "the secret is not the one this database was set up with: set MAILER_SECRET, "
            "or put back the file secret.key of the data folder"
        )


def _read(path: Path) -> bytes:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        raise WrongSecret(f"{path} does not hold a secret of {_SECRET_BYTES} bytes in hexadecimal")
    return secret


def _write_durably(path: Path, text: str) -> None:
    """On disk when this returns: keys sealed with a secret that a power cut takes are lost."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
