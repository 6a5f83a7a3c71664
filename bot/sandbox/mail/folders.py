"""Commands on folders: LIST, LSUB, STATUS, SELECT, CREATE and what belongs to them."""

from __future__ import annotations

import re

from bot.sandbox.mail import utf7
from bot.sandbox.mail.boxes import INBOX, ROOT, SYSTEM_FLAGS, SYSTEM_FOLDERS, Folder
from bot.sandbox.mail.parsing import LIST_NAME, Arguments, BadSyntax, quoted
from bot.sandbox.mail.session import BUSY, Bad, Drop, No, Session

ROOT_WIRE = utf7.encode(ROOT)
NAME_BYTES_MAX = 1000
STATUS_ITEMS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN")


async def list_folders(session: Session, arguments: Arguments) -> str:
    """`LIST reference pattern`; no special-use flags, as Exmail gives none."""
    return listing(session, arguments, "LIST", subscribed_only=False)


async def xlist(session: Session, arguments: Arguments) -> str:
    return listing(session, arguments, "XLIST", subscribed_only=False)


async def lsub(session: Session, arguments: Arguments) -> str:
    return listing(session, arguments, "LSUB", subscribed_only=True)


def listing(session: Session, arguments: Arguments, verb: str, *, subscribed_only: bool) -> str:
    reference = arguments.name()
    arguments.space()
    pattern = arguments.name(LIST_NAME)
    arguments.end()
    if not pattern:
        session.say(f'* {verb} (\\NoSelect) "/" ""')
        return f"{verb} completed"
    wanted = re.compile("".join(wildcard(character) for character in reference + pattern))
    for wire, flags in listed(session, subscribed_only=subscribed_only):
        if wanted.fullmatch(wire) or (wire == INBOX and wanted.fullmatch(wire.lower())):
            session.say(f'* {verb} ({flags}) "/" {spelled(session, wire)}')
    return f"{verb} completed"


def spelled(session: Session, wire: str) -> str:
    """A folder's name in an answer."""
    return f"{{{len(wire)}}}\r\n{wire}" if session.trips("literals_everywhere") else quoted(wire)


def wildcard(character: str) -> str:
    return ".*" if character == "*" else "[^/]*" if character == "%" else re.escape(character)


def listed(session: Session, *, subscribed_only: bool) -> list[tuple[str, str]]:
    """The wire names this session sees with their flags: the root first, then the system's, then people's own."""
    hidden = session.trips("subscribe_needed")
    folders = [
        folder
        for folder in session.box.folders.values()
        if session.visible(folder) and (folder.subscribed or not hidden)
    ]
    parents = {folder.wire.rpartition("/")[0] for folder in folders}
    rows = []
    if session.show_custom and not subscribed_only:
        rows.append((ROOT_WIRE, "\\NoSelect " + children(ROOT_WIRE, parents)))
    for folder in sorted(folders, key=rank):
        if folder.subscribed or not subscribed_only:
            rows.append((folder.wire, children(folder.wire, parents)))
    return rows


def children(wire: str, parents: set[str]) -> str:
    return "\\HasChildren" if wire in parents else "\\HasNoChildren"


def rank(folder: Folder) -> tuple[int, str]:
    return (SYSTEM_FOLDERS.index(folder.name), "") if folder.is_system else (len(SYSTEM_FOLDERS), folder.wire)


async def status(session: Session, arguments: Arguments) -> str:
    wire = arguments.name()
    arguments.space()
    items = arguments.words()
    arguments.end()
    if not items or any(item not in STATUS_ITEMS for item in items):
        raise BadSyntax("no such item")
    folder = session.folder(wire)
    numbers = {"RECENT": 0, "UIDNEXT": folder.uidnext, "UIDVALIDITY": folder.uidvalidity}
    since = session.box.since(session.window_days)
    if since is None:
        numbers |= {"MESSAGES": len(folder.messages), "UNSEEN": folder.unseen}
    else:
        shown = [message for message in folder.messages.values() if message.date >= since]
        numbers |= {"MESSAGES": len(shown), "UNSEEN": sum("\\Seen" not in message.flags for message in shown)}
    numbers["MESSAGES"] += session.size_of("exists_larger")
    values = " ".join(f"{item} {numbers[item]}" for item in items)
    session.say(f"* STATUS {spelled(session, folder.wire)} ({values})")
    return "STATUS completed"


async def select(session: Session, arguments: Arguments) -> str:
    return opened(session, arguments, read_only=False)


async def examine(session: Session, arguments: Arguments) -> str:
    return opened(session, arguments, read_only=True)


def opened(session: Session, arguments: Arguments, *, read_only: bool) -> str:
    wire = arguments.name()
    arguments.end()
    session.close_folder()
    if session.trips("select_refused"):
        raise No(BUSY)
    if not session.identified and session.trips("id_required"):
        raise No("Unsafe Login. Please send ID first")
    folder = session.folder(wire)
    if folder.locked:
        session.say("* BYE Folder is locked")
        raise Drop
    selected = session.select(folder, read_only=read_only)
    flags = " ".join(SYSTEM_FLAGS)
    kept = flags if session.trips("keywords_not_announced") else f"\\* {flags}"
    session.say(f"* {session.exists(selected)} EXISTS")
    session.say("* 0 RECENT")
    session.say(f"* OK [UIDVALIDITY {folder.uidvalidity}] UID validity status")
    session.say(f"* OK [UIDNEXT {folder.uidnext}] Predicted next UID")
    session.say(f"* FLAGS ({flags})")
    session.say(f"* OK [PERMANENTFLAGS ({'' if read_only else kept})] Permanent flags")
    return "[READ-ONLY] EXAMINE complete" if read_only else "[READ-WRITE] SELECT complete"


async def create(session: Session, arguments: Arguments) -> str:
    """
    `CREATE name`, parents made on the way; outside of 其他文件夹 it is refused while `top_level_refused` is on.

    It succeeds for a session that does not see custom folders: that the folder stays hidden is the client's to notice.
    """
    wire = arguments.name()
    arguments.end()
    wire = wire.removesuffix("/")
    try:
        name = utf7.decode(wire)
    except ValueError:
        raise No("Folder name is invalid") from None
    if not all(name.split("/")) or len(wire) > NAME_BYTES_MAX:
        raise No("Folder name is invalid")
    if name == ROOT or session.box.find(wire) is not None:
        raise No("Folder already exists!")
    if not name.startswith(ROOT + "/") and session.trips("top_level_refused"):
        raise No("Create folder failed")
    check_name(session, name)
    session.box.add_folder(name).subscribed = not session.trips("subscribe_needed")
    return "CREATE completed"


def check_name(session: Session, name: str) -> None:
    """Raise No for a name that other servers would refuse."""
    parts = name.removeprefix(ROOT + "/").split("/")
    if any(re.search(r'[.*%#"\\]|^ | $', part) for part in parts) and session.trips("names_strict"):
        raise No("Folder name is invalid")
    taken = {each.casefold() for each in session.box.folders}
    if name.casefold() in taken and session.trips("names_fold_case"):
        raise No("Folder already exists!")
    limit = session.size_of("name_bytes_max")
    if limit and any(len(utf7.encode(part)) > limit for part in parts):
        raise No("Folder name is too long")
    depth = session.size_of("depth_max")
    if depth and len(parts) > depth:
        raise No("Mailbox doesn't allow inferior mailboxes")


async def delete(session: Session, arguments: Arguments) -> str:
    """`DELETE name` of a folder that people made, with all it holds; refused while `delete_refused` is on."""
    wire = arguments.name()
    arguments.end()
    if session.trips("delete_refused"):
        raise No("Folders can only be deleted in webmail")
    folder = session.folder(wire)
    if folder.is_system:
        raise No("System folder can not be deleted")
    if any(name.startswith(f"{folder.name}/") for name in session.box.folders):
        raise No("Folder has children")
    session.box.remove_folder(folder)
    return "DELETE completed"


async def rename(session: Session, arguments: Arguments) -> str:
    arguments.name()
    arguments.space()
    arguments.name()
    arguments.end()
    raise No("Folders can only be renamed in webmail")


async def subscribe(session: Session, arguments: Arguments) -> str:
    return set_subscribed(session, arguments, True)


async def unsubscribe(session: Session, arguments: Arguments) -> str:
    return set_subscribed(session, arguments, False)


def set_subscribed(session: Session, arguments: Arguments, subscribed: bool) -> str:
    wire = arguments.name()
    arguments.end()
    session.folder(wire).subscribed = subscribed
    return "SUBSCRIBE completed" if subscribed else "UNSUBSCRIBE completed"


async def namespace(session: Session, arguments: Arguments) -> str:
    arguments.end()
    if session.trips("no_namespace"):
        raise Bad("Command!")
    session.say('* NAMESPACE (("" "/")) NIL NIL')
    return "NAMESPACE completed"
