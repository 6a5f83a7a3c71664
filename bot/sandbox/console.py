"""What a person does in the simulated admin console and in webmail: the things WeCom has no API for."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from typing import Any

from pydantic import BaseModel, Field

from bot.sandbox.callbacks import Callbacks, Outcome
from bot.sandbox.organisation import ConsoleError, Organisation
from bot.sandbox.people import BinItem, Member, PublicMailbox
from bot.sandbox.post import Bounced, boxes_of, deliver
from bot.sandbox.wecom.contacts import ADDRESS


class Order(BaseModel):
    """One action of the console; which of the other fields it wants is said in `ACTIONS`."""

    action: str
    member: str | None = Field(None, description="a userid")
    address: str | None = Field(None, description="a mailbox's address")
    new_address: str | None = None
    target: str | None = Field(None, description="the address mail is copied into")
    name: str | None = None
    members: list[str] | None = None
    departments: list[int] | None = None
    tags: list[int] | None = None
    tag: int | None = None
    department: int | None = None
    leader: str | None = None
    position: str | None = None
    domain: str | None = None
    record: str | None = Field(None, description="the id of a DNS record")
    record_type: str | None = None
    host: str | None = Field(None, description="of a DNS record; @ is the domain itself")
    priority: int | None = None
    ttl: int | None = Field(None, ge=1)
    days: int | None = Field(None, description="the window of days IMAP shows; null for all")
    on: bool | None = None
    quota_bytes: int | None = None
    count: int | None = None
    password_id: int | None = None
    sender: str | None = None
    subject: str | None = None
    text: str | None = None


class Done(BaseModel):
    """What came of it, and what became of the callbacks it caused."""

    result: dict[str, Any]
    callbacks: list[dict[str, Any]]


Act = Callable[["Console", Order], Awaitable[dict[str, Any]]]
ACTIONS: dict[str, tuple[str, Act]] = {}


def action(wants: str) -> Callable[[Act], Act]:
    """Register an action under the function's name."""

    def register(act: Act) -> Act:
        ACTIONS[act.__name__] = (wants, act)
        return act

    return register


class Console:
    """Carries out orders; ConsoleError says why not, in words for the person at the page."""

    def __init__(self, org: Organisation, callbacks: Callbacks) -> None:
        self.org = org
        self.callbacks = callbacks
        self.outcomes: list[Outcome] = []

    async def carry_out(self, order: Order) -> Done:
        """Do it, then wait for the callbacks it caused."""
        if order.action not in ACTIONS:
            raise ConsoleError(f"no action {order.action}; there are: {', '.join(sorted(ACTIONS))}")
        self.org.expire()
        self.outcomes = []
        result = await ACTIONS[order.action][1](self, order)
        self.org.record("console", action=order.action, order=order.model_dump(exclude_none=True))
        return Done(result=result, callbacks=[each.shown() for each in self.outcomes])

    async def contact_changed(self, change: str, **fields: Any) -> None:
        """A change_contact callback, on the contacts channel."""
        self.org.changed()
        self.outcomes.append(
            await self.callbacks.from_system("contacts", "change_contact", ChangeType=change, **fields)
        )

    # ------------------------------------------------------------------ what an order names
    def member(self, order: Order) -> Member:
        """The member, or the one whose mailbox `address` is."""
        found = self.org.member(order.member) if order.member else None
        if found is None and order.address:
            found = self.org.member_of_address(order.address)
        if found is None:
            raise ConsoleError(f"there is no member {order.member or order.address}")
        return found

    def waiting(self, order: Order) -> BinItem:
        """The item in the recycle bin under `address`."""
        found = self.org.bin_item(order.address or "")
        if found is None:
            raise ConsoleError(f"{order.address} does not wait in the recycle bin")
        return found

    def public(self, order: Order) -> PublicMailbox:
        """The public mailbox under `address`."""
        found = self.org.public_of_address(order.address or "")
        if found is None:
            raise ConsoleError(f"there is no public mailbox {order.address}")
        return found

    def free(self, address: str | None, *, own: Member | None = None) -> str:
        """A well-formed address of the corp that nobody holds (an own alias may be taken)."""
        if not address or not ADDRESS.fullmatch(address) or not self.org.owns(address.rpartition("@")[2]):
            raise ConsoleError(f"{address} is not an address of {', '.join(self.org.domains)}")
        holder = self.org.occupied(address)
        if holder and not (own and address.lower() in own.aliases):
            raise ConsoleError(f"邮箱地址被占用: {address} is held by {holder}")
        return address.lower()

    def users(self, order: Order) -> dict[str, list[Any]]:
        """The users of a public mailbox; at least one list must name somebody."""
        userids = []
        for each in order.members or []:
            member = self.org.member(each)
            if member is None:
                raise ConsoleError(f"there is no member {each}")
            userids.append(member.userid)
        lists: dict[str, list[Any]] = {
            "members": userids,
            "departments": order.departments or [],
            "tags": order.tags or [],
        }
        if not any(lists.values()):
            raise ConsoleError("a public mailbox needs at least one user, department or tag")
        return lists


# ---------------------------------------------------------------------- members
@action("member")
async def delete_member(console: Console, order: Order) -> dict[str, Any]:
    """Delete a member; his mailbox waits in the bin; change_contact/delete_user goes out."""
    member = console.member(order)
    item = console.org.delete_member(member)
    await console.contact_changed("delete_user", UserID=member.userid)
    return {"recycled": item.address if item else None}


@action("member, name, department; leader, position, new_address")
async def add_member(console: Console, order: Order) -> dict[str, Any]:
    """A new member with a system-made address, or `new_address`; create_user goes out."""
    org = console.org
    if not order.member or org.member(order.member):
        raise ConsoleError(f"{order.member} exists already or is no userid")
    department = order.department or 1
    if department not in org.departments:
        raise ConsoleError(f"there is no department {department}")
    address = console.free(order.new_address or f"{order.member}@{org.domain}")
    member = Member(
        order.member,
        order.name or order.member,
        [department],
        address,
        position=order.position or "",
        leaders=[order.leader] if order.leader else [],
        system_made=order.new_address is None,
        created=org.now().date(),
    )
    org.members[member.userid.lower()] = member
    org.mail.add(address)
    org.sync(address)
    org.note(3, 14, f"添加成员：{member.name}")
    await console.contact_changed("create_user", **reported(member))
    return {"address": address}


def reported(member: Member) -> dict[str, Any]:
    """The fields of create_user and update_user, as an app made after June 2022 gets them."""
    fields: dict[str, Any] = {
        "UserID": member.userid,
        "Name": member.name,
        "Department": ",".join(map(str, member.departments)),
        "MainDepartment": member.main_department,
        "IsLeaderInDept": ",".join(str(int(each in member.leads)) for each in member.departments),
        "Position": member.position,
        "Status": member.status,
    }
    if member.leaders:
        fields["DirectLeader"] = ",".join(member.leaders)
    return fields


@action("member; name, department, leader, position, on (enabled)")
async def update_member(console: Console, order: Order) -> dict[str, Any]:
    """Change a member in the contacts; update_user goes out."""
    member = console.member(order)
    if order.name:
        member.name = order.name
    if order.position is not None:
        member.position = order.position
    if order.department is not None:
        if order.department not in console.org.departments:
            raise ConsoleError(f"there is no department {order.department}")
        member.departments, member.leads = [order.department], set()
    if order.leader is not None:
        member.leaders = [order.leader] if order.leader else []
    if order.on is not None:
        member.status = 1 if order.on else 2
    console.org.drop_lost_passwords()
    await console.contact_changed("update_user", **reported(member))
    return {"member": member.userid}


@action("tag, members; departments")
async def set_tag(console: Console, order: Order) -> dict[str, Any]:
    """Give a tag other members; update_tag goes out."""
    tag = console.org.tags.get(order.tag or 0)
    if tag is None:
        raise ConsoleError(f"there is no tag {order.tag}")
    before, parties = set(tag.members), set(tag.departments)
    tag.members, tag.departments = list(order.members or []), list(order.departments or [])
    console.org.drop_lost_passwords()
    changes: dict[str, set[Any]] = {
        "AddUserItems": set(tag.members) - before,
        "DelUserItems": before - set(tag.members),
        "AddPartyItems": set(tag.departments) - parties,
        "DelPartyItems": parties - set(tag.departments),
    }
    said = {name: ",".join(sorted(map(str, items))) for name, items in changes.items() if items}
    await console.contact_changed("update_tag", TagId=tag.id, **said)
    return {"tag": tag.id}


@action("departments")
async def set_range(console: Console, order: Order) -> dict[str, Any]:
    """The app's visible range; members who come in or go out make subscribe and unsubscribe."""
    org = console.org
    before = {each.userid for each in org.members.values() if org.can_see(each)}
    org.visible = list(order.departments or [])
    after = {each.userid for each in org.members.values() if org.can_see(each)}
    for userid in sorted(before ^ after):
        event = "subscribe" if userid in after else "unsubscribe"
        console.outcomes.append(await console.callbacks.from_member(userid, f"event:{event}", EventKey=""))
    return {"visible": len(after)}


@action("nothing")
async def verify_callbacks(console: Console, order: Order) -> dict[str, Any]:
    """保存 the two callback URLs: WeCom checks each with a GET; null when it is right, else why it is not."""
    return {"app": await console.callbacks.verify("app"), "contacts": await console.callbacks.verify("contacts")}


# ---------------------------------------------------------------------- mailboxes and the bin
@action("member")
async def reclaim(console: Console, order: Order) -> dict[str, Any]:
    """回收邮箱: the mailbox goes to the bin, the member stays."""
    return {"recycled": console.org.reclaim(console.member(order)).address}


@action("address, member")
async def assign(console: Console, order: Order) -> dict[str, Any]:
    """分配给成员: a binned mailbox replaces the member's own, which goes to the bin."""
    item = console.waiting(order)
    member = console.org.member(order.member or "")
    if member is None:
        raise ConsoleError(f"there is no member {order.member}")
    displaced = console.org.assign(item, member)
    await console.contact_changed("update_user", **reported(member))
    return {"address": item.address, "member": member.userid, "displaced": displaced.address if displaced else None}


@action("address; name, members")
async def convert_to_public(console: Console, order: Order) -> dict[str, Any]:
    """转为公共邮箱: history kept; the app did not make it, so the app does not see it."""
    item = console.waiting(order)
    users = order.members or ["mei"]
    name = order.name or item.address.partition("@")[0]
    if any(each.name == name for each in console.org.public.values()):
        raise ConsoleError(f"there is a public mailbox called {name} already")
    userids = console.users(order.model_copy(update={"members": users}))["members"]
    return {"id": console.org.convert_to_public(item, name, userids).id}


@action("address, target")
async def backup_once(console: Console, order: Order) -> dict[str, Any]:
    """备份邮件: copy a binned mailbox into 其他文件夹/邮件备份 of another, which somebody owns; once."""
    target = console.org.box(order.target or "").address
    if console.org.bin_item(target):
        raise ConsoleError(f"{target} lies in the recycle bin itself")
    return {"copied": console.org.backup_once(console.waiting(order), target)}


@action("address")
async def purge(console: Console, order: Order) -> dict[str, Any]:
    """彻底删除: for ever."""
    item = console.waiting(order)
    console.org.purge(item)
    return {"purged": item.address}


@action("member or address, new_address")
async def rename(console: Console, order: Order) -> dict[str, Any]:
    """修改企业邮箱: a new address; the old one stays as alias; update_user goes out."""
    member = console.member(order)
    address = console.free(order.new_address, own=member)
    member.aliases = [each for each in member.aliases if each != address]
    console.org.rename(member, address)
    await console.contact_changed("update_user", **reported(member))
    return {"address": address, "aliases": list(member.aliases)}


@action("domain")
async def verify_domain(console: Console, order: Order) -> dict[str, Any]:
    """完成配置,立即验证: the domain is in use when its records are right."""
    domain = (order.domain or console.org.domain).lower()
    right = console.org.domain_ready(domain)
    console.org.domains[domain] = "normal" if right else "verifying"
    return {"domain": domain, "status": console.org.domains[domain]}


@action("address, name, members; departments, tags")
async def create_public(console: Console, order: Order) -> dict[str, Any]:
    """A public mailbox made by hand: invisible to the app while it sees only its own."""
    address = console.free(order.address)
    name = order.name or address.partition("@")[0]
    if any(each.name == name for each in console.org.public.values()):
        raise ConsoleError(f"there is a public mailbox called {name} already")
    console.org.needs_place("create_public")
    return {"id": console.org.new_public(address, name, console.users(order), by_app=False).id}


@action("count")
async def buy_seats(console: Console, order: Order) -> dict[str, Any]:
    """邮件高级功能: so many seats are bought in all; one that no member has makes room for a public mailbox."""
    console.org.seats = max(0, order.count or 0)
    return {"places": console.org.places()}


@action("address, members; departments, tags")
async def set_public_users(console: Console, order: Order) -> dict[str, Any]:
    """Who may open a public mailbox."""
    mailbox = console.public(order)
    for attribute, values in console.users(order).items():
        setattr(mailbox, attribute, values)
    console.org.drop_lost_passwords()
    return {"readers": [each.userid for each in console.org.readers(mailbox)]}


@action("address")
async def delete_public(console: Console, order: Order) -> dict[str, Any]:
    """Delete a public mailbox; it waits in the bin."""
    return {"recycled": console.org.delete_public(console.public(order)).address}


# ---------------------------------------------------------------------- a mailbox's own settings (webmail)
@action("address, days")
async def set_window(console: Console, order: Order) -> dict[str, Any]:
    """收取选项: IMAP shows the last so many days, or everything (null)."""
    console.org.box(order.address or "").window_days = order.days
    return {"days": order.days}


@action("address, on")
async def show_folders(console: Console, order: Order) -> dict[str, Any]:
    """收取我的文件夹: whether IMAP shows custom folders."""
    console.org.box(order.address or "").show_custom = bool(order.on)
    return {"on": bool(order.on)}


@action("address, on")
async def set_imap(console: Console, order: Order) -> dict[str, Any]:
    """IMAP/SMTP 服务 on or off."""
    console.org.box(order.address or "").imap_on = bool(order.on)
    return {"on": bool(order.on)}


@action("address, on")
async def freeze(console: Console, order: Order) -> dict[str, Any]:
    """禁用 or 启用 a mailbox."""
    owner = console.org.member_of_address(order.address or "") or console.org.public_of_address(order.address or "")
    if owner is None or owner.address is None:
        raise ConsoleError(f"there is no mailbox {order.address}")
    owner.frozen = bool(order.on)
    console.org.sync(owner.address)
    return {"frozen": owner.frozen}


@action("address, quota_bytes")
async def set_quota(console: Console, order: Order) -> dict[str, Any]:
    """The room a mailbox has."""
    if order.quota_bytes is None or order.quota_bytes < 0:
        raise ConsoleError("quota_bytes is missing")
    console.org.box(order.address or "").quota_bytes = order.quota_bytes
    return {"quota_bytes": order.quota_bytes}


@action("address; member (who makes it, for a public mailbox), name (remark)")
async def mint_password(console: Console, order: Order) -> dict[str, Any]:
    """生成新密码: a client password, as the owner or a user of a public mailbox makes it on the web."""
    org = console.org
    public = org.public_of_address(order.address or "")
    if public is None:
        box = org.box(order.address or "")
        if box.disabled:
            raise ConsoleError(f"{box.address} is disabled or in the recycle bin")
        number, code = box.mint()
        return {"password_id": number, "password": code}
    readers = [each.userid for each in org.readers(public)]
    member = order.member or (readers[0] if readers else None)
    if member not in readers:
        raise ConsoleError(f"{member} cannot open {public.address}")
    number, code = org.mint(public, order.name or "办公PC", by_api=False, member=member)
    return {"password_id": number, "password": code}


@action("address, password_id")
async def revoke_password(console: Console, order: Order) -> dict[str, Any]:
    """Delete a client password on the web."""
    public = console.org.public_of_address(order.address or "")
    for password in public.passwords if public else []:
        if public and password.id == order.password_id:
            console.org.revoke(public, password)
            return {"revoked": password.id}
    box = console.org.box(order.address or "")
    if order.password_id not in box.passwords:
        raise ConsoleError(f"{box.address} has no password {order.password_id}")
    box.revoke(order.password_id)
    return {"revoked": order.password_id}


@action("address, text; sender, subject")
async def receive_mail(console: Console, order: Order) -> dict[str, Any]:
    """A mail from outside arrives; for a public mailbox public_email_change goes out."""
    org = console.org
    box, sender = org.box(order.address or ""), order.sender or "customer@elsewhere.test"
    try:
        boxes = boxes_of(org, box.address, sender)
    except Bounced as bounced:
        raise ConsoleError(f"{bounced}: {box.address} does not take mail") from None
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, box.address
    mail["Subject"], mail["Date"] = order.subject or "您好", org.now()
    mail["Message-ID"] = f"<{secrets.token_hex(12)}@elsewhere.test>"
    mail.set_content(order.text or "")
    console.outcomes += await deliver(org, console.callbacks, boxes, mail.as_bytes())
    return {"unread": box.unread()}
