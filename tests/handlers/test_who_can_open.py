"""Who can open what, and what an address is; long lists come as files that compute nothing."""

from __future__ import annotations

import io

import pytest
from openpyxl import load_workbook

from bot.errors import UserError
from bot.sandbox.people import MailGroup
from handlers.bin import recycle_bin
from handlers.organisation import who_can_open
from handlers.public import public_changes
from storage.models import BinSource
from storage.store import Store
from tests.handlers.conftest import FakeClock
from tests.handlers.wecom_wire import Place

SUPPORT = "support@corp.test"


@pytest.fixture
def place(store: Store, clock: FakeClock) -> Place:
    return Place(store, clock)


def test_everybody_with_how_he_comes_to_it(place: Place) -> None:
    """By name, by department, by tag, each once; passwords are named; a member's mailbox is his own."""
    box = place.public()
    box.departments, box.tags = [5], [3]
    place.does("mei", who_can_open.who_can_open, SUPPORT)
    told = place.last()
    assert "4 people can open support@corp.test:" in told
    assert "阿兴 (ahing): by name" in told
    assert "王兰 (lan): by department 客服 (2 people), tag 客服值班 (2 people)" in told
    assert "`passwords support@`" in told
    place.does("mei", who_can_open.who_can_open, "ahing")
    assert "ahing@corp.test is 阿兴’s own mailbox" in place.last()
    place.does("mei", who_can_open.who_can_open, "sales@")
    assert "WeCom shows me no public mailbox sales@corp.test" in place.last()


def test_a_tag_nobody_lets_us_see(place: Place) -> None:
    """Who carries it is not known, and that is said."""
    place.public().tags = [3]
    place.org.tags[3].visible = False
    place.does("mei", who_can_open.who_can_open, SUPPORT)
    assert "I cannot see who carries these tags" in place.last()


@pytest.mark.parametrize("form", ["csv", None])
def test_many_come_as_a_file(place: Place, form: str | None) -> None:
    """Thirty people, one with a name like a formula; as CSV also when there are few."""
    with place.store.begin() as tx:
        for number in range(30):
            tx.members.saw(f"m{number}", name="=1+1" if number == 0 else f"M{number}", departments=[5])
    place.public().departments = [5]
    place.does("mei", who_can_open.who_can_open, SUPPORT, form=form)
    ((name, content),) = place.files()
    if form == "csv":
        assert name == "who-can-open-support.csv"
        assert "'=1+1" in content.decode("utf-8-sig")
    else:
        sheet = load_workbook(io.BytesIO(content)).active
        assert sheet is not None
        assert {cell.data_type for row in sheet.iter_rows() for cell in row} == {"s"}
    assert "M3" not in place.last()


def test_what_a_member_can_open(place: Place) -> None:
    """His own and the public ones, also those somebody told us of."""
    place.does("mei", public_changes.public_note, "sales@", "销售", ["ling", "dept:销售"])
    place.does("mei", who_can_open.what_can_open, "ahing")
    told = place.last()
    assert "阿兴’s own mailbox: ahing@corp.test" in told
    assert "Public mailbox support@corp.test “客户支持”\n" in told
    assert "Public mailbox sales@corp.test “销售”, as I was told" in told
    place.does("mei", who_can_open.what_can_open, "wei")
    assert "No public mailbox that I see can be opened by 魏强" in place.last()
    for number in range(30):
        place.does("mei", public_changes.public_note, f"box{number}@", f"=B{number}", ["ling"])
    place.does("mei", who_can_open.what_can_open, "ling")
    assert "31 public mailboxes" in place.last()
    assert "box7@" not in place.last()
    place.does("mei", who_can_open.what_can_open, "ahing", "csv")
    assert [name for name, _ in place.files()] == ["what-ling-can-open.xlsx", "what-ahing-can-open.csv"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("sup", ["public mailbox support@corp.test “客户支持” (1)"]),
        ("支持", ["public mailbox support@corp.test “客户支持” (1)"]),
        ("阿", ["member 阿兴 (ahing): ahing@corp.test"]), ("兴哥", ["member 阿兴 (ahing): ahing@corp.test"]),
        ("@阿兴", ["member 阿兴 (ahing): ahing@corp.test"]), ("axing", ["member 阿兴 (ahing): ahing@corp.test"]),
        ("Big B", ["member 阿兴 (ahing): ahing@corp.test"]), ("serv", ["alias service@corp.test of support@corp.test"]),
        ("team", ["mail group team@corp.test “Team”"]), ("gone", ["in the recycle bin: gone@corp.test", "`bin "]),
        ("support@", ["support@corp.test is taken: it is the public mailbox “客户支持”"]),
        ("service@", ["service@corp.test is taken: it is an alias of support@corp.test"]),
        ("team@", ["team@corp.test is taken: it is the mail group “Team”"]),
        ("gone@", ["gone@corp.test is held by the recycle bin until"]),
        ("calvin@", ["calvin@corp.test is taken: it belongs to 卡尔文"]),
        ("new@", ["As far as I see, new@corp.test is free"]), ("zzz", ["I find nothing with “zzz”", "admin console"]),
    ],
)  # fmt: skip
def test_find(place: Place, words: str, said: list[str]) -> None:
    """A part of a name, nickname or address, or a whole address: what it is, that it is free, or held by the bin."""
    fields = {"groupname": "Team", "email_list": {"list": ["ahing@corp.test"]}, "allow_type": 0}
    place.org.groups["team@corp.test"] = MailGroup("team@corp.test", True, fields)
    place.public().aliases = ["service@corp.test"]
    with place.store.begin() as tx:
        tx.mailboxes.member_has("ahing", "ahing@corp.test", "look-up")
        for name in ("阿兴哥", "Big Boss"):
            tx.names.call("ahing", name, by="mei")
        box = tx.mailboxes.at(SUPPORT)
        assert box is not None
        box.aliases = ["service@corp.test"]
        recycle_bin.enter(
            tx, place.services.settings, source=BinSource.BY_HAND, known_from="typed", address="gone@corp.test"
        )
    place.does("mei", who_can_open.find, words)
    for each in said:
        assert each in place.last()


def test_what_is_found_comes_as_a_file_too(place: Place) -> None:
    """As CSV whenever it is wanted, as a workbook when there is much; nothing in it is computed."""
    with place.store.begin() as tx:
        for number in range(30):
            tx.members.saw(f"crowd{number}", name="=1+1" if number == 0 else f"@Crowd{number}", departments=[5])
    place.does("mei", who_can_open.find, "crowd")
    assert "30 found" in place.last()
    place.does("mei", who_can_open.find, "crowd0", "csv")
    (one, content), (two, few) = place.files()
    sheet = load_workbook(io.BytesIO(content)).active
    assert sheet is not None
    assert {cell.data_type for row in sheet.iter_rows() for cell in row if cell.value is not None} == {"s"}
    assert (one, two) == ("found.xlsx", "found.csv")
    assert few.decode("utf-8-sig").splitlines()[1:] == ["Member 成员,,'=1+1,crowd0"]


def test_members_who_are_no_auditors_find_nothing(place: Place) -> None:
    """The dispatcher asks for the role; the handler is only reached with it."""
    commands = {each.name: each.role for each in who_can_open.router.commands}
    assert set(commands.values()) == {"auditor"}
    with pytest.raises(UserError), place.store.begin() as tx:
        place.context(tx, "ahing").require_admin()
