"""The control API: the console and the recycle bin, the clock, the state, the page's door."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from imapclient import IMAPClient

from bot.sandbox import seed
from tests.sandbox.wecom_world import BASE, START, World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def mails(world: World, address: str, *subjects: str) -> None:
    for each in subjects:
        world.console("receive_mail", address=address, subject=each, text="x")


def subjects(world: World, address: str, folder: str) -> list[str]:
    found = world.org.box(address).folders.get(folder)
    return [m.raw.decode().split("Subject: ")[1].split("\n")[0] for m in found.messages.values()] if found else []


def waiting(world: World) -> dict[str, dict[str, Any]]:
    return {each["address"]: each for each in world.look("state")["recycle_bin"] if each["state"] == "waiting"}


def owner(world: World, address: str) -> str | int:
    answer = world.post("user/get_userid_by_email", {"email": address})
    found: str | int = answer.get("userid", answer["errcode"])
    return found


# ---------------------------------------------------------------------- the recycle bin
def test_a_deleted_member_s_mailbox_waits_thirty_days(world: World) -> None:
    mails(world, "calvin@corp.test", "one")
    world.console("delete_member", member="calvin")
    item = waiting(world)["calvin@corp.test"]
    assert (item["source"], item["former"], item["days_left"]) == ("delete_member", "calvin", 30)
    assert datetime.fromisoformat(item["deletes_at"]) == datetime(2026, 12, 23, 16, 0, tzinfo=UTC)  # 00:00 in Shanghai
    assert world.org.box("calvin@corp.test").disabled
    assert world.org.occupied("calvin@corp.test") == "bin"
    world.advance(days=29, hours=7, minutes=59)
    assert waiting(world)["calvin@corp.test"]["days_left"] == 1
    world.advance(minutes=1)
    assert waiting(world) == {}
    assert world.look("state")["recycle_bin"][0]["state"] == "expired"
    assert world.mail.mailbox("calvin@corp.test") is None
    assert world.org.occupied("calvin@corp.test") is None
    world.console("assign", 409, address="calvin@corp.test", member="ahing")


def test_a_deleted_member_is_out_of_everything(world: World) -> None:
    world.console("delete_member", member="ahing")
    state = world.look("state")
    assert "ahing" not in [each["userid"] for each in state["members"]]
    assert state["public_mailboxes"][0]["members"] == ["mei"]
    assert owner(world, "ahing@corp.test") == 46004


def test_reclaiming_leaves_the_member_without_a_mailbox(world: World) -> None:
    world.console("reclaim", member="ahing")
    assert waiting(world)["ahing@corp.test"]["source"] == "reclaim"
    assert owner(world, "ahing@corp.test") == 46004
    world.console("reclaim", 409, member="ahing")
    world.console("rename", member="ahing", new_address="ahing2@corp.test")
    assert owner(world, "ahing2@corp.test") == "ahing"


def test_assigning_gives_the_history_and_displaces_the_old_mailbox(world: World) -> None:
    mails(world, "ahing@corp.test", "history")
    mails(world, "calvin@corp.test", "own")
    world.console("reclaim", member="ahing")
    answer = world.console("assign", address="ahing@corp.test", member="calvin")
    assert answer["displaced"] == "calvin@corp.test"
    assert (owner(world, "ahing@corp.test"), owner(world, "calvin@corp.test")) == ("calvin", 46004)
    assert subjects(world, "ahing@corp.test", "INBOX") == ["history"]
    assert not world.org.box("ahing@corp.test").disabled
    item = waiting(world)["calvin@corp.test"]
    assert (item["source"], item["days_left"]) == ("replaced", 30)
    world.console("assign", 409, address="ahing@corp.test", member="calvin")


def test_passwords_do_not_survive_the_bin(world: World) -> None:
    world.console("mint_password", address="ahing@corp.test")
    world.console("reclaim", member="ahing")
    world.console("assign", address="ahing@corp.test", member="calvin")
    assert world.org.box("ahing@corp.test").passwords == {}
    assert "@" not in world.console("mint_password", address="ahing@corp.test")["password"]


def test_a_binned_mailbox_becomes_public_and_stays_invisible_to_the_app(world: World) -> None:
    mails(world, "ahing@corp.test", "history")
    world.console("delete_member", member="ahing")
    world.console("convert_to_public", 409, address="ahing@corp.test", name="销售", members=["ling"])
    number = world.console("convert_to_public", address="ahing@corp.test", name="阿兴", members=["ling"])["id"]
    assert subjects(world, "ahing@corp.test", "INBOX") == ["history"]
    assert not world.org.box("ahing@corp.test").disabled
    assert world.code("exmail/publicmail/get", {"id_list": [number]}) == 680035
    password = world.console("mint_password", address="ahing@corp.test", member="ling")["password"]
    assert password in world.org.box("ahing@corp.test").passwords.values()
    world.console("mint_password", 409, address="ahing@corp.test", member="calvin")


def test_the_console_backs_up_once(world: World) -> None:
    mails(world, "ahing@corp.test", "one", "two")
    world.console("backup_once", 409, address="ahing@corp.test", target="support@corp.test")
    world.console("delete_member", member="ahing")
    world.console("backup_once", 409, address="ahing@corp.test", target="nobody@corp.test")
    world.console("backup_once", 409, address="ahing@corp.test", target="ahing@corp.test")
    assert world.console("backup_once", address="ahing@corp.test", target="support@corp.test") == {"copied": 2}
    assert subjects(world, "support@corp.test", "其他文件夹/邮件备份") == ["one", "two"]
    world.console("backup_once", 409, address="ahing@corp.test", target="support@corp.test")


def test_the_copy_of_the_console_is_seen_by_imap(world: World) -> None:
    """Flags and dates come along; the target's reader finds the folder, the binned mailbox lets nobody in any more."""
    box = world.org.box("ahing@corp.test")
    box.put("其他文件夹/客户", b"Subject: kept\r\n\r\nx", START, ["\\Seen"])
    world.console("delete_member", member="ahing")
    world.console("backup_once", address="ahing@corp.test", target="support@corp.test")
    password = world.console("mint_password", address="support@corp.test", member="mei")["password"]

    async def read() -> tuple[list[str], list[Any]]:
        await world.mail.start()
        try:
            return await asyncio.to_thread(seen_by_imap, world.mail.port, "support@corp.test", password)
        finally:
            await world.mail.stop()

    folders, copied = world.run(read())
    assert "其他文件夹/邮件备份" in folders
    assert copied == [(b"Subject: kept\r\n\r\nx", (b"\\Seen",), START)]
    world.console("mint_password", 409, address="ahing@corp.test")


def seen_by_imap(port: int, address: str, password: str) -> tuple[list[str], list[Any]]:
    """The folders, and of the console's copy the bytes, flags and date of each mail."""
    with IMAPClient("127.0.0.1", port, ssl=False) as client:
        client.normalise_times = False
        client.login(address, password)
        folders = [str(name) for _, _, name in client.list_folders()]
        client.select_folder("其他文件夹/邮件备份", readonly=True)
        found = client.fetch(client.search(), ["BODY.PEEK[]", "FLAGS", "INTERNALDATE"])
        mails = [(each[b"BODY[]"], each[b"FLAGS"], each[b"INTERNALDATE"]) for each in found.values()]
    return folders, mails


def test_no_public_mailbox_beyond_what_the_corp_may_have(world: World) -> None:
    """The console says so, and the mailbox stays where it is."""
    world.console("delete_member", member="ahing")
    world.trouble("public_mailboxes_full")
    assert "公共邮箱" in world.console("convert_to_public", 409, address="ahing@corp.test")["detail"]
    assert "ahing@corp.test" in waiting(world)
    world.trouble("public_mailboxes_full", on=False)
    world.console("convert_to_public", address="ahing@corp.test")


def test_a_free_plan_has_three_public_mailboxes(world: World) -> None:
    """By hand, by API, out of a member's mailbox or a deleted one: the fourth is refused. Seats make room."""
    world.console("delete_public", address="sales@corp.test")
    world.console("delete_member", member="ahing")
    for address in ("one@corp.test", "two@corp.test"):
        world.console("create_public", address=address, members=["mei"])
    refused = world.console("create_public", 409, address="three@corp.test", members=["mei"])
    assert "3 of 3" in refused["detail"]
    assert world.mail.mailbox("three@corp.test") is None
    for address in ("sales@corp.test", "ahing@corp.test"):
        assert "3 of 3" in world.console("convert_to_public", 409, address=address)["detail"]
        assert address in waiting(world)
    body = {"email": "three@corp.test", "name": "three", "userid_list": {"list": ["mei"]}}
    assert world.post("exmail/publicmail/create", body)["errcode"] == 680046
    world.org.vip = ["mei"]
    assert world.console("buy_seats", count=2) == {"places": 4}
    world.console("convert_to_public", address="sales@corp.test")
    world.console("convert_to_public", 409, address="ahing@corp.test")


def test_purging_is_for_ever(world: World) -> None:
    world.console("delete_member", member="ahing")
    world.console("purge", address="ahing@corp.test")
    assert (waiting(world), world.mail.mailbox("ahing@corp.test")) == ({}, None)
    world.console("add_member", member="ahing", name="新阿兴", department=2)
    assert owner(world, "ahing@corp.test") == "ahing"


# ---------------------------------------------------------------------- addresses, people
def test_a_console_rename_keeps_the_old_address_as_alias(world: World) -> None:
    mails(world, "ahing@corp.test", "one")
    world.console("rename", 409, member="ahing", new_address="mei@corp.test")
    world.console("rename", 409, member="ahing", new_address="ahing@elsewhere.test")
    world.console("rename", member="ahing", new_address="a.hing@corp.test")
    box = world.org.box("a.hing@corp.test")
    assert box.aliases == {"ahing@corp.test"}
    assert subjects(world, "a.hing@corp.test", "INBOX") == ["one"]
    world.console("rename", member="ahing", new_address="ahing@corp.test")
    assert (box.address, box.aliases) == ("ahing@corp.test", {"a.hing@corp.test"})


def test_members_tags_and_range_change_with_callbacks(world: World) -> None:
    world.console("add_member", member="eva", name="伊娃", department=2, leader="ling")
    assert world.bot.messages[-1]["ChangeType"] == "create_user"
    world.console("update_member", member="eva", department=3, leader="wei")
    event = world.bot.messages[-1]
    assert (event["ChangeType"], event["Department"], event["DirectLeader"]) == ("update_user", "3", "wei")
    assert not {"BizMail", "Email", "Mobile"} & event.keys()
    world.console("set_tag", tag=1, members=["ling"])
    event = world.bot.messages[-1]
    assert (event["ChangeType"], event["TagId"]) == ("update_tag", "1")
    assert (event["AddUserItems"], event["DelUserItems"]) == ("ling", "mei")
    world.console("set_range", departments=[2])
    assert {each["Event"] for each in world.bot.messages[3:]} == {"unsubscribe"}
    world.console("add_member", 409, member="mei", name="x")


def test_a_web_made_password_dies_with_the_right_to_open_the_mailbox(world: World) -> None:
    world.console("mint_password", address="sales@corp.test", member="calvin")
    kept = world.console("mint_password", address="sales@corp.test", member="ling")["password"]
    world.console("set_public_users", address="sales@corp.test", members=["ling"])
    assert list(world.org.box("sales@corp.test").passwords.values()) == [kept]


def test_settings_of_a_mailbox(world: World) -> None:
    box = world.org.box("ahing@corp.test")
    world.console("set_window", address="ahing@corp.test", days=30)
    world.console("show_folders", address="ahing@corp.test", on=False)
    world.console("set_imap", address="ahing@corp.test", on=False)
    world.console("set_quota", address="ahing@corp.test", quota_bytes=5000)
    world.console("freeze", address="ahing@corp.test", on=True)
    assert (box.window_days, box.show_custom, box.imap_on, box.quota_bytes, box.disabled) == (
        30,
        False,
        False,
        5000,
        True,
    )
    minted = world.console("mint_password", address="calvin@corp.test")
    world.console("revoke_password", address="calvin@corp.test", password_id=minted["password_id"])
    world.console("revoke_password", 409, address="calvin@corp.test", password_id=minted["password_id"])
    world.console("set_window", 409, address="nobody@corp.test", days=30)
    world.console("set_window", address="ahing@corp.test", days=None)
    assert box.window_days is None


def test_public_mailboxes_made_by_hand(world: World) -> None:
    world.console("create_public", 409, address="new@corp.test")
    world.console("create_public", 409, address="mei@corp.test", members=["mei"])
    world.console("create_public", address="new@corp.test", members=["mei"], departments=[2])
    state = {each["address"]: each for each in world.look("state")["public_mailboxes"]}
    assert state["new@corp.test"]["by_app"] is False
    assert set(state["new@corp.test"]["readers"]) == {"mei", "ling", "ahing", "calvin", "lan", "tao"}
    world.console("delete_public", address="new@corp.test")
    assert waiting(world)["new@corp.test"]["days_left"] == 60


def test_a_domain_is_verified_when_its_records_are_right(world: World) -> None:
    world.org.domain_ready = lambda domain: domain == "corp.test"
    assert world.console("verify_domain", domain="new.test")["status"] == "verifying"
    assert world.console("verify_domain", domain="corp.test")["status"] == "normal"


def test_unknown_actions_name_the_known_ones(world: World) -> None:
    answer = world.console("explode", 409)
    assert "delete_member" in answer["detail"]
    assert world.look("console")["assign"]["wants"] == "address, member"


# ---------------------------------------------------------------------- the rest
def test_the_state_holds_what_another_client_needs(world: World) -> None:
    state = world.look("state")
    wecom = state["wecom"]
    assert {
        "corp_id",
        "agent_id",
        "app_secret",
        "contacts_secret",
        "callback_token",
        "callback_aes_key",
        "api_base",
    } <= wecom.keys()
    assert wecom["api_base"] == BASE
    boxes = {each["address"]: each for each in state["mailboxes"]}
    assert len(boxes) == 12
    assert boxes["support@corp.test"]["owner"] == "客户支持"
    assert boxes["ahing@corp.test"]["folders"]["INBOX"] == 0
    assert len(state["members"]) == 10


def test_a_reset_is_a_new_start_with_the_old_secrets(world: World) -> None:
    before = world.look("state")["wecom"]
    world.card("mei", "t-1")
    mails(world, "ahing@corp.test", "one")
    world.console("delete_member", member="ahing")
    world.trouble("busy")
    world.control("reset", {})
    state = world.look("state")
    assert state["wecom"] == before
    assert {each["switch"] for each in state["trouble"] if each["on"]} == {
        "godaddy_no_api",
        "own_public_mailboxes_only",
        "restricted_fields",
    }
    assert (state["recycle_bin"], len(state["mailboxes"])) == ([], 12)
    assert subjects(world, "ahing@corp.test", "INBOX") == []
    assert world.card("mei", "t-1")["errcode"] == 0


def test_the_mail_comes_back_at_a_reset(world: World) -> None:
    world.org.fill = lambda mail: mail.mailboxes["ahing@corp.test"].put("INBOX", b"Subject: seed\n\nx", START)
    world.control("reset", {})
    assert subjects(world, "ahing@corp.test", "INBOX") == ["seed"]


def test_the_clock_only_goes_forward(world: World) -> None:
    before = datetime.fromisoformat(world.look("state")["clock"])
    world.control("clock", {"advance_seconds": 90})
    assert (datetime.fromisoformat(world.look("state")["clock"]) - before).total_seconds() == 90
    world.control("clock", {"advance_seconds": -1}, 422)


def test_the_clock_goes_where_it_is_sent(world: World) -> None:
    """By an hour, a day, to a moment, and around the next deletion, with what the console has on the way."""

    def now() -> datetime:
        return datetime.fromisoformat(world.look("state")["clock"])

    assert world.control("clock", {"to": "hour"})["arrived"]
    assert now() == START + timedelta(hours=1)
    world.control("clock", {"to": "day"})
    assert now() == START + timedelta(hours=25)
    for goal in ("next_reminder", "before_deletion", "after_deletion"):
        world.control("clock", {"to": goal}, 409)
    world.console("delete_member", member="ahing")
    world.control("clock", {"until": "2026-11-27T10:00:00+08:00"})
    world.console("reclaim", member="calvin")
    first, second = (each["deletes_at"] for each in waiting(world).values())
    due = world.look("due")["due"]
    assert [each["at"] for each in due] == [first, second]
    assert due[0]["what"] == {"en": "ahing@corp.test is deleted for ever", "zh": "ahing@corp.test 被永久删除"}
    assert "30 days after its member was deleted" in due[0]["why"]["en"]
    assert "邮箱被回收后，管理后台保留 30 天" in due[1]["why"]["zh"]

    world.control("clock", {"to": "before_deletion"})
    assert now() == datetime.fromisoformat(first) - timedelta(minutes=1)
    assert len(waiting(world)) == 2
    world.control("clock", {"to": "after_deletion"})
    assert now() == datetime.fromisoformat(first) + timedelta(minutes=1)
    assert list(waiting(world)) == ["calvin@corp.test"]
    stops = world.control("clock", {"until": "2027-01-05T10:00:00+08:00"})["stops"]
    assert stops == [second, "2027-01-05T10:00:00+08:00"]
    world.control("clock", {"until": "2027-01-05T09:00:00+08:00"}, 409)
    for wrong in ({}, {"to": "week"}, {"to": "day", "advance_seconds": 1}, {"until": "2027-02-01T10:00:00"}):
        world.control("clock", wrong, 422)


def test_mail_faults_are_switched_for_all_or_for_one(world: World) -> None:
    world.trouble("mail:busy", times=2)
    assert world.mail.faults["busy"] == 2
    world.trouble("mail:size_limit", value=9000, address="ahing@corp.test")
    assert world.org.box("ahing@corp.test").faults["size_limit"] == 9000
    world.trouble("mail:busy", on=False)
    assert not world.mail.faults["busy"]
    world.control("trouble", {"switch": "mail:gremlins", "on": True}, 404)
    world.control("trouble", {"switch": "gremlins", "on": True}, 404)
    world.control("trouble", {"switch": "mail:busy", "on": True, "address": "nobody@corp.test"}, 404)


def test_the_wire_shows_calls_callbacks_and_imap(world: World) -> None:
    world.get("tag/list")
    world.control("say", {"member": "mei", "text": "hello"})
    world.mail.on_line and world.mail.on_line("ahing@corp.test", "client", "A1 NOOP")
    wire = world.look("wire")
    assert [each["kind"] for each in wire["entries"]] == ["api", "api", "callback", "imap"]
    callback = wire["entries"][2]
    assert "hello" in callback["plain"]
    assert "<Encrypt>" in callback["sealed"]
    assert "hello" not in callback["sealed"]
    assert callback["status"] == 200
    assert world.look("wire", since=wire["last"])["entries"] == []
    assert len(world.look("wire", kind="imap")["entries"]) == 1


def test_who_is_outside_the_visible_range_does_not_see_the_app(world: World) -> None:
    world.console("set_range", departments=[2])
    world.bot.raw.clear()
    answer = world.control("say", {"member": "mei", "text": "x"}, 409)
    assert "visible range" in answer["detail"]
    assert (world.bot.raw, world.entries("mei")) == ([], [])


def test_the_sample_organisation_and_its_mail_agree(world: World) -> None:
    leaders = {leader for each in world.org.departments.values() for leader in each.leaders}
    ours = [
        (
            each.userid,
            each.name,
            world.org.departments[each.main_department].name,
            each.userid in leaders,
            next(iter(each.leaders), None),
        )
        for each in world.org.members.values()
    ]
    assert ours == [(e.userid, e.name, e.department, e.leader, e.direct_leader) for e in seed.MEMBERS]
    assert [(each.name, each.address) for each in world.org.public.values()] == list(seed.PUBLIC)


def test_the_seeded_mail_can_be_looked_at(world: World) -> None:
    world.org.fill = seed.fill
    world.control("reset", {})
    boxes = {each["address"]: each for each in world.look("state")["mailboxes"]}
    assert len(boxes) == 12
    assert sum(sum(each["folders"].values()) for each in boxes.values()) > 300
    for folder in boxes["ahing@corp.test"]["folders"]:
        listed = world.look("mails", address="ahing@corp.test", folder=folder, limit=500)["mails"]
        assert len(listed) == boxes["ahing@corp.test"]["folders"][folder]
    answer = world.run(world.http.get("/_sandbox/mails", params={"address": "mei@corp.test", "folder": "none"}))
    assert answer.status_code == 404


def test_unknown_members_cannot_act(world: World) -> None:
    for path, body in (("say", {"text": "x"}), ("enter", {}), ("menu", {"key": "k"})):
        world.control(path, {"member": "nobody", **body}, 404)
    world.control("file", {"member": "mei", "name": "x", "content_base64": "%"}, 422)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": BASE}, 200),
        ({"Origin": "http://elsewhere.test"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": f"{BASE}.elsewhere.test"}, 403),
        ({"Host": "elsewhere.test"}, 403),
        ({"Host": "127.0.0.1.elsewhere.test:8000"}, 403),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200),
    ],
)
def test_only_this_machine_s_own_page_may_come_in(world: World, headers: dict[str, str], status: int) -> None:
    answer = world.run(world.http.post("/_sandbox/clock", json={"advance_seconds": 0}, headers=headers))
    assert answer.status_code == status


def test_a_form_without_a_referrer_may_be_posted_outside_of_the_control_api(world: World) -> None:
    answer = world.run(world.http.post("/cgi-bin/tag/list", headers={"Origin": "null"}))
    assert answer.json()["errcode"] == 41001
    assert world.run(world.http.post("/cgi-bin/tag/list", headers={"Host": "elsewhere.test"})).status_code == 403


def test_the_control_api_is_documented_and_wecom_is_not(world: World) -> None:
    document = world.run(world.http.get("/_sandbox/openapi.json")).json()
    for path in ("say", "click", "chat", "state", "console", "clock", "trouble", "wire", "reset"):
        assert f"/_sandbox/{path}" in document["paths"]
    assert not [path for path in document["paths"] if not path.startswith("/_sandbox/")]
    assert world.run(world.http.get("/docs")).status_code == 404


def test_whoever_waits_hears_of_a_change(world: World) -> None:
    async def wait() -> tuple[int, int]:
        version = world.org.version
        waiter = asyncio.ensure_future(world.org.wait_for_change(version, 5))
        await asyncio.sleep(0)
        await world.http.post("/_sandbox/say", json={"member": "mei", "text": "x"})
        return version, await waiter

    before, after = world.run(wait())
    assert after > before
    assert world.run(world.org.wait_for_change(world.org.version, 0.01)) == world.org.version


def test_a_chat_is_given_when_the_bot_has_said_more(world: World) -> None:
    """One question instead of one every moment; it ends by itself, and nobody waits for what is there."""
    token = world.token()
    said: list[list[str]] = []

    async def look(**params: Any) -> None:
        answer = await world.http.get("/_sandbox/chat", params={"member": "mei", **params})
        said.append([each["text"] for each in answer.json()["entries"]])

    async def speak() -> None:
        waits = asyncio.create_task(look(beyond=1, within_seconds=20))
        for text in ("one", "two"):
            body = {"touser": "mei", "msgtype": "text", "agentid": world.org.agent_id, "text": {"content": text}}
            await world.http.post("/cgi-bin/message/send", params={"access_token": token}, json=body)
        await waits
        await look(beyond=1, within_seconds=20)
        await look(beyond=2, within_seconds=0.01)

    world.run(asyncio.wait_for(speak(), 10))
    assert said == [["one", "two"]] * 3
    assert world.run(world.http.get("/_sandbox/chat?member=mei&within_seconds=21")).status_code == 422
