"""Settings as people type them: Windows' paths and zones, an address copied from the browser, a password in a URL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tzlocal.windows_tz import win_tz

from etl.config import ServerSettings, Settings, load_settings
from etl.config.zones import zone_named
from etl.errors import ConfigurationError
from etl.simulator import SimulatedServer, World
from tests.conftest import Database
from tests.lab import SETTINGS, lab_with, own_folder, run

SERVER = '[[servers]]\nname = "hq"\nurl = "https://vb365.example.com:4443"\n'


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_folder(tmp_path, monkeypatch):
        yield


def load(text: str) -> Settings:
    SETTINGS.write_text(text, encoding="utf-8")
    return load_settings()


def refusal(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    assert caught.value.exit_code == 4
    return str(caught.value)


# Backslashes between double quotes.


@pytest.mark.parametrize(
    ("line", "setting", "escape"),
    [
        (r'username = "CORP\nagios"', "servers[hq].username", r", as \n is"),
        (r'username = "CORP\telegraf"', "servers[hq].username", r", as \t is"),
        (r'username = "CORP\backup"', "servers[hq].username", r", as \b is"),
        (r'username = "CORP\reports"', "servers[hq].username", r", as \r is"),
        (r'username = "CORP\filer"', "servers[hq].username", r", as \f is"),
        (r'username = "CORP\u0007x"', "servers[hq].username", ""),
        (r'username = "CORP\u2028x"', "servers[hq].username", ""),
        (r'password = "geheim\noch"', "servers[hq].password", r", as \n is"),
        (r'password = "file:C:\temp\pw.txt"', "", "not valid TOML"),
        (r'password = "file:C:\temp"', "servers[hq].password", r", as \t is"),
        (r'ca_file = "C:\root.pem"', "servers[hq].ca_file", r", as \r is"),
    ],
)
def test_a_control_character_is_refused_with_what_makes_one(line: str, setting: str, escape: str) -> None:
    said = refusal(SERVER + line)
    if setting:
        assert said.startswith(f"vb365-etl.toml: {setting}: holds a control character{escape}; ")
    else:
        assert escape in said
    assert r"single quotes keep backslashes: 'EXAMPLE\svc-report'" in said
    assert "geheim" not in said


def test_the_database_has_no_control_character_either() -> None:
    for url in (r"sqlite:///C:\new.db", r"postgresql://u:geheim\not@host/db"):
        said = refusal(f'[database]\nurl = "{url}"')
        assert said.startswith(r"vb365-etl.toml: database: url holds a control character, as \n is; single quotes keep")
        assert "geheim" not in said
    said = refusal('[database]\npassword = "geheim\\reis"')
    assert said.startswith(r"vb365-etl.toml: database.password: holds a control character, as \r is; single quotes")
    assert "geheim" not in said


def test_single_quotes_keep_what_was_typed() -> None:
    (server,) = load(rf"{SERVER}username = 'CORP\nagios'{chr(10)}ca_file = 'C:\root.pem'").servers
    assert (server.username, server.ca_file) == (r"CORP\nagios", Path(r"C:\root.pem"))


def test_nothing_is_asked_of_a_server_whose_user_is_mistyped(sqlite_database: Database) -> None:
    with lab_with(SimulatedServer(World(jobs=1)), sqlite_database) as lab:
        for command in ("check", "sync"):
            lab.configure(username="CORP\nagios")
            assert lab.fails(4, command).startswith("error: vb365-etl.toml: servers[lab].username: holds a control")
        assert lab.server.requests == []


# Zones.


@pytest.mark.parametrize(
    ("typed", "iana"),
    [
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("w. europe standard time\n", "Europe/Berlin"),
        ("Eastern Standard Time", "America/New_York"),
        ("Tokyo Standard Time", "Asia/Tokyo"),
        ("UTC-11", "Etc/GMT+11"),
        ("Europe/Berlin", "Europe/Berlin"),
        (" CET ", "CET"),
        ("UTC", "UTC"),
    ],
)
def test_a_zone_is_kept_by_its_iana_name(typed: str, iana: str) -> None:
    assert zone_named(typed) == iana
    settings = load(f"[reporting]\ntimezone = '''{typed}'''\n{SERVER}timezone = '''{typed}'''")
    assert (settings.reporting.timezone, settings.reporting_zone) == (iana, ZoneInfo(iana))
    assert settings.servers[0].timezone == iana


def test_every_zone_of_windows_is_known() -> None:
    for name, iana in win_tz.items():
        assert zone_named(name) == ("UTC" if name == "UTC" else ZoneInfo(iana).key)


@pytest.mark.parametrize(
    ("typed", "suggestion"),
    [
        ("UTC+1", "did you mean Europe/Berlin, Europe/London, or Etc/GMT-1, which is always UTC+01:00?"),
        ("GMT-05:00", "did you mean America/New_York, America/Chicago, or Etc/GMT+5, which is always UTC-05:00?"),
        ("+2", "did you mean Europe/Helsinki, Europe/Berlin, or Etc/GMT-2, which is always UTC+02:00?"),
        ("UTC+5:30", "did you mean Asia/Kolkata?"),
        ("CEST", "did you mean Europe/Berlin?"),
        ("MESZ", "did you mean Europe/Berlin?"),
        ("PDT", "did you mean America/Los_Angeles?"),
        ("europe/berlin", "did you mean Europe/Berlin?"),
        ("Berlin", "did you mean Europe/Berlin?"),
        ("Europe/Belrin", "did you mean Europe/Berlin?"),
        ("New York", "did you mean America/New_York?"),
        ("(UTC+01:00) Amsterdam, Berlin, Bern", "did you mean Europe/Berlin or Europe/Amsterdam?"),
        ("W. Europe Standart Time", "did you mean W. Europe Standard Time?"),
        ("W. Europe Daylight Time", "did you mean W. Europe Standard Time?"),
        (
            "W. Europe Standard Time_dstoff",
            "did you mean Europe/Berlin, Europe/London, or Etc/GMT-1, which is always UTC+01:00?",
        ),
    ],
)
def test_what_an_unknown_zone_probably_means(typed: str, suggestion: str) -> None:
    expected = f"there is no time zone {typed!r} ({suggestion}); zones are named like Europe/Berlin"
    assert refusal(f'[reporting]\ntimezone = "{typed}"') == f"vb365-etl.toml: reporting.timezone: {expected}"
    assert refusal(f'{SERVER}timezone = "{typed}"') == f"vb365-etl.toml: servers[hq].timezone: {expected}"


@pytest.mark.parametrize("typed", ["", "../etc/passwd", "UTC+99", "Germany", "Mitteleuropäische Zeit", "X" * 5000])
def test_nothing_is_suggested_where_nothing_is_likely(typed: str) -> None:
    with pytest.raises(ValueError, match=r"there is no time zone .*; zones are named like Europe/Berlin") as unknown:
        zone_named(typed)
    assert "did you mean" not in str(unknown.value)


def test_the_database_compares_iana_names(sqlite_database: Database) -> None:
    with lab_with(SimulatedServer(World(jobs=1)), sqlite_database) as lab:
        for zone in ("W. Europe Standard Time", "Europe/Berlin"):
            lab.configure(f'[reporting]\ntimezone = "{zone}"', timezone=zone)
            assert lab.run("sync").exit_code == 0
        rebuilt = lab.run("db", "rebuild", "--timezone", "Tokyo Standard Time")
        assert (rebuilt.exit_code, rebuilt.stdout.splitlines()[0]) == (
            0,
            "1 server rebuilt: days are cut in Asia/Tokyo",
        )
        lab.configure('[reporting]\ntimezone = "Asia/Tokyo"', timezone="Tokyo Standard Time")
        assert lab.run("sync").exit_code == 0
        refused = lab.run("db", "rebuild", "--timezone", "CEST")
        assert refused.exit_code == 2
        assert "--timezone: there is no time zone 'CEST' (did you mean Europe/Berlin?)" in refused.stderr


# The address of a server.


@pytest.mark.parametrize(
    "end", ["/v8/Jobs", "/v7", "/v8/token", "/V6/Jobs/3f2a", "/v8/Organizations/1/Jobs/", "//v8", "/v12"]
)
def test_a_url_copied_from_a_request_is_refused_with_what_it_should_be(end: str) -> None:
    for base in ("https://vb365.example.com:4443", "https://proxy.example.com/vb365"):
        assert refusal(f"[[servers]]\nname = 'hq'\nurl = '{base}{end}'") == (
            "vb365-etl.toml: servers[hq].url: names a version of the API; leave it out and set api_version instead:"
            f' url = "{base}"'
        )


@pytest.mark.parametrize("base", ["/vb365", "/veeam/v", "/v8x", "/vb365/", ""])
def test_a_base_path_stays(base: str) -> None:
    url = f"https://proxy.example.com{base}"
    assert ServerSettings(name="hq", url=url).url == url.rstrip("/")


@pytest.mark.parametrize("password", ["geheim", "12/geheim", "p#geheim", "p?geheim", "ge@heim"])
def test_a_password_in_the_url_of_a_server_is_not_shown(password: str) -> None:
    said = refusal(f"[[servers]]\nname = 'hq'\nurl = 'https://svc:{password}@vb365.example.com'")
    assert said == ("vb365-etl.toml: servers[hq].url: holds a user name or password; set username and password instead")


def test_http_at_a_port_that_speaks_tls(sqlite_database: Database) -> None:
    with lab_with(SimulatedServer(World(jobs=1), tls=True), sqlite_database) as lab:
        port = lab.server.url.rpartition(":")[2]
        lab.configure(url=lab.server.url.replace("https:", "http:"), fingerprint_sha256=None)
        assert lab.fails(1) == (
            f"error: server lab (http://127.0.0.1:{port}): port {port} speaks TLS, and the url says http"
            f' (try https: url = "https://127.0.0.1:{port}")\n'
        )
        (failed,) = (each for each in lab.run("check", "--json").json if each["result"] == "failed")
        assert failed["what_to_do"] == f'try https: url = "https://127.0.0.1:{port}"'
        assert lab.server.requests == []


# A password in the URL of the database.

HINT = "@ / : # ? % of a password are written with percent-encoding (@ is %40); or set it as database.password"
PARTS = ("Tr0ub", "d0r", "3xy")


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql"])
@pytest.mark.parametrize(
    "password",
    [
        *("Tr0ub@d0r", "Tr0ub@d0r@3xy", "Tr0ub@d0r:3xy", "Tr0ub@d0r/3xy", "Tr0ub/d0r@3xy", "Tr0ub@d0r#3xy", "@Tr0ub"),
        *("Tr0ub@d0r?3xy", "Tr0ub@", "Tr0ub:d0r@3xy", "Tr0ub@d0r%3xy", "Tr0ub@d0r?x=3xy", "Tr0ub@[d0r]3xy"),
    ],
)
def test_no_part_of_a_password_with_an_at_sign_is_shown(password: str, driver: str) -> None:
    SETTINGS.write_text(f'[database]\nurl = "{driver}://vb365:{password}@127.0.0.1:1/none"\n{SERVER}', "utf-8")
    for command in (("sync",), ("check",), ("db", "current"), ("--debug", "db", "upgrade"), ("connect", "powerbi")):
        outcome = run(*command)
        assert (outcome.exit_code, outcome.stdout) == (4, "")
        assert outcome.stderr.startswith("error: vb365-etl.toml: database: url ")
        assert HINT in outcome.stderr
        assert not [part for part in PARTS if part in outcome.stderr]


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql"])
@pytest.mark.parametrize(
    "password", ["Tr0ub/d0r#3xy", "Tr0ub:d0r", "Tr0ub?d0r", "100%Tr0ub", "Tr0ub#d0r", "Tr0ub%40d0r"]
)
def test_other_signs_of_a_password_are_read_hidden_and_explained(password: str, driver: str) -> None:
    SETTINGS.write_text(f'[database]\nurl = "{driver}://vb365:{password}@127.0.0.1:1/none"\n{SERVER}', "utf-8")
    for command in (("sync",), ("check",), ("db", "current"), ("--debug", "db", "upgrade")):
        outcome = run(*command)
        written = outcome.stdout + outcome.stderr
        assert outcome.exit_code in (1, 4)
        assert command == ("check",) or f"database {driver}://vb365:***@127.0.0.1:1/none: " in written
        assert "percent-encoding" in written
        assert "database.password" in written
        assert not [part for part in PARTS if part in written]


def test_an_at_sign_in_a_user_is_read_as_it_was() -> None:
    database = load('[database]\nurl = "postgresql://vb365@srv:Pf1ngsten@srv.example.com/vb365"').database
    assert database.connection_url().username == "vb365@srv"
    assert database.connection_url().password == "Pf1ngsten"
    assert database.url == "postgresql://vb365%40srv@srv.example.com/vb365"
    assert load('[database]\nurl = "sqlite:////srv/a@b.db"').database.url == "sqlite:////srv/a@b.db"


def test_the_demo_shows_no_part_either() -> None:
    outcome = run("demo", "--database", "postgresql://vb365:Tr0ub@d0r@127.0.0.1:1/none")
    assert outcome.exit_code == 2
    assert HINT in outcome.stderr
    assert not [part for part in PARTS if part in outcome.stderr]
