"""The mail API: lists wrapped as WeCom wants them, codes kept out of sight."""

from __future__ import annotations

import base64
import inspect
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.errors import NetworkError
from bot.wecom import exmail
from bot.wecom.client import WeComClient
from bot.wecom.errcodes import WeComError
from bot.wecom.exmail import AllowType, AuthCode, Group, Option, Page, PublicMailbox, VipOutcome

from .conftest import CUT, WeCom, fixture

ROOT = "/cgi-bin/exmail"
ENDPOINTS = {
    *(f"publicmail/{each}" for each in ("create", "update", "delete", "get", "search")),
    *("publicmail/get_auth_code_list", "publicmail/delete_auth_code"),
    *(f"group/{each}" for each in ("create", "update", "delete", "get", "search")),
    *("account/act_email", "useroption/get", "useroption/update", "mail/get_newcount"),
    *("vip/batch_add", "vip/batch_del", "vip/list"),
    *(f"app/{each}" for each in ("compose_send", "get_mail_list", "read_mail")),
    *("app/update_email_alias", "app/get_email_alias"),
}
READ_BY_GET = {"publicmail/search", "group/get", "group/search"}


def test_the_24_endpoints_and_no_other() -> None:
    """None is invented, and each has its function."""
    assert len(ENDPOINTS) == 24
    source = Path(inspect.getfile(exmail)).read_text("utf-8")
    literal = set(re.findall(r'\{ROOT\}/([a-z/_]+)"', source)) | {f"vip/{each}" for each in ("batch_add", "batch_del")}
    assert literal == ENDPOINTS
    for path in ENDPOINTS:
        assert callable(getattr(exmail, path.replace("/", "_")))


def test_the_methods(client: WeComClient, wecom: WeCom) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    exmail.publicmail_create(client, "a@corp.test", "a", userids=["mei"])
    exmail.publicmail_update(client, 1)
    exmail.publicmail_delete(client, 1)
    exmail.publicmail_get(client, [1])
    exmail.publicmail_search(client)
    exmail.publicmail_get_auth_code_list(client, 1)
    exmail.publicmail_delete_auth_code(client, 1, 2)
    exmail.group_create(client, Group("g@corp.test", "g", members=("mei@corp.test",)))
    exmail.group_update(client, "g@corp.test")
    exmail.group_delete(client, "g@corp.test")
    exmail.group_get(client, "g@corp.test")
    exmail.group_search(client)
    exmail.account_act_email(client, on=True, userid="mei")
    exmail.useroption_get(client, "mei")
    exmail.useroption_update(client, "mei", {Option.IMAP_SMTP: True})
    exmail.mail_get_newcount(client, "mei")
    exmail.vip_batch_add(client, ["mei"])
    exmail.vip_batch_del(client, ["mei"])
    exmail.vip_list(client)
    exmail.app_compose_send(client, subject="s", content="c", to_userids=["mei"])
    exmail.app_get_mail_list(client, now - timedelta(days=1), now)
    exmail.app_read_mail(client, "m")
    exmail.app_get_email_alias(client)
    exmail.app_update_email_alias(client, "bot@corp.test")
    asked = {each.path.removeprefix(f"{ROOT}/"): each.method for each in wecom.asked if each.path.startswith(ROOT)}
    assert asked == {path: "GET" if path in READ_BY_GET else "POST" for path in ENDPOINTS}


def test_create(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(f"{ROOT}/publicmail/create", fixture("exmail/publicmail/create.response.json"))
    created = exmail.publicmail_create(
        client,
        "apitest@gzdev.com",
        "apitest",
        userids=["apitest1", "apitest2"],
        departments=[1, 2],
        tags=[1, 2],
        auth_code_remark="客户端专用密码备注",
    )
    assert wecom.last.json == fixture("exmail/publicmail/create.request.json")
    assert created == exmail.PublicMailboxCreated(1, AuthCode(1, "AUTH_CODE"))
    assert "AUTH_CODE" not in repr(created)
    assert "AUTH_CODE" not in str(created.auth_code)


def test_create_without_a_code(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(f"{ROOT}/publicmail/create", {"errcode": 0, "id": "7"})
    assert exmail.publicmail_create(client, "a@corp.test", "a", tags=[3]) == exmail.PublicMailboxCreated(7)
    assert "create_auth_code" not in wecom.last.json
    assert wecom.last.json["userid_list"] == {"list": []}


def test_somebody_must_be_able_to_open_it(client: WeComClient, wecom: WeCom) -> None:
    with pytest.raises(ValueError, match="open"):
        exmail.publicmail_create(client, "a@corp.test", "a")
    assert not wecom.asked


def test_after_a_cut_create_one_looks_first(client: WeComClient, wecom: WeCom) -> None:
    """The request may have arrived: a second create would be refused with 680033, or make a second mailbox."""
    wecom.answer(f"{ROOT}/publicmail/create", CUT)
    with pytest.raises(NetworkError):
        exmail.publicmail_create(client, "Support@corp.test", "support", userids=["mei"])
    assert len(wecom.calls(f"{ROOT}/publicmail/create")) == 1
    near = {"id": 1, "email": "support@corp.test.cn", "name": "x"}
    wecom.answer(
        f"{ROOT}/publicmail/search", {"errcode": 0, "list": [near, {**near, "id": 2, "email": "support@corp.test"}]}
    )
    found = exmail.find_public_mailbox(client, "Support@corp.test")
    assert found == PublicMailbox(2, "support@corp.test", "x")
    assert wecom.last.query["fuzzy"] == "1"
    assert wecom.last.query["email"] == "Support@corp.test"
    wecom.answer(f"{ROOT}/publicmail/search", {"errcode": 0, "list": [near]})
    assert exmail.find_public_mailbox(client, "support@corp.test") is None


def test_update(client: WeComClient, wecom: WeCom) -> None:
    wanted = fixture("exmail/publicmail/update.request.json")
    wecom.answer(f"{ROOT}/publicmail/update", fixture("exmail/publicmail/update.response.json"))
    minted = exmail.publicmail_update(
        client,
        1,
        name="apitest",
        userids=["apitest1", "apitest2"],
        departments=[1, 2],
        tags=[1, 2],
        aliases=wanted["alias_list"]["list"],
        auth_code_remark="客户端专用密码备注",
    )
    assert wecom.last.json == wanted
    assert minted == AuthCode(1, "AUTH_CODE")


def test_none_leaves_and_empty_clears(client: WeComClient, wecom: WeCom) -> None:
    exmail.publicmail_update(client, 1, name="apitest", userids=[])
    assert wecom.last.json == fixture("exmail/publicmail/update.clear_userid_list.request.json")
    assert exmail.publicmail_update(client, 1, aliases=[]) is None
    assert wecom.last.json == {"id": 1, "alias_list": {"list": []}}
    with pytest.raises(ValueError, match="aliases"):
        exmail.publicmail_update(client, 1, aliases=["a@corp.test"] * 6)


def test_minting(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(f"{ROOT}/publicmail/update", fixture("exmail/publicmail/update.response.json"))
    assert exmail.mint_auth_code(client, 1, "exmail-bot a 12").code == "AUTH_CODE"
    assert wecom.last.json == {"id": 1, "create_auth_code": 1, "auth_code_info": {"remark": "exmail-bot a 12"}}
    with pytest.raises(LookupError):
        exmail.mint_auth_code(client, 1, "exmail-bot a 12")
    for remark in ("", "邮" * 43):
        with pytest.raises(ValueError, match="remark"):
            exmail.mint_auth_code(client, 1, remark)


def test_get_and_search(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(f"{ROOT}/publicmail/get", fixture("exmail/publicmail/get.response.json"))
    assert exmail.publicmail_get(client, [1, 2]) == [
        PublicMailbox(
            1,
            "apitest3@gzdev.com",
            "测试",
            ("member", "member2"),
            (1, 2),
            (1, 2),
            ("lisi@gzdev.com", "wangwu@gzdev.com"),
        )
    ]
    assert wecom.last.json == fixture("exmail/publicmail/get.request.json")
    wecom.answer(f"{ROOT}/publicmail/search", fixture("exmail/publicmail/search.response.json"))
    assert exmail.publicmail_search(client, "测试+a@b") == [
        PublicMailbox(11, "apitest3@gzdev.com", "apitest3"),
        PublicMailbox(12, "apitest4@gzdev.com", "apitest4"),
    ]
    assert wecom.last.query["email"] == "测试+a@b"
    exmail.publicmail_search(client)
    assert wecom.last.query["fuzzy"] == "0"
    assert "email" not in wecom.last.query


def test_bare_and_absent_lists(client: WeComClient, wecom: WeCom) -> None:
    told = {"id": "5", "email": "a@corp.test", "userid_list": ["mei"], "tag_list": {"list": ["7"]}}
    wecom.answer(f"{ROOT}/publicmail/get", {"errcode": 0, "list": [told]})
    assert exmail.publicmail_get(client, [5]) == [PublicMailbox(5, "a@corp.test", "", ("mei",), (), (7,))]


def test_auth_codes(client: WeComClient, wecom: WeCom) -> None:
    told = {"auth_code_id": 3, "create_time": 1700000000, "last_use_time": 0, "remark": "exmail-bot a 12"}
    later = {**told, "auth_code_id": "4", "last_use_time": "1700000060"}
    wecom.answer(f"{ROOT}/publicmail/get_auth_code_list", {"errcode": 0, "auth_code_list": [told, later]})
    first, second = exmail.publicmail_get_auth_code_list(client, 1)
    assert wecom.last.json == fixture("exmail/publicmail/get_auth_code_list.request.json")
    made = datetime.fromtimestamp(1700000000, UTC)
    assert first == exmail.AuthCodeInfo(3, "exmail-bot a 12", made, None)
    assert second.last_used_at == made + timedelta(seconds=60)
    exmail.publicmail_delete_auth_code(client, 1, 1)
    assert wecom.last.json == fixture("exmail/publicmail/delete_auth_code.request.json")
    exmail.publicmail_delete(client, 1)
    assert wecom.last.json == fixture("exmail/publicmail/delete.request.json")


GROUP = Group(
    address="zhangsangroup@gzdev.com",
    name="zhangsangroup",
    members=("lisi@gzdev.com", "wangwu@gzdev.com"),
    tags=(2, 5),
    departments=(1, 2),
    groups=("aaa@gzdev.com",),
    allow_type=AllowType.CUSTOM,
    allow_addresses=("zhangsanp@gzdev.com",),
    allow_departments=(1, 2),
    allow_tags=(1, 3),
)


def test_groups(client: WeComClient, wecom: WeCom) -> None:
    exmail.group_create(client, GROUP)
    assert wecom.last.json == fixture("exmail/group/create.request.json")
    wecom.answer(f"{ROOT}/group/get", fixture("exmail/group/get.response.json"))
    assert exmail.group_get(client, "zhang+san group@gzdev.com") == GROUP
    assert wecom.last.query["groupid"] == "zhang+san group@gzdev.com"
    raw = wecom.last.target
    assert "zhang%2Bsan" in raw
    assert " " not in raw
    wecom.answer(f"{ROOT}/group/search", fixture("exmail/group/search.response.json"))
    assert [each.address for each in exmail.group_search(client, "g_")] == ["g_all@gzdev.com", "g_inner@gzdev.com"]
    exmail.group_update(
        client,
        GROUP.address,
        name=GROUP.name,
        members=GROUP.members,
        tags=GROUP.tags,
        departments=GROUP.departments,
        groups=GROUP.groups,
        allow_type=AllowType.CUSTOM,
        allow_addresses=GROUP.allow_addresses,
        allow_departments=GROUP.allow_departments,
        allow_tags=GROUP.allow_tags,
    )
    assert wecom.last.json == fixture("exmail/group/update.request.json")
    exmail.group_update(client, "g@corp.test", members=[], allow_type=AllowType.CORP)
    assert wecom.last.json == {"groupid": "g@corp.test", "email_list": {"list": []}, "allow_type": 0}
    exmail.group_delete(client, GROUP.address)
    assert wecom.last.json == fixture("exmail/group/delete.request.json")


def test_groups_wecom_would_refuse(client: WeComClient, wecom: WeCom) -> None:
    with pytest.raises(ValueError, match="member"):
        exmail.group_create(client, Group("g@corp.test", "g"))
    member = ("mei@corp.test",)
    with pytest.raises(ValueError, match="CUSTOM"):
        exmail.group_create(client, Group("g@corp.test", "g", member, allow_type=AllowType.CUSTOM))
    with pytest.raises(ValueError, match="CUSTOM"):
        exmail.group_update(client, "g@corp.test", allow_type=AllowType.ANYONE, allow_tags=[1])
    assert not wecom.asked


def test_a_group_of_a_later_kind(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(f"{ROOT}/group/get", {"errcode": 0, "groupid": "g@corp.test", "allow_type": 9})
    assert exmail.group_get(client, "g@corp.test").allow_type is None


def test_switching_a_mailbox(client: WeComClient, wecom: WeCom) -> None:
    """Of two ids WeCom would act on the member's alone."""
    exmail.account_act_email(client, on=True, userid="member")
    assert wecom.last.json == {"userid": "member", "type": 1}
    exmail.account_act_email(client, on=False, public_mailbox_id=1)
    assert wecom.last.json == {"publicemail_id": 1, "type": 2}
    sample = fixture("exmail/account/act_email.request.json")
    assert sample.keys() == {"userid", "publicemail_id", "type"}
    with pytest.raises(ValueError, match="mailbox"):
        exmail.account_act_email(client, on=True)
    with pytest.raises(ValueError, match="mailbox"):
        exmail.account_act_email(client, on=True, userid="mei", public_mailbox_id=1)
    wecom.answer(f"{ROOT}/account/act_email", {"errcode": 680044})
    with pytest.raises(WeComError):
        exmail.account_act_email(client, on=False, userid="boss")


def test_options(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(f"{ROOT}/useroption/get", fixture("exmail/useroption/get.response.json"))
    asked = [Option.FORCE_SECURE_LOGIN, Option.IMAP_SMTP, Option.POP_SMTP]
    told = exmail.useroption_get(client, "zhangsan", asked)
    assert wecom.last.json == fixture("exmail/useroption/get.request.json")
    assert told == {Option.FORCE_SECURE_LOGIN: False, Option.IMAP_SMTP: True, Option.POP_SMTP: False}
    exmail.useroption_update(client, "zhangsan", told)
    assert wecom.last.json == fixture("exmail/useroption/update.request.json")
    exmail.useroption_get(client, "zhangsan")
    assert wecom.last.json["type"] == [1, 2, 3, 4]
    for refused in ({}, {Option.SECURE_LOGIN: True}):
        with pytest.raises(ValueError, match="switch"):
            exmail.useroption_update(client, "zhangsan", refused)


def test_unread(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(f"{ROOT}/mail/get_newcount", fixture("exmail/mail/get_newcount.response.json"))
    assert exmail.mail_get_newcount(client, "member") == 1
    assert wecom.last.json == fixture("exmail/mail/get_newcount.request.json")


def test_advanced_functions(client: WeComClient, wecom: WeCom) -> None:
    userids = ["zhangsan", "lisi", "wangwu"]
    wecom.answer(f"{ROOT}/vip/batch_add", fixture("exmail/vip/batch_add.response.json"))
    assert exmail.vip_batch_add(client, userids) == VipOutcome(("zhangsan", "lisi"), ("wangwu",))
    assert wecom.last.json == fixture("exmail/vip/batch_add.request.json")
    exmail.vip_batch_del(client, userids)
    assert wecom.last.json == fixture("exmail/vip/batch_del.request.json")
    for wrong in ([], ["x"] * 101):
        with pytest.raises(ValueError, match="userids"):
            exmail.vip_batch_add(client, wrong)
    wecom.answer(f"{ROOT}/vip/list", fixture("exmail/vip/list.response.json"))
    page = exmail.vip_list(client)
    assert page == Page(("zhangsan", "lisi"), "GNIJIGEO")
    wecom.answer(f"{ROOT}/vip/list", {"errcode": 0, "has_more": False, "next_cursor": "X", "userid_list": []})
    assert exmail.vip_list(client, page.cursor) == Page((), None)
    assert wecom.last.json == {"limit": 200, "cursor": "GNIJIGEO"}


def test_a_mail_of_the_app(client: WeComClient, wecom: WeCom) -> None:
    exmail.app_compose_send(
        client,
        subject="这是标题",
        content="这是邮件正文",
        to_addresses=["mei@corp.test"],
        cc_userids=["ling"],
        attachments=[("a.txt", b"\x00\xff")],
    )
    assert wecom.last.json == {
        "to": {"emails": ["mei@corp.test"], "userids": []},
        "cc": {"emails": [], "userids": ["ling"]},
        "subject": "这是标题",
        "content": "这是邮件正文",
        "content_type": "text",
        "attachment_list": [{"file_name": "a.txt", "content": base64.b64encode(b"\x00\xff").decode()}],
    }
    assert wecom.last.json.keys() - {"content_type"} <= fixture("exmail/app/compose_send.normal.request.json").keys()


@pytest.mark.parametrize(
    "mail",
    [
        {},
        {"to_userids": ["mei"], "attachments": [("a", b"")] * 201},
        {"to_userids": ["mei"], "content": "x" * 52428801},
    ],
)
def test_mails_wecom_would_refuse(client: WeComClient, wecom: WeCom, mail: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="mail"):
        exmail.app_compose_send(client, **{"subject": "s", "content": "c", **mail})
    assert not wecom.asked


def test_mails_of_the_app(client: WeComClient, wecom: WeCom) -> None:
    wanted = fixture("exmail/app/get_mail_list.request.json")
    since, until = (datetime.fromtimestamp(wanted[each], UTC) for each in ("begin_time", "end_time"))
    wecom.answer(f"{ROOT}/app/get_mail_list", fixture("exmail/app/get_mail_list.response.json"))
    assert exmail.app_get_mail_list(client, since, until, "CURSOR") == Page(("MAIL_ID",), None)
    assert wecom.last.json == {**wanted, "limit": 1000}
    wecom.answer(f"{ROOT}/app/get_mail_list", {"errcode": 0, "has_more": 1, "next_cursor": "N", "mail_list": []})
    assert exmail.app_get_mail_list(client, since, until).cursor == "N"
    wecom.answer(f"{ROOT}/app/read_mail", fixture("exmail/app/read_mail.response.json"))
    assert exmail.app_read_mail(client, "MAIL_ID") == "MAIL_DATA"
    assert wecom.last.json == fixture("exmail/app/read_mail.request.json")


def test_addresses_of_the_app(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(f"{ROOT}/app/get_email_alias", fixture("exmail/app/get_email_alias.response.json"))
    told = exmail.app_get_email_alias(client)
    assert told.address == "youxiangceshi@ceshi.wecom.work"
    assert told.aliases == ("youxiang1@ceshi.wecom.work", "youxiang2@ceshi.wecom.work")
    exmail.app_update_email_alias(client, "youxiangceshi@ceshi.wecom.work")
    assert wecom.last.json == fixture("exmail/app/update_email_alias.request.json")
