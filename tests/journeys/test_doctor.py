"""
`doctor` for a real set-up: `serve` in a process of its own with settings only, the sandbox as its WeCom.

First everything in the order in which an engineer meets it, until all is green; then each fault, which is named with
its remedy.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.clock import ShiftedClock, SystemClock
from bot.doctor import callbacks, checkup, hosts, machine, pages, people, settings
from bot.doctor import wecom as wecom_checks
from bot.doctor.findings import Finding, Level
from bot.http import Http
from bot.policy import Policy
from bot.sandbox.player import Player, text_of
from bot.sandbox.run import Sandbox, SandboxSettings, running
from bot.settings import Settings
from bot.vault import Vault, new_key
from bot.wecom.client import WeComClient
from bot.work import Services
from storage.leases import Leases
from storage.links import CAME_BACK
from storage.store import Store
from tests.journeys.conftest import Bot

EGRESS = "203.0.113.9"
GREEN = [
    "app_fine", "callback_came", "callback_fine", "clock_fine", "contacts_fine", "contacts_write_fine", "data_fine",
    "database_fine", "departments_fine", "directory_fine", "dns_fine", "egress", "fields_no_address", "imap_fine",
    "leaders_fine", "mail_api_fine", "managers_fallback", "members_fine", "members_inside", "messages_fine",
    "page_opened", "settings_complete", "smtp_fine", "token_app_fine", "token_contacts_fine", "trusted_domain_fine",
]  # fmt: skip
Look = Callable[[Services], Any]
GUIDE = (Path(__file__).parents[2] / "docs" / "install.md").read_text("utf-8")
NOT_HERE = {"sum_fine", "leaders_unseen"}  # no fault; and the sandbox's WeCom names no leader whom the app cannot see
QUOTED = set(re.findall(r"^> `([a-z_]+)` .+<br>.+$", GUIDE, re.MULTILINE)) - NOT_HERE


class Hospital:
    """The bot in its process, WeCom in ours, and doctors with any settings."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self.folder = sandbox, folder
        self.player = Player(sandbox.url)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.found: set[str] = set()
        state = self.player.get("state")
        wecom = state["wecom"]
        self.values: dict[str, Any] = {
            **{f"wecom_{name}": value for name, value in wecom.items()},
            "wecom_oauth_base": wecom["api_base"],
            "exmail_domain": state["domain"],
            "exmail_imap_host": "127.0.0.1",
            "exmail_imap_port": state["imap"]["port"],
            "exmail_imap_tls": False,
            "exmail_smtp_host": "127.0.0.1",
            "exmail_smtp_port": sandbox.smtp.port,
            "exmail_smtp_tls": False,
            "bot_dns_servers": ", ".join(sandbox.dns.resolvers),
            "bot_dns_port": sandbox.dns.port,
            "bot_public_url": self.url,
            "bot_secret_keys": new_key(),
            "bot_super_admins": "mei",
            "bot_admins": "mei, yan",
            "bot_approvers": "fang",
            "bot_port": self.port,
            "bot_data_dir": folder / "bot",
            "bot_tick_seconds": 1,
        }

    def environment(self) -> dict[str, str]:
        """What an engineer writes into `.env`, and nothing of this machine's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("WECOM_", "EXMAIL_", "BOT_"))}
        root = str(Path(__file__).parents[2])
        return kept | {name.upper(): str(value) for name, value in self.values.items()} | {"PYTHONPATH": root}

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`exmail-bot` in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "bot", *arguments],
            env=self.environment(), cwd=self.folder, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    @contextmanager
    def serving(self) -> Iterator[None]:
        """The bot at work in its own process."""
        with (self.folder / "log").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "bot", "serve"],
                env=self.environment(), cwd=self.folder, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            self.player.wait("the bot answers", lambda: process.poll() is None and answers(self.port))
            yield
        finally:
            process.terminate()
            process.wait(30)

    def seen(self, look: Look, **changed: Any) -> list[Finding]:
        """What a doctor with these settings finds, in this process."""
        services = services_of(SandboxSettings(**self.values | changed))
        try:
            found = list(look(services))
        finally:
            services.client.close()
            services.store.close()
        self.found |= names(found)
        return found

    def finds(self, look: Look, check: str, *words: str, level: Level = Level.WRONG, **changed: Any) -> None:
        """A doctor names the fault once, with these words in English; nothing of a secret is in it."""
        found = self.seen(look, **changed)
        named = [each for each in found if each.check == check]
        assert [each.level for each in named] == [level], [(each.check, each.words.text("en")) for each in found]
        for word in words:
            assert word in named[0].words.text("en")
        self.tells_no_secret(*(each.words.text(language) for each in found for language in ("en", "zh")))

    def tells_no_secret(self, *texts: str) -> None:
        """None of the secrets in the settings stands in the texts."""
        for name in ("app_secret", "contacts_secret", "callback_token", "callback_aes_key"):
            assert not any(self.values[f"wecom_{name}"] in each for each in texts)
        assert not any(self.values["bot_secret_keys"] in each for each in texts)


def services_of(settings: Settings) -> Services:
    """What the checks are given, without the bot around it, which takes long to put together."""
    clock = SystemClock()
    store = Store(settings.database_url, clock.now)
    client = WeComClient(
        Http(settings.wecom_api_base),
        clock,
        settings.wecom_corp_id,
        settings.wecom_agent_id,
        settings.wecom_app_secret.get_secret_value(),
        settings.wecom_contacts_secret.get_secret_value(),
    )
    vault = Vault([settings.bot_secret_keys.get_secret_value()])
    return Services(store, client, settings, Policy(), vault, clock, Leases(store.engine), "doctor")


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    """WeCom is there, the bot is not yet."""
    with running(tmp_path / "sandbox") as sandbox:
        made = Hospital(sandbox, tmp_path)
        with closing(made.player):
            yield made


def test_from_nothing_to_all_green_and_each_fault_by_name(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the install guide goes, and as things break later."""
    org, console = hospital.sandbox.organisation, hospital.player.console
    wecom, every = checkup.at_wecom, checkup.examine
    what_the_settings_lack(hospital)
    hospital.finds(every, "database_new", "exmail-bot serve makes it", level=Level.WARNING)
    hospital.finds(wecom, "trusted_domain_other", f"BOT_PUBLIC_URL says 127.0.0.1:{hospital.port}")
    named = [each for each in hospital.seen(callbacks.check) if each.check == "callback_nowhere"]
    assert len(named) == 2
    assert "Is exmail-bot serve running" in named[0].words.text("en")

    org.bot_url = hospital.url  # the trusted domain, and the URL of both callbacks, in the simulated console
    with hospital.serving():
        elsewhere = {"bot_public_url": f"{hospital.url}/elsewhere"}
        app_only("callback_local_only", "HTTP 404", "reverse proxy")(hospital, **elsewhere)
        hospital.finds(pages.check, "page_never", "Type `doctor` to the bot", level=Level.WARNING)
        never = [each for each in hospital.seen(callbacks.check) if each.check == "callback_never"]
        for each, path in zip(never, callbacks.PATHS.values(), strict=True):
            assert f"enter {hospital.url}{path} with" in each.words.text("en")
        assert all("press 保存 (Save) now" in each.words.text("en") for each in never)

        right, org.callback_token = org.callback_token, "another"
        assert console("verify_callbacks")["app"] is not None
        hospital.player.wait("it is noted", lambda: "callback_refused" in names(hospital.seen(callbacks.check)))
        hospital.finds(callbacks.check, "callback_refused", "copy Token", "WECOM_CALLBACK_TOKEN")
        org.callback_token = right
        assert console("verify_callbacks") == {"app": None, "contacts": None}
        hospital.player.wait(
            "the directory is read", lambda: "directory_fine" in names(hospital.seen(machine.database))
        )
        opened(hospital)

        found = hospital.command("doctor", "--json")
        told = json.loads(found.stdout)
        assert [each for each in told if each["level"] != "ok"] == []
        assert found.returncode == 0
        assert sorted({each["check"] for each in told}) == GREEN
        hospital.tells_no_secret(found.stdout, found.stderr)

        for switch, check, words, level in (
            ("ip_not_trusted", "ip_not_trusted", (EGRESS, "应用管理", "通讯录同步"), Level.WRONG),
            ("secret_reset", "token_app_refused", ("40001", "Copy it again"), Level.WRONG),
            ("app_disabled", "token_app_refused", ("50003", "Switch it on"), Level.WRONG),
            ("mail_not_allowed", "mail_api_not_allowed", ("协作", "可调用应用"), Level.WRONG),
            ("contacts_sync_off", "contacts_read_only", ("API编辑通讯录",), Level.WARNING),
        ):  # fmt: skip
            hospital.player.trouble(switch)
            hospital.finds(wecom, check, *words, level=level)
            hospital.player.trouble(switch, on=False)
        hospital.player.trouble("tokens_expired")  # what mends itself is no fault
        assert {each.level for each in hospital.seen(wecom)} == {Level.OK}

        hospital.finds(wecom, "token_contacts_refused", "Secret", wecom_contacts_secret="hush")
        hospital.finds(wecom, "token_app_refused", "WECOM_CORP_ID", wecom_corp_id="ww0000000000000000")
        hospital.finds(wecom, "app_refused", "AgentId", wecom_agent_id=1)
        hospital.finds(wecom, "wecom_unreachable", "firewall", wecom_api_base=f"http://127.0.0.1:{free_port()}")
        hospital.finds(wecom, "member_unknown", "lily", "BOT_ADMINS", bot_admins="mei yan lily")
        who_is_out_of_sight(hospital)

        hospital.finds(hosts_of(hosts.imap), "imap_wrong", "993", exmail_imap_port=free_port())
        hospital.finds(hosts_of(hosts.imap), "imap_wrong", exmail_imap_port=hospital.port)
        hospital.finds(hosts_of(hosts.imap), "imap_wrong", "speaks no TLS", exmail_imap_tls=True)
        hospital.finds(hosts_of(hosts.smtp), "smtp_wrong", "465", level=Level.WARNING, exmail_smtp_port=hospital.port)

        changed = app_only("callback_nowhere", "refuses these settings' token or key", "restart it")
        changed(hospital, wecom_callback_token="another")
        changed(hospital, wecom_callback_aes_key="A" * 43)
        app_only("callback_not_from_here", "HTTP 404", "WeCom reached it at", level=Level.WARNING)(
            hospital, **elsewhere
        )
        app_only("callback_nowhere", "another database", "BOT_DATA_DIR")(
            hospital, bot_data_dir=hospital.folder / "other"
        )

        silent = f"127.0.0.1:{free_port()}"
        hospital.finds(hosts_of(hosts.dns), "dns_silent", silent, "port 53", bot_dns_servers=silent)
        hospital.player.advance(100)
        hospital.finds(wecom, "clock_behind", "time synchronisation", level=Level.WARNING)
        hospital.player.advance(400)
        hospital.finds(wecom, "clock_behind", "time synchronisation")
    what_this_machine_lost(hospital, monkeypatch)
    assert not QUOTED - hospital.found  # every fault of which the guide tells how it looks was there


def what_the_settings_lack(hospital: Hospital) -> None:
    """What is forgotten before anything runs, or put down for something else."""
    look, warns = hosts_of(settings.check), Level.WARNING
    real: dict[str, Any] = {"wecom_api_base": "https://qyapi.weixin.qq.com", "bot_trusted_proxies": "127.0.0.1"}
    hospital.finds(look, "one_admin", "name another one in BOT_ADMINS", level=warns, bot_admins="mei")
    hospital.finds(look, "contacts_secret_missing", "通讯录同步", level=warns, wecom_contacts_secret="")
    app_s = hospital.values["wecom_app_secret"]
    hospital.finds(look, "secrets_alike", "The second is another one", wecom_contacts_secret=app_s)
    of_contacts: dict[str, Any] = {"wecom_contacts_callback_token": "", "wecom_contacts_callback_aes_key": ""}
    hospital.finds(look, "contacts_callback_missing", "设置接收事件服务器", level=warns, **of_contacts)
    hospital.finds(look, "public_url_not_https", "certificate", bot_public_url="http://bot.corp.com", **real)
    outside = real | {"bot_public_url": "https://bot.corp.com", "bot_trusted_proxies": ""}
    hospital.finds(look, "no_trusted_proxies", "127.0.0.1", level=warns, **outside)

    hospital.values, given = hospital.values | {"wecom_corp_id": "", "bot_secret_keys": ""}, hospital.values
    file = hospital.folder / ".env"
    file.touch()
    file.chmod(0o644)
    told = json.loads(hospital.command("doctor", "--json").stdout)
    hospital.values = given
    file.unlink()
    assert [each["check"] for each in told] == ["env_file_open", "setting_missing", "setting_missing"]
    for each, words in zip(told, ("chmod 600", "企业ID, at the bottom", "exmail-bot keys new"), strict=True):
        assert words in each["en"]
    hospital.found |= {each["check"] for each in told}


def who_is_out_of_sight(hospital: Hospital) -> None:
    """The app's visible range in the console is too narrow, or nothing at all; the trusted domain is not there."""
    org, console, wecom = hospital.sandbox.organisation, hospital.player.console, checkup.at_wecom
    console("set_range", departments=[2])
    hospital.finds(wecom, "member_unseen", "fang", "BOT_APPROVERS", "可见范围", bot_super_admins="", bot_admins="")
    hospital.finds(people.managers, "members_outside", "fang", "可见范围", level=Level.WARNING)
    console("set_range", departments=[])
    tags, org.tags = org.tags, {}
    hospital.finds(wecom, "app_seen_by_nobody", "邮箱管家", "可见范围")
    org.tags = tags
    console("set_range", departments=[1])
    hospital.finds(people.managers, "managers_missing", "fang", "BOT_APPROVERS", level=Level.WARNING, bot_approvers="")
    url, org.bot_url = org.bot_url, ""
    hospital.finds(wecom, "trusted_domain_missing", f"Enter 127.0.0.1:{hospital.port}", "设置可信域名")
    org.bot_url = url


def what_this_machine_lost(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time, its user, a key, and in the end the release that wrote the database."""
    fast = ShiftedClock()
    fast.advance(1000)
    hospital.finds(lambda services: wecom_checks.reached(services.settings, fast), "clock_ahead", "chrony")
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: hospital.folder.stat().st_uid + 1)
        hospital.finds(hosts_of(machine.folder), "data_of_another", "Run doctor as the user", level=Level.WARNING)

    def kept(services: Services) -> list[Finding]:
        with services.store.begin() as tx:
            job = tx.jobs.add("doctor", asked_by="mei", params={})
            tx.passwords.keep(job.id, "source", given_by="mei", ciphertext=services.vault.lock("hush"))
        return []

    def newer(services: Services) -> list[Finding]:
        with services.store.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        return []

    hospital.seen(kept)
    hospital.finds(machine.database, "secret_keys_lost", "An older key is missing", bot_secret_keys=new_key())
    hospital.seen(newer)
    hospital.finds(machine.database, "database_newer", "restore the copy")


def names(findings: list[Finding]) -> set[str]:
    """The checks that were made."""
    return {each.check for each in findings}


def hosts_of(look: Callable[[Any], Any]) -> Look:
    """A look at the hosts, which needs settings only."""
    return lambda services: look(services.settings)


def app_only(check: str, *words: str, level: Level = Level.WRONG) -> Callable[..., None]:
    """What is found of the app's callback alone."""

    def look(services: Services) -> list[Finding]:
        envelope = callbacks.envelope_of(services.settings, "app")
        assert envelope is not None
        return list(callbacks.answers(services, "app", envelope))

    return lambda hospital, **changed: hospital.finds(look, check, *words, level=level, **changed)


def opened(hospital: Hospital) -> None:
    """A member came back from WeCom to his page."""

    def note(services: Services) -> list[Finding]:
        with services.store.begin() as tx:
            tx.moments.happened(CAME_BACK)
        return []

    hospital.seen(note)


def test_live_against_the_sandbox(tmp_path: Path) -> None:
    """
    From the chat to the mail server and back: the questions are answered as the sandbox is, and nothing stays.

    IMAP of a fresh public mailbox is off first; then on, with folders that can be deleted.
    """
    with running(tmp_path / "data") as sandbox, closing(Bot(sandbox)) as bot:
        bot.wait_ready()
        bot.say("mei", "doctor live")
        bot.hear("mei", "Type `public create probe@ Probe for mei`")
        bot.trouble("public_imap_off")
        bot.say("mei", "public create probe@ Probe for mei")
        bot.press("mei", "confirm:")
        bot.hear("mei", "probe@corp.test “Probe” is there")
        bot.say("mei", "doctor live")
        bot.hear("mei", "log in at once: no (asked at")
        box = sandbox.organisation.box("probe@corp.test")
        box.imap_on, box.faults["delete_refused"] = True, False
        bot.say("mei", "体检 实测")
        bot.hear("mei", "已在 probe@corp.test 中尝试：使用自建的文件夹，之后已删除")
        bot.wait("all of it is said", lambda: "EXMAIL_IMAP_CONNECTIONS_MAX 个连接：是" in all_told(bot, "mei"))
        told = all_told(bot, "mei")
        for words in (
            "立即登录：是", "与上次不同", "能否在顶层创建文件夹：否", "（APPENDUID）：是", "问题因会造成影响而未查询",
        ):  # fmt: skip
            assert words in told
        assert sandbox.organisation.public_of_address("probe@corp.test").passwords == []
        assert "其他文件夹/exmail-bot-probe" not in box.folders
        with bot.store.begin() as tx:
            assert tx.answers.of("minted_login") == "yes"
            assert tx.answers.find("connections").detail == "4"


def all_told(bot: Bot, member: str) -> str:
    """Everything that a member was told."""
    return "\n".join(text_of(each) for each in bot.entries(member))
