"""Commands on the mails of the open folder: FETCH, STORE, SEARCH, EXPUNGE, COPY, MOVE and their UID forms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from bot.sandbox.mail import parts
from bot.sandbox.mail.appending import check_keywords
from bot.sandbox.mail.boxes import Folder, Message
from bot.sandbox.mail.parsing import (
    Arguments,
    BadSyntax,
    Item,
    fetch_items,
    highest,
    rises,
    select_numbers,
    select_uids,
    written,
)
from bot.sandbox.mail.searching import conditions
from bot.sandbox.mail.session import BUSY, NOT_FOUND, Bad, Drop, No, Selected, Session


async def by_uid(session: Session, arguments: Arguments) -> str:
    """`UID FETCH|STORE|SEARCH|EXPUNGE|COPY|MOVE`."""
    verb = arguments.atom().upper()
    if verb not in UID_COMMANDS:
        raise Bad("UID parameters!")
    arguments.space()
    try:
        return await UID_COMMANDS[verb](session, arguments, uid=True)
    except BadSyntax:
        raise Bad("UID parameters!") from None


def named(session: Session, selected: Selected, numbers: str, *, uid: bool) -> Iterator[tuple[int, Message]]:
    """The mails a set names, with their sequence numbers, as far as they are still there."""
    if uid:
        if not rises(numbers) and session.trips("bad_uid_parameters"):
            raise Bad("UID parameters!")
        if highest(numbers) >= selected.folder.uidnext and session.trips("unbounded_refused"):
            raise Bad("UID parameters!")
    spans = (select_uids if uid else select_numbers)(selected.view, numbers)
    view, messages = selected.view, selected.folder.messages
    return (
        (index + 1, messages[view[index]])
        for span in spans
        for index in span
        if index < len(view) and view[index] in messages
    )


async def fetch(session: Session, arguments: Arguments, *, uid: bool = False) -> str:
    """FETCH: each mail leaves as soon as it is made; a mail's `trouble` strikes where its body is asked for."""
    selected = session.open_folder
    numbers = arguments.numbers()
    arguments.space()
    items = fetch_items(arguments)
    arguments.end()
    if uid and not any(item.name == "UID" for item in items):
        items.insert(0, Item("UID"))
    bodies = any(item.section is not None for item in items)
    sees = any(item.section is not None and not item.peek for item in items) and not selected.read_only
    refused = False
    mails = named(session, selected, numbers, uid=uid)
    if bodies and session.armed("fetch_truncated"):
        mails = truncated(session, list(mails))
    for number, message in mails:
        if message.trouble == "ghost":
            continue
        if bodies and message.trouble:
            if message.trouble == "refuse":
                refused = True
                continue
            await strike(session, message.trouble)
        if sees and "\\Seen" not in message.flags:
            selected.folder.set_flags(message, message.flags | {"\\Seen"}, by=selected)
            if not any(item.name == "FLAGS" for item in items):
                items = [*items, Item("FLAGS")]
        if session.trips("unsolicited_fetch"):
            unsolicited(session, selected, number, message)
        for some in in_answers(session, items):
            await answer(session, number, message, some, bodies)
    if refused:
        raise No("FETCH failed, some messages cannot be read")
    return "FETCH completed"


def truncated(session: Session, mails: list[tuple[int, Message]]) -> Iterator[tuple[int, Message]]:
    """Half of several mails, if that is to happen."""
    return iter(mails[: len(mails) // 2] if len(mails) > 1 and session.trips("fetch_truncated") else mails)


def unsolicited(session: Session, selected: Selected, number: int, message: Message) -> None:
    """News nobody asked for: of the mail itself without its UID, and of the folder's first (RFC 3501, 7.4.2)."""
    session.say(f"* {number} FETCH (FLAGS {session.flag_list(message.flags)})")
    first = selected.folder.messages.get(selected.view[0])
    if first is not None:
        session.say(f"* 1 FETCH (FLAGS {session.flag_list(first.flags)} UID {first.uid})")


def in_answers(session: Session, items: list[Item]) -> list[list[Item]]:
    """All in one, or the last asked for first, each with the UID."""
    asked = [item for item in items if item.name != "UID"]
    if len(asked) < 2 or len(asked) == len(items) or not session.trips("fetch_split"):
        return [items]
    return [[*asked[1:], Item("UID")], [Item("UID"), asked[0]]]


async def strike(session: Session, trouble: str) -> None:
    if trouble == "drop":
        raise Drop
    if trouble == "hang":
        await session.outbound.flush()
        await session.inbound.until_closed()
        raise Drop


async def answer(session: Session, number: int, message: Message, items: list[Item], bodies: bool) -> None:
    """Send one mail's FETCH answer."""
    pieces: list[bytes] = []
    text = f"* {number} FETCH ("
    for position, item in enumerate(items):
        text += " " * bool(position) + item.name + " "
        if item.section is None:
            value = plain_value(session, message, item.name)
            text += value if isinstance(value, str) else value.decode("latin-1")
            continue
        data = body_value(session, message, item)
        if data is None:
            text += "NIL"
            continue
        text += f"{'~' * session.trips('literal8')}{{{len(data)}}}\r\n"
        pieces += [text.encode("latin-1"), data]
        text = ""
    pieces.append(text.encode("latin-1") + b")\r\n")
    if session.house.on_line is not None:
        session.log("server", " ".join(piece.decode("latin-1").strip() for piece in pieces[::2]))
    if bodies and session.trips("drop_in_fetch"):
        whole = b"".join(pieces)
        await session.outbound.send(whole[: len(whole) // 2])
        raise Drop
    for piece in pieces:
        await session.outbound.send(piece)


def plain_value(session: Session, message: Message, name: str) -> str | bytes:
    """An item that is no body; text is one character a byte."""
    if name == "UID":
        return str(message.uid)
    if name == "FLAGS":
        return session.flag_list(message.flags)
    if name == "INTERNALDATE":
        if session.trips("date_nonsense"):
            return '"00-Jan-0000 25:00:00 +9900"'
        return f'"{written(message.date, padded=not session.trips("date_unpadded"))}"'
    if name == "RFC822.SIZE":
        return str(len(message.raw) + 7 * (message.trouble == "size"))
    if name == "ENVELOPE":
        return parts.envelope(parts.split(message.raw)[0], malformed=session.trips("malformed_envelope"))
    if session.trips("malformed_bodystructure"):
        return parts.MALFORMED_STRUCTURE
    return parts.structure(parts.parse(message.raw))


def body_value(session: Session, message: Message, item: Item) -> bytes | None:
    assert item.section is not None  # noqa: S101 -- the caller has looked
    if message.trouble == "empty" or (item.section == "HEADER.FIELDS" and session.trips("empty_header_fields")):
        return b""
    data = message.raw if not item.section else parts.section(message.raw, item.section, item.fields)
    if data is None or item.start is None:
        return data
    return data[item.start : item.start + item.length]


def writable(session: Session) -> Selected:
    selected = session.open_folder
    if selected.read_only:
        raise No("The folder is open read-only")
    return selected


async def store(session: Session, arguments: Arguments, *, uid: bool = False) -> str:
    selected = writable(session)
    numbers = arguments.numbers()
    arguments.space()
    how = arguments.atom().upper()
    arguments.space()
    flags = arguments.flags()
    arguments.end()
    action, _, silent = how.partition(".")
    if action not in ("FLAGS", "+FLAGS", "-FLAGS") or silent not in ("", "SILENT"):
        raise BadSyntax("not a STORE")
    if session.trips("busy"):
        raise No(BUSY)
    check_keywords(session, flags)
    if session.trips("keyword_forgotten"):
        flags = [flag for flag in flags if flag.startswith("\\")]
    for number, message in named(session, selected, numbers, uid=uid):
        present = message.flags
        wanted = present | set(flags) if action[0] == "+" else present - set(flags) if action[0] == "-" else set(flags)
        selected.folder.set_flags(message, wanted, by=selected)
        if not silent:
            prefix = f"UID {message.uid} " if uid else ""
            session.say(f"* {number} FETCH ({prefix}FLAGS {session.flag_list(message.flags)})")
        await session.outbound.breathe()
    return "STORE completed"


async def search(session: Session, arguments: Arguments, *, uid: bool = False) -> str:
    """SEARCH; with `search_ignores_keys` whatever stands there is not even read (exmail-behaviour 7.5)."""
    selected = session.open_folder
    if arguments.at_end:
        raise BadSyntax("no key")
    blind = session.trips("search_blind")
    last_uid = selected.view[-1] if selected.view else 0
    wanted = None
    if not session.trips("search_ignores_keys"):
        wanted = conditions(arguments, len(selected.view), last_uid)
        arguments.end()
    hits = []
    for number, key in enumerate(selected.view, 1):
        message = selected.folder.messages.get(key)
        if message is None or (blind and message.appended) or (wanted and not wanted(number, message)):
            continue
        hits.append(str(key if uid else number))
        await session.outbound.breathe()
    session.say(" ".join(["* SEARCH", *hits]))
    return "SEARCH completed"


async def expunge(session: Session, arguments: Arguments, *, uid: bool = False) -> str:
    selected = writable(session)
    numbers = arguments.numbers() if uid else None
    arguments.end()
    if session.trips("busy"):
        raise No(BUSY)
    if numbers is None:
        doomed = [key for key in selected.view if key in selected.folder.deleted]
    else:
        chosen = named(session, selected, numbers, uid=True)
        doomed = [message.uid for _, message in chosen if message.uid in selected.folder.deleted]
    for key in doomed:
        selected.folder.expunge(key)
    return "EXPUNGE completed"


async def check(session: Session, arguments: Arguments) -> str:
    arguments.end()
    return "CHECK completed"


async def close(session: Session, arguments: Arguments) -> str:
    arguments.end()
    selected = session.open_folder
    session.close_folder()
    if not selected.read_only:
        for key in [key for key in selected.view if key in selected.folder.deleted]:
            selected.folder.expunge(key)
    return "CLOSE completed"


async def copy(session: Session, arguments: Arguments, *, uid: bool = False) -> str:
    return await copied(session, arguments, uid=uid, move=False)


async def move(session: Session, arguments: Arguments, *, uid: bool = False) -> str:
    writable(session)
    return await copied(session, arguments, uid=uid, move=True)


async def copied(session: Session, arguments: Arguments, *, uid: bool, move: bool) -> str:
    selected = session.open_folder
    numbers = arguments.numbers()
    arguments.space()
    wire = arguments.name()
    arguments.end()
    target: Folder = session.folder(wire, f"[TRYCREATE] {NOT_FOUND}")
    if session.trips("busy"):
        raise No(BUSY)
    messages = [message for _, message in named(session, selected, numbers, uid=uid)]
    if not move and session.box.used_bytes + sum(len(each.raw) for each in messages) > session.box.quota_bytes:
        raise No("[OVERQUOTA] Mailbox is full")
    new = [target.add(each.raw, each.date, each.flags, appended=each.appended).uid for each in messages]
    code = ""
    if messages and not session.trips("no_appenduid"):
        old = ",".join(str(each.uid) for each in messages)
        code = f"[COPYUID {target.uidvalidity} {old} {','.join(map(str, new))}] "
    if not move:
        return f"{code}COPY completed"
    if code:
        session.say(f"* OK {code.strip()} Moved")
    for each in messages:
        selected.folder.expunge(each.uid)
    return "MOVE completed"


UID_COMMANDS: dict[str, Callable[..., Awaitable[str]]] = {
    "FETCH": fetch,
    "STORE": store,
    "SEARCH": search,
    "EXPUNGE": expunge,
    "COPY": copy,
    "MOVE": move,
}
