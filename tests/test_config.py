"""Settings: what is read from where, what is refused with which words, and that no secret ever shows."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from etl import config
from etl.config import STREAMS, SecretReference, ServerSettings, Settings, load_settings
from etl.errors import ConfigurationError, SecretError

SECRET = "S3cret-of-the-vault"
SERVER = '[[servers]]\nname = "hq"\nurl = "https://vb365.example.com:4443"\n'


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.upper().startswith("VB365_ETL_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def load(text: str) -> Settings:
    path = Path("settings.toml")
    path.write_text(text, encoding="utf-8")
    return load_settings(path)


def refusal(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    assert caught.value.exit_code == 4
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_defaults_without_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platformdirs.user_config_path", lambda _: tmp_path / "user")
    monkeypatch.setattr("platformdirs.site_config_path", lambda _: tmp_path / "site")
    settings = load_settings()
    assert settings.path is None
    assert settings.model_dump() == {
        "database": {"url": f"sqlite:///{tmp_path}/vb365.db", "password": ""},
        "reporting": {"timezone": "UTC", "late_after": timedelta(minutes=15)},
        "schedule": {"every": timedelta(minutes=15), "cron": None, "jitter": timedelta(seconds=30)},
        "sync": {
            "page_size": 1000,
            "requests_at_once": 16,
            "timeout_seconds": 60.0,
            "max_removed_share": 0.5,
            "logs_per_pass": 200,
            "max_list_bytes": 8_589_934_592,
            "deadline": timedelta(hours=6),
        },
        "servers": (),
    }


def test_a_file_in_full() -> None:
    settings = load(r"""
        [database]
        url = "postgresql+psycopg://etl@db.example.com/vb365"
        [reporting]
        timezone = "Europe/Berlin"
        late_after = "1h"
        [schedule]
        cron = "*/15 * * * *"
        jitter = "0s"
        [sync]
        page_size = 500
        requests_at_once = 4
        timeout_seconds = 12.5
        max_removed_share = 0.25
        logs_per_pass = 0
        [[servers]]
        name = "hq"
        url = "https://vb365.example.com:4443/proxied/"
        username = 'EXAMPLE\svc-report'
        password = "env:VB365_HQ_PASSWORD"
        api_version = "V8"
        timezone = "America/New_York"
        fingerprint_sha256 = "AB:CD:EF:01:23:45:67:89:abcdef0123456789:ABCDEF0123456789ABCDEF0123456789"
        streams = ["sessions", "jobs"]
        [[servers]]
        name = "lab"
        url = "http://127.0.0.1:4443"
        api_version = 7
        ca_file = "ca.pem"
    """)
    assert settings.path == Path("settings.toml")
    assert settings.database.url == "postgresql+psycopg://etl@db.example.com/vb365"
    assert settings.reporting_zone.key == "Europe/Berlin"
    assert settings.reporting.late_after == timedelta(hours=1)
    assert settings.schedule.cron == "*/15 * * * *"
    assert settings.schedule.every is None
    assert settings.schedule.jitter == timedelta(0)
    assert settings.sync == config.SyncSettings(
        page_size=500, requests_at_once=4, timeout_seconds=12.5, max_removed_share=0.25, logs_per_pass=0
    )
    hq, lab = settings.servers
    assert hq.url == "https://vb365.example.com:4443/proxied"
    assert hq.username == "EXAMPLE\\svc-report"
    assert str(hq.password) == "env:VB365_HQ_PASSWORD"
    assert (hq.api_version, hq.timezone) == ("v8", "America/New_York")
    assert hq.fingerprint_sha256 == "abcdef0123456789" * 4
    assert hq.streams == ("jobs", "sessions")
    assert (lab.api_version, lab.ca_file, lab.streams) == ("v7", Path("ca.pem"), STREAMS)
    assert not lab.password


def test_the_file_is_looked_for_here_then_in_the_users_then_in_the_systems_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in ("user", "site"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr("platformdirs.user_config_path", lambda _: tmp_path / "user")
    monkeypatch.setattr("platformdirs.site_config_path", lambda _: tmp_path / "site")
    for place, size in (("site", 3), ("user", 2), (".", 1)):
        (tmp_path / place / "vb365-etl.toml").write_text(f"[sync]\npage_size = {size}\n")
        assert load_settings().sync.page_size == size


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VB365_ETL_DATABASE__URL", "sqlite:///other.db")
    monkeypatch.setenv("VB365_ETL_SYNC__PAGE_SIZE", "7")
    monkeypatch.setenv("VB365_ETL_SERVERS__0__PASSWORD", "env:FIRST")
    monkeypatch.setenv("VB365_ETL_SERVERS__BRANCH__USERNAME", "someone")
    monkeypatch.setenv("VB365_ETL_SERVERS__2__NAME", "third")
    monkeypatch.setenv("VB365_ETL_SERVERS__2__URL", "https://third.example.com")
    monkeypatch.setenv("VB365_ETL_SERVERS__2__STREAMS", "jobs, copy_jobs")
    monkeypatch.setenv("VB365_ETL_SOMETHING_ELSE", "is not ours")
    settings = load(f"[sync]\nrequests_at_once = 2\n{SERVER}{SERVER.replace('hq', 'Branch')}")
    assert settings.database.url == f"sqlite:///{Path('other.db').absolute()}"
    assert (settings.sync.page_size, settings.sync.requests_at_once) == (7, 2)
    assert [server.name for server in settings.servers] == ["hq", "Branch", "third"]
    assert str(settings.servers[0].password) == "env:FIRST"
    assert settings.servers[1].username == "someone"
    assert settings.servers[2].streams == ("jobs", "copy_jobs")


def test_servers_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VB365_ETL_SERVERS", '[{"name": "hq", "url": "https://vb365.example.com"}]')
    assert [server.url for server in load("").servers] == ["https://vb365.example.com"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("VB365_ETL_DATABSE__URL", "x", "databse: unknown section (did you mean database?)"),
        ("VB365_ETL_SYNC__PAGE_SISE", "1", "sync.page_sise: unknown setting (did you mean page_size?)"),
        ("VB365_ETL_SERVERS__5__URL", "https://x", "VB365_ETL_SERVERS__5__...: there is no server 5"),
        ("VB365_ETL_SERVERS", "no json", "VB365_ETL_SERVERS: a section or list has to be JSON"),
    ],
)
def test_a_mistake_in_the_environment(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    monkeypatch.setenv(name, value)
    assert message in refusal(SERVER)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[databse]", "settings.toml: databse: unknown section (did you mean database?)"),
        ("[sync]\npage_sise = 1", "settings.toml: sync.page_sise: unknown setting (did you mean page_size?)"),
        (f'{SERVER}pasword = "{SECRET}"', "servers[hq].pasword: unknown setting (did you mean password?)"),
        (f"{SERVER}zzz = 1", "servers[hq].zzz: unknown setting (known are: name, url, username, password,"),
        ('[[servers]]\nname = "hq"', "servers[hq].url: is missing"),
        ('[[servers]]\nurl = "https://h"', "servers[0].name: is missing"),
        (f"{SERVER}{SERVER}", "servers: 2 servers are named 'hq'; names must differ"),
        (SERVER.replace("hq", "h" * 256), "].name: must have 1 to 255 characters"),
        (SERVER.replace("hq", "h\\u0007q"), ".name: must be printable"),
        ("[sync]\npage_size = 0", "sync.page_size: must be greater than or equal to 1"),
        ("[sync]\npage_size = 10001", "sync.page_size: must be less than or equal to 10000"),
        ("[sync]\nmax_removed_share = 1.5", "sync.max_removed_share: must be less than or equal to 1"),
        ("[sync]\nlogs_per_pass = -1", "sync.logs_per_pass: must be greater than or equal to 0"),
        ('[sync]\ndeadline = "0s"', "sync.deadline: must be at least 1s"),
        ('[sync]\ndeadline = "soon"', "sync.deadline: must be a duration such as 90s, 15m, 2h or 1d"),
        ("[sync]\nmax_list_bytes = 1", "sync.max_list_bytes: must be greater than or equal to 1048576"),
        ('[reporting]\nlate_after = "soon"', "reporting.late_after: must be a duration such as 90s, 15m, 2h or 1d"),
        ('[reporting]\ntimezone = "Europe/Berln"', "no time zone 'Europe/Berln' (did you mean Europe/Berlin?)"),
        ('[reporting]\ntimezone = "../etc/passwd"', "reporting.timezone: there is no time zone"),
        ('[schedule]\nevery = "soon"', "schedule.every: must be a duration such as 90s, 15m, 2h or 1d"),
        ('[schedule]\nevery = "0s"', "schedule.every: must be at least 1s"),
        ('[schedule]\nevery = "1h"\ncron = "* * * * *"', "schedule: set either every or cron, not both"),
        ('[schedule]\ncron = "* * *"', "schedule.cron: is not a crontab line of five fields"),
        ('[schedule]\ncron = "99 * * * *"', "schedule.cron: is not a crontab line of five fields"),
        (f'{SERVER}api_version = "v9"', 'servers[hq].api_version: must be "auto" or one of "v1" to "v8"'),
        (f'{SERVER}streams = ["job"]', "servers[hq].streams: there is no stream 'job' (did you mean jobs?)"),
        (f"{SERVER}streams = []", "servers[hq].streams: must be a list of some of: jobs, copy_jobs,"),
        (f'{SERVER}fingerprint_sha256 = "AB:CD"', "servers[hq].fingerprint_sha256: must be 64 hexadecimal digits"),
        (
            f'{SERVER}ca_file = "ca.pem"\nfingerprint_sha256 = "{"ab" * 32}"',
            "servers[hq]: set either ca_file or fingerprint_sha256, not both",
        ),
        (
            f"{SERVER}password = 12",
            "servers[hq].password: must be a text: env:NAME, file:/path or keyring:service/name",
        ),
        ('[database]\nurl = "vb365.db"', "database: url is not a database URL such as sqlite:///vb365.db"),
        (
            f'[database]\nurl = "mysql+pymysql://u@h/db?password={SECRET}"',
            "database: url carries a password in its query; set database.password instead",
        ),
        (
            f'[database]\nurl = "mysql+pymysql://u:{SECRET}@h/db"\npassword = "env:X"',
            "database: url holds a password and database.password is set as well",
        ),
        (
            "[sync]\npage_size = 1\npage_size = 2\n",
            "settings.toml: not valid TOML: Cannot overwrite a value (at line 3",
        ),
        (f'{SERVER}username = "EXAMPLE\\svc"', r"single quotes keep backslashes: 'EXAMPLE\svc-report'"),
    ],
)
def test_a_mistake_in_the_file_is_named_as_the_user_wrote_it(text: str, message: str) -> None:
    assert message in refusal(text)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"https://svc:{SECRET}@vb365.example.com", "holds a user name or password; set username and password instead"),
        (f"https://{SECRET}@vb365.example.com", "holds a user name or password"),
        ("http://vb365.example.com", "must be https: without TLS the password could be read on the way"),
        ("http://127.0.0.1.example.com", "must be https"),
        ("ftp://vb365.example.com", "is not a URL such as https://vb365.example.com:4443"),
        ("vb365.example.com", "is not a URL such as"),
        ("https://vb365.example.com:port", "is not a URL such as"),
        ("https://vb365.example.com/?a=b", "must end with the host, the port or a base path"),
        ("https://vb365.example.com:4443/v8", "names a version of the API; leave it out and set api_version instead"),
    ],
)
def test_a_url_that_is_no_origin(url: str, message: str) -> None:
    assert f"servers[hq].url: {message}" in refusal(f'[[servers]]\nname = "hq"\nurl = "{url}"\n')


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.8.9.10", "http://[::1]:4443"])
def test_http_is_for_loopback(url: str) -> None:
    assert ServerSettings(name="lab", url=url).url == url


def test_several_mistakes_are_told_at_once_a_line_each() -> None:
    assert refusal(f"[sync]\npage_size = 0\n[[servers]]\nname = 'hq'\nurl = 'https://u:{SECRET}@h'\n") == (
        "settings.toml: 2 settings are wrong:"
        "\n  sync.page_size: must be greater than or equal to 1"
        "\n  servers[hq].url: holds a user name or password; set username and password instead"
    )


def test_a_file_that_cannot_be_read() -> None:
    with pytest.raises(ConfigurationError, match="cannot read the settings: No such file"):
        load_settings(Path("missing.toml"))
    Path("latin1.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigurationError, match="not UTF-8 text"):
        load_settings(Path("latin1.toml"))


def test_a_byte_order_mark_does_no_harm() -> None:
    Path("bom.toml").write_bytes(b"\xef\xbb\xbf[sync]\npage_size = 5\n")
    assert load_settings(Path("bom.toml")).sync.page_size == 5


def test_settings_are_frozen() -> None:
    settings = load(SERVER)
    with pytest.raises(ValidationError):
        settings.servers[0].name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.servers = ()  # type: ignore[misc]


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400)])
def test_durations(text: str, expected: int) -> None:
    assert load(f'[schedule]\nevery = "{text}"').schedule.every == timedelta(seconds=expected)


# Secrets


@pytest.mark.parametrize(
    ("rhythm", "gap"),
    [
        ({}, timedelta(minutes=15)),
        ({"every": "6h"}, timedelta(hours=6)),
        ({"cron": "*/15 * * * *"}, timedelta(minutes=15)),
        ({"cron": "0 6,22 * * *"}, timedelta(hours=16)),
        ({"cron": "0 4 * * 1-5"}, timedelta(days=3)),
        ({"cron": "*/5 8-17 * * 1-5"}, timedelta(days=2, hours=14, minutes=5)),
        ({"cron": "* * 1 1 *"}, timedelta(days=365, minutes=1)),
        ({"cron": "30 6 1 * *"}, timedelta(days=31)),
        ({"cron": "0 0 29 2 *"}, timedelta(days=2921)),  # 2096 to 2104: 2100 is no leap year
    ],
)
def test_the_longest_time_between_two_passes(rhythm: dict[str, Any], gap: timedelta) -> None:
    assert config.ScheduleSettings(**rhythm).longest_gap() == gap


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = SecretReference("env:VB365_HQ_PASSWORD", "servers[hq].password")
    with pytest.raises(
        SecretError, match=r"servers\[hq\]\.password: environment variable VB365_HQ_PASSWORD is not set"
    ):
        reference.reveal()
    monkeypatch.setenv("VB365_HQ_PASSWORD", SECRET)
    assert reference.reveal() == SECRET


def test_a_secret_comes_from_the_first_line_of_a_file() -> None:
    path = Path("secret")
    reference = SecretReference(f"file:{path}")
    with pytest.raises(SecretError, match="cannot read secret: No such file or directory"):
        reference.reveal()
    path.write_bytes(b"\r\nnot this")
    with pytest.raises(SecretError, match="the first line of secret is empty"):
        reference.reveal()
    path.write_bytes(b" pass word \r\nnot this\n")
    assert reference.reveal() == " pass word "


def test_a_secret_comes_from_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    vault = {("vb365/hq", "svc"): SECRET}
    monkeypatch.setattr("keyring.get_password", lambda service, name: vault.get((service, name)))
    assert SecretReference("keyring:vb365/hq/svc").reveal() == SECRET
    with pytest.raises(SecretError, match="the keyring has no entry vb365/other") as caught:
        SecretReference("keyring:vb365/other").reveal()
    assert caught.value.hint == "run: keyring set vb365 other"
    with pytest.raises(SecretError, match="written keyring:service/name"):
        SecretReference("keyring:nothing").reveal()


def test_a_secret_mistaken_for_a_name_is_not_told() -> None:
    with pytest.raises(SecretError) as caught:
        SecretReference(f"env:{SECRET}").reveal()
    assert SECRET not in str(caught.value)


def test_a_secret_that_is_not_set() -> None:
    with pytest.raises(SecretError, match=r"servers\[hq\]\.password: is not set"):
        ServerSettings(name="hq", url="https://h", password="").password.reveal()


def test_no_text_form_shows_a_literal_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(f'[database]\nurl = "postgresql+psycopg://etl:{SECRET}@h/db"\n{SERVER}password = "{SECRET}"\n')
    server = settings.servers[0]
    assert server.password.reveal() == SECRET
    assert settings.database.url == "postgresql+psycopg://etl@h/db"
    assert settings.database.connection_url().password == SECRET
    shown: list[Any] = [
        settings,
        server.password,
        SimpleNamespace(server=server),
        settings.model_dump(),
        settings.model_dump_json(),
        settings.database.connection_url(),
    ]
    for each in shown:
        assert SECRET not in repr(each)
        assert SECRET not in str(each)
    assert settings.model_dump()["servers"][0]["password"] == "**********"
    assert pickle.loads(pickle.dumps(server)).password.reveal() == SECRET  # noqa: S301 - made one line above


def test_the_password_of_the_database_can_be_kept_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VB365_DATABASE_PASSWORD", "p@ss:w/rd")
    settings = load('[database]\nurl = "mysql+pymysql://etl@h/db"\npassword = "env:VB365_DATABASE_PASSWORD"\n')
    url = settings.database.connection_url()
    assert url.render_as_string(hide_password=False) == "mysql+pymysql://etl:p%40ss%3Aw%2Frd@h/db"


def test_a_literal_secret_works_and_warns_once(capsys: pytest.CaptureFixture[str]) -> None:
    from etl import log

    log.configure()
    load(f'{SERVER}password = "{SECRET}"\n')
    written = capsys.readouterr().err
    assert written.count("the settings hold a password in plain text") == 1
    assert "setting=servers[hq].password" in written
    assert SECRET not in written
    load(f'{SERVER}password = "env:VB365_HQ_PASSWORD"\n')
    assert capsys.readouterr().err == ""
