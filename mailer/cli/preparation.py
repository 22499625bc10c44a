"""What `mailer up` sees to before it starts anything: folder, ports, schema, first tenant, domain, key."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mailer.cli.faults import CommandFailed
from mailer.cli.options import id_maker, open_vault

if TYPE_CHECKING:
    from mailer.config import Settings
    from mailer.identity.vault import Vault
    from mailer.ids import IdMaker
    from mailer.store import Store

_KEY_FILE = "bootstrap.json"


@dataclass(frozen=True, slots=True)
class Prepared:
    """domain: None in live mode without MAILER_DOMAIN. api_key: None if its owner revoked it."""

    domain: str | None
    api_key: str | None


@contextmanager
def only_here(settings: Settings) -> Iterator[None]:
    """The data folder can be written, and no other `mailer up` runs on it while this block does."""
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandFailed(f"the data folder {folder} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 32).decode().strip()
        raise CommandFailed(f"another `mailer up` runs on {folder} already (pid {pid})") from None
    else:
        os.truncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def check_port(host: str, port: int, variable: str) -> None:
    """Raises CommandFailed unless `port` can be listened on; 0 always can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do, so that connections of an earlier run that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = "in use" if error.errno == errno.EADDRINUSE else f"not to be had ({error.strerror})"
            raise CommandFailed(
                f"port {port} of {host} is {reason}: stop what listens there, or set {variable}"
            ) from None


def prepare(settings: Settings) -> Prepared:
    """The database is of this release and has all that the settings wish for; nothing there is changed."""
    from mailer.store import Store, schema

    store = Store(settings.database_url, prepare=settings.database_prepare)
    try:
        schema.upgrade(store, epoch=secrets.token_hex(8))
        vault = open_vault(settings, store)
        with id_maker(store) as new_id:
            return _provide(store, vault, settings, new_id)
    finally:
        store.close()


def _provide(store: Store, vault: Vault, settings: Settings, new_id: IdMaker) -> Prepared:
    from mailer import clock
    from mailer.identity import api_keys, keys
    from mailer.identity.provision import Wish, provision

    api_key = settings.api_key or _kept_key(settings.data_dir, new_id)
    wish = Wish(
        tenant=settings.tenant,
        domain=settings.domain,
        return_path_prefix=settings.return_path_prefix,
        api_key=api_key,
        dkim_key_file=settings.dkim_key_file,
        dkim_selector=settings.dkim_selector,
        in_doubt=settings.in_doubt,
    )
    domain = provision(store, vault, wish, new_id=new_id, now=clock.now())
    _provide_operator(store, vault, settings, new_id)
    is_good = api_keys.is_good(store, keys.parse_key(api_key), now=clock.now())
    return Prepared(domain.name if domain else None, api_key if is_good else None)


def _provide_operator(store: Store, vault: Vault, settings: Settings, new_id: IdMaker) -> None:
    """Raises NameTaken only for a domain that was asked for; a default that does not fit is a warning."""
    from mailer import clock
    from mailer.identity import operator
    from mailer.identity.names import NameTaken

    for warning in settings.warnings:
        click.echo(f"mailer: {warning}", err=True)
    if settings.operator_domain is None:
        return
    try:
        operator.ensure(
            store,
            vault,
            settings.operator_domain,
            return_path_prefix=settings.return_path_prefix,
            new_id=new_id,
            now=clock.now(),
        )
    except NameTaken as error:
        if settings.is_set("operator_domain"):
            raise
        click.echo(f"mailer: {error}; until then submitters by SMTP get no notices of failure", err=True)


def kept_key(data_dir: Path) -> str | None:
    """The key that the first start made up; None if there was none, or it had one given."""
    try:
        kept = json.loads((data_dir / _KEY_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        kept = None
    if not isinstance(kept, dict) or not isinstance(kept.get("api_key"), str):
        raise CommandFailed(f"{data_dir / _KEY_FILE} is damaged: remove it to have a new key made")
    return str(kept["api_key"])


def _kept_key(data_dir: Path, new_id: IdMaker) -> str:
    """On disk (mode 600) before its hash is in the database, so that no start leaves a key nobody knows."""
    from mailer.identity import keys

    known = kept_key(data_dir)
    if known is not None:
        return known
    text = keys.new_key(new_id()).text
    half = data_dir / f"{_KEY_FILE}.part"
    half.unlink(missing_ok=True)
    fd = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump({"api_key": text, "note": "made by the first `mailer up`; whoever reads it can send"}, file)
        file.flush()
        os.fsync(file.fileno())
    half.rename(data_dir / _KEY_FILE)
    return text
