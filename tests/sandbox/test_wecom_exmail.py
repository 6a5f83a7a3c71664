"""The mail API of the simulated WeCom: all 24 calls, their list semantics and their refusals."""

from __future__ import annotations

import base64
import email
from collections.abc import Iterator
from typing import Any

import pytest

from bot.sandbox.wecom.api import ENDPOINTS
from tests.sandbox.wecom_world import World

PUBLIC = "exmail/publicmail"


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def listed(*items: Any) -> dict[str, list[Any]]:
    return {"list": list(items)}


def made(world: World, address: str = "archive@corp.test", **more: Any) -> dict[str, Any]:
    body = {"email": address, "name": address.partition("@")[0], "userid_list": listed("mei"), **more}
    return world.post(f"{PUBLIC}/create", body)


def details(world: World, number: int) -> dict[str, Any]:
    found: dict[str, Any] = world.post(f"{PUBLIC}/get", {"id_list": [number]})["list"][0]
    return found


def test_there_are_24_calls_and_no_more() -> None:
    assert len([path for path in ENDPOINTS if path.startswith("exmail/")]) == 24


# ---------------------------------------------------------------------- public mailboxes
def test_the_app_sees_only_public_mailboxes_it_made(world: World) -> None:
    seen = world.get(f"{PUBLIC}/search", fuzzy=0)["list"]
    assert [each["email"] for each in seen] == ["support@corp.test"]
    sales = world.org.public_of_address("sales@corp.test")
    assert sales is not None
    for path in ("get_auth_code_list", "delete", "update"):
        assert world.code(f"{PUBLIC}/{path}", {"id": sales.id}) == 680035
    assert world.code(f"{PUBLIC}/get", {"id_list": [sales.id]}) == 680035
    assert world.code("exmail/account/act_email", {"publicemail_id": sales.id, "type": 2}) == 680035
    world.trouble("own_public_mailboxes_only", on=False)
    assert len(world.get(f"{PUBLIC}/search", fuzzy=0)["list"]) == 2
    assert details(world, sales.id)["email"] == "sales@corp.test"


def test_a_public_mailbox_is_made_with_a_password_that_opens_it(world: World) -> None:
    answer = made(world, create_auth_code=1, auth_code_info={"remark": "exmail-bot"})
    assert answer["errcode"] == 0
    box = world.org.box("archive@corp.test")
    assert box.passwords == {answer["auth_code_id"]: answer["auth_code"]}
    assert len(answer["auth_code"]) == 16
    codes = world.post(f"{PUBLIC}/get_auth_code_list", {"id": answer["id"]})["auth_code_list"]
    assert codes == [
        {
            "auth_code_id": answer["auth_code_id"],
            "create_time": world.org.epoch(),
            "last_use_time": 0,
            "remark": "exmail-bot",
        }
    ]
    gone = {"id": answer["id"], "auth_code_id": answer["auth_code_id"]}
    assert world.code(f"{PUBLIC}/delete_auth_code", gone) == 0
    assert world.code(f"{PUBLIC}/delete_auth_code", gone) == 680000
    assert box.passwords == {}


@pytest.mark.parametrize(
    ("change", "errcode"),
    [
        ({"email": "archive@elsewhere.test"}, 680032),
        ({"email": "archive"}, 680032),
        ({"email": "ahing@corp.test"}, 680033),
        ({"email": "sales@corp.test"}, 680033),
        ({"name": ""}, 680034),
        ({"name": "x" * 65}, 680034),
        ({"name": "一" * 33}, 680034),
        ({"name": "客户支持"}, 680040),
        ({"userid_list": listed()}, 680000),
        ({"userid_list": ["mei"]}, 680000),
        ({"userid_list": listed("nobody")}, 60111),
        ({"department_list": listed(99)}, 60123),
        ({"tag_list": listed(99)}, 40068),
        ({"create_auth_code": 1, "auth_code_info": {"remark": "x" * 129}}, 680000),
        ({"create_auth_code": 2}, 680000),
    ],
)
def test_a_bad_public_mailbox_is_not_made(world: World, change: dict[str, Any], errcode: int) -> None:
    body = {"email": "archive@corp.test", "name": "archive", "userid_list": listed("mei"), **change}
    assert world.code(f"{PUBLIC}/create", body) == errcode
    assert world.mail.mailbox("archive@corp.test") is None


def test_places_for_public_mailboxes(world: World) -> None:
    """Three, and with 邮件高级功能 one more for each seat nobody has; the console has the same rule."""
    assert made(world)["errcode"] == 0
    more = {"email": "more@corp.test", "name": "more", "userid_list": listed("mei")}
    assert world.code(f"{PUBLIC}/create", more) == 680046
    world.console("create_public", 409, address="more@corp.test", members=["mei"])
    world.console("buy_seats", count=5)
    world.post("exmail/vip/batch_add", {"userid_list": ["mei", "ling", "ahing", "calvin"]})
    assert world.code(f"{PUBLIC}/create", more) == 0
    assert world.code(f"{PUBLIC}/create", {**more, "email": "yet@corp.test", "name": "yet"}) == 680046


def test_an_update_leaves_what_is_left_out_and_clears_what_is_empty(world: World) -> None:
    number = made(world, department_list=listed(2))["id"]
    assert world.code(f"{PUBLIC}/update", {"id": number, "name": "档案"}) == 0
    assert details(world, number) == {
        "id": number,
        "email": "archive@corp.test",
        "name": "档案",
        "userid_list": listed("mei"),
        "department_list": listed(2),
        "tag_list": listed(),
        "alias_list": listed(),
    }
    assert world.code(f"{PUBLIC}/update", {"id": number, "userid_list": listed()}) == 0
    assert details(world, number)["userid_list"] == listed()
    assert world.code(f"{PUBLIC}/update", {"id": number, "department_list": listed()}) == 680000
    assert details(world, number)["department_list"] == listed(2)
    assert world.code(f"{PUBLIC}/update", {"id": number, "email": "new@corp.test"}) == 0
    assert details(world, number)["email"] == "archive@corp.test"


def test_aliases_are_overwritten_unique_and_five(world: World) -> None:
    number = made(world)["id"]
    aliases = [f"archive{each}@corp.test" for each in range(6)]
    update = {"id": number, "alias_list": listed(*aliases)}
    assert world.code(f"{PUBLIC}/update", update) == 680000
    assert world.code(f"{PUBLIC}/update", {**update, "alias_list": listed(*aliases[:5])}) == 0
    assert world.org.box("archive@corp.test").aliases == set(aliases[:5])
    assert world.code(f"{PUBLIC}/update", {**update, "alias_list": listed(aliases[0], "mei@corp.test")}) == 680033
    assert world.code(f"{PUBLIC}/update", {**update, "alias_list": {}}) == 0
    assert world.org.box("archive@corp.test").aliases == set()


def test_ten_passwords_by_api_and_no_more(world: World) -> None:
    number = made(world)["id"]
    wanted = {"id": number, "create_auth_code": 1}
    answers = [world.post(f"{PUBLIC}/update", wanted) for _ in range(11)]
    assert [each["errcode"] for each in answers] == [0] * 10 + [680000]
    assert world.code(f"{PUBLIC}/delete_auth_code", {"id": number, "auth_code_id": answers[0]["auth_code_id"]}) == 0
    assert world.code(f"{PUBLIC}/update", wanted) == 0
    codes = world.post(f"{PUBLIC}/get_auth_code_list", {"id": number})["auth_code_list"]
    assert {each["remark"] for each in codes} == {"办公PC"}


def test_a_deleted_public_mailbox_waits_in_the_bin_and_keeps_its_address(world: World) -> None:
    answer = made(world, create_auth_code=1)
    assert world.code(f"{PUBLIC}/delete", {"id": answer["id"]}) == 0
    box = world.org.box("archive@corp.test")
    assert (box.disabled, box.passwords) == (True, {})
    assert made(world)["errcode"] == 680033
    assert world.org.bin_item("archive@corp.test") is not None
    world.advance(days=61)
    assert made(world)["errcode"] == 0


def test_search_finds_by_name_and_address(world: World) -> None:
    made(world)
    for wanted in ("客户", "SUPP", "support@"):
        hits = world.get(f"{PUBLIC}/search", fuzzy=1, email=wanted)["list"]
        assert [each["email"] for each in hits] == ["support@corp.test"]
    assert len(world.get(f"{PUBLIC}/search", fuzzy=0, email="support")["list"]) == 2
    assert world.get(f"{PUBLIC}/search")["errcode"] == 680015


def test_there_can_be_no_room_for_another(world: World) -> None:
    world.trouble("public_mailboxes_full")
    assert made(world)["errcode"] == 680046


# ---------------------------------------------------------------------- account, options, unread
def test_a_mailbox_is_frozen_and_opened_again(world: World) -> None:
    freeze = {"userid": "ahing", "type": 2}
    assert world.code("exmail/account/act_email", freeze) == 0
    assert world.org.box("ahing@corp.test").disabled
    assert world.code("exmail/account/act_email", freeze) == 680045
    assert world.code("exmail/account/act_email", {**freeze, "type": 1}) == 0
    assert not world.org.box("ahing@corp.test").disabled
    assert world.code("exmail/account/act_email", {**freeze, "type": 3}) == 680043
    assert world.code("exmail/account/act_email", {"type": 2}) == 40058
    assert world.code("exmail/account/act_email", {"userid": "mei", "type": 2}) == 680044


def test_with_both_ids_only_the_member_is_frozen(world: World) -> None:
    assert world.code("exmail/account/act_email", {"userid": "ahing", "publicemail_id": 1, "type": 2}) == 0
    assert not world.org.box("support@corp.test").disabled
    assert world.code("exmail/account/act_email", {"publicemail_id": 1, "type": 2}) == 0
    assert world.org.box("support@corp.test").disabled


def test_imap_is_switched_as_strings(world: World) -> None:
    box = world.org.box("ahing@corp.test")
    box.imap_on = False
    ask = {"userid": "ahing", "type": [1, 2, 3, 4]}
    before = world.post("exmail/useroption/get", ask)["option"]["list"]
    assert before == [{"type": kind, "value": value} for kind, value in ((1, "0"), (2, "0"), (3, "0"), (4, "1"))]
    change = {"userid": "ahing", "option": listed({"type": 2, "value": "1"})}
    assert world.code("exmail/useroption/update", change) == 0
    assert box.imap_on
    assert world.post("exmail/useroption/get", {**ask, "type": [2]})["option"]["list"] == [{"type": 2, "value": "1"}]


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        ("get", {"userid": "ahing", "type": [5]}, 680041),
        ("get", {"userid": "nobody", "type": [1]}, 60111),
        ("update", {"userid": "ahing", "option": {"list": [{"type": 4, "value": "0"}]}}, 680042),
        ("update", {"userid": "ahing", "option": {"list": [{"type": 2, "value": 1}]}}, 680000),
        ("update", {"userid": "ahing", "option": [{"type": 2, "value": "1"}]}, 680000),
    ],
)
def test_bad_options_are_refused(world: World, path: str, body: dict[str, Any], errcode: int) -> None:
    assert world.code(f"exmail/useroption/{path}", body) == errcode


def test_unread_mails_are_counted_for_members_with_a_mailbox(world: World) -> None:
    assert world.post("exmail/mail/get_newcount", {"userid": "ahing"})["count"] == 0
    world.console("receive_mail", address="ahing@corp.test", text="hello")
    assert world.post("exmail/mail/get_newcount", {"userid": "ahing"})["count"] == 1
    world.console("reclaim", member="ahing")
    assert world.code("exmail/mail/get_newcount", {"userid": "ahing"}) == 60148


# ---------------------------------------------------------------------- advanced seats
def test_seats_are_given_and_taken(world: World) -> None:
    answer = world.post("exmail/vip/batch_add", {"userid_list": ["mei", "ahing", "nobody"]})
    assert (answer["succ_userid_list"], answer["fail_userid_list"]) == (["mei", "ahing"], ["nobody"])
    first = world.post("exmail/vip/list", {"limit": 1})
    assert (first["has_more"], first["userid_list"]) == (True, ["mei"])
    rest = world.post("exmail/vip/list", {"limit": 1, "cursor": first["next_cursor"]})
    assert (rest["has_more"], rest["userid_list"]) == (False, ["ahing"])
    world.post("exmail/vip/batch_del", {"userid_list": ["mei"]})
    world.console("delete_member", member="ahing")
    assert world.post("exmail/vip/list", {})["userid_list"] == []
    assert world.code("exmail/vip/batch_add", {"userid_list": ["x"] * 101}) == 40058


# ---------------------------------------------------------------------- mail groups
GROUP = {"groupid": "all@corp.test", "groupname": "大家", "email_list": {"list": ["mei@corp.test", "ahing@corp.test"]}}


def test_a_group_lives(world: World) -> None:
    assert world.code("exmail/group/create", GROUP) == 0
    assert world.code("exmail/group/update", {"groupid": "all@corp.test", "tag_list": listed(1)}) == 0
    group = world.get("exmail/group/get", groupid="all@corp.test")
    assert (group["email_list"], group["tag_list"]) == (GROUP["email_list"], listed(1))
    assert world.get("exmail/group/search", fuzzy=1, groupid="ALL")["groups"] == [
        {"groupid": "all@corp.test", "groupname": "大家"}
    ]
    assert world.get("exmail/group/search", fuzzy=0)["count"] == 1
    empty = {"groupid": "all@corp.test", "email_list": listed(), "tag_list": listed()}
    assert world.code("exmail/group/update", empty) == 680008
    assert world.code("exmail/group/delete", {"groupid": "all@corp.test"}) == 0
    assert world.get("exmail/group/get", groupid="all@corp.test")["errcode"] == 680012


@pytest.mark.parametrize(
    ("change", "errcode"),
    [
        ({"groupid": "no address"}, 680001),
        ({"groupid": "all@elsewhere.test"}, 680001),
        ({"groupid": "mei@corp.test"}, 680010),
        ({"groupname": ""}, 680002),
        ({"groupname": "x" * 201}, 680002),
        ({"email_list": listed("stranger@corp.test")}, 680003),
        ({"group_list": listed("other@corp.test")}, 680004),
        ({"email_list": listed()}, 680008),
        ({"allow_type": 4}, 680006),
        ({"allow_type": 3}, 680007),
        ({"allow_type": 1, "allow_emaillist": listed("mei@corp.test")}, 680007),
    ],
)
def test_a_bad_group_is_not_made(world: World, change: dict[str, Any], errcode: int) -> None:
    assert world.code("exmail/group/create", {**GROUP, **change}) == errcode
    assert world.org.groups == {}


def test_a_group_address_is_taken_once(world: World) -> None:
    world.post("exmail/group/create", GROUP)
    assert world.code("exmail/group/create", {**GROUP, "groupname": "other"}) == 680011
    assert made(world, "all@corp.test")["errcode"] == 680033


# ---------------------------------------------------------------------- the app's own mailbox
def test_the_app_sends_mail_into_the_corp(world: World) -> None:
    body = {
        "to": {"emails": ["bot@corp.test"], "userids": ["mei"]},
        "cc": {"emails": ["outside@elsewhere.test"]},
        "subject": "报告",
        "content": "<p>好了</p>",
        "attachment_list": [{"file_name": "a.csv", "content": base64.b64encode(b"a,b").decode()}],
    }
    assert world.code("exmail/app/compose_send", body) == 0
    (mail,) = world.org.box("mei@corp.test").folders["INBOX"].messages.values()
    parsed = email.message_from_bytes(mail.raw)
    assert [part.get_filename() for part in parsed.walk()][-1] == "a.csv"
    span = {"begin_time": world.org.epoch() - 60, "end_time": world.org.epoch()}
    listing = world.post("exmail/app/get_mail_list", span)
    assert listing["has_more"] == 0
    data = world.post("exmail/app/read_mail", listing["mail_list"][0])["mail_data"]
    assert "To: bot@corp.test, mei@corp.test" in data
    assert world.code("exmail/app/read_mail", {"mail_id": "other"}) == 40058
    assert world.code("exmail/app/compose_send", {**body, "to": {}}) == 40058
    bad = [{"file_name": "a", "content": "%"}]
    assert world.code("exmail/app/compose_send", {**body, "attachment_list": bad}) == 40058


def test_the_app_address_changes_and_the_old_one_stays(world: World) -> None:
    assert world.code("exmail/app/update_email_alias", {"new_email": "keeper@corp.test"}) == 0
    assert world.code("exmail/app/update_email_alias", {"new_email": "mei@corp.test"}) == 60143
    answer = world.post("exmail/app/get_email_alias")
    assert (answer["email"], answer["alias_list"]) == ("keeper@corp.test", ["bot@corp.test"])
