"""What the recorder notes of what people do, and what it leaves out."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

import pytest

from bot.clock import ShiftedClock
from bot.sandbox.mailserver import MailServer
from bot.sandbox.organisation import Organisation
from bot.sandbox.recorder import Recorder, lasting

AHING, TOKEN = "ahing@corp.test", "t" * 32
PAGE = f"http://127.0.0.1/pages/{TOKEN}"


@pytest.fixture
def org() -> Organisation:
    return Organisation(ShiftedClock(), MailServer(ShiftedClock()))


@pytest.fixture
def recorder(org: Organisation) -> Recorder:
    return Recorder(org)


def sent(recorder: Recorder, path: str = f"/pages/{TOKEN}", **form: str) -> Any:
    """The step of what a member sends on his page."""
    return recorder.page_step(path, urlencode(form).encode())


def steps(recorder: Recorder) -> list[Any]:
    return cast(list[Any], recorder.story("mine")["steps"])


def test_what_is_refused_was_not_done(recorder: Recorder) -> None:
    """A console that says no leaves nothing in the file, and takes nothing else out of it."""
    for member in ("mei", "yan"):
        with recorder.doing({"do": "say", "member": member}):
            pass
    with pytest.raises(LookupError), recorder.doing({"do": "console", "action": "nothing"}):
        raise LookupError
    assert [each["member"] for each in steps(recorder)] == ["mei", "yan"]


def test_a_page_nobody_opened_is_not_known(recorder: Recorder) -> None:
    assert sent(recorder, password="x") is None
    recorder.opened("ahing", "http://127.0.0.1/help")
    assert sent(recorder, password="x") is None


def test_secrets_of_a_page_are_named_and_not_kept(org: Organisation, recorder: Recorder) -> None:
    """A client password by its mailbox, with the making of it left out; keys by their account; nothing of the form."""
    box = org.box(AHING)
    password = next(iter(box.passwords.values()), None) or box.passwords.setdefault("made", "abcdefghijklmnop")
    recorder.opened("ahing", PAGE)
    for address in (AHING, "mei@corp.test"):
        with recorder.doing({"do": "console", "action": "mint_password", "address": address}):
            pass
    spaced = f"{password[:4]} {password[4:]}"
    step = sent(recorder, password=spaced, csrf="c", sure="yes")
    assert step == {"do": "page", "member": "ahing", "mailbox": AHING}
    assert [each["address"] for each in steps(recorder)] == ["mei@corp.test"]

    assert sent(recorder, password="mistyped", csrf="c") == {"do": "page", "member": "ahing", "password": "mistyped"}
    assert sent(recorder, f"/pages/{TOKEN}/decline", csrf="c") == {"do": "page", "member": "ahing", "decline": True}
    for name, keys in org.providers.accounts.shown().items():
        form = dict(zip(("id", "secret"), keys, strict=False))
        assert sent(recorder, **form, csrf="c") == {"do": "page", "member": "ahing", "account": name}
    strange = {"id": "nobody's", "secret": "x"}
    assert sent(recorder, **strange) == {"do": "page", "member": "ahing", "fields": strange}


def test_what_is_heard_between_two_doings(org: Organisation, recorder: Recorder) -> None:
    """The last line of the bot to each member meanwhile, by the piece of it that another day has too."""

    def says(member: str, text: str, sender: str = "bot") -> Any:
        return org.chats.add(member, org.chats.entry(org.now(), sender, "text", text=text))

    with recorder.doing({"do": "say", "member": "mei"}):
        pass
    says("mei", "an earlier line")
    says("mei", "Job 12 of ahing@corp.test at 09:30 is cancelled now")
    says("mei", "what she types herself", "member")
    says("yan", "recalled by WeCom").recalled = True
    with recorder.doing({"do": "clock"}):
        pass
    says("yan", "7")
    says("fang", f"open {PAGE} now")
    assert steps(recorder) == [
        {"do": "say", "member": "mei"},
        {"expect": "heard", "member": "mei", "text": "of ahing@corp.test at"},
        {"do": "clock"},
        {"expect": "heard", "member": "fang", "text": "open"},
    ]
    assert lasting(says("mei", PAGE), "mei") == "/pages/"


def test_a_new_beginning_forgets(org: Organisation, recorder: Recorder) -> None:
    """What was done, who reads which page, and how many mails there were."""
    recorder.opened("ahing", PAGE)
    with recorder.doing({"do": "clock"}):
        recorder.restart({"bot_admins": ["mei"]}, org.now())
    assert steps(recorder) == []
    assert recorder.story("mine")["settings"] == {"bot_admins": ["mei"]}
    assert sent(recorder, password="x") is None
