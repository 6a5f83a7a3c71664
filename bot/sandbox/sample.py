"""The sample organisation: ten members of corp.test, their departments and tags, and two public mailboxes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from bot.sandbox.people import ROOT_DEPARTMENT, Department, Member, PublicMailbox, Tag

DOMAIN = "corp.test"
SALES, ENGINEERING, OFFICE, SUPPORT = 2, 3, 4, 5


@dataclass
class Sample:
    """What an organisation starts with."""

    domain: str
    members: list[Member]
    departments: list[Department]
    tags: list[Tag]
    public: list[PublicMailbox]


def person(userid: str, name: str, department: int, position: str, leader: str | None, **more: object) -> Member:
    """A member with the address WeCom would have given him."""
    member = Member(
        userid,
        name,
        [department],
        f"{userid}@{DOMAIN}",
        alias=userid.capitalize(),
        position=position,
        leaders=[leader] if leader else [],
    )
    for field, value in more.items():
        setattr(member, field, value)
    return member


def sample() -> Sample:
    """A fresh copy of the sample organisation."""
    members = [
        person("mei", "美玲", OFFICE, "IT 管理员", "fang", is_creator=True, leads={OFFICE}, gender="2"),
        person("ling", "凌", SALES, "销售经理", "fang", leads={SALES}, gender="2"),
        person("ahing", "阿兴", SALES, "销售代表", "ling", gender="1"),
        person("calvin", "卡尔文", SALES, "销售代表", "ling", gender="1"),
        person("fang", "方敏", ROOT_DEPARTMENT, "总经理", None, leads={ROOT_DEPARTMENT}, gender="2"),
        person("wei", "魏强", ENGINEERING, "技术经理", "fang", leads={ENGINEERING}, gender="1"),
        person("jun", "李军", ENGINEERING, "工程师", "wei", gender="1", system_made=True, created=date(2021, 9, 1)),
        person("lan", "王兰", SUPPORT, "客服主管", "ling", leads={SUPPORT}, gender="2"),
        person("tao", "陈涛", SUPPORT, "客服", "lan", gender="1", system_made=True),
        person("yan", "赵燕", OFFICE, "会计", "mei", gender="2"),
    ]
    for number, member in enumerate(members):
        member.mobile = f"1380013800{number}"
        member.email = f"{member.userid}@personal.test"
    departments = [
        Department(ROOT_DEPARTMENT, "示例公司", "Corp Test", 0, 100_000_000, ["fang"]),
        Department(SALES, "销售", "Sales", ROOT_DEPARTMENT, 400, ["ling"]),
        Department(ENGINEERING, "技术", "Engineering", ROOT_DEPARTMENT, 300, ["wei"]),
        Department(OFFICE, "行政", "Office", ROOT_DEPARTMENT, 200, ["mei"]),
        Department(SUPPORT, "客服", "Support", SALES, 100, ["lan"]),
    ]
    tags = [
        Tag(1, "mail-admin", ["mei"]),
        Tag(2, "mail-approver", ["ling", "wei"]),
        Tag(3, "客服值班", ["tao"], [SUPPORT]),
    ]
    public = [
        PublicMailbox(1, f"support@{DOMAIN}", "客户支持", members=["ahing", "mei"], by_app=True),
        PublicMailbox(2, f"sales@{DOMAIN}", "销售", members=["ling", "calvin"]),
    ]
    return Sample(DOMAIN, members, departments, tags, public)
