"""The commands that need no running role, as an operator types them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.zone
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from mailer import clock, ids
from mailer.cli import main
from mailer.identity.keys import new_key, parse_key
from mailer.store import Store
from mailer.store.tables import usage
from tests.support.mailroom import BOUNCED, DELIVERED, HEARD_451, NO_SUCH_USER, Mailroom

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `mailer ...` with a data folder of its own; `environ` sets MAILER_* beside it."""

    def run(*arguments: str, **environ: str) -> Result:
        env = {"MAILER_DATA_DIR": str(tmp_path / "data"), **environ}
        return CliRunner(env=env).invoke(main, arguments, catch_exceptions=False)

    return run


@pytest.fixture
def ready(run: Run) -> Run:
    assert run("provision").exit_code == 0
    return run


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def refusal(result: Result) -> tuple[int, str]:
    assert result.stdout == ""
    return result.exit_code, result.stderr


def test_the_version_comes_without_loading_what_it_does_not_need() -> None:
    code = (
        "import sys; from mailer.cli import main; main(['version'], standalone_mode=False);"
        "print(sorted({'sqlalchemy', 'pydantic', 'celery', 'fastapi'} & set(sys.modules)))"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout == "ecm-mailer 0.1.0\n[]\n"


@pytest.mark.parametrize("command", main.list_commands(None))
def test_every_command_explains_itself(run: Run, command: str) -> None:
    told = run(command, "--help")

    assert told.exit_code == 0
    assert "Usage: main" in told.stdout


def test_a_bad_setting_is_a_sentence_and_code_2(run: Run) -> None:
    told = run("verify", MAILER_HTTP_PORT="x", MAILER_COLOUR="y")

    assert refusal(told) == (
        2,
        "mailer: MAILER_COLOUR is not a setting; `mailer check-config` lists them\n"
        "mailer: MAILER_HTTP_PORT must be a whole number from 0 to 65535, not 'x' (example: 8080)\n",
    )


def test_without_a_database_the_way_to_one_is_told_and_none_is_made(run: Run, tmp_path: Path) -> None:
    code, sentence = refusal(run("messages"))

    assert code == 1
    assert sentence.startswith("mailer: there is no database at ")
    assert not (tmp_path / "data").exists()


def test_a_database_that_does_not_answer_is_a_sentence(run: Run) -> None:
    code, sentence = refusal(run("messages", MAILER_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none"))

    assert code == 1
    assert sentence.startswith("mailer: the database does not answer: ")
    assert sentence.count("\n") == 1


def test_check_config_shows_where_values_come_from_and_no_secret(run: Run) -> None:
    key = new_key(1).text

    told = run("check-config", "--json", MAILER_API_KEY=key, MAILER_WORKERS="3")

    lines = {line["variable"]: line for line in answer(told)}
    assert (lines["MAILER_WORKERS"]["value"], lines["MAILER_WORKERS"]["from"]) == ("3", "set")
    assert (lines["MAILER_HTTP_PORT"]["value"], lines["MAILER_HTTP_PORT"]["from"]) == ("8025", "default")
    assert lines["MAILER_API_KEY"]["value"] == "(set)"
    assert key not in told.stdout


@pytest.mark.parametrize("form", [(), ("--explain",), ("--markdown",)])
def test_check_config_tells_people_about_every_setting(run: Run, form: tuple[str, ...]) -> None:
    told = run("check-config", *form)

    assert told.exit_code == 0
    assert told.stdout.count("MAILER_SMTP_TIMEOUT_") == 6


def test_the_schema_is_made_once_and_checked(run: Run) -> None:
    made = [answer(run("db", "upgrade", "--json")) for _ in range(2)]

    assert made[0] == made[1] == answer(run("db", "check", "--json"))
    assert made[0]["schema"]


def test_provision_repeated_prints_the_same_key_which_only_its_owner_can_read(
    run: Run, tmp_path: Path
) -> None:
    first = answer(run("provision", "--json"))

    assert answer(run("provision", "--json")) == first
    assert first["domain"] == "sandbox.mailer.test"
    assert parse_key(first["api_key"])
    assert (tmp_path / "data" / "bootstrap.json").stat().st_mode & 0o777 == 0o600


def test_a_given_key_is_used_and_not_kept(run: Run, tmp_path: Path) -> None:
    key = run("key", "new").stdout.strip()

    made = answer(run("provision", "--json", MAILER_API_KEY=key))

    assert made["api_key"] == key
    assert not (tmp_path / "data" / "bootstrap.json").exists()


def test_a_revoked_first_key_is_not_shown_as_if_it_were_good(ready: Run) -> None:
    key = answer(ready("provision", "--json"))["api_key"]
    ready("key", "revoke", key)

    assert answer(ready("provision", "--json"))["api_key"] is None


def test_another_secret_is_refused_before_it_does_harm(ready: Run) -> None:
    code, sentence = refusal(ready("provision", MAILER_SECRET="ab" * 32))

    assert code == 1
    assert sentence.startswith("mailer: the secret is not the one this database was set up with")


def test_tenants_are_made_listed_suspended_and_resumed(ready: Run) -> None:
    made = answer(ready("tenant", "create", "acme", "--json"))
    ready("tenant", "revoke", "acme")
    suspended = answer(ready("tenant", "list", "--json"))
    ready("tenant", "resume", "acme")

    assert ids.parse("ten", made["id"])
    assert [(t["name"], t["state"]) for t in suspended] == [
        ("default", "active"), ("operator", "active"), ("acme", "suspended"),
    ]  # fmt: skip
    assert "acme      active" in ready("tenant", "list").stdout
    assert refusal(ready("tenant", "create", "acme")) == (1, "mailer: there is a tenant 'acme' already\n")


def test_a_tenant_says_what_its_submitters_hear_of_failures(ready: Run) -> None:
    made = answer(ready("tenant", "create", "acme", "--failure-notices", "events", "--json"))
    changed = answer(ready("tenant", "set", "acme", "--failure-notices", "dsn", "--json"))

    assert (made["failure_notices"], changed["failure_notices"]) == ("events", "dsn")
    assert "acme      active  dsn" in ready("tenant", "list").stdout
    assert refusal(ready("tenant", "set", "none", "--failure-notices", "dsn")) == (
        1, "mailer: there is no tenant 'none'\n",
    )  # fmt: skip
    assert ready("tenant", "set", "acme", "--failure-notices", "loud").exit_code == 2


def test_the_operator_has_records_like_any_domain(ready: Run) -> None:
    told = ready("domain", "records", "operator.mailer.test", "--mx", "mail.example.org", "--format", "json")

    assert sum("._domainkey.operator.mailer.test" in record["name"] for record in answer(told)) == 2


def test_a_domain_that_was_asked_for_and_is_anothers_is_refused(run: Run) -> None:
    code, sentence = refusal(run("provision", MAILER_OPERATOR_DOMAIN="sandbox.mailer.test"))

    assert code == 1
    assert "the domain sandbox.mailer.test belongs to the tenant 'default'" in sentence


def test_a_default_that_is_anothers_is_a_warning(run: Run) -> None:
    live = {
        "MAILER_MODE": "live",
        "MAILER_HOSTNAME": "mail.acme.example",
        "MAILER_DOMAIN": "mail.acme.example",
    }

    told = run("provision", "--json", **live)

    assert answer(told)["domain"] == "mail.acme.example"
    assert "get no notices of failure" in told.stderr


@pytest.mark.parametrize("command", [("check-config",), ("provision",)])
def test_without_a_name_for_notices_there_is_a_warning(run: Run, command: tuple[str, ...]) -> None:
    told = run(*command, MAILER_MODE="live", MAILER_HOSTNAME="localhost.localdomain")

    assert told.exit_code == 0
    assert told.stderr.startswith("mailer: neither MAILER_OPERATOR_DOMAIN nor a full MAILER_HOSTNAME is set")


def test_keys_are_made_listed_and_revoked(ready: Run) -> None:
    made = answer(ready("key", "create", "--name", "shop", "--scope", "send", "--days", "7", "--json"))
    ready("key", "revoke", made["id"])

    listed = {key["id"]: key for key in answer(ready("key", "list", "--json"))}
    key = listed[made["id"]]
    assert (key["name"], key["scopes"]) == ("shop", ["send"])
    assert key["revoked_at"] and key["expires_at"]
    assert made["api_key"] not in ready("key", "list").stdout


def test_a_key_is_limited_to_streams_and_sending_domains(ready: Run) -> None:
    limits = ("--stream", "broadcast", "--domain", "Sandbox.mailer.test")
    made = answer(ready("key", "create", *limits, "--json"))

    listed = {key["id"]: key for key in answer(ready("key", "list", "--json"))}
    [row] = [line for line in ready("key", "list").stdout.splitlines() if line.startswith(made["id"])]
    assert listed[made["id"]]["streams"] == ["broadcast"]
    assert listed[made["id"]]["domains"] == ["sandbox.mailer.test"]
    assert " broadcast " in row
    assert " sandbox.mailer.test " in row


@pytest.mark.parametrize("limit", [("--stream", "none"), ("--domain", "none.example")])
def test_a_key_is_not_limited_to_what_does_not_exist(ready: Run, limit: tuple[str, str]) -> None:
    told = ready("key", "create", *limit)

    assert told.exit_code == 1
    assert f"{limit[1]!r} is none of the tenant's" in told.stderr


def test_a_created_key_is_all_that_is_printed(ready: Run) -> None:
    assert parse_key(ready("key", "create").stdout.strip())


@pytest.mark.parametrize("key_id", ["nonsense", "msg_0000000000005", "mk_x"])
def test_what_is_no_key_cannot_be_revoked(ready: Run, key_id: str) -> None:
    told = ready("key", "revoke", key_id)

    assert told.exit_code == 2
    assert "neither an id key_... nor an API key" in told.stderr


def test_domains_are_made_listed_and_revoked(ready: Run) -> None:
    made = answer(ready("domain", "create", "Bücher.example", "--json"))
    ready("domain", "revoke", "bücher.example")

    listed = {domain["name"]: domain for domain in answer(ready("domain", "list", "--json"))}
    assert made["name"] == "xn--bcher-kva.example"
    assert listed[made["name"]]["state"] == "revoked"
    assert refusal(ready("domain", "revoke", "none.example")) == (
        1,
        "mailer: there is no sending domain 'none.example'\n",
    )


def test_the_records_of_a_domain_come_with_a_word_about_links_to_unsubscribe(ready: Run) -> None:
    command = ("domain", "records", "sandbox.mailer.test", "--mx", "mail.example.org")
    live = {"MAILER_MODE": "live", "MAILER_HOSTNAME": "mail.example.org"}

    assert "MAILER_PUBLIC_URL" in ready(*command, **live).stderr
    assert "MAILER_PUBLIC_URL" not in ready(*command).stderr


def test_the_records_of_a_domain_are_those_its_keys_sign_under(ready: Run) -> None:
    told = ready("domain", "records", "sandbox.mailer.test", "--mx", "mail.example.org", "--format", "json")

    records = {(record["type"], record["name"]): record["value"] for record in answer(told)}
    dkim = [value for (_, name), value in records.items() if "._domainkey.sandbox.mailer.test" in name]
    assert [value[:15] for value in sorted(dkim)] == ["v=DKIM1; k=ed25", "v=DKIM1; k=rsa;"]
    assert records["MX", "bounce.sandbox.mailer.test"] == "10 mail.example.org."
    reports = "mailto:dmarc-reports@bounce.sandbox.mailer.test"
    assert records["TXT", "_dmarc.sandbox.mailer.test"] == f"v=DMARC1; p=none; rua={reports}; ruf={reports}"


def test_reports_are_asked_for_elsewhere_or_not_at_all(ready: Run) -> None:
    def dmarc(*options: str) -> str:
        told = ready("domain", "records", "sandbox.mailer.test", "--format", "json", *options)
        return next(r["value"] for r in answer(told) if r["name"].startswith("_dmarc."))

    assert dmarc("--no-reports") == "v=DMARC1; p=none"
    assert dmarc("--dmarc-reports-to", "d@x.example").endswith(
        "rua=mailto:d@x.example; ruf=mailto:d@x.example"
    )


def test_the_zone_file_is_read_by_another_parser(ready: Run) -> None:
    told = ready("domain", "records", "sandbox.mailer.test", "--mx", "mail.example.org", "--format", "zone")

    zone = dns.zone.from_text(told.stdout, origin="sandbox.mailer.test.")
    assert len(list(zone.iterate_rdatas("TXT"))) == 5


def test_a_host_without_a_public_name_is_pointed_out(ready: Run) -> None:
    told = ready("domain", "records", "sandbox.mailer.test", MAILER_HOSTNAME="localhost.localdomain")

    assert told.exit_code == 0
    assert "set MAILER_HOSTNAME or give --mx" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("none.example",), "mailer: there is no sending domain 'none.example'\n"),
        (("sandbox.mailer.test", "--mx", "no host"), "mailer: 'no host' is not a domain name in A-labels\n"),
    ],
)
def test_records_that_cannot_be_are_a_sentence(ready: Run, arguments: tuple[str, ...], sentence: str) -> None:
    assert refusal(ready("domain", "records", *arguments)) == (1, sentence)


def test_a_key_file_without_a_selector_is_refused(ready: Run) -> None:
    told = ready("domain", "create", "acme.example", "--dkim-key-file", "key.pem")

    assert told.exit_code == 2
    assert "belong together" in told.stderr


@pytest.fixture
def room(ready: Run, tmp_path: Path) -> Mailroom:
    """A tenant `acme` with one delivered and one waiting recipient."""
    store = Store(f"sqlite:///{tmp_path}/data/mailer.sqlite3")
    room = Mailroom.furnish(store, now=clock.now())
    room.accept(room.message("example.org"))
    room.settle(room.claim(), DELIVERED)
    room.accept(room.message("example.net"))
    yield room
    store.close()


def test_the_newest_messages_come_first_with_the_states_of_their_recipients(
    ready: Run, room: Mailroom
) -> None:
    listed = answer(ready("messages", "--json"))

    assert [m["subject"] for m in listed] == ["order 1", "order 0"]
    assert [m["recipients"] for m in listed] == [{"queued": 1}, {"delivered": 1}]
    assert answer(ready("messages", "--tenant", "default", "--json")) == []
    assert "1 delivered" in ready("messages").stdout


def test_messages_are_found_by_state_and_recipient(ready: Run, room: Mailroom) -> None:
    mine = ("messages", "--tenant", "acme", "--json")

    assert [m["subject"] for m in answer(ready(*mine))] == ["order 1", "order 0"]
    assert [m["subject"] for m in answer(ready(*mine, "--state", "delivered"))] == ["order 0"]
    assert [m["subject"] for m in answer(ready(*mine, "--recipient", "user1@EXAMPLE.net"))] == ["order 1"]
    assert answer(ready(*mine, "--tag", "none", "--stream", "transactional")) == []
    assert ready(*mine, "--recipient", "nobody").exit_code == 2


def test_explain_tells_every_decision_and_what_is_waited_for(ready: Run, room: Mailroom) -> None:
    newest, oldest = [m["id"] for m in answer(ready("messages", "--json"))]

    [waiting] = answer(ready("explain", newest, "--json"))
    story = ready("explain", oldest).stdout

    assert waiting["state"] == "queued"
    assert waiting["now"]["what"] == "waits to be claimed"
    assert "is delivered" in story.splitlines()[0]
    assert "attempt accepted: mx.example" in story
    assert story.splitlines()[-1].startswith("=> ")


def test_explain_tells_what_a_refusal_was_taken_for(ready: Run, room: Mailroom) -> None:
    room.settle(room.claim(), BOUNCED, HEARD_451, judged=NO_SUCH_USER)
    newest, oldest = [m["id"] for m in answer(ready("messages", "--json"))]

    [failed] = answer(ready("explain", newest, "--json"))
    [fine] = answer(ready("explain", oldest, "--json"))

    assert failed["judged"] == {
        "bounce_class": "invalid-mailbox", "action": "fail", "blame": "recipient", "rule": NO_SUCH_USER.rule,
    }  # fmt: skip
    assert fine["judged"] is None
    assert ready("explain", newest).stdout.splitlines()[-1] == (
        f"   judged invalid-mailbox: fail, the blame is recipient; by the rule {NO_SUCH_USER.rule}"
    )


@pytest.mark.parametrize(
    ("message_id", "code"),
    [("msg_0000000000005", 1), ("rcpt_0000000000005", 1), ("key_0000000000005", 2), ("5", 2)],
)
def test_explain_of_what_is_not_there_is_an_error(ready: Run, message_id: str, code: int) -> None:
    told = ready("explain", message_id)

    assert told.exit_code == code
    assert told.stdout == ""


def test_verify_ends_with_0_while_the_equation_holds(ready: Run, room: Mailroom) -> None:
    verdict = answer(ready("verify", "--json"))

    [acme] = [tenant for tenant in verdict["tenants"] if tenant["name"] == "acme"]
    assert verdict["holds"]
    assert (acme["accepted"], acme["final"]["delivered"], acme["in_queue"], acme["unaccounted"]) == (
        2,
        1,
        1,
        0,
    )
    assert "tenant acme: 2 accepted = 1 final + 1 in the queue + 0 unaccounted" in ready("verify").stdout


def test_verify_ends_with_1_when_a_recipient_is_missing(ready: Run, room: Mailroom) -> None:
    with room.store.write() as connection:
        connection.execute(update(usage).values(accepted=usage.c.accepted + 1))

    told = ready("verify")

    assert told.exit_code == 1
    assert "BROKEN" in told.stdout


def test_send_without_an_instance_says_how_to_start_one(ready: Run) -> None:
    code, sentence = refusal(ready("send", "--from", "a@sandbox.mailer.test", "--to", "b@example.org"))

    assert code == 1
    assert sentence.startswith("mailer: no instance runs in ")


def test_send_to_nobody_listening_is_a_sentence(ready: Run) -> None:
    told = ready("send", "--from", "a@b.example", "--to", "b@example.org", "--url", "http://127.0.0.1:1")

    code, sentence = refusal(told)
    assert code == 1
    assert sentence.startswith("mailer: http://127.0.0.1:1 does not answer: ")


def test_the_rule_that_limits_a_host_is_told_with_its_place(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "sites.toml"
    own.write_text('\n[provider.big]\nmx = ["big.example"]\nconnections = 3\nsource = "agreed"\n')

    checked = run("sites", "check", str(own))
    ruled = answer(run("sites", "explain", "mx1.big.example", "--json", MAILER_SITES_FILE=str(own)))
    said = run("sites", "explain", "mx1.big.example", MAILER_SITES_FILE=str(own))
    other = answer(run("sites", "explain", "mx.small.example", "--json", MAILER_CONNECTIONS_PER_SITE="7"))
    listed = answer(run("sites", "list", "--json", MAILER_SITES_FILE=str(own)))

    assert "1 rules of its own" in checked.output
    assert {"greylisted", "too-many-connections"} <= {rule["name"] for rule in other.pop("on_replies")}
    assert (ruled["site"], ruled["connections"], ruled["messages_per_session"]) == ("provider:big", 3, 1000)
    assert (ruled["rule"]["place"], ruled["rule"]["source"]) == (f"{own}:2", "agreed")
    assert f"rule: provider.big ({own}:2); source: agreed" in said.output
    assert other == {
        "site": "mx:mx.small.example",
        "connections": 7,
        "messages_per_session": 1000,
        "rule": None,
    }
    assert {"google", "big"} <= {rule["name"] for rule in listed}
    assert all(rule["source"] for rule in listed)


def test_faults_of_site_rules_end_the_commands_that_check_them(ready: Run, tmp_path: Path) -> None:
    own = tmp_path / "sites.toml"
    own.write_text('[provider.big]\nmx = ["big.example"]\nconnections = 0\n')

    for arguments in (("sites", "check", str(own)), ("check-config",)):
        code, said = refusal(ready(*arguments, MAILER_SITES_FILE=str(own)))
        assert code == 2
        assert f"{own}:1: connections must be a number from 1 to 10000" in said
        assert f"{own}:1: provider.big needs source" in said
    code, said = refusal(ready("check-config", MAILER_SITES_FILE=str(tmp_path / "none.toml")))
    assert (code, "none.toml cannot be read" in said) == (2, True)


def test_what_is_in_force_instead_of_a_bad_file_is_told(ready: Run, tmp_path: Path) -> None:
    own = tmp_path / "sites.toml"
    own.write_text('[provider.big]\nmx = ["big.example"]\nconnections = 0\nsource = "agreed"\n')
    bad = {"MAILER_SITES_FILE": str(own)}

    shipped = ready("sites", "list", "--json", **bad)
    kept = tmp_path / "data" / "sites.last-good.toml"
    kept.write_text(own.read_text().replace("= 0", "= 3"))
    last_good = ready("sites", "list", "--json", **bad)
    ready("sites", "set", "big", "connections=2", **bad)
    changed = answer(ready("sites", "explain", "big.example", "--json", **bad))

    assert f"MAILER_SITES_FILE {own} cannot be used, in force are the shipped rules alone: " in shipped.stderr
    assert f"{own}:1: connections must be a number" in shipped.stderr
    assert "big" not in {rule["name"] for rule in json.loads(shipped.stdout)}
    assert f"in force are its last good rules, kept in {kept}: " in last_good.stderr
    [big] = [rule for rule in json.loads(last_good.stdout) if rule["name"] == "big"]
    assert (big["connections"], big["place"]) == (3, f"{kept}:1")
    assert changed["connections"] == 2
