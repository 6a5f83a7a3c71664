"""
How a mail server behaves, tried where it harms nobody: a folder of our own, one small mail in it, both removed again.

Nothing of what a copy does depends on it; it tells an engineer what to expect, and some sentences and limits follow
it. The folder always has the same name, so that what a killed run left is found, used and removed by the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.mail import wire
from bot.mail.account import MailAccount
from bot.mail.errors import CommandRefused, ConnectionLost, LoginRefused
from bot.mail.names import WireName, decode, quoted
from bot.mail.quirks import EXMAIL_ROOT
from bot.mail.session import Session, append_limit, open_session
from bot.mail.stream import Stream

NAME = "exmail-bot-probe"
MARK = b"X-Exmail-Bot-Probe: this mail tries the server and is removed again"
SUBJECT = b"exmail-bot probe"
MAIL = MARK + b"\r\nSubject: " + SUBJECT + b"\r\n\r\nThis mail tries the mail server and is removed again.\r\n"
BIG_BYTES = 72 * 1024 * 1024  # of a mail with 50 MB attached, the most that Exmail sends
OURS_MAX = 20  # mails in the folder; more are not ours, or something is amiss


@dataclass
class Tried:
    """What was seen: an answer and its detail by question, and what of ours could not be removed."""

    answers: dict[str, tuple[bool, str]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def saw(self, question: str, answer: bool, detail: str = "") -> None:
        self.answers[question] = (answer, detail)


async def probe(account: MailAccount, *, connections: int) -> Tried:
    """
    Everything in turn, over at most `connections` of them. Raises NotReachable and ConnectionLost.

    A refused login is an answer, too; it is not tried again.
    """
    tried = Tried()
    try:
        session = await open_session(account)
    except LoginRefused as error:
        tried.saw("minted_login", False, error.text)
        return tried
    others: list[Session] = []
    try:
        tried.saw("minted_login", True)
        tried.saw("literal_plus", "LITERAL+" in session.capabilities, " ".join(sorted(session.capabilities)))
        await several(account, tried, others, connections)
        await folders(session, others, tried)
    finally:
        for each in (*others, session):
            await each.close()
    return tried


async def several(account: MailAccount, tried: Tried, others: list[Session], connections: int) -> None:
    """As many connections as the settings allow a copy; the first refusal is the last."""
    for _ in range(connections - 1):
        try:
            others.append(await open_session(account))
        except (LoginRefused, ConnectionLost) as error:
            tried.saw("connections", False, f"{1 + len(others)}: {error.text}")
            return
    if others:
        tried.saw("connections", True, f"{1 + len(others)}")


async def folders(session: Session, others: list[Session], tried: Tried) -> None:
    """A folder below 其他文件夹 with a mail in it; then one at the top, unless it could not be removed again."""
    rooted, top = WireName(f"{EXMAIL_ROOT}/{NAME}"), WireName(NAME)
    there = rooted in await listed(session)
    refusal = None if there else await said_no(session, b"CREATE " + quoted(rooted))
    if refusal is not None and "already exist" in refusal.casefold():  # hidden, and left by a run before this one
        refusal = None
    tried.saw("create_root", refusal is None, refusal or "")
    if refusal is not None:
        return
    tried.saw("created_listed", rooted in await listed(session))
    try:
        await one_mail(session, rooted, tried)
        await big_mail(others, session, rooted, tried)
    except CommandRefused as error:  # a folder that is hidden may be refused
        tried.saw("created_listed", False, error.text)
    if not await removed(session, rooted, tried) or top in await listed(session):
        return
    refusal = await said_no(session, b"CREATE " + quoted(top))
    tried.saw("create_top", refusal is None, refusal or "")
    if refusal is None:
        await removed(session, top, tried)


async def one_mail(session: Session, name: WireName, tried: Tried) -> None:
    """Stored, and seen by FETCH and SEARCH, or not."""
    command = session.send(b"APPEND " + quoted(name) + b" (\\Seen) {%d}" % len(MAIL), go=True)
    assert command.go is not None  # noqa: S101 - asked for
    if await command.go:
        session.write(MAIL + b"\r\n")
    stored = await command.done
    if not stored.ok:
        raise CommandRefused(stored.status, stored.text, mailbox=session.account.user)
    tried.saw("appenduid", "[APPENDUID" in stored.text.upper(), stored.text)
    mails = await inside(session, name)
    tried.saw("fetched_at_once", bool(mails))
    if not mails:
        return
    tried.saw("search_sees", max(mails) in await hits(session, b"UID SEARCH ALL"))
    tried.saw("search_dates", not await hits(session, b"UID SEARCH SINCE 1-Jan-2037"))
    told = await bodies(session, max(mails), b"BODY.PEEK[HEADER.FIELDS (SUBJECT)]")
    tried.saw("header_fields", SUBJECT in told)


async def big_mail(others: list[Session], session: Session, name: WireName, tried: Tried) -> None:
    """
    Whether a mail as large as they come is let in: announced, and never sent. It costs a connection.

    A server that would refuse it only when it has all of it says yes here; the copy lists what is refused later.
    """
    limit = append_limit(session)
    if limit is not None:
        tried.saw("append_size", limit >= BIG_BYTES, f"APPENDLIMIT={limit}")
        return
    if not others:
        return
    try:
        command = others[-1].send(b"APPEND " + quoted(name) + b" {%d}" % BIG_BYTES, go=True)
        assert command.go is not None  # noqa: S101 - asked for
        welcome = await command.go
        tried.saw("append_size", welcome, "" if welcome else (await command.done).text)
    except ConnectionLost as error:
        tried.saw("append_size", False, error.text)
    others[-1].fail(ConnectionLost("a mail was announced and not sent", mailbox=session.account.user))


async def removed(session: Session, name: WireName, tried: Tried) -> bool:
    """
    The folder with what is in it, if all of that is ours; else, or when the server refuses, it is told and stays.

    Mail in it that is ours is removed in any case.
    """
    shown = decode(name)
    try:
        mails = await inside(session, name)
    except CommandRefused as error:  # it is hidden
        tried.left.append(f"{shown}: {error.text}")
        return False
    if any(raw != MAIL for raw in mails.values()):
        tried.left.append(f"{shown} ({len(mails)})")
        return False
    await session.examine("INBOX")  # some let nobody delete what is open
    refusal = await said_no(session, b"DELETE " + quoted(name))
    if refusal is None:
        return True
    if mails:
        await session.select(name)
        numbers = b",".join(b"%d" % each for each in sorted(mails))
        await session.run(b"UID STORE " + numbers + b" +FLAGS.SILENT (\\Deleted)")
        await session.run(b"UID EXPUNGE " + numbers if "UIDPLUS" in session.capabilities else b"EXPUNGE")
    tried.left.append(f"{shown}: {refusal}")
    return False


async def inside(session: Session, name: WireName) -> dict[int, bytes]:
    """The first mails of a folder, whole, by UID; CommandRefused when it cannot be opened."""
    seen = await session.select(name)
    mails: dict[int, bytes] = {}

    def on_fetch(told: wire.Fetched, stream: Stream | None) -> bool:
        if stream is not None:
            stream.abandon()
        if told.uid is not None:
            mails[told.uid] = told.body if isinstance(told.body, bytes) else mails.get(told.uid, b"")
        return True

    if seen.exists:
        await session.run(b"FETCH 1:%d (UID BODY.PEEK[])" % min(seen.exists, OURS_MAX + 1), on_fetch=on_fetch)
    return mails


async def bodies(session: Session, uid: int, what: bytes) -> bytes:
    """A part of a mail, empty when the server gives none."""
    got: list[bytes] = []

    def on_fetch(told: wire.Fetched, stream: Stream | None) -> bool:
        got.append(told.body if isinstance(told.body, bytes) else b"")
        return True

    await session.run(b"UID FETCH %d (%b)" % (uid, what), on_fetch=on_fetch)
    return b"".join(got)


async def hits(session: Session, line: bytes) -> set[int]:
    """The UIDs a SEARCH gives; none when it is refused."""
    try:
        answer = await session.run(line)
    except CommandRefused:
        return set()
    lines = [each.line.split() for each in answer.lines if each.line.upper().startswith(b"* SEARCH")]
    return {int(word) for words in lines for word in words[2:] if word.isdigit()}


async def listed(session: Session) -> set[WireName]:
    """The folders the server shows."""
    return {each.wire for each in await session.list_folders()}


async def said_no(session: Session, line: bytes) -> str | None:
    """What the server said against a command; None when it did it."""
    try:
        await session.run(line)
    except CommandRefused as error:
        return error.text
    return None
