from __future__ import annotations

from pathlib import Path

import pytest

from mailer.config import ConfigError, Mode, Settings, role_name
from mailer.config.describe import lines
from mailer.config.load import site_by_route
from mailer.identity.keys import new_key


def problems_of(environ: dict[str, str], **overrides: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        Settings.load(environ, overrides)
    return caught.value.problems


def test_an_empty_environment_gives_a_sandbox_in_the_folder_data() -> None:
    settings = Settings.load({"PATH": "/bin"})

    assert settings.mode is Mode.SANDBOX
    assert settings.data_dir == Path("data").absolute()
    assert settings.database_url == f"sqlite:///{settings.data_dir}/mailer.sqlite3"
    assert settings.broker_url == f"bell://{settings.data_dir}/bell"
    assert settings.domain == "sandbox.mailer.test"


def test_options_go_before_the_environment_and_absent_ones_do_not() -> None:
    settings = Settings.load(
        {"MAILER_HTTP_PORT": "1", "MAILER_WORKERS": "3"}, {"http_port": 2, "workers": None}
    )

    assert (settings.http_port, settings.workers) == (2, 3)


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("MAILER_HTTP_PORT", "abc", "must be a whole number from 0 to 65535, not 'abc' (example: 8080)"),
        ("MAILER_HTTP_PORT", "70000", "must be a whole number from 0 to 65535, not '70000' (example: 8080)"),
        ("MAILER_LEASE_SECONDS", "0", "must be a number of seconds from 1 to 600, not '0' (example: 15)"),
        ("MAILER_MODE", "production", "must be one of sandbox, live, not 'production' (example: live)"),
        ("MAILER_DATABASE_PREPARE", "maybe", "must be true or false, not 'maybe' (example: true)"),
        ("MAILER_IN_DOUBT", "ask", "must be one of retry, give-up, not 'ask' (example: give-up)"),
        ("MAILER_RETRY_DELAYS", "1m,soon", "must be a duration such as 90s, 5m, 4h or 4d, not 'soon'"),
        ("MAILER_RETRY_DELAYS", "", "must list one duration or more, such as 1m,5m,15m"),
        ("MAILER_HOSTNAME", "not_a host", "must be a host name such as mail.example.org, not 'not_a host'"),
        ("MAILER_RESOLVERS", "dns.example", "must list IP addresses with an optional port, "
         "such as 192.0.2.53:53, not 'dns.example'"),
        ("MAILER_BROKER_URL", "kafka://x", "must be a URL that starts with bell://, amqp://, amqps://, "
         "redis://, rediss://"),
        ("MAILER_ROUTES", "nowhere", "is not a list of routes: route 'nowhere' must read domain=host:port, "
         "or *=host:port"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_one_sentence_that_names_it(variable: str, text: str, sentence: str) -> None:
    assert problems_of({variable: text}) == (f"{variable} {sentence}",)


def test_all_faults_are_told_at_once() -> None:
    told = problems_of({"MAILER_HTTP_PORT": "x", "MAILER_MODE": "y", "MAILER_HTP_PORT": "1"})

    assert [problem.split()[0] for problem in told] == ["MAILER_HTP_PORT", "MAILER_MODE", "MAILER_HTTP_PORT"]


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("MAILER_HTP_PORT", "; did you mean MAILER_HTTP_PORT?"),
        ("MAILER_COLOUR", "; `mailer check-config` lists them"),
        ("MAILER_http_port", "; did you mean MAILER_HTTP_PORT?"),
    ],
)
def test_an_unknown_variable_is_an_error_with_a_hint(variable: str, hint: str) -> None:
    assert problems_of({variable: "1"}) == (f"{variable} is not a setting{hint}",)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("MAILER_API_KEY", "mk_hunter2"),
        ("MAILER_SECRET", "hunter2"),
        ("MAILER_DATABASE_URL", "mysql://me:hunter2@db/mailer"),
        ("MAILER_BROKER_URL", "http://me:hunter2@broker"),
        ("MAILER_ROUTES", "*=smtp.example.org:587;tls=none;user=me;password=hunter2"),
    ],
)
def test_an_error_never_repeats_a_secret(variable: str, text: str) -> None:
    [problem] = problems_of({variable: text})

    assert problem.startswith(variable)
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "environ",
    [
        {"MAILER_DKIM_KEY_FILE": "/k.pem"},
        {"MAILER_SMTP_KEY_FILE": "/k.pem"},
        {"MAILER_SMTP_AUTH_IN_CLEAR": "true", "MAILER_MODE": "live"},
        {"MAILER_SMTP_AUTH_IN_CLEAR": "true", "MAILER_SMTP_HOST": "0.0.0.0"},
        {"MAILER_SMTP_AUTH_IN_CLEAR": "true", "MAILER_SMTP_HOST": "192.0.2.25"},
        {"MAILER_DKIM_SELECTOR": "s1"},
        {"MAILER_MODE": "live", "MAILER_DKIM_KEY_FILE": "/k.pem", "MAILER_DKIM_SELECTOR": "s1"},
        {"MAILER_MAX_MESSAGE_MB": "50"},
        {"MAILER_BYTE_BUDGET_MB": "64", "MAILER_MAX_REQUEST_MB": "65"},
        {"MAILER_LEASE_SECONDS": "1", "MAILER_SWEEP_SECONDS": "0.6"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ: dict[str, str]) -> None:
    assert len(problems_of(environ)) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_a_sandbox_on_loopback_may_do_without_tls(host: str) -> None:
    settings = Settings.load({"MAILER_SMTP_AUTH_IN_CLEAR": "true", "MAILER_SMTP_HOST": host})

    assert settings.smtp_auth_in_clear


@pytest.mark.parametrize(
    "text",
    ["postgres://me@db/mailer", "postgresql://me@db/mailer", "postgresql+psycopg://me@db/mailer"],
)
def test_every_spelling_of_postgresql_means_psycopg(text: str) -> None:
    assert Settings.load({"MAILER_DATABASE_URL": text}).database_url == "postgresql+psycopg://me@db/mailer"


def test_live_mode_makes_no_domain_unless_one_is_named() -> None:
    assert Settings.load({"MAILER_MODE": "live"}).domain is None
    assert (
        Settings.load({"MAILER_MODE": "live", "MAILER_DOMAIN": "Bücher.example"}).domain
        == "xn--bcher-kva.example"
    )


def test_in_sandbox_mode_what_no_route_takes_goes_to_the_inbox() -> None:
    table = Settings.load(
        {"MAILER_ROUTES": "example.org=192.0.2.1:25", "MAILER_INBOX_PORT": "4025"}
    ).route_table

    taken, rest = table.match("example.org"), table.match("example.com")

    assert taken is not None and (taken.host, taken.port) == ("192.0.2.1", 25)
    assert rest is not None and (rest.host, rest.port) == ("127.0.0.1", 4025)


def test_a_route_for_all_keeps_mail_from_the_inbox() -> None:
    route = Settings.load({"MAILER_ROUTES": "*=127.0.0.1:2600;tls=none"}).route_table.match("example.org")

    assert route is not None and route.port == 2600


def test_in_live_mode_what_no_route_takes_is_looked_up() -> None:
    assert Settings.load({"MAILER_MODE": "live"}).route_table.match("example.org") is None


def test_a_sandbox_without_an_inbox_port_has_no_routes() -> None:
    settings = Settings.load({"MAILER_INBOX_PORT": "0"})

    with pytest.raises(ConfigError, match="MAILER_INBOX_PORT"):
        settings.route_table  # noqa: B018


def test_a_child_process_reads_the_same_settings() -> None:
    settings = Settings.load(
        {
            "MAILER_API_KEY": new_key(7).text,
            "MAILER_SECRET": "ab" * 32,
            "MAILER_RETRY_DELAYS": "200ms, 90s, 2h",
            "MAILER_RESOLVERS": "127.0.0.1:5300, ::1",
            "MAILER_ROUTES": "*=127.0.0.1:2600;tls=none",
            "MAILER_DATABASE_PREPARE": "yes",
            "MAILER_LEASE_SECONDS": "2.5",
            "MAILER_DATA_DIR": "/srv/some folder",
        }
    )

    assert Settings.load(settings.to_environ()) == settings


def test_settings_that_show_up_in_a_log_hold_no_secret() -> None:
    key = new_key(7).text

    assert key not in repr(Settings.load({"MAILER_API_KEY": key, "MAILER_SECRET": "ab" * 32}))


def test_settings_cannot_be_changed() -> None:
    settings = Settings.load({})

    with pytest.raises(ValueError, match="frozen"):
        settings.http_port = 1  # type: ignore[misc]


@pytest.mark.parametrize("line", lines(Settings), ids=lambda line: line.name)
def test_every_setting_says_what_it_means_and_its_example_is_good(line) -> None:
    own = {"api_key": new_key(1).text, "secret": "00" * 32}
    environ = {line.variable: own.get(line.name, line.example)}
    partner = {
        "dkim_key_file": {"MAILER_DKIM_SELECTOR": "s"},
        "dkim_selector": {"MAILER_DKIM_KEY_FILE": "k"},
        "smtp_key_file": {"MAILER_SMTP_CERT_FILE": "c"},
    }

    settings = Settings.load(environ | partner.get(line.name, {}))

    assert line.meaning.endswith(".")
    assert settings.is_set(line.name)


def test_worker_processes_have_names_of_their_own() -> None:
    assert [role_name("worker", index) for index in (1, 2, 3)] == ["worker", "worker-2", "worker-3"]


@pytest.mark.parametrize(
    ("environ", "domain"),
    [
        ({}, "operator.mailer.test"),
        ({"MAILER_MODE": "live", "MAILER_HOSTNAME": "mail.example.org"}, "mail.example.org"),
        ({"MAILER_MODE": "live", "MAILER_HOSTNAME": "localhost.localdomain"}, None),
        ({"MAILER_MODE": "live", "MAILER_HOSTNAME": "mail"}, None),
        ({"MAILER_MODE": "live", "MAILER_OPERATOR_DOMAIN": "Op.Example.org"}, "op.example.org"),
    ],
)
def test_notices_come_from_a_name_that_others_can_know(environ: dict[str, str], domain: str | None) -> None:
    settings = Settings.load(environ)

    assert settings.operator_domain == domain
    assert any("notices of failure" in warning for warning in settings.warnings) is (domain is None)


@pytest.mark.parametrize(
    ("environ", "site"),
    [
        ({}, None),  # `mailer up` took a free port for it
        ({"MAILER_INBOX_PORT": "2600"}, "route:127.0.0.1:2600"),
        ({"MAILER_INBOX_PORT": "0"}, None),
        ({"MAILER_ROUTES": "*=127.0.0.1:2601"}, "route:127.0.0.1:2601"),
    ],
)
def test_an_inbox_whose_port_was_not_given_is_no_known_site(
    environ: dict[str, str], site: str | None
) -> None:
    assert site_by_route(Settings.load(environ))("example.org") == site
