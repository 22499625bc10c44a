"""The systemd units, checked by systemd itself without being booted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mailer.config import Settings

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
SERVICES = (
    "mailer-http.service",
    "mailer-sweeper.service",
    "mailer-caller.service",
    "mailer-returns.service",
    "mailer-worker@1.service",
    "mailer-schema.service",
)
COMMAND = "/opt/mailer/.venv/bin/mailer"
COMMANDS = ["caller", "db upgrade", "http", "returns", "sweeper", "worker --index 1"]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they are installed, but for the command, which is not there on this machine."""
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    present = shutil.which("true")
    for path in folder.glob("*.service"):
        path.write_text(path.read_text().replace(COMMAND, str(present)))
    return folder


def analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program, "this test needs systemd-analyze: apt-get install systemd"
    environ = os.environ | {"SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_COLORS": "0"}
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, env=environ, timeout=60, check=False
    )


def commands() -> list[str]:
    found = (
        re.search(rf"^ExecStart={COMMAND} (.+)$", p.read_text(), re.MULTILINE)
        for p in UNITS.glob("*.service")
    )
    return sorted(line[1].replace("%i", "1") for line in found if line)


def test_systemd_finds_no_fault(installed: Path) -> None:
    checked = analyze(installed, "verify", *(str(installed / unit) for unit in ("mailer.target", *SERVICES)))

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_systemd_would_find_a_fault(installed: Path) -> None:
    """The check above reads the common drop-in too."""
    common = installed / "mailer-.service.d" / "common.conf"
    common.write_text(common.read_text().replace("PrivateIPC=yes", "PrivateIPX=yes"))
    checked = analyze(installed, "verify", str(installed / "mailer-http.service"))

    assert "PrivateIPX" in checked.stderr


@pytest.mark.parametrize("unit", [s.replace("@1", "@") for s in SERVICES[:-1]])
def test_every_role_is_sandboxed(installed: Path, unit: str) -> None:
    """systemd's own measure, 0 (safe) to 10; an ordinary service has 9.6."""
    measured = analyze(
        installed, "security", "--offline=yes", "--threshold=20", "--no-pager", str(installed / unit)
    )

    assert measured.returncode == 0, measured.stdout[-200:]


def test_the_commands_are_ours() -> None:
    assert commands() == COMMANDS


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_line_exists(line: str) -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "mailer", *line.split(), "--help"], capture_output=True, cwd=ROOT, check=False
    )

    assert asked.returncode == 0, asked.stderr


def test_the_example_settings_are_settings() -> None:
    lines = (UNITS / "mailer.env.example").read_text().splitlines()
    environ = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    assert Settings.load(environ | {"MAILER_DATA_DIR": "/var/lib/mailer"}).is_live


def test_systemd_waits_longer_than_a_worker_does() -> None:
    """Sessions after the final dot are awaited for 50 s."""
    common = (UNITS / "mailer-.service.d" / "common.conf").read_text()

    assert "TimeoutStopSec=60" in common and "KillMode=mixed" in common
