"""The checks of `doctor` that need no WeCom, and what is printed of them."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import shutil
import socket
import ssl
import threading
import tomllib
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote, quote_plus, unquote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bot import cli, doctor_command
from bot.clock import SystemClock
from bot.dns.lookup import RESOLVERS
from bot.dns.wire import Answer, Outcome, Server, Wire
from bot.doctor import callbacks, checkup, hosts, machine, people, report, wecom
from bot.doctor import settings as settings_checks
from bot.doctor.findings import Finding, Level, ok, warning, wrong
from bot.doctor.scrub import forms_of, scrubbed
from bot.policy import Policy
from bot.settings import Settings
from bot.vault import Vault, new_key
from bot.wecom.errcodes import WeComError
from bot.words import LANGUAGES, Language, catalogue
from bot.work import Services
from storage.base import Base
from storage.leases import Leases
from storage.store import Store
from tests.core.conftest import HandClock, settings_of
from tests.core.test_settings import ENVIRONMENT

REAL = {"wecom_api_base": "https://qyapi.weixin.qq.com", "bot_public_url": "https://bot.corp.com"}
FULL: dict[str, Any] = {
    **REAL,
    "wecom_contacts_secret": SecretStr("directory-secret"),
    "wecom_contacts_callback_token": SecretStr("token-2"),
    "wecom_contacts_callback_aes_key": SecretStr("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"),
    "bot_super_admins": ("mei",),
    "bot_trusted_proxies": ("127.0.0.1",),
}


def names(findings: list[Finding]) -> list[str]:
    """What was found."""
    return [each.check for each in findings]


def test_complete_settings_are_said_to_be_so(tmp_path: Path) -> None:
    """And nothing else is said of them."""
    assert names(list(settings_checks.check(settings_of(tmp_path, **FULL)))) == ["settings_complete"]


@pytest.mark.parametrize(
    ("changed", "check", "level"),
    [
        ({"bot_public_url": "bot.corp.com"}, "public_url_malformed", Level.WRONG),
        ({"bot_public_url": "https://bot.corp.com?x=1"}, "public_url_malformed", Level.WRONG),
        ({"bot_public_url": "https://bot.corp.com:port"}, "public_url_malformed", Level.WRONG),
        ({"bot_public_url": "http://bot.corp.com"}, "public_url_not_https", Level.WRONG),
        ({"bot_public_url": "https://203.0.113.9"}, "public_url_no_name", Level.WRONG),
        ({"bot_public_url": "https://bot"}, "public_url_not_public", Level.WRONG),
        ({"bot_public_url": "https://bot.corp.internal"}, "public_url_not_public", Level.WRONG),
        ({"wecom_api_base": "http://qyapi.weixin.qq.com"}, "api_base_not_https", Level.WRONG),
        ({"wecom_app_secret": SecretStr(" ")}, "setting_missing", Level.WRONG),
        ({"wecom_contacts_secret": SecretStr("")}, "contacts_secret_missing", Level.WARNING),
        ({"wecom_contacts_secret": SecretStr("app-secret")}, "secrets_alike", Level.WRONG),
        ({"wecom_callback_token": SecretStr("")}, "callback_half", Level.WRONG),
        ({"wecom_callback_aes_key": SecretStr("!" * 43)}, "aes_key_malformed", Level.WRONG),
        ({"wecom_contacts_callback_aes_key": SecretStr("")}, "callback_half", Level.WRONG),
        ({"bot_secret_keys": SecretStr("hush")}, "secret_keys_malformed", Level.WRONG),
        ({"bot_super_admins": (), "bot_admins": ()}, "no_admin", Level.WRONG),
        ({"bot_super_admins": ()}, "no_super_admin", Level.WARNING),
        ({"bot_admins": ("mei",)}, "one_admin", Level.WARNING),
        ({"exmail_domain": "corp"}, "domain_malformed", Level.WRONG),
        ({"exmail_domain": "@corp.com"}, "domain_malformed", Level.WRONG),
        ({"exmail_archive_mailbox": "archive"}, "archive_malformed", Level.WRONG),
        ({"exmail_imap_tls": False}, "imap_without_tls", Level.WRONG),
        ({"bot_trusted_proxies": ()}, "no_trusted_proxies", Level.WARNING),
    ],
)
def test_each_setting_that_cannot_be_meant(tmp_path: Path, changed: dict[str, Any], check: str, level: Level) -> None:
    """One finding, and it names the setting, or what to do about it."""
    found = list(settings_checks.check(settings_of(tmp_path, **FULL | changed)))
    assert [(each.check, each.level) for each in found] == [(check, level)]
    assert "hush" not in found[0].words.text("en")


def test_without_the_directory_s_callback_it_is_said_what_is_missed(tmp_path: Path) -> None:
    """Neither token nor key: on purpose perhaps, so a warning."""
    nothing = {"wecom_contacts_callback_token": SecretStr(""), "wecom_contacts_callback_aes_key": SecretStr("")}
    found = list(settings_checks.check(settings_of(tmp_path, **FULL | nothing)))
    assert [(each.check, each.level) for each in found] == [("contacts_callback_missing", Level.WARNING)]
    assert "recycle bin" in found[0].words.text("en")


def test_a_role_by_tag_counts(tmp_path: Path) -> None:
    """Who is in the tag is WeCom's to tell."""
    tagged = {"bot_super_admins": (), "bot_admins": (), "bot_role_tags": {"admin": 1, "super_admin": 2}}
    assert names(list(settings_checks.check(settings_of(tmp_path, **FULL | tagged)))) == ["settings_complete"]


def test_a_misspelt_name_is_found() -> None:
    """It would leave a setting unset without a word."""
    found = list(settings_checks.unknown_names(["WECOM_AGENTID", "bot_frobnicate", "PATH", "BOT_ADMINS"]))
    assert names(found) == ["setting_unknown", "setting_unknown_near"]
    assert "Did you mean WECOM_AGENT_ID?" in found[1].words.text("en")


def test_every_required_setting_says_where_to_find_it() -> None:
    """In the catalogue, for each."""
    sentences = tomllib.loads((Path(checkup.__file__).parents[1] / "catalogue" / "doctor.toml").read_text("utf-8"))
    assert {f"where_{name}" for name in settings_checks.REQUIRED} == {
        each for each in sentences if each[:6] == "where_"
    }


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment that leads nowhere, and no `.env`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor_command, "configure_logs", lambda: None)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in ("EXMAIL_IMAP_HOST", "EXMAIL_SMTP_HOST", "BOT_DNS_SERVERS"):
        monkeypatch.setenv(name, "127.0.0.1")
    for name in ("EXMAIL_IMAP_PORT", "EXMAIL_SMTP_PORT", "BOT_PORT"):
        monkeypatch.setenv(name, "9")
    monkeypatch.setenv("WECOM_API_BASE", "http://127.0.0.1:9")
    monkeypatch.setenv("BOT_PUBLIC_URL", "http://127.0.0.1:9")
    return monkeypatch


def test_what_cannot_be_read_is_told_with_its_remedy(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All at once, in the configured language, and without a value."""
    environment.delenv("WECOM_CORP_ID")
    environment.setenv("WECOM_AGENT_ID", "hush-number")
    environment.setenv("BOT_LANGUAGE", "zh")
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "未设置 WECOM_CORP_ID。请在管理后台「我的企业 > 企业信息 > 企业ID」" in said
    assert "WECOM_AGENT_ID 的值无法使用" in said
    assert "hush" not in said


def test_what_stands_empty_in_the_file_is_not_set(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The guide's block as it is copied, unfilled: what must be there is named with its place."""
    for name in ENVIRONMENT:
        environment.setenv(name, "")
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    for name in settings_checks.REQUIRED:
        assert f"{name.upper()} is not set." in said
    assert "cannot be used" not in said


def test_nothing_but_names_of_settings_reach_a_ticket(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing answers, each check says so; no secret is printed, whatever the form; and it exits 1."""
    environment.setenv("BOT_ADMIN", "mei")
    for option in ([], ["--report"], ["--json"]):
        assert cli.main(["doctor", *option]) == 1
        said = capsys.readouterr()
        for secret in ("hush-app", "hush-token", ENVIRONMENT["WECOM_CALLBACK_AES_KEY"], ENVIRONMENT["BOT_SECRET_KEYS"]):
            assert secret not in said.out + said.err
        for check, words in (
            ("wecom_unreachable", "WeCom's API at 127.0.0.1 cannot be reached"),
            ("callback_nowhere", "port 9 of 127.0.0.1 cannot be reached (ConnectionRefusedError)"),
            ("imap_wrong", "EXMAIL_IMAP_HOST and EXMAIL_IMAP_PORT say 127.0.0.1, port 9"),
            ("setting_unknown_near", "There is no setting BOT_ADMIN; nobody reads it. Did you mean BOT_ADMINS?"),
        ):
            assert words in said.out
            assert (check in said.out) is bool(option)
        if option == ["--json"]:
            told = json.loads(said.out)
            assert {"check", "level", "en", "zh"} == set(told[0])
        if option == ["--report"]:
            assert re.search(r"^  WECOM_APP_SECRET: set$", said.out, re.MULTILINE)
            assert re.search(r"^  WECOM_CONTACTS_SECRET: empty$", said.out, re.MULTILINE)


def test_the_sum_says_how_bad_it_is() -> None:
    """Exit status and last line follow the worst finding."""
    fine, so_so, bad = ok("doctor.clock_fine"), warning("doctor.no_super_admin"), wrong("doctor.no_admin")
    assert [checkup.worst(each) for each in ([], [fine], [fine, so_so], [fine, bad, so_so])] == [
        Level.OK, Level.OK, Level.WARNING, Level.WRONG,
    ]  # fmt: skip
    assert report.as_text([bad, fine], "en").splitlines()[0].startswith("ok")
    assert report.as_text([bad, fine], "zh").endswith(
        "1 项有错误，0 项需要留意，1 项正常。请从上到下逐项修正，然后再运行一次 doctor。"
    )


def test_a_bug_in_a_check_is_a_finding_without_its_text() -> None:
    """The others are still made, and what the error holds is not printed."""

    def broken() -> Iterator[Finding]:
        yield ok("doctor.clock_fine")
        raise RuntimeError("hush")

    found = checkup.safely("clock", broken)
    assert names(found) == ["clock_fine", "check_failed"]
    assert "RuntimeError" in found[1].words.text("en")
    assert "hush" not in found[1].words.text("en")


# The machine


def services_of(folder: Path, **changed: Any) -> Services:
    """Services without a server anywhere."""
    settings = settings_of(folder, **changed)
    clock = HandClock()
    store = Store(settings.database_url, clock.now)
    keys = settings.bot_secret_keys.get_secret_value().split()
    return Services(store, Refusing(), settings, Policy(), Vault(keys), clock, Leases(store.engine), "r")  # type: ignore[arg-type]


@dataclasses.dataclass
class Refusing:
    """In the place of WeCom's client: answers by path, else refuses as WeCom does."""

    answers: dict[str, Any] = dataclasses.field(default_factory=dict)
    agent_id: int = 1

    def call(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        """As `WeComClient.call`."""
        answer = self.answers.get(
            path, WeComError(60020, "not allow to access from your ip, from ip: 203.0.113.9", path)
        )
        answer = answer(given) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


def test_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writable and with room, or not."""
    settings = settings_of(tmp_path)
    usage = namedtuple("usage", "total used free")
    for free, expected in ((1 << 40, "data_fine"), (500 << 20, "disk_low"), (1 << 20, "disk_full")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(1 << 41, 0, free))
        assert names(list(machine.folder(settings))) == [expected]
    in_a_file = settings_of(tmp_path / "file" / "data")
    (tmp_path / "file").touch()
    monkeypatch.setattr(machine.os, "access", lambda *_: False)
    assert names(list(machine.folder(in_a_file))) == ["data_not_writable"]


def test_the_database_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    """New, up to date, older, newer; and whether the keys open what it holds."""
    services = services_of(tmp_path)
    assert names(list(machine.database(services))) == ["database_new"]
    assert not (tmp_path / "bot.sqlite").exists()
    services.store.migrate()
    assert names(list(machine.database(services))) == ["database_fine", "directory_never"]
    with services.store.begin() as tx:
        tx.moments.happened("directory")
    assert names(list(machine.database(services))) == ["database_fine", "directory_fine"]
    services.clock.advance(days=3)  # type: ignore[attr-defined]
    assert names(list(machine.database(services))) == ["database_fine", "directory_old"]
    for revision, expected in (("0001", "database_old"), ("9999", "database_newer")):
        with services.store.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608
        assert names(list(machine.database(services))) == [expected]
    services.store.close()
    away = services_of(tmp_path, bot_database_url="postgresql+psycopg://bot:hush@127.0.0.1:9/bot")
    found = list(machine.database(away))
    assert names(found) == ["database_unreachable"]
    assert "hush" not in found[0].words.text("en")


def test_keys_that_open_nothing_any_more(tmp_path: Path) -> None:
    """A key that was taken out too early is told by how many passwords are shut."""
    services = services_of(tmp_path)
    Base.metadata.create_all(services.store.engine)
    with services.store.begin() as tx:
        for number, vault in enumerate((services.vault, Vault([new_key()]))):
            job = tx.jobs.add("backup", asked_by="mei", params={})
            locked = vault.lock(f"password {number}")
            tx.passwords.keep(job.id, "source", given_by="mei", ciphertext=locked)
    found = list(machine.stored_secrets(services))
    services.store.close()
    assert names(found) == ["secret_keys_lost"]
    assert "does not open: 1." in found[0].words.text("en")


@pytest.mark.parametrize(
    ("ahead", "check", "level"),
    [
        (0, "clock_fine", Level.OK),
        (-29, "clock_fine", Level.OK),
        (45, "clock_ahead", Level.WARNING),
        (-45, "clock_behind", Level.WARNING),
        (400, "clock_ahead", Level.WRONG),
        (-4000, "clock_behind", Level.WRONG),
    ],
)
def test_the_clock_against_wecom_s(ahead: int, check: str, level: Level) -> None:
    """The Date header is WeCom's time; one that is no date says nothing."""
    theirs = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    found = list(wecom.on_time("Tue, 24 Nov 2026 12:00:00 GMT", theirs + timedelta(seconds=ahead)))
    assert [(each.check, each.level) for each in found] == [(check, level)]
    assert list(wecom.on_time("soon", theirs)) == []


@pytest.mark.parametrize(
    ("trusted", "check"),
    [
        ("bot.corp.com", "trusted_domain_fine"),
        ("https://BOT.corp.com/", "trusted_domain_fine"),
        ("corp.com", "trusted_domain_other"),
        ("bot.corp.com:8443", "trusted_domain_other"),
        ("", "trusted_domain_missing"),
    ],
)
def test_the_trusted_domain_is_the_very_host(trusted: str, check: str) -> None:
    """No wildcard, and the port counts (page 91022)."""
    assert wecom.trusted_domain(trusted, "https://bot.corp.com/mail").check == check


def test_an_app_as_the_console_may_have_it(tmp_path: Path) -> None:
    """Off, seen by nobody, silent about who comes in; the egress address is told once, of both lists."""
    services = services_of(tmp_path, **REAL)
    services.client.answers["/cgi-bin/agent/get"] = {"name": "邮箱", "close": 1, "isreportenter": 0}  # type: ignore[attr-defined]
    services.client.answers["/cgi-bin/message/send"] = WeComError(82001)  # type: ignore[attr-defined]
    found = list(wecom.app(services.client, services.settings))
    assert names(found) == [
        "app_off", "app_seen_by_nobody", "app_reports_no_enter", "trusted_domain_missing", "messages_fine",
    ]  # fmt: skip
    services.client.answers.clear()  # type: ignore[attr-defined]
    found = list(wecom.app(services.client, services.settings))
    assert names(found) == ["ip_not_trusted"]
    assert found[0].words.text("zh").count("企业可信IP") == 2
    assert "203.0.113.9" in found[0].words.text("zh")


def test_leaders_and_tags_out_of_sight(tmp_path: Path) -> None:
    """A question would be asked of nobody; a role would be nobody's."""
    services = services_of(tmp_path, bot_role_tags={"admin": 7, "auditor": 8}, bot_admins=(), **REAL)
    services.client.answers.update(  # type: ignore[attr-defined]
        {
            "/cgi-bin/department/list": {"department": [{"id": 1, "department_leader": ["fang", "Ling"]}]},
            "/cgi-bin/user/get": lambda given: (
                {"userid": "ling", "status": 1} if given["query"]["userid"] == "ling" else WeComError(60011)
            ),
            "/cgi-bin/tag/get": lambda given: (
                {"tagname": "mail-admin", "userlist": [{"userid": "Mei"}]}
                if given["query"]["tagid"] == 7
                else {"tagname": "mail-auditor"}
            ),
        }
    )
    found = list(people.managers(services))
    assert names(found) == ["leaders_unseen"]
    assert "approve: 1 (fang)" in found[0].words.text("en")
    assert "fang" in found[0].words.text("en")
    assert names(list(people.with_roles(services))) == ["tag_empty", "one_admin"]


def test_who_was_refused_before_the_first_visit_is_named_for_both(tmp_path: Path) -> None:
    """A callback that came with another token, key, corp or time: each says what to compare."""
    services = services_of(tmp_path)
    Base.metadata.create_all(services.store.engine)
    assert names(list(callbacks.came(services, "app"))) == ["callback_never"]
    for kind, words in (
        ("token", "WECOM_CALLBACK_TOKEN"),
        ("key", "EncodingAESKey"),
        ("corp", "企业ID"),
        ("clock", "time"),
    ):
        with services.store.begin() as tx:
            tx.moments.happened(f"callback:app:{kind}")
        found = list(callbacks.came(services, "app"))
        assert [(each.check, each.level) for each in found] == [("callback_refused", Level.WRONG)]
        assert words in found[0].words.text("en")
        services.clock.advance(minutes=1)  # type: ignore[attr-defined]
    with services.store.begin() as tx:
        tx.moments.happened("callback:app:verified")
    assert names(list(callbacks.came(services, "app"))) == ["callback_came"]
    assert names(list(callbacks.came(services, "contacts"))) == ["callback_never"]
    services.store.close()


# Mail hosts and DNS


@contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server for one conversation; its port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)

        def run() -> None:
            try:
                with listening.accept()[0] as wire:
                    talk(wire)
            except OSError:
                pass

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join(10)


def says(*lines: bytes) -> Callable[[socket.socket], None]:
    """Greets with the first line, answers each line with the next."""

    def talk(wire: socket.socket) -> None:
        with wire.makefile("rb") as heard:
            for line in lines:
                wire.sendall(line)
                heard.readline()

    return talk


@pytest.mark.parametrize(
    ("lines", "check", "words"),
    [
        ([b"* OK hello\r\n", b"* CAPABILITY IMAP4rev1 UIDPLUS\r\nd1 OK\r\n"], "imap_fine", "IMAP4REV1, UIDPLUS"),
        ([b"* OK hello\r\n", b"* CAPABILITY IMAP4\r\nd1 OK\r\n"], "imap_too_old", "IMAP4rev1"),
        ([b"220 ftp\r\n", b"500 what?\r\nd1 \r\n"], "imap_wrong", "something else than a mail server"),
        ([], "imap_wrong", "says nothing"),
    ],
)
def test_what_answers_at_the_imap_port(tmp_path: Path, lines: list[bytes], check: str, words: str) -> None:
    """A server of ours, an old one, another kind, one that hangs up."""
    with server(says(*lines)) as port:
        where = {"exmail_imap_host": "127.0.0.1", "exmail_imap_port": port, "exmail_imap_tls": False}
        found = list(hosts.imap(settings_of(tmp_path, **where)))
    assert names(found) == [check]
    assert words in found[0].words.text("en")


def test_a_certificate_nobody_knows(tmp_path: Path) -> None:
    """It is the wrong machine, or somebody between: never logged in to, and said in words."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.corp.test")])
    now = SystemClock().now()
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=3)).sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def talk(wire: socket.socket) -> None:
        with context.wrap_socket(wire, server_side=True):
            pass

    with server(talk) as port:
        found = list(hosts.imap(settings_of(tmp_path, exmail_imap_host="127.0.0.1", exmail_imap_port=port)))
    assert names(found) == ["imap_wrong"]
    assert "the certificate of 127.0.0.1 is not accepted: self-signed certificate" in found[0].words.text("en")


def test_a_certificate_that_runs_out() -> None:
    """Two weeks before."""
    assert names(list(hosts.certificate("h", hosts.Spoken("", (), 13.9)))) == ["certificate_soon"]
    assert list(hosts.certificate("h", hosts.Spoken("", (), 15.0))) == []
    assert list(hosts.certificate("h", hosts.Spoken("", (), None))) == []


def test_dns_servers_that_answer_and_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chosen one must answer; of the three that nobody chose, one is enough."""
    said: dict[str, Outcome] = {}

    def ask(_: Wire, server: Server, *__: object, **___: object) -> Answer:
        return Answer(said.get(server.address, Outcome.TIMEOUT))

    monkeypatch.setattr(Wire, "ask", ask)
    chosen = settings_of(tmp_path, bot_dns_servers=("127.0.0.1", "127.0.0.2:5353", "127.0.0.3"))
    said |= {"127.0.0.1": Outcome.NO_NAME, "127.0.0.2": Outcome.REFUSED}
    assert names(list(hosts.dns(chosen))) == ["dns_fine", "dns_refuses", "dns_silent"]
    usual = settings_of(tmp_path, bot_dns_servers=())
    assert names(list(hosts.dns(usual))) == ["dns_silent"] * len(RESOLVERS)
    said[RESOLVERS[1]] = Outcome.FOUND
    assert names(list(hosts.dns(usual))) == ["dns_fine", *["dns_one_silent"] * (len(RESOLVERS) - 1)]


# The install guide


def told_by(key: str, language: Language) -> str:
    """A pattern of everything the sentence can say, with sentences of the same file or WeCom's in it."""
    said = re.sub(r"\{[a-z_]+:[^|}]*\|([^}]*)\}", r"\1", catalogue()[key][language])
    pieces = re.split(r"\{[a-z_]+\}", said)
    return "(.+?)".join(re.escape(each) for each in pieces)


def test_the_install_guide_quotes_doctor_as_it_speaks() -> None:
    """Word for word, in both languages; and what stands in the gaps is a sentence too, where it is one."""
    guide = (Path(__file__).parents[2] / "docs" / "install.md").read_text("utf-8")
    quoted = re.findall(r"^> `([a-z_]+)` (.+)<br>(.+)$", guide, re.MULTILINE)
    assert len(quoted) > 25
    for check, *texts in quoted:
        for language, text in zip(LANGUAGES, texts, strict=True):
            found = re.fullmatch(told_by(f"doctor.{check}", language), text)
            assert found, f"{check}: the guide says “{text}”"
            for inside in found.groups():
                if len(inside) > 60:
                    keys = (key for key in catalogue() if key.partition(".")[0] in ("doctor", "wecom"))
                    assert any(re.fullmatch(told_by(key, language), inside) for key in keys), inside


def test_the_install_guide_names_every_setting_that_must_be_there() -> None:
    """And none that is not."""
    guide = (Path(__file__).parents[2] / "docs" / "install.md").read_text("utf-8")
    named = set(re.findall(r"\b(?:WECOM|EXMAIL|BOT)_[A-Z_]+", guide))
    ours = {each.upper() for each in Settings.model_fields}
    assert {each.upper() for each in settings_checks.REQUIRED} <= named <= ours


# No secret, whatever a server says


def test_the_settings_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Readable by others it is named, with what to type; without one there is nothing to say."""
    file = tmp_path / ".env"
    assert list(settings_checks.open_file(file)) == []
    file.touch(0o600)
    assert list(settings_checks.open_file(file)) == []
    file.chmod(0o644)
    found = list(settings_checks.open_file(file))
    assert names(found) == ["env_file_open"]
    assert f"chmod 600 {file}" in found[0].words.text("zh")


@given(
    secret=st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=6, max_size=60),
    before=st.text("abc=& ", max_size=5),
    after=st.text("xyz=& ", max_size=5),
)
def test_no_form_of_a_secret_is_left(secret: str, before: str, after: str) -> None:
    """Plain, as a URL has it, in Base64 alone or within more, in hex, backwards."""
    whole = f"{before}{secret}{after}".encode()
    forms = {
        secret, quote(secret), quote_plus(secret), secret.encode().hex(), secret[::-1],
        base64.b64encode(secret.encode()).decode().rstrip("="), base64.urlsafe_b64encode(secret.encode()).decode(),
    }  # fmt: skip
    for form in forms:
        assert form not in scrubbed(f"1 {form} 2", [secret])
    inside = base64.b64encode(whole).decode()
    assert scrubbed(inside, [secret]) != inside or len(secret.encode()) < 6


@pytest.mark.parametrize("option", [[], ["--report"], ["--json"]])
def test_a_server_that_says_everything_back_gives_no_secret_away(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    """WeCom's texts and a proxy's page are shown; what was sent to them is taken out of them."""
    secrets_given = {
        "WECOM_APP_SECRET": "Ap+p/Secret=" + token_hex(8), "WECOM_CONTACTS_SECRET": "Contacts " + token_hex(8),
        "WECOM_CALLBACK_TOKEN": token_hex(8), "BOT_SECRET_KEYS": f"{new_key()},{new_key()}",
    }  # fmt: skip
    for name, value in secrets_given.items():
        environment.setenv(name, value)
    token = f"TOKEN-{token_hex(16)}"

    def answer(path: str) -> bytes:
        if "gettoken" in path:
            return json.dumps({"errcode": 0, "access_token": token, "expires_in": 7200}).encode()
        echoed = [path, unquote(path), *secrets_given.values(), base64.b64encode(path.encode()).decode()]
        return json.dumps({"errcode": 987_654, "errmsg": f"no: {' '.join(echoed)}"}).encode()

    with echoing(answer) as port:
        environment.setenv("WECOM_API_BASE", f"http://127.0.0.1:{port}")
        assert cli.main(["doctor", *option]) == 1
    said = "".join(capsys.readouterr())
    assert "987654" in said
    for value in (token, *secrets_given.values(), *secrets_given["BOT_SECRET_KEYS"].split(",")):
        for form in forms_of(value):
            assert form not in said


@contextmanager
def echoing(answer: Callable[[str], bytes]) -> Iterator[int]:
    """A server that answers each path as told; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            told = answer(self.path)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield int(listening.server_address[1])
        finally:
            listening.shutdown()
            thread.join()


def test_tokens_and_keys_for_both_callbacks_are_made(capsys: pytest.CaptureFixture[str]) -> None:
    """Settings as the console takes them: 32 letters, and 43 that are a key; never the same."""
    assert cli.main(["keys", "callbacks"]) == 0
    made = dict(line.split("=") for line in capsys.readouterr().out.split())
    assert {each.lower() for each in made} <= set(Settings.model_fields)
    assert len(set(made.values())) == 4
    for name, value in made.items():
        assert re.fullmatch(r"[A-Za-z0-9]{32}|[A-Za-z0-9]{43}", value)
        assert settings_checks.fits(SecretStr(value)) is name.endswith("_AES_KEY")
