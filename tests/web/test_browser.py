"""Hostile mail in a real browser: headless Chromium opens it, and a canary on loopback hears nothing."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.web.conftest import Put, Site

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Canary:
    """A server that hostile mail tries to reach. heard: the paths it was asked for."""

    url: str
    heard: list[str] = field(default_factory=list)


@pytest.fixture
def canary() -> Iterator[Canary]:
    canary = Canary("")

    class Hear(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            canary.heard.append(self.path)
            self.send_response(204)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            """Nothing to the terminal."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hear) as server:
        canary.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield canary
        server.shutdown()
        thread.join()


def look(url: str, profile: Path) -> str:
    """What the page's document is after it and its script have run for three seconds of its own time."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert browser, "this test needs a browser: apt-get install chromium"
    options = (
        "headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run", "disable-sync",
        "disable-background-networking", "disable-component-update", "no-proxy-server", "dump-dom",
        f"user-data-dir={profile}", "virtual-time-budget=3000",
    )  # fmt: skip
    command = [browser, *(f"--{option}" for option in options), url]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


def attack_on(canary: str) -> str:
    """A page that calls home in every way we know."""
    return (Path(__file__).parent / "attack.html").read_text().replace("CANARY", canary)


def attacking_mail(canary: str) -> bytes:
    inline = f"\"'><script>fetch('{canary}/header')</script><img src={canary}/headerimg>"
    lines = (
        f"From: {inline}", f"To: {inline}", f"Subject: Hostile {inline}",
        "Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Type: text/plain", "", inline,
        "--b", "Content-Type: text/html; charset=utf-8", "", attack_on(canary),
        "--b", "Content-Type: text/html",
        f"Content-Disposition: attachment; filename*=utf-8''%22%3E%3Cimg%20src%3D{canary}%2Ffile%3E.html", "",
        attack_on(canary), "--b--", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    "path",
    [
        "view/{key}", "view/{key}?show=text", "view/{key}?show=headers", "view/{key}?show=source",
        "messages/{key}/html", "",
    ],
)  # fmt: skip
def test_hostile_mail_reaches_nobody(site: Site, canary: Canary, put: Put, tmp_path: Path, path: str) -> None:
    key = put(attacking_mail(canary.url))
    shown = look(f"{site.url}/inbox/{path.format(key=key)}".rstrip("/"), tmp_path / "profile")

    assert "Hostile" in shown or "still shown" in shown
    assert canary.heard == []


def test_the_same_html_without_our_policies_does_call_home(canary: Canary, tmp_path: Path) -> None:
    """The canary sings where nothing holds the attack back: its silence above means something."""
    page = tmp_path / "attack.html"
    page.write_text(attack_on(canary.url).replace("top.location", "void "))
    look(page.as_uri(), tmp_path / "profile")

    assert {"/script.js", "/link.css", "/img", "/iframe"} <= set(canary.heard)


def test_the_frame_shows_the_message(site: Site, put: Put, tmp_path: Path) -> None:
    key = put(b"Subject: s\r\nContent-Type: text/html\r\n\r\n<p>in the frame</p>")
    look(f"{site.url}/inbox/view/{key}", tmp_path / "profile")

    assert f"/inbox/messages/{key}/html" in site.heard


def test_the_script_runs_and_the_list_is_live(site: Site, put: Put, tmp_path: Path) -> None:
    put(b"Subject: one\r\n\r\n")
    shown = look(f"{site.url}/inbox", tmp_path / "profile")

    assert '<p id="live" role="status" class="live">Live</p>' in shown
    assert site.heard.count("/inbox/messages") >= 2


def test_new_mail_appears_in_an_open_page(site: Site, folder: Path, put: Put, tmp_path: Path) -> None:
    """The page is opened on an empty inbox; the mail arrives when its script asks for the first time."""
    arrival = threading.Thread(target=lambda: _put_when_asked(site, put))
    arrival.start()
    shown = look(f"{site.url}/inbox", tmp_path / "profile")
    arrival.join()

    assert '<span class="subject">arrived &lt;b&gt; later</span>' in shown
    assert '<p id="empty" hidden="">' in shown


def _put_when_asked(site: Site, put: Put) -> None:
    never = threading.Event()
    for _ in range(3000):
        if "/inbox/messages" in site.heard:
            break
        never.wait(0.01)
    put(b"Subject: arrived <b> later\r\n\r\n")
