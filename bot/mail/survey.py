"""Looking at a mailbox without changing it: which folders, which mails. Everything is asked before it is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bot.mail import names, wire
from bot.mail.connection import Command
from bot.mail.errors import CommandRefused
from bot.mail.names import Folder, WireName
from bot.mail.quirks import FOLDER_NAMES, FolderKind, folder_kind
from bot.mail.session import Session
from bot.mail.told import Selected, Status, checked, folders_of, selected, status_in, status_of

PAGE_UIDS = 5_000  # UIDs asked for in one listing: a range without bounds times out on Exmail
PAGES_MAX = 1_000
AGAIN_UIDS = 64  # asked for once more, in one command
FOLDERS_AHEAD = 16
LISTING = b"UID RFC822.SIZE FLAGS INTERNALDATE"


@dataclass(frozen=True)
class Chosen:
    """The folders meant, and what to tell about the others."""

    folders: list[Folder]
    own_backups: list[Folder] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def choose(
    folders: list[Folder], wanted: tuple[str, ...], without_junk: bool, exclude_roots: tuple[str, ...]
) -> Chosen:
    """The selectable folders a filter names, without our own backups."""
    roots = [names.fold(names.split_display(root)) for root in exclude_roots if root]
    chosen, backups = [], []
    met: set[str] = set()
    for folder in folders:
        if not folder.selectable:
            continue
        path = names.fold(folder.parts)
        if any(path == root or path.startswith(root + "\0") for root in roots):
            backups.append(folder)
            continue
        kind = folder_kind(folder)
        if without_junk and kind is FolderKind.JUNK:
            continue
        if wanted:
            hits = [want for want in wanted if is_meant(want, folder, kind)]
            if not hits:
                continue
            met.update(hits)
        chosen.append(folder)
    return Chosen(chosen, backups, [want for want in wanted if want not in met])


def is_meant(want: str, folder: Folder, kind: FolderKind | None) -> bool:
    """Does a person who says `want` mean this folder? Full name, last part, kind, or a folder above it."""
    path, said = names.fold(folder.parts), names.fold(names.split_display(want))
    if kind is not None and said in (*FOLDER_NAMES[kind], kind.value):
        return True
    return path == said or path.startswith(said + "\0") or names.fold(folder.parts[-1:]) == said


async def statuses(session: Session, folders: list[Folder]) -> dict[WireName, Status | None]:
    """STATUS of all, in one round trip or few; None where the server refuses."""
    result: dict[WireName, Status | None] = {}
    for start in range(0, len(folders), 64):
        asked = {each.wire: session.ask_status(each.wire) for each in folders[start : start + 64]}
        for name, command in asked.items():
            result[name] = status_of(await command.done)
    return result


async def list_told(session: Session) -> tuple[list[Folder], dict[WireName, Status | None]]:
    """
    Every folder, and STATUS of those that can be opened; in one round trip where the server has LIST-STATUS (RFC 5819).
    """
    folders, told = await listed_with_status(session)
    told |= await statuses(session, [each for each in folders if each.selectable and each.wire not in told])
    return folders, told


async def listed_with_status(session: Session) -> tuple[list[Folder], dict[WireName, Status | None]]:
    if "LIST-STATUS" in session.capabilities:
        asked = b'LIST "" "*" RETURN (STATUS (UIDVALIDITY UIDNEXT MESSAGES))'
        done = await session.send(asked, collect=True).done
        if done.ok:
            return folders_of(done), {each[0]: each[1] for line in done.lines if (each := status_in(line)) is not None}
    return await session.list_folders(), {}


OnMail = Callable[[WireName, wire.Fetched], None]


async def list_mails(
    session: Session,
    folders: Mapping[WireName, Status | None],
    on_mail: OnMail,
    *,
    items: bytes = LISTING,
    first: dict[WireName, int] | None = None,
) -> dict[WireName, Selected | str]:
    """
    Tell `on_mail` about every mail of the folders, in pages, folder after folder, in the server's order.

    `first` gives the UID to begin with. The result is what EXAMINE told, or the server's text where it refused.
    Raises ConnectionLost.
    """
    waiting: list[Pages] = []
    sizeless: dict[WireName, list[int]] = {}
    result: dict[WireName, Selected | str] = {}

    async def settle() -> None:
        asked = waiting.pop(0)
        result[asked.name] = await asked.settled()
        if asked.sizeless:
            sizeless[asked.name] = asked.sizeless

    for name, status in folders.items():
        while waiting and session.in_turn:
            await settle()
        opening = session.open_folder(name)
        if session.in_turn:
            await opening.done
        if status is None:
            opened = await opening.done  # no STATUS: the bounds come from here
            try:
                told = selected(opened, session.account.user)
                status = Status(told.uidvalidity, told.uidnext or 0, told.exists)
            except CommandRefused as error:
                result[name] = error.text
                continue
        waiting.append(Pages(session, name, opening, status, on_mail, items, (first or {}).get(name, 1)))
        if len(waiting) >= FOLDERS_AHEAD:
            await settle()
    while waiting:
        await settle()
    for name, uids in sizeless.items():  # asked for once more; without a size they are mails all the same
        opening = session.open_folder(name)
        await opening.done
        for start in range(0, len(uids), AGAIN_UIDS):
            some = sorted(uids)[start : start + AGAIN_UIDS]
            page = Page(name, opening, on_mail, items, some[0], some[-1])
            line = b"UID FETCH " + wire.uid_set(some) + b" (" + items + b")"
            asked = session.send(line, on_fetch=page.take)
            try:
                told = selected(await opening.done, session.account.user)
                checked(await asked.done, session.account.user)
                result[name] = told  # its numbers may be new by now
                page.end(sizeless_too=True)
            except CommandRefused as error:
                result[name] = error.text
    return result


class Pages:
    """The mails of one folder, asked for behind `opening`, in pages. `sizeless` are the UIDs that came without one."""

    def __init__(
        self,
        session: Session,
        name: WireName,
        opening: Command,
        status: Status,
        on_mail: OnMail,
        items: bytes,
        begin: int = 1,
    ) -> None:
        self.name = name
        self.sizeless: list[int] = []
        self._session, self._opening, self._mailbox = session, opening, session.account.user
        self._in_turn = session.in_turn
        self._pages = []
        for low, high in spans(begin, status) if status.messages else []:
            page = Page(name, opening, on_mail, items, low, high)
            span = b"%d:*" % low if high is None else b"%d:%d" % (low, high)
            line = b"UID FETCH " + span + b" (" + items + b")"
            self._pages.append((page, line, session.send(line, on_fetch=page.take)))

    async def settled(self) -> Selected | str:
        """What EXAMINE told, or the server's text where it refused. Raises ConnectionLost."""
        try:
            told = selected(await self._opening.done, self._mailbox)
            for page, line, command in self._pages:
                done = await command.done
                if not self._in_turn and self._session.refused_ahead(done):
                    await self._session.examine(self.name)
                    done = await self._session.send(line, on_fetch=page.take).done
                checked(done, self._mailbox)
                self.sizeless += page.end()
        except CommandRefused as error:
            return error.text
        return told


def spans(begin: int, status: Status) -> list[tuple[int, int | None]]:
    """The UID ranges to ask for, ascending and bounded by UIDNEXT when it is known."""
    if status.uidnext <= 0:
        return [(begin, None)]
    width = max(PAGE_UIDS, status.uidnext // PAGES_MAX)
    return [(low, min(low + width, status.uidnext) - 1) for low in range(begin, status.uidnext, width)]


class Page:
    """The mails of one listing, once the server has really opened the folder; a mail may come in several answers."""

    def __init__(
        self, name: WireName, opening: Command, on_mail: OnMail, items: bytes, low: int, high: int | None
    ) -> None:
        self._name, self._opening, self._on_mail = name, opening, on_mail
        self._low, self._high = low, high
        self._sized, self._dated, self._flagged = (
            each in items for each in (b"RFC822.SIZE", b"INTERNALDATE", b"FLAGS")
        )
        self._told: set[int] = set()
        self._parts: dict[int, wire.Fetched] = {}

    def take(self, told: wire.Fetched, _stream: object) -> bool:
        uid = told.uid
        if uid is None or told.body is not None:  # a body: of a FETCH sent behind this one
            return False
        if not self._opening.ok:
            return False
        if uid < self._low or (self._high is not None and uid > self._high):
            return False  # of another page, or news of a mail that was told of
        if uid in self._told:
            return True  # news about its flags
        if self._parts and (part := self._parts.pop(uid, None)) is not None:
            told.size_bytes = part.size_bytes if told.size_bytes is None else told.size_bytes
            told.flags = part.flags if told.flags is None else told.flags
            told.internal_date = part.internal_date if told.internal_date is None else told.internal_date
        lacks = (self._dated and told.internal_date is None) or (self._flagged and told.flags is None)
        if lacks or (self._sized and told.size_bytes is None):
            self._parts[uid] = told
        else:
            self._told.add(uid)
            self._on_mail(self._name, told)
        return True

    def end(self, *, sizeless_too: bool = False) -> list[int]:
        """Tell what came in part; the UIDs of which the size is still wanted."""
        wanted = []
        for uid, part in self._parts.items():
            if self._sized and part.size_bytes is None and not sizeless_too:
                wanted.append(uid)
            else:
                self._told.add(uid)
                self._on_mail(self._name, part)
        self._parts, self._told = {}, set()
        return wanted
