"""The compose file and the image's recipe, checked without a Docker engine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailer.config import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
ROLES = ("http", "worker-1", "worker-2", "sweeper", "caller", "returns", "inbox")
SERVERS = ("postgres", "rabbitmq")
PINNED = re.compile(r"[a-z-]+:\d+\.\d+(\.\d+)?(-[a-z]+)*")
RECIPE = (ROOT / "deploy" / "Dockerfile").read_text()


FILE = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
SERVICES: dict[str, Any] = FILE["services"]


def environment(name: str) -> dict[str, str]:
    """What the container of `name` is given, with the example settings filled in."""
    service = SERVICES[name]
    lines = (COMPOSE / f"{service['env_file']}.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return given | service.get("environment", {}) | {"MAILER_DATA_DIR": "/var/lib/mailer"}


def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    """It checks against the Compose Specification, and that variables and services referred to exist."""
    program = shutil.which("docker-compose")
    assert program, "apt-get install --no-install-recommends docker-compose (no engine is needed)"
    shutil.copy(COMPOSE / "compose.yaml", tmp_path)
    for name in ("mailer.env", "servers.env"):
        shutil.copy(COMPOSE / f"{name}.example", tmp_path / name)
    checked = subprocess.run(
        [program, "--file", "compose.yaml", "--profile", "sandbox", "config", "--quiet"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_every_role_and_server_is_there() -> None:
    assert set(SERVICES) == {*ROLES, *SERVERS, "provision"}


def test_every_image_is_pinned() -> None:
    images = [service["image"] for service in SERVICES.values()] + re.findall(
        r"^FROM (\S+)", RECIPE, re.MULTILINE
    )

    assert [image for image in images if not PINNED.fullmatch(image)] == []


@pytest.mark.parametrize("name", ROLES)
def test_a_role_has_settings_that_we_know(name: str) -> None:
    settings = Settings.load(environment(name))

    assert settings.database_url.startswith("postgresql+psycopg://mailer:")
    assert settings.broker_url.startswith("amqp://")


@pytest.mark.parametrize("name", ["worker-1", "worker-2"])
def test_in_sandbox_mode_a_worker_sends_all_mail_to_the_inbox(name: str) -> None:
    route = Settings.load(environment(name)).route_table.match("receiver.example")

    assert route is not None
    assert (route.host, route.port) == ("inbox", 2525)


@pytest.mark.parametrize("name", ROLES)
def test_a_role_is_confined_and_has_time_to_end(name: str) -> None:
    role = SERVICES[name]

    assert (role["cap_drop"], role["read_only"], role["restart"]) == (["ALL"], True, "unless-stopped")
    assert role["stop_grace_period"] == "60s"
    assert role["depends_on"] == {"provision": {"condition": "service_completed_successfully"}}


@pytest.mark.parametrize("name", ["http", "inbox", *SERVERS])
def test_what_listens_says_whether_it_is_well(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_only_doors_are_reached_from_outside_and_only_from_this_host() -> None:
    assert {name: s["ports"] for name, s in SERVICES.items() if "ports" in s} == {
        "http": ["127.0.0.1:8025:8025", "127.0.0.1:2587:2587", "127.0.0.1:2465:2465"],
        "returns": ["127.0.0.1:2526:2526"],
    }


def test_workers_have_different_names() -> None:
    assert [SERVICES[name]["command"] for name in ("worker-1", "worker-2")] == [
        ["worker", "--index", "1"],
        ["worker", "--index", "2"],
    ]


def test_no_password_stands_in_the_compose_file() -> None:
    assert not re.search(r"(?i)(password|pass|secret)\w*:\s*\S", (COMPOSE / "compose.yaml").read_text())


def test_the_image_runs_as_nobody_special_and_installs_by_hash() -> None:
    assert "\nUSER mailer\n" in RECIPE
    assert "pip install --require-hashes" in RECIPE
    assert "\nSTOPSIGNAL SIGTERM\n" in RECIPE


def test_all_that_the_image_is_built_from_is_there_and_not_ignored() -> None:
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", RECIPE, re.MULTILINE)
    sources = {source for line in lines for source in line.split()}
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()

    assert {source for source in sources if not (ROOT / source).exists()} == set()
    assert {f"!{source}" for source in sources} == {line for line in ignored if line.startswith("!")}
