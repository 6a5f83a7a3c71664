"""
The simulated organisation: what WeCom and Exmail know of it, and what its admin console can do to it.

Everything is touched in the sandbox's event loop only, so nothing here locks. A mailbox keeps its address for life:
reassigning gives the address to another owner, and one in the recycle bin stays in the mail server, disabled.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import secrets
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from bot.clock import ShiftedClock
from bot.sandbox.chat import Chats
from bot.sandbox.dns.apis import Providers
from bot.sandbox.dns.world import DnsWorld
from bot.sandbox.mailserver import Mailbox, MailServer
from bot.sandbox.people import (
    ROOT_DEPARTMENT,
    AdminRecord,
    BinItem,
    Department,
    MailGroup,
    Member,
    Password,
    PublicMailbox,
    Tag,
)
from bot.sandbox.sample import Sample, sample
from bot.sandbox.trouble import Troubles

SHANGHAI = ZoneInfo("Asia/Shanghai")
BIN_DAYS = {"delete_member": 30, "reclaim": 30, "replaced": 30, "delete_public": 60}
WIRE_MAX = 2000
APPEND = re.compile(r"^\S+ APPEND ", re.IGNORECASE)
BACKUP_FOLDER = "其他文件夹/邮件备份"
PUBLIC_FREE = 3  # public mailboxes of a free plan


class ConsoleError(Exception):
    """The console says no; the text is for the person at the page."""


class NoPlace(ConsoleError):
    """The plan has no place for another public mailbox."""


class Organisation:
    """
    The state behind `/cgi-bin`, `/connect` and `/_sandbox`.

    `bot_url` is where the bot listens (callbacks go there, and OAuth2 redirects must lead there), `api_base` where the
    sandbox itself does. `fill` puts the seeded mail into the mailboxes, at the start and at each reset.
    """

    def __init__(
        self,
        clock: ShiftedClock,
        mail: MailServer,
        *,
        bot_url: str = "http://127.0.0.1:8000",
        api_base: str = "http://127.0.0.1:8000",
        fill: Callable[[MailServer], object] | None = None,
        people: Callable[[], Sample] = sample,
    ) -> None:
        self.clock = clock
        self.mail = mail
        self.bot_url = bot_url.rstrip("/")
        self.api_base = api_base.rstrip("/")
        self.fill = fill
        self._people = people
        self.corp_id = "ww" + secrets.token_hex(8)
        self.agent_id = 1_000_002 + secrets.randbelow(900)
        self.app_secret = secrets.token_urlsafe(32)
        self.contacts_secret = secrets.token_urlsafe(32)
        self.callback_token = secrets.token_hex(12)
        self.callback_aes_key = aes_key()
        self.contacts_callback_token = secrets.token_hex(12)
        self.contacts_callback_aes_key = aes_key()
        self.troubles = Troubles(mail.faults)
        self.wire: deque[dict[str, Any]] = deque(maxlen=WIRE_MAX)
        self.imap_wire: deque[dict[str, Any]] = deque(maxlen=WIRE_MAX)
        self.wire_count = 0
        self.on_append: Callable[[], None] = lambda: None  # a mail is about to be stored over IMAP
        self.on_change: Callable[[], None] = lambda: None  # but for lines of IMAP, which are so many
        self.version = 0
        self._changed = asyncio.Event()
        self.dns = DnsWorld(self.now, self.changed)
        self.providers = Providers(self.dns, self.troubles)
        self.domain_ready: Callable[[str], bool] = self.dns.ready_for_mail  # what the console looks at
        self.tokens: dict[str, tuple[str, datetime]] = {}
        self.expired_tokens: set[str] = set()
        self._build()
        mail.on_line = self.imap_line

    # ------------------------------------------------------------------ the whole
    def _build(self) -> None:
        filled = self._people()
        self.domain = filled.domain
        self.domains: dict[str, str] = {filled.domain: "normal"}
        self.members: dict[str, Member] = {each.userid.lower(): each for each in filled.members}
        self.departments: dict[int, Department] = {each.id: each for each in filled.departments}
        self.tags: dict[int, Tag] = {each.id: each for each in filled.tags}
        self.public: dict[int, PublicMailbox] = {each.id: each for each in filled.public}
        self.groups: dict[str, MailGroup] = {}
        self.bin: list[BinItem] = []
        self.admin_log: list[AdminRecord] = []
        self.vip: list[str] = []
        self.seats = 0  # advanced seats bought; one that no member has is another place for a public mailbox
        self.visible: list[int] = [ROOT_DEPARTMENT]
        self.app_address = f"bot@{self.domain}"
        self.app_aliases: list[str] = []
        self.app_mails: list[tuple[str, datetime, str]] = []
        self.oauth_codes: dict[str, tuple[str, datetime]] = {}
        self.jobs: list[dict[str, Any]] = []
        self.failed_lookups: list[datetime] = []
        self.lookups_blocked_until: datetime | None = None
        self.chats = Chats()
        self.tour: set[str] = set()  # the steps of the guided tour that were done
        self._next_public = max(self.public, default=0) + 1
        self._next_bin = 1
        for address in [each.address for each in self.members.values() if each.address]:
            self.mail.add(address)
        for mailbox in self.public.values():
            self.mail.add(mailbox.address)
            self.sync(mailbox.address)
        if self.fill:
            self.fill(self.mail)

    def reset(self, begins: datetime | None = None) -> None:
        """As at the start, but for the ids, secrets and tokens the bot holds; the clock goes on, or begins there."""
        if begins is not None:
            self.clock.set_to(begins)
        for address in self.addresses():
            self.mail.remove(address)
        self.mail.faults.clear()
        self.troubles.reset()
        self.wire.clear()
        self.imap_wire.clear()
        self.dns.build()
        self._build()
        self.changed()

    def now(self) -> datetime:
        """The sandbox clock."""
        return self.clock.now()

    def epoch(self) -> int:
        """The sandbox clock in seconds since 1970."""
        return int(self.now().timestamp())

    def changed(self) -> None:
        """Tell whoever waits (the page) that something changed."""
        self.on_change()
        self._tell()

    def _tell(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for_change(self, version: int, timeout_seconds: float) -> int:
        """The present version: at once when it is not `version`, else after the next change or the timeout."""
        if self.version == version:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout_seconds)
        return self.version

    async def wait_until(self, holds: Callable[[], bool], timeout_seconds: float) -> None:
        """Until something of the organisation holds, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while not holds():
                    await self._changed.wait()

    def record(self, kind: str, **what: Any) -> dict[str, Any]:
        """Add an entry to the wire log and return it, so that an answer can be added later."""
        self.wire_count += 1
        entry = {"n": self.wire_count, "at": self.now().isoformat(), "kind": kind, **what}
        self.wire.append(entry)
        self.changed()
        return entry

    def imap_line(self, user: str, direction: str, line: str) -> None:
        """Add a line of an IMAP connection to the wire log; they have a log of their own, they are so many."""
        self.wire_count += 1
        if direction == "client" and APPEND.search(line):
            self.on_append()
        entry = {"n": self.wire_count, "at": self.now().isoformat(), "kind": "imap"}
        self.imap_wire.append({**entry, "user": user, "direction": direction, "line": line})
        self._tell()

    def owns(self, domain: str) -> bool:
        """Whether a domain is in use in this organisation: added and verified."""
        return self.domains.get(domain.lower()) == "normal"

    # ------------------------------------------------------------------ look-ups
    def member(self, userid: str) -> Member | None:
        """A member by userid, in any case."""
        return self.members.get(userid.lower())

    def member_of_address(self, address: str) -> Member | None:
        """Whose own mailbox address this is; aliases do not count."""
        return next((each for each in self.members.values() if each.address == address.lower()), None)

    def public_of_address(self, address: str) -> PublicMailbox | None:
        """The public mailbox with this address; aliases do not count."""
        return next((each for each in self.public.values() if each.address == address.lower()), None)

    def bin_item(self, address: str) -> BinItem | None:
        """What waits in the recycle bin under this address."""
        self.expire()
        return next((each for each in self.bin if each.address == address.lower() and each.state == "waiting"), None)

    def addresses(self) -> list[str]:
        """Every address the mail server holds a mailbox for."""
        own = [each.address for each in self.members.values() if each.address]
        waiting = [each.address for each in self.bin if each.state == "waiting"]
        return [*own, *(each.address for each in self.public.values()), *waiting]

    def occupied(self, address: str) -> str | None:
        """What holds an address (member, alias, public, group, app, bin); None when it is free."""
        wanted = address.lower()
        for member in self.members.values():
            if member.address == wanted:
                return "member"
            if wanted in member.aliases:
                return "alias"
        for mailbox in self.public.values():
            if mailbox.address == wanted:
                return "public"
            if wanted in mailbox.aliases:
                return "alias"
        if wanted in self.groups:
            return "group"
        if wanted == self.app_address or wanted in self.app_aliases:
            return "app"
        for item in self.bin:
            if item.state == "waiting" and wanted in (item.address, *item.aliases):
                return "bin"
        return None

    def department_and_below(self, root: int) -> set[int]:
        """A department with everything under it."""
        found = {root} & self.departments.keys()
        while more := {each.id for each in self.departments.values() if each.parent in found} - found:
            found |= more
        return found

    def visible_departments(self) -> set[int]:
        """The departments in the app's visible range."""
        return set().union(*(self.department_and_below(each) for each in self.visible)) if self.visible else set()

    def can_see(self, member: Member) -> bool:
        """Whether the member is in the app's visible range."""
        return bool(self.visible_departments() & set(member.departments))

    def in_departments(self, departments: list[int]) -> list[Member]:
        """Members of departments and of all below."""
        wanted: set[int] = set()
        for each in departments:
            wanted |= self.department_and_below(each)
        return [each for each in self.members.values() if wanted & set(each.departments)]

    def tagged(self, tag_id: int) -> list[Member]:
        """Members of a tag, its departments expanded."""
        tag = self.tags.get(tag_id)
        if tag is None:
            return []
        named = [member for each in tag.members if (member := self.member(each))]
        return unique([*named, *self.in_departments(tag.departments)])

    def readers(self, mailbox: PublicMailbox) -> list[Member]:
        """Everybody who can open a public mailbox, departments and tags expanded."""
        named = [member for each in mailbox.members if (member := self.member(each))]
        tagged = [member for each in mailbox.tags for member in self.tagged(each)]
        return unique([*named, *self.in_departments(mailbox.departments), *tagged])

    def box(self, address: str) -> Mailbox:
        """The mailbox in the mail server; ConsoleError when there is none."""
        found = self.mail.mailbox(address.lower())
        if found is None:
            raise ConsoleError(f"there is no mailbox {address}")
        return found

    def sync(self, address: str) -> None:
        """Let the mail server refuse a mailbox that is frozen or in the bin, and know its aliases."""
        found = self.mail.mailbox(address)
        if found is None:
            return
        owner = self.member_of_address(address) or self.public_of_address(address)
        found.disabled = owner is None or owner.frozen
        wanted = set(owner.aliases) if owner else set()
        found.aliases.clear()
        found.aliases.update(wanted)

    # ------------------------------------------------------------------ public mailboxes
    def places(self) -> int:
        """How many public mailboxes there can be: three, and one for each advanced seat that no member has."""
        return PUBLIC_FREE + max(0, self.seats - len(self.vip))

    def needs_place(self, way: str) -> None:
        """NoPlace when the plan has none for another public mailbox; every way into one asks, `way` names it."""
        if self.troubles.strikes("public_mailboxes_full", way) or len(self.public) >= self.places():
            raise NoPlace(f"可用公共邮箱数量不足: {len(self.public)} of {self.places()} public mailboxes are taken")

    def new_public(self, address: str, name: str, users: dict[str, list[Any]], *, by_app: bool) -> PublicMailbox:
        """Make a public mailbox; `users` are its members, departments, tags and aliases. It keeps a binned mailbox."""
        mailbox = PublicMailbox(self._next_public, address.lower(), name, by_app=by_app)
        for attribute, values in users.items():
            setattr(mailbox, attribute, values)
        self._next_public += 1
        self.public[mailbox.id] = mailbox
        if self.mail.mailbox(mailbox.address) is None:
            self.mail.add(mailbox.address).imap_on = not self.troubles.is_on("public_imap_off")
        self.sync(mailbox.address)
        return mailbox

    def mint(self, mailbox: PublicMailbox, remark: str, *, by_api: bool, member: str | None = None) -> tuple[int, str]:
        """A new client password of a public mailbox: its id and the code, which nobody can read again."""
        number, code = self.box(mailbox.address).mint()
        mailbox.passwords.append(Password(number, remark, self.now(), by_api, member))
        return number, code

    def revoke(self, mailbox: PublicMailbox, password: Password) -> None:
        """Take a client password back."""
        mailbox.passwords.remove(password)
        self.box(mailbox.address).revoke(password.id)

    def drop_lost_passwords(self) -> None:
        """A password that a member made on the web dies when he may no longer open the mailbox."""
        for mailbox in self.public.values():
            readers = {each.userid for each in self.readers(mailbox)}
            for password in [each for each in mailbox.passwords if each.member and each.member not in readers]:
                self.revoke(mailbox, password)

    def delete_public(self, mailbox: PublicMailbox) -> BinItem:
        """Delete a public mailbox: it waits in the recycle bin."""
        for password in list(mailbox.passwords):
            self.revoke(mailbox, password)
        del self.public[mailbox.id]
        return self._recycle(mailbox.address, "public", "delete_public", mailbox.name, mailbox.aliases)

    # ------------------------------------------------------------------ the recycle bin
    def _recycle(self, address: str, kind: str, source: str, former: str, aliases: list[str]) -> BinItem:
        now = self.now()
        last = (now.astimezone(SHANGHAI) + timedelta(days=BIN_DAYS[source])).date()
        deletes_at = datetime.combine(last, time(), SHANGHAI).astimezone(UTC)
        item = BinItem(self._next_bin, address, kind, source, former, now, deletes_at, aliases=list(aliases))
        self._next_bin += 1
        self.bin.append(item)
        box = self.box(address)
        for number in list(box.passwords):
            box.revoke(number)
        self.sync(address)
        return item

    def expire(self) -> None:
        """Delete for ever what has waited its days; the row stays in the bin and says so."""
        now = self.now()
        for item in self.bin:
            if item.state == "waiting" and item.deletes_at <= now:
                item.state = "expired"
                self.mail.remove(item.address)
                self.changed()

    def days_left(self, item: BinItem) -> int:
        """Whole days until a waiting item is deleted, counted by the Shanghai calendar as the console does."""
        today = self.now().astimezone(SHANGHAI).date()
        return max(0, (item.deletes_at.astimezone(SHANGHAI).date() - today).days)

    def delete_member(self, member: Member) -> BinItem | None:
        """Delete a member; his mailbox goes to the bin for 30 days."""
        del self.members[member.userid.lower()]
        for tag in self.tags.values():
            tag.members = [each for each in tag.members if each != member.userid]
        for department in self.departments.values():
            department.leaders = [each for each in department.leaders if each != member.userid]
        for mailbox in self.public.values():
            mailbox.members = [each for each in mailbox.members if each != member.userid]
        for other in self.members.values():
            other.leaders = [each for each in other.leaders if each != member.userid]
        self.vip = [each for each in self.vip if each != member.userid]
        self.drop_lost_passwords()
        self.note(3, 15, f"删除成员：{member.name}")
        return self._take_mailbox(member, "delete_member")

    def _take_mailbox(self, member: Member, source: str) -> BinItem | None:
        if member.address is None:
            return None
        address, aliases = member.address, member.aliases
        member.address, member.aliases, member.frozen = None, [], False
        self.vip = [each for each in self.vip if each != member.userid]
        return self._recycle(address, "member", source, member.userid, aliases)

    def reclaim(self, member: Member) -> BinItem:
        """回收邮箱: take the mailbox off a member who stays."""
        item = self._take_mailbox(member, "reclaim")
        if item is None:
            raise ConsoleError(f"{member.userid} has no mailbox")
        return item

    def assign(self, item: BinItem, member: Member) -> BinItem | None:
        """分配给成员: the member gets the binned mailbox; the one he had goes to the bin and is returned."""
        displaced = self._take_mailbox(member, "replaced")
        item.state = "assigned"
        member.address, member.aliases = item.address, list(item.aliases)
        member.system_made = False
        self.sync(item.address)
        return displaced

    def convert_to_public(self, item: BinItem, name: str, members: list[str]) -> PublicMailbox:
        """转为公共邮箱: history and address stay; made in the console, so invisible to the app."""
        self.needs_place("convert_to_public")
        item.state = "converted"
        return self.new_public(item.address, name, {"members": members, "aliases": list(item.aliases)}, by_app=False)

    def backup_once(self, item: BinItem, target: str) -> int:
        """备份邮件: copy everything into one folder of another mailbox, once; how many mails it copied."""
        if item.backed_up_to:
            raise ConsoleError(f"{item.address} was backed up already: the console does it only once")
        source, into = self.box(item.address), self.box(target)
        copied = 0
        for folder in list(source.folders.values()):
            for mail in list(folder.messages.values()):
                into.put(BACKUP_FOLDER, mail.raw, mail.date, mail.flags)
                copied += 1
        item.backed_up_to = target
        return copied

    def purge(self, item: BinItem) -> None:
        """彻底删除: gone for ever, the address is free again."""
        item.state = "purged"
        self.mail.remove(item.address)

    # ------------------------------------------------------------------ addresses
    def rename(self, member: Member, address: str) -> None:
        """Change a member's address; the old one stays as an alias, as the console does it."""
        old = member.address
        if old is None:
            member.address = address
            if self.mail.mailbox(address) is None:
                self.mail.add(address)
        else:
            member.address = address
            member.aliases = [*member.aliases, old]
            self.mail.rename(old, address)
        member.system_made = False
        self.sync(address)

    def note(self, oper_type: int, detail_type: int, detail: str, admin: str = "mei") -> None:
        """Add a line to the admin log: only what a person did in the console."""
        self.admin_log.append(AdminRecord(self.now(), admin, oper_type, detail_type, detail))


def aes_key() -> str:
    """A fresh EncodingAESKey: 43 characters, 32 bytes."""
    return base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def unique(members: list[Member]) -> list[Member]:
    """Each member once, in order."""
    return list({each.userid: each for each in members}.values())
