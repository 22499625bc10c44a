"""Every example of docs/smtp.md does what it says, against the real command."""

from __future__ import annotations

import os
import re
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support.instance import ROOT, Instance, Ready, installed, wait_for
from tests.support.postfix import Postfix

DOCUMENT = (ROOT / "docs/smtp.md").read_text()
EXAMPLES = re.findall(r"^```(sh|python)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
[MAIN_CF] = re.findall(r"^```ini\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with installed(tmp_path_factory.mktemp("document") / "data", {}, http_port=0) as running:
        yield running


@pytest.fixture
def ready(instance: Instance) -> Ready:
    assert instance.ready is not None
    return instance.ready


def here(text: str, instance: Instance) -> str:
    """An example with the ports, the folder and the key of this instance."""
    ready = instance.ready
    assert ready is not None
    for theirs, ours in {
        "2587": str(ready.smtp_port), "2465": str(ready.smtps_port), "mk_...": ready.api_key,
        "data/tls": str(instance.data / "tls"),
    }.items():  # fmt: skip
        text = text.replace(theirs, ours)
    return text


def accepted(instance: Instance) -> int:
    """How many messages there are by now."""
    return sum(event["type"] == "accepted" for event in instance.events())


def one_more(instance: Instance, before: int) -> int:
    """How many there are once there is another."""
    return wait_for(
        "another message",
        lambda: count if (count := accepted(instance)) > before else None,
        within_seconds=PATIENCE_SECONDS,
    )


@pytest.mark.parametrize(("language", "text"), EXAMPLES, ids=lambda part: part.split("\n")[0][:20])
def test_the_example_sends(
    instance: Instance, ready: Ready, tmp_path: Path, language: str, text: str
) -> None:
    before = accepted(instance)
    program = here(text, instance)
    done = subprocess.run(
        ["sh", "-ec", program] if language == "sh" else [sys.executable, "-W", "ignore", "-c", program],
        env=os.environ | {"MAILER_API_KEY": ready.api_key}, cwd=tmp_path, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert one_more(instance, before) == before + 1


def test_the_lines_for_postfix_make_it_relay(instance: Instance, ready: Ready) -> None:
    before = accepted(instance)
    options = dict(line.split(" = ", 1) for line in here(MAIN_CF, instance).splitlines())
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = f"shop@{ready.domain}", "ann@example.org", "Hello"
    letter.set_content("Thank you.")
    with closing(Postfix("office.example.org", options)) as office:
        office.start()
        with office.client() as client:
            client.send_message(letter)
        after = one_more(instance, before)

    assert after == before + 1


def test_the_extensions_in_the_document_are_those_that_are_offered(ready: Ready) -> None:
    [sentence] = re.findall(r"^Offered are ([^.]*)\.", DOCUMENT, re.MULTILINE)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP(ready.smtp_host, ready.smtp_port, timeout=20) as client:
        client.ehlo()
        in_clear = set(client.esmtp_features)
        client.starttls(context=context)
        client.ehlo()
        over_tls = set(client.esmtp_features)

    told = {word.lower() for word in re.findall(r"\b[A-Z0-9]{3,}\b", sentence)}
    assert told - {"bdat"} | {"help"} == in_clear - {"starttls"} == over_tls - {"auth", "requiretls"}
    assert "requiretls" in over_tls
    assert {"starttls", "auth"} <= in_clear ^ over_tls


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3
