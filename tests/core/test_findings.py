"""Every kind of finding that `doctor` can make: raised in some test, those that nothing else raises in this file."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bot import doctor_command
from bot.doctor import callbacks, machine, pages, people, wecom
from bot.doctor import settings as settings_checks
from bot.doctor.callbacks import Tried
from bot.doctor.findings import Finding, Level
from bot.errors import NetworkError
from bot.settings import Settings
from bot.wecom.errcodes import WeComError
from bot.words import say
from bot.work import Services
from storage.links import CAME_BACK
from tests.core.conftest import settings_of
from tests.core.test_doctor import FULL, services_of

ROOT = Path(__file__).parents[2]
MAKERS = {"ok", "warning", "wrong", "refused", "level", "clock_off(abs(ahead))"}
IN_PARTS = {f"token_{secret}_{what}" for secret in ("app", "contacts") for what in ("fine", "refused")}  # an f-string
Look = Callable[[Services], Iterator[Finding]]
Reached = dict[str, Any]


def kinds() -> set[str]:
    """Every name of a finding in the code."""
    found = set(IN_PARTS)
    for path in [*(ROOT / "bot").rglob("*.py"), *(ROOT / "handlers").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args or ast.unparse(node.func) not in MAKERS:
                continue
            if isinstance(node.args[0], ast.Constant) and str(node.args[0].value).startswith("doctor."):
                found.add(str(node.args[0].value).removeprefix("doctor."))
    return found


def expected() -> set[str]:
    """Every text in the tests of doctor that could be the name of one that is waited for."""
    return {
        node.value
        for name in ("core/test_doctor.py", "core/test_findings.py", "journeys/test_doctor.py")
        for node in ast.walk(ast.parse((ROOT / "tests" / name).read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_kind_of_finding_has_its_test() -> None:
    """A new finding comes with a test that waits for it by its name; `doctor` is not where guesses are made."""
    assert len(kinds()) > 100
    untested = kinds() - expected()
    assert not untested


def told(services: Services, look: Look, **answers: Any) -> list[tuple[str, Level]]:
    """What is found when WeCom answers so; each sentence can be said in both languages."""
    services.client.answers.clear()  # type: ignore[attr-defined]
    services.client.answers.update({f"/cgi-bin/{path}": answer for path, answer in answers.items()})  # type: ignore[attr-defined]
    found = list(look(services))
    assert all(each.words.text("en") and each.words.text("zh") for each in found)
    return [(each.check, each.level) for each in found]


@contextmanager
def made(folder: Path, **changed: Any) -> Iterator[Services]:
    """Services on an up-to-date database."""
    folder.mkdir(exist_ok=True)
    services = services_of(folder, **changed)
    services.store.migrate()
    try:
        yield services
    finally:
        services.store.close()


FINE, WARNS, WRONG = Level.OK, Level.WARNING, Level.WRONG
BUSY = WeComError(-1, "system busy")
LINE_DOWN = NetworkError("ConnectError")


@pytest.mark.parametrize(
    ("look", "answers", "expected"),
    [
        (
            lambda services: wecom.app(services.client, services.settings),
            {"agent/get": {"name": "A", "redirect_domain": "bot.corp.com", "isreportenter": 1,
                           "allow_userinfos": {"user": [{"userid": "mei"}]}}, "message/send": WeComError(82001)},
            [("app_fine", FINE), ("trusted_domain_fine", FINE), ("messages_fine", FINE)],
        ),
        (lambda services: wecom.may_send(services.client), {"message/send": WeComError(48002)},
         [("messages_refused", WRONG)]),
        (lambda services: wecom.may_send(services.client), {"message/send": LINE_DOWN},
         [("messages_refused", WRONG)]),
        (
            lambda services: wecom.directory(services.client, ["gone", "mei"]),
            {"department/list": {"department": [{"id": 1}]},
             "user/get": lambda given: WeComError(60111) if given["query"]["userid"] == "gone" else
             dict.fromkeys(wecom.FIELDS_USED, "x")},
            [("departments_fine", FINE), ("fields_all", FINE)],
        ),
        (
            lambda services: wecom.directory(services.client, ["mei"]),
            {"department/list": {"department": [{"id": 1}]}, "user/get": {"name": "x"}},
            [("departments_fine", FINE), ("fields_no_address", FINE)],
        ),
        (lambda services: wecom.directory(services.client, []), {"department/list": WeComError(48002)},
         [("departments_refused", WRONG)]),
        (
            lambda services: wecom.contacts_sync(services.client, services.settings),
            {"user/list_id": {"dept_user": [{"userid": "mei", "department": 1}]}, "user/update": WeComError(41012)},
            [("contacts_fine", FINE), ("contacts_write_fine", FINE)],
        ),
        (lambda services: wecom.contacts_sync(services.client, services.settings), {"user/list_id": BUSY},
         [("contacts_refused", WRONG)]),
        (
            lambda services: wecom.contacts_sync(services.client, services.settings),
            {"user/list_id": {"dept_user": []}, "user/update": WeComError(48002)},
            [("contacts_fine", FINE), ("contacts_read_only", WARNS)],
        ),
        (lambda services: wecom.mail_api(services.client), {"exmail/publicmail/search": {"list": []}},
         [("mail_api_fine", FINE)]),
        (lambda services: wecom.mail_api(services.client), {"exmail/publicmail/search": WeComError(48006)},
         [("mail_api_not_allowed", WRONG)]),
        (lambda services: wecom.mail_api(services.client), {"exmail/publicmail/search": BUSY},
         [("mail_api_refused", WRONG)]),
        (lambda services: wecom.mail_api(services.client), {"exmail/publicmail/search": LINE_DOWN},
         [("mail_api_refused", WRONG)]),
    ],
)  # fmt: skip
def test_what_an_app_may_do_and_may_not(
    tmp_path: Path, look: Look, answers: Reached, expected: list[tuple[str, Level]]
) -> None:
    """Each permission by itself: given, refused, or not to be asked about just now."""
    services = services_of(tmp_path, **FULL)
    assert told(services, look, **answers) == expected


def test_who_is_named_in_the_settings_is_asked_about(tmp_path: Path) -> None:
    """All there; one who has not joined; a tag that belongs to somebody else's app."""
    with made(tmp_path, bot_admins=("mei", "jun"), bot_super_admins=()) as services:
        there: Reached = {"user/get": lambda given: {"userid": given["query"]["userid"], "status": 1}}
        assert told(services, people.with_roles, **there) == [("members_fine", FINE)]
        there = {"user/get": lambda given: {"userid": "x", "status": 4 if given["query"]["userid"] == "jun" else 1}}
        assert told(services, people.with_roles, **there) == [("member_inactive", WARNS), ("members_fine", FINE)]
    with made(tmp_path / "tag", bot_admins=(), bot_role_tags={"approver": 7}) as services:
        assert told(services, people.with_roles, **{"tag/get": WeComError(81011)}) == [("tag_refused", WRONG)]


def test_who_answers_for_whom(tmp_path: Path) -> None:
    """Leaders in sight, everybody in sight; then members with a manager, with one in his place, with none."""
    answers: Reached = {
        "department/list": {"department": [{"id": 1, "department_leader": ["mei"]}]},
        "user/get": {"userid": "mei", "status": 1},
        "user/list_id": {"dept_user": [{"userid": "mei", "department": 1}, {"userid": "Jun", "department": 1}]},
        "user/simplelist": {"userlist": [{"userid": "mei", "name": "M"}, {"userid": "jun", "name": "J"}]},
    }
    in_sight = [("leaders_fine", FINE), ("members_inside", FINE)]
    with made(tmp_path, **FULL, bot_approvers=("fang",)) as services:
        assert told(services, people.managers, **answers) == in_sight
        with services.store.begin() as tx:
            tx.members.saw("mei").status = 1
            tx.members.saw("jun").direct_leader = "mei"
        assert told(services, people.managers, **answers) == [*in_sight, ("managers_fallback", FINE)]
        with services.store.begin() as tx:
            tx.members.saw("jun").status = 1
            tx.members.saw("mei").direct_leader = "jun"
        assert told(services, people.managers, **answers) == [*in_sight, ("managers_fine", FINE)]
        answers["user/simplelist"] = {"userlist": [{"userid": "mei", "name": "M"}]}
        assert ("members_outside", WARNS) in told(services, people.managers, **answers)
    with made(tmp_path / "nobody", **FULL) as services:
        with services.store.begin() as tx:
            tx.members.saw("mei").status = 1
        found = list(people.unanswered(services))
    assert [(each.check, each.level) for each in found] == [("managers_missing", WARNS)]
    assert "直属上级" in found[0].words.text("zh")


@pytest.mark.parametrize(
    ("public", "local", "visited", "expected"),
    [
        (Tried(None, 0.2), None, False, ("callback_fine", FINE)),
        (Tried(None, 3.14), None, False, ("callback_slow", WARNS)),
        (Tried(say("doctor.probe_status", status=502)), Tried(None), False, ("callback_local_only", WRONG)),
        (Tried(say("doctor.probe_status", status=502)), Tried(None), True, ("callback_not_from_here", WARNS)),
        (Tried(say("doctor.probe_status", status=502)), Tried(say("doctor.no_answer", why="x")), True,
         ("callback_nowhere", WRONG)),
    ],
)  # fmt: skip
def test_where_a_callback_is_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, public: Tried, local: Tried | None, visited: bool,
    expected: tuple[str, Level],
) -> None:  # fmt: skip
    """From outside, only on this machine, or nowhere; a slow one is told before the console finds it so."""
    with made(tmp_path, **FULL) as services:
        if visited:
            with services.store.begin() as tx:
                tx.moments.happened("callback:app:verified")
        answers = {"https://bot.corp.com": public, callbacks.local_of(services.settings): local}
        monkeypatch.setattr(callbacks, "tried", lambda *given: answers[given[-1]])
        envelope = callbacks.envelope_of(services.settings, "app")
        assert envelope is not None
        found = list(callbacks.answers(services, "app", envelope))
    assert [(each.check, each.level) for each in found] == [expected]
    assert "https://bot.corp.com/wecom/callback" in found[0].words.text("en")
    if expected[0] == "callback_slow":
        assert "took 3.1 seconds" in found[0].words.text("en")


def test_whether_a_page_was_opened(tmp_path: Path) -> None:
    """Never; then when."""
    with made(tmp_path) as services:
        assert told(services, pages.check) == [("page_never", WARNS)]
        with services.store.begin() as tx:
            tx.moments.happened(CAME_BACK)
        assert told(services, pages.check) == [("page_opened", FINE)]


def test_a_folder_of_another_user_and_keys_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, doctor would make files that the bot cannot open."""
    with made(tmp_path) as services:
        with services.store.begin() as tx:
            job = tx.jobs.add("backup", asked_by="mei", params={})
            tx.passwords.keep(job.id, "source", given_by="mei", ciphertext=services.vault.lock("hush"))
        assert told(services, machine.stored_secrets) == [("secret_keys_fine", FINE)]
        monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
        found = told(services, lambda given: machine.folder(given.settings))
    assert ("data_of_another", WARNS) in found


def test_a_value_that_cannot_be_read(tmp_path: Path) -> None:
    """By the setting's name, with the reason and without the value."""
    with pytest.raises(ValidationError) as refused:
        settings_of(tmp_path, wecom_agent_id="hush")
    (found,) = settings_checks.unreadable(refused.value)
    assert (found.check, found.level) == ("setting_refused", WRONG)
    assert "WECOM_AGENT_ID" in found.words.text("zh")
    assert "hush" not in found.words.text("zh")
    assert isinstance(settings_of(tmp_path), Settings)


def test_what_keeps_the_bot_from_being_made(tmp_path: Path) -> None:
    """The settings are right one by one, and a file that one of them names cannot be used."""
    policy = tmp_path / "policy.toml"
    policy.write_text("[require]\nmake_coffee = 'two'\n")
    given = settings_of(tmp_path, **FULL, bot_policy_file=policy)
    assert [(each.check, each.level) for each in doctor_command.looked_at(given, live=False)] == [("no_bot", WRONG)]
