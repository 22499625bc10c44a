from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mailer.identity.installation import WrongSecret, recognise, secret_of
from mailer.identity.vault import Vault
from mailer.store import Store


def test_the_first_call_makes_a_secret_that_later_calls_find(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret.key"

    first = secret_of(path, None)

    assert len(first) == 32
    assert secret_of(path, None) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert [child.name for child in path.parent.iterdir()] == ["secret.key"]


def test_processes_that_start_together_agree_on_one_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda _: secret_of(path, None), range(64)))

    assert len(set(found)) == 1


def test_a_given_secret_holds_and_is_not_kept(tmp_path: Path) -> None:
    assert secret_of(tmp_path / "secret.key", b"s" * 32) == b"s" * 32
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"zz", b"ab" * 31, b"\xff" * 64])
def test_a_damaged_secret_file_is_an_error_and_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(content)

    with pytest.raises(WrongSecret, match=r"secret\.key"):
        secret_of(path, None)

    assert path.read_bytes() == content


def test_a_database_recognises_the_secret_it_was_set_up_with_and_no_other(store: Store) -> None:
    recognise(store, Vault(b"1" * 32))
    recognise(store, Vault(b"1" * 32))

    with pytest.raises(WrongSecret, match="MAILER_SECRET"):
        recognise(store, Vault(b"2" * 32))
