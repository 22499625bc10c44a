"""What we import is declared, what is declared is locked by hash, and no lock names where it came from."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.house.measure import modules

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ["requirements-build.txt", "requirements.txt", "requirements-dev.txt"]
OURS = {"mailer", "webhooks", "dns_templates", "tests"}


def plain(name: str) -> str:
    """A distribution's name as PEP 503 compares it, without extras and versions."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!;~ ]", name)[0]).lower()


def imported(*folders: str) -> set[str]:
    """The distributions that these folders import."""
    names = {name.partition(".")[0] for module in modules(ROOT, *folders) for name in module.imports}
    by_name = packages_distributions()
    return {plain(by_name[name][0]) for name in names - OURS - sys.stdlib_module_names if name in by_name}


def declared() -> set[str]:
    return {plain(line) for line in PROJECT["project"]["dependencies"]}


def declared_as_extra() -> set[str]:
    """What some capabilities ask for, and say so where it is missing."""
    extras = PROJECT["project"]["optional-dependencies"]
    return {plain(line) for name, lines in extras.items() if name != "dev" for line in lines}


def declared_for_tests() -> set[str]:
    return {plain(line) for line in PROJECT["project"]["optional-dependencies"]["dev"]}


def locked(lock: str) -> dict[str, str]:
    """Versions by name."""
    pairs = re.findall(r"^(\S+?)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)
    return {plain(name): version for name, version in pairs}


def test_what_the_code_imports_is_declared() -> None:
    assert imported("mailer", "webhooks", "dns_templates") - declared() - declared_as_extra() == set()


def test_what_the_tests_import_is_declared() -> None:
    assert imported("tests") - declared() - declared_for_tests() == set()


def test_what_is_declared_is_locked() -> None:
    assert declared() <= locked("requirements.txt").keys()
    assert declared_for_tests() <= locked("requirements-dev.txt").keys()


def test_the_tests_run_what_users_run() -> None:
    assert locked("requirements.txt").items() <= locked("requirements-dev.txt").items()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_locked_by_hash(lock: str) -> None:
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if line and not line.startswith("#")]

    assert requirements
    assert [line for line in requirements if "==" not in line or "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_a_host_or_a_folder(lock: str) -> None:
    assert (
        re.findall(r"://|--(?:index|extra-index|find-links|trusted)\S*|^-f|file:", (ROOT / lock).read_text())
        == []
    )
