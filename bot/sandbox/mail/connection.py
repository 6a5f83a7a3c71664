"""One connection from greeting to the end: reads commands, logs in, dispatches, answers in order."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta

from bot.sandbox.mail import appending, folders, messages
from bot.sandbox.mail.boxes import Mailbox
from bot.sandbox.mail.parsing import LITERAL_AT_END, Arguments, BadSyntax
from bot.sandbox.mail.session import LOGIN_FAIL, Bad, Drop, No, Session, Silence
from bot.sandbox.mail.stream import LineTooLong

GREETING = "* OK [CAPABILITY IMAP4 IMAP4rev1 ID AUTH=PLAIN AUTH=LOGIN NAMESPACE] QQMail IMAP4Server ready"
BEFORE_LOGIN = "IMAP4 IMAP4rev1 ID AUTH=PLAIN AUTH=LOGIN NAMESPACE"
AFTER_LOGIN = "IMAP4 IMAP4rev1 XLIST MOVE IDLE XAPPLEPUSHSERVICE NAMESPACE CHILDREN ID UIDPLUS"
COMMAND = re.compile(rb"([^\x00-\x20\x7f-\xff(){%*\"\\+]+) ([A-Za-z]+)(?: |$)")
COMMAND_BYTES_MAX = 1_000_000
LOGIN_LIMIT_WINDOW = timedelta(minutes=1)
BAD_COMMAND = "Command!"

Handler = Callable[[Session, Arguments], Awaitable[str]]


async def capability(session: Session, arguments: Arguments) -> str:
    arguments.end()
    text = BEFORE_LOGIN if session.mailbox is None else AFTER_LOGIN
    if session.trips("literal_plus"):
        text += " LITERAL+ MULTIAPPEND"
    elif session.trips("literal_plus_lie"):
        text += " LITERAL+"
    limit = session.size_of("appendlimit")
    session.say(f"* CAPABILITY {text}" + f" APPENDLIMIT={limit}" * bool(limit))
    return "CAPABILITY completed"


async def identify(session: Session, arguments: Arguments) -> str:
    session.identified = True
    session.say("* ID NIL")
    return "ID completed"


async def noop(session: Session, arguments: Arguments) -> str:
    arguments.end()
    return "NOOP completed"


async def logout(session: Session, arguments: Arguments) -> str:
    session.say("* BYE IMAP4Server logging out")
    return "LOGOUT completed"


async def login(session: Session, arguments: Arguments) -> str:
    user = arguments.string().decode("utf-8", "replace")
    arguments.space()
    password = arguments.string().decode("utf-8", "replace")
    arguments.end()
    enter(session, user, password)
    return "Success login ok"


async def authenticate(session: Session, arguments: Arguments) -> str:
    """AUTH=PLAIN (RFC 4616), with or without an initial response, and AUTH=LOGIN."""
    mechanism = arguments.atom().upper()
    initial = b""
    if not arguments.at_end:
        arguments.space()
        initial = arguments.string()
        arguments.end()
    if mechanism == "PLAIN":
        pieces = (await secret(session, "+ ", initial)).split("\0")
        if len(pieces) != 3:
            raise Bad("AUTHENTICATE parameters!")
        user, password = pieces[1:]
    elif mechanism == "LOGIN":
        user = await secret(session, "+ VXNlcm5hbWU6", initial)
        password = await secret(session, "+ UGFzc3dvcmQ6", b"")
    else:
        raise No("AUTHENTICATE mechanism is not supported")
    enter(session, user, password)
    return "Success login ok"


async def secret(session: Session, prompt: str, given: bytes) -> str:
    """A base64 answer of the client's, never logged."""
    if not given:
        await session.ask_for_more(prompt)
        given = await session.inbound.line()
        session.log("client", "***")
    if given == b"*":
        raise Bad("AUTHENTICATE cancelled")
    try:
        return base64.b64decode(given, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        raise Bad("AUTHENTICATE parameters!") from None


def enter(session: Session, user: str, password: str) -> None:
    """Log in, or No with the one text Exmail has for five causes (imap-quirks 4)."""
    mailbox = session.house.mailbox(user)
    if mailbox is None:
        raise No(LOGIN_FAIL)
    session.mailbox = mailbox  # so that the mailbox's own switches count
    try:
        if session.trips("login_wants_code"):
            raise No("Please using authorized code to login")
        if not may_enter(session, mailbox) or not mailbox.used(password):
            raise No(LOGIN_FAIL)
        if session.trips("uidvalidity_change"):
            for folder in mailbox.folders.values():
                folder.renumber()
    except No:
        session.mailbox = None
        raise
    mailbox.sessions += 1
    session.window_days = mailbox.window_days
    session.show_custom = mailbox.show_custom


def may_enter(session: Session, mailbox: Mailbox) -> bool:
    now = session.house.clock.now()
    mailbox.logins = [when for when in mailbox.logins if when > now - LOGIN_LIMIT_WINDOW] + [now]
    limit, connections = session.size_of("login_limit"), session.size_of("connections_max")
    if limit and len(mailbox.logins) > limit:
        return False
    if connections and mailbox.sessions >= connections:
        return False
    return mailbox.open and not session.trips("login_throttled")


async def idle(session: Session, arguments: Arguments) -> str:
    """IDLE (RFC 2177): news of the open folder as it comes, until DONE."""
    arguments.end()
    news = asyncio.Event()
    session.woken = news.set
    await session.ask_for_more("+ idling")
    line = asyncio.ensure_future(session.inbound.line())
    try:
        while not line.done():
            waiting = asyncio.ensure_future(news.wait())
            try:
                await asyncio.wait({line, waiting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            if news.is_set():
                news.clear()
                check_open(session)
                session.tell_changes(expunged=True)
                await session.outbound.flush()
        if line.result().upper() != b"DONE":
            raise Bad("IDLE parameters!")
    finally:
        line.cancel()
        session.woken = lambda: None
    return "IDLE completed"


ANY: dict[str, Handler] = {"CAPABILITY": capability, "ID": identify, "NOOP": noop, "LOGOUT": logout}
OUTSIDE: dict[str, Handler] = {"LOGIN": login, "AUTHENTICATE": authenticate}
INSIDE: dict[str, Handler] = {
    "NAMESPACE": folders.namespace,
    "LIST": folders.list_folders,
    "XLIST": folders.xlist,
    "LSUB": folders.lsub,
    "STATUS": folders.status,
    "SELECT": folders.select,
    "EXAMINE": folders.examine,
    "CREATE": folders.create,
    "DELETE": folders.delete,
    "RENAME": folders.rename,
    "SUBSCRIBE": folders.subscribe,
    "UNSUBSCRIBE": folders.unsubscribe,
    "FETCH": messages.fetch,
    "STORE": messages.store,
    "SEARCH": messages.search,
    "EXPUNGE": messages.expunge,
    "COPY": messages.copy,
    "MOVE": messages.move,
    "UID": messages.by_uid,
    "CHECK": messages.check,
    "CLOSE": messages.close,
    "IDLE": idle,
}
NO_EXPUNGE_NEWS = ("FETCH", "STORE", "SEARCH")


def check_open(session: Session) -> None:
    """End a session whose mailbox was frozen, removed or switched off, or whose open folder was renumbered."""
    box, selected = session.mailbox, session.selected
    if (box is not None and not box.open) or (selected is not None and selected.void):
        session.say("* BYE Connection closed by server")
        raise Drop


async def serve(session: Session) -> None:
    """Greet and answer until the client leaves, the server drops the line, or the connection is lost."""
    session.say(GREETING)
    try:
        await session.outbound.flush()
        while await answer_one(session):
            await session.outbound.flush()
    except (Drop, LineTooLong):
        pass
    finally:
        session.log_out()
    await session.outbound.flush()


async def answer_one(session: Session) -> bool:
    """Read one command and answer it; False after LOGOUT."""
    session.outbound.bytes_per_second = session.size_of("slow")
    line = await next_line(session)
    limit = session.size_of("long_line_dropped")
    if limit and len(line) > limit:
        return True
    if not line.isascii() and session.trips("utf8_closes"):
        raise Drop
    found = COMMAND.match(line)
    if found is None:
        session.say("* BAD Command!")
        return True
    tag, verb, position = found.group(1).decode("ascii"), found.group(2).decode("ascii").upper(), found.end()
    session.command = command_name(verb, line[position:])
    log_command(session, tag, verb, line)
    check_open(session)
    pause_ms = session.size_of("latency_ms")
    if pause_ms:
        await asyncio.sleep(pause_ms / 1000)
    try:
        await general_trouble(session, line)
        text = "OK " + await run(session, verb, line, position)
    except No as refusal:
        text = f"NO {refusal}"
    except Bad as refusal:
        text = f"BAD {refusal}"
    except BadSyntax as error:
        text = f"BAD {error}" if "flag" in str(error) else f"BAD {spelled(verb)} parameters!"
    except Silence:
        return True
    if session.trips("drop_after_command"):
        session.outbound.waiting.clear()
        raise Drop
    if session.mailbox is not None and verb != "LOGOUT":
        session.tell_changes(expunged=verb not in NO_EXPUNGE_NEWS)
    session.say(f"{tag} {text}")
    return verb != "LOGOUT"


def command_name(verb: str, rest: bytes) -> str:
    """The name faults are armed with: `UID FETCH` is one command."""
    return f"UID {rest.split(b' ', 1)[0].decode('latin-1').upper()}" if verb == "UID" else verb


def spelled(verb: str) -> str:
    """How Exmail writes a command's name in its complaints: `Select parameters!`, `EXAMINE parameters!`."""
    return "Select" if verb == "SELECT" else verb


def log_command(session: Session, tag: str, verb: str, line: bytes) -> None:
    if session.house.on_line is None:
        return
    if session.mailbox is not None or verb in ANY:
        session.log("client", line.decode("utf-8", "replace"))
    else:
        session.log("client", f"{tag} {verb} ***")


async def next_line(session: Session) -> bytes:
    """The next command, or BYE to who has been silent for too long."""
    idle_ms = session.size_of("idle_ms")
    try:
        async with asyncio.timeout(idle_ms / 1000 if idle_ms else None):
            return await session.inbound.line()
    except TimeoutError:
        session.say("* BYE Autologout, idle for too long")
        raise Drop from None


async def general_trouble(session: Session, line: bytes) -> None:
    """The faults that can strike any command, before it is done."""
    if session.trips("drop_on_command"):
        raise Drop
    if session.trips("bye"):
        session.say("* BYE System busy!")
        raise Drop
    if session.trips("bad_untagged"):
        session.say("* BAD Command!")
        raise Silence
    if session.trips("throttled"):
        await appending.pass_over(session, line)
        raise Bad("Request is throttled. Suggested Backoff Time: 1500 milliseconds")
    if session.trips("hang"):
        await session.inbound.until_closed()
        raise Drop


async def run(session: Session, verb: str, line: bytes, position: int) -> str:
    """Find the command's code and run it on its whole arguments."""
    handler = ANY.get(verb) or (OUTSIDE if session.mailbox is None else INSIDE).get(verb)
    appends = verb == "APPEND" and session.mailbox is not None
    if handler is None and not appends:
        known = verb in INSIDE or verb in OUTSIDE or verb == "APPEND"
        raise Bad("Command state error!" if known else BAD_COMMAND)
    while (found := LITERAL_AT_END.search(line)) is not None:
        if appends and appending.is_mail(line, position):
            break
        line = await with_literal(session, line, int(found.group(1)), bool(found.group(2)))
    if appends:
        return await appending.append(session, line, position)
    assert handler is not None  # noqa: S101 -- shown above
    return await handler(session, Arguments(line, position))


async def with_literal(session: Session, line: bytes, size: int, sent_already: bool) -> bytes:
    """The command's line with its literal and what follows it."""
    if size + len(line) > COMMAND_BYTES_MAX:
        raise Drop
    if session.command.endswith("SEARCH") and session.trips("search_literal_hang"):
        await session.inbound.until_closed()
        raise Drop
    refused = sent_already and not session.trips("literal_plus")
    if not sent_already:
        await session.ask_for_more()
    literal = await session.inbound.exactly(size)
    rest = await session.inbound.line()
    if refused:
        raise Bad(f"{spelled(session.command)} parameters!")
    return line + b"\r\n" + literal + rest
