"""Programs of others that submit mail by SMTP, each used as its own documentation shows.

One call, one session, one message; a program that fails fails the test with what it said. The door's
certificate is of its own making: every program is told to trust that one, and checks it, where it can.
"""

from __future__ import annotations

import enum
import hashlib
import json
import os
import shutil
import smtplib
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from pathlib import Path

_NODEMAILER = Path(__file__).parents[1] / "journeys/nodemailer"
_SECONDS = 60


class Way(enum.StrEnum):
    """How the session is protected."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    CLEAR = "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where to submit, and as whom. certificate: PEM file with the door's own."""

    host: str
    starttls_port: int
    implicit_port: int
    key: str
    certificate: Path

    def port(self, way: Way) -> int:
        return self.implicit_port if way is Way.IMPLICIT else self.starttls_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a user of the program writes."""

    sender: str
    to: Sequence[str]
    subject: str
    text: str


Program = Callable[[Door, Way, Letter], None]


def curl(door: Door, way: Way, letter: Letter) -> None:
    scheme = "smtps" if way is Way.IMPLICIT else "smtp"
    command = [
        "curl", "--silent", "--show-error", "--url", f"{scheme}://{door.host}:{door.port(way)}",
        "--cacert", str(door.certificate), "--user", f"any:{door.key}",
        "--mail-from", letter.sender, "--upload-file", "-",
    ]  # fmt: skip
    command += ["--ssl-reqd"] if way is not Way.CLEAR else []
    command += [word for person in letter.to for word in ("--mail-rcpt", person)]
    _run(command, given=written(letter))


def swaks(door: Door, way: Way, letter: Letter) -> None:
    protection = {
        Way.STARTTLS: ["--tls", "--tls-verify", "--tls-ca-path", str(door.certificate)],
        Way.IMPLICIT: ["--tls-on-connect", "--tls-verify", "--tls-ca-path", str(door.certificate)],
        Way.CLEAR: [],
    }
    command = [
        "swaks", "--server", f"{door.host}:{door.port(way)}", *protection[way],
        "--auth", "LOGIN", "--auth-user", "any", "--auth-password", door.key,
        "--from", letter.sender, "--to", ",".join(letter.to), "--data", "-",
    ]  # fmt: skip
    # It writes the last line end itself.
    _run(command, given=written(letter).replace(b"\r\n", b"\n").removesuffix(b"\n"))


def python(door: Door, way: Way, letter: Letter) -> None:
    """smtplib of the standard library."""
    context = ssl.create_default_context(cafile=str(door.certificate))
    client = (
        smtplib.SMTP_SSL(door.host, door.implicit_port, timeout=_SECONDS, context=context)
        if way is Way.IMPLICIT
        else smtplib.SMTP(door.host, door.starttls_port, timeout=_SECONDS)
    )
    with client:
        if way is Way.STARTTLS:
            client.starttls(context=context)
        client.login("any", door.key)
        assert client.sendmail(letter.sender, letter.to, written(letter)) == {}


_DJANGO = """
import json, sys
from django.conf import settings
said = json.loads(sys.argv[1])
settings.configure(EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", **said["settings"])
from django.core.mail import EmailMultiAlternatives
letter = EmailMultiAlternatives(**said["letter"])
letter.attach_alternative("<p>Thank you.</p>", "text/html")
sys.exit(0 if letter.send() == 1 else 1)
"""


def django(door: Door, way: Way, letter: Letter) -> None:
    """Its SMTP backend trusts what OpenSSL does, which the environment names."""
    settings = {
        "EMAIL_HOST": door.host, "EMAIL_PORT": door.port(way), "EMAIL_HOST_USER": "any",
        "EMAIL_HOST_PASSWORD": door.key, "EMAIL_USE_TLS": way is Way.STARTTLS,
        "EMAIL_USE_SSL": way is Way.IMPLICIT, "EMAIL_TIMEOUT": _SECONDS,
    }  # fmt: skip
    said = {
        "subject": letter.subject, "body": letter.text, "from_email": letter.sender, "to": list(letter.to),
    }  # fmt: skip
    _run(
        [sys.executable, "-W", "ignore", "-c", _DJANGO, json.dumps({"settings": settings, "letter": said})],
        environment={"SSL_CERT_FILE": str(door.certificate)},
    )


def nodemailer(door: Door, way: Way, letter: Letter) -> None:
    transport = {
        "host": door.host, "port": door.port(way), "secure": way is Way.IMPLICIT,
        "requireTLS": way is Way.STARTTLS, "ignoreTLS": way is Way.CLEAR,
        "auth": {"user": "any", "pass": door.key},
    }  # fmt: skip
    message = {
        "from": letter.sender, "to": list(letter.to), "subject": letter.subject, "text": letter.text,
        "html": "<p>Thank you.</p>",
    }  # fmt: skip
    said = json.dumps({"transport": transport, "message": message})
    _run(
        ["node", str(nodemailer_folder() / "send.mjs"), said],
        environment={"NODE_EXTRA_CA_CERTS": str(door.certificate)},
    )


PROGRAMS: Mapping[str, Program] = {
    "curl": curl, "swaks": swaks, "smtplib": python, "django": django, "nodemailer": nodemailer,
}  # fmt: skip


def written(letter: Letter) -> bytes:
    """The message of those who want it whole, with CRLF."""
    made = EmailMessage(policy=policy.SMTP)
    made["From"], made["To"], made["Subject"] = letter.sender, ", ".join(letter.to), letter.subject
    made.set_content(letter.text, cte="8bit")
    return made.as_bytes()


def nodemailer_folder() -> Path:
    """Where nodemailer is installed, as its lock says; outside the project, and once for each lock."""
    lock = (_NODEMAILER / "package-lock.json").read_bytes() + (_NODEMAILER / "send.mjs").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mailer-tests"
    folder = cache / f"nodemailer-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(prefix="nodemailer-", dir=cache))
        shutil.copytree(_NODEMAILER, half, dirs_exist_ok=True)
        _run(["npm", "ci", "--loglevel=error"], folder=half)
        try:
            half.rename(folder)
        except OSError:  # another run was quicker
            shutil.rmtree(half)
    return folder


_INSTALL = {
    "curl": "apt-get install curl", "swaks": "apt-get install swaks", "node": "apt-get install nodejs",
    "npm": "apt-get install npm",
}  # fmt: skip


def _run(
    command: Sequence[str],
    *,
    given: bytes = b"",
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> None:
    if shutil.which(command[0]) is None:
        raise AssertionError(f"{command[0]} is missing: {_INSTALL[command[0]]}")
    done = subprocess.run(
        command, input=given, env=os.environ | dict(environment or {}), cwd=folder, capture_output=True,
        timeout=_SECONDS * 2, check=False,
    )  # fmt: skip
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{said}"
