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
from mailer.policy.routing import RouteTable

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
ROLES = ("http", "worker-1", "worker-2", "sweeper", "inbox")
SERVERS = ("postgres", "rabbitmq")
PINNED = re.compile(r"[a-z-]+:\d+\.\d+(\.\d+)?(-[a-z]+)*")
RECIPE = (ROOT / "deploy" / "Dockerfile").read_text()


@pytest.fixture
def services(tmp_path: Path) -> dict[str, Any]:
    """What docker-compose makes of the file, with the example settings filled in; it refuses what is wrong."""
    program = shutil.which("docker-compose")
    assert program, (
        "this test needs docker-compose, no engine: apt-get install --no-install-recommends docker-compose"
    )
    shutil.copy(COMPOSE / "compose.yaml", tmp_path)
    for name in ("mailer.env", "servers.env"):
        shutil.copy(COMPOSE / f"{name}.example", tmp_path / name)
    resolved = subprocess.run(
        [program, "--file", "compose.yaml", "--profile", "sandbox", "config"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (resolved.returncode, resolved.stderr) == (0, "")
    return dict(yaml.safe_load(resolved.stdout)["services"])


def test_every_role_and_server_is_there(services: dict[str, Any]) -> None:
    assert set(services) == {*ROLES, *SERVERS, "provision"}


def test_every_image_is_pinned(services: dict[str, Any]) -> None:
    images = [service["image"] for service in services.values()] + re.findall(
        r"^FROM (\S+)", RECIPE, re.MULTILINE
    )

    assert [image for image in images if not PINNED.fullmatch(image)] == []


@pytest.mark.parametrize("name", ROLES)
def test_a_role_has_settings_that_we_know(services: dict[str, Any], name: str) -> None:
    environ = {k: v for k, v in services[name]["environment"].items() if k.startswith("MAILER_")}
    settings = Settings.load(environ | {"MAILER_DATA_DIR": "/var/lib/mailer"})

    assert settings.database_url.startswith("postgresql+psycopg://mailer:")
    assert settings.broker_url.startswith("amqp://")


@pytest.mark.parametrize("name", ["worker-1", "worker-2"])
def test_in_sandbox_mode_a_worker_sends_all_mail_to_the_inbox(services: dict[str, Any], name: str) -> None:
    settings = Settings.load(services[name]["environment"] | {"MAILER_DATA_DIR": "/var/lib/mailer"})
    route = RouteTable.parse(settings.delivery_routes).match("receiver.example")

    assert route is not None
    assert (route.host, route.port) == ("inbox", 2525)


@pytest.mark.parametrize("name", ROLES)
def test_a_role_is_confined_and_has_time_to_end(services: dict[str, Any], name: str) -> None:
    role = services[name]

    assert (role["cap_drop"], role["read_only"], role["restart"]) == (["ALL"], True, "unless-stopped")
    assert role["stop_grace_period"] in {"60s", "1m0s"}
    assert role["depends_on"] == {"provision": {"condition": "service_completed_successfully"}}


@pytest.mark.parametrize("name", ["http", "inbox", *SERVERS])
def test_what_listens_says_whether_it_is_well(services: dict[str, Any], name: str) -> None:
    assert services[name]["healthcheck"]["test"][0] == "CMD"


def test_only_the_http_door_is_reached_from_outside_and_only_from_this_host(services: dict[str, Any]) -> None:
    assert {name: s["ports"] for name, s in services.items() if "ports" in s} == {
        "http": ["127.0.0.1:8025:8025/tcp"]
    }


def test_workers_have_different_names(services: dict[str, Any]) -> None:
    assert [services[name]["command"] for name in ("worker-1", "worker-2")] == [
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
