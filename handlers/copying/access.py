"""
Getting at a mailbox, and leaving no key behind.

A public mailbox the app may manage: a client password is minted, its intent stored before the call, and it is found
again by its remark when the answer was lost. Everything else: a one-time page to somebody who can open the mailbox.
A member's IMAP service is switched on when it is off, and put back. `give_back` undoes all of it and may run twice;
what it could not undo is tried again every hour, long after the job.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import structlog

from bot.context import job_start
from bot.delivery import language_of
from bot.errors import BotError, UpstreamError
from bot.jobs import Start
from bot.mail.session import MailAccount
from bot.pages.onetime import PageFacts
from bot.replies import Reply, Text
from bot.router import Router
from bot.wecom import exmail
from bot.wecom.errcodes import Retry, WeComError
from bot.wecom.exmail import Option
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, Services, SweepStep, Work
from storage.answers import Seen
from storage.links import LINK_LIFE
from storage.models import ImapSwitch, Job, JobState, Mailbox, MailboxKind, MintedPassword, OneTimeLink

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

Side = Literal["source", "target"]
SIDES: tuple[Side, Side] = ("source", "target")
REMARK_BYTES_MAX = 128
WAITING_STAGE = "access"  # of every job that waits for a page
CHECK_KIND = "verify"  # looks at the target only, months after the copy
CLEANUP_KIND = "access-cleanup"
TOLD = "access-cleanup-told"  # the moment the admins heard of a key that is left
TOLD_EVERY = timedelta(days=1)
LINKS_AN_HOUR_MAX = 8
PAGES_AGAIN_MAX = 2  # of a job in a day, by themselves
DAY = timedelta(days=1)
PUBLIC_GONE = frozenset({680035, 680036})  # no such public mailbox: its passwords are gone with it
MEMBER_GONE = frozenset({60111, 46004, 40003})


class NoPassword(BotError):
    """A side of a job has no password, or none any more: somebody has to be asked."""


@dataclass(frozen=True)
class Opener:
    """Who is asked to open a mailbox for a job, and whether it is his own."""

    userid: str
    owner: bool


def remark(services: Services, job_id: int, side: Side) -> str:
    """How a password of ours is recognised in WeCom's list: `exmail-bot <instance> <job> <side>`, never two alike."""
    instance = services.settings.bot_public_url.partition("//")[2].encode()
    room = REMARK_BYTES_MAX - len(f"exmail-bot  {job_id} {side}")
    return f"exmail-bot {instance[:room].decode(errors='ignore')} {job_id} {side}"


# --- minted passwords ------------------------------------------------------------------------------------------------


def mint(job: JobContext, side: Side, box: Mailbox) -> bool:
    """
    A client password for a public mailbox, kept encrypted; False when WeCom does not let this app make one.

    Raises NetworkError, or WeComError where asking again helps.
    """
    if box.public_id is None:
        return False
    mark = remark(job.services, job.job_id, side)
    with job.services.store.begin() as tx:
        left = list(tx.passwords.minted_for(job.job_id))
    row: MintedPassword | None = None
    try:
        for old in left:
            if old.remark == mark:  # a crash came between the call and the answer, or the code was lost
                delete_by_remark(job.services, old)
        with job.begin() as step:
            row = step.tx.passwords.intend(job.job_id, box.public_id, mark)
        code = exmail.mint_auth_code(job.client, box.public_id, mark)
    except (WeComError, LookupError) as error:
        if isinstance(error, (KeyError, IndexError)):
            raise  # a bug, not "yes, and no code"
        refused = isinstance(error, WeComError) and error.retry is not Retry.BACKOFF  # -1 may have done it
        never = not isinstance(error, WeComError) or error.retry is Retry.NEVER
        with job.services.store.begin() as tx:
            if row is not None and refused:
                tx.passwords.deleted(row.id)  # there is none
            if never:
                tx.mailboxes.get(box.id).managed = False
                foreign(tx, box, "no", str(error))
        if not never:
            raise
        log.warning("minting_refused", job_id=job.job_id, error=str(error))
        return False
    with job.begin() as step:
        step.tx.passwords.minted(row.id, code.id)
        step.tx.passwords.keep(job.job_id, side, given_by="bot", ciphertext=job.services.vault.lock(code.code))
        step.tx.audit.add("bot", "password.minted", box.address, job=job.job_id)
        foreign(step.tx, box, "yes", box.address)
    return True


def foreign(tx: Transaction, box: Mailbox, answer: Seen, detail: str) -> None:
    """What minting says of public mailboxes that the bot did not make, where such are seen at all."""
    if tx.answers.of("foreign_public") == "yes" and box.address not in tx.audit.subjects("public.created"):
        tx.answers.saw("foreign_changed", answer, detail)


def delete_by_remark(services: Services, row: MintedPassword) -> None:
    """
    End a password of ours: whatever bears its remark; others are never touched.

    A busy WeCom that was asked again may have made two of them, or have deleted it before it says that there is none.
    """
    for each in bearing(services, row):
        try:
            exmail.publicmail_delete_auth_code(services.client, row.public_id, each)
        except WeComError:
            if each in bearing(services, row):
                raise
    with services.store.begin() as tx:
        tx.passwords.deleted(row.id)


def bearing(services: Services, row: MintedPassword) -> list[int]:
    """The living passwords that are a row's."""
    found = exmail.publicmail_get_auth_code_list(services.client, row.public_id)
    return [each.id for each in found if each.remark == row.remark or each.id == row.auth_code_id]


# --- IMAP switches ---------------------------------------------------------------------------------------------------


def switch_imap_on(job: JobContext, userid: str) -> None:
    """
    A member's IMAP service on, if it is off; how it was is stored before WeCom is asked.

    If another job of ours switched it on, this one takes part: the last of them puts it back.
    """
    try:
        on = exmail.useroption_get(job.client, userid, [Option.IMAP_SMTP]).get(Option.IMAP_SMTP, True)
        with job.begin() as step:
            passwords = step.tx.passwords
            other = passwords.switched_by_others(userid, job.job_id)
            if on and other is None:
                return
            if not any(each.userid == userid for each in passwords.switches_of(job.job_id)):
                passwords.switch(job.job_id, userid, other.before if other is not None else "0")
            if on:
                return
            step.tx.audit.add("bot", "imap.on", userid, job=job.job_id)
        exmail.useroption_update(job.client, userid, {Option.IMAP_SMTP: True})
    except WeComError as error:
        if error.retry is not Retry.NEVER:
            raise
        log.warning("imap_switch_refused", userid=userid, errcode=error.errcode)  # the page tells how to do it by hand


def put_back(services: Services, row: ImapSwitch) -> None:
    """The member's IMAP service as it was, unless another job still needs it: then that one does it."""
    with services.store.begin() as tx:
        if tx.passwords.left_to_others(row.id):
            return
    exmail.useroption_update(services.client, row.userid, {Option.IMAP_SMTP: row.before == "1"})
    with services.store.begin() as tx:
        tx.passwords.restored(row.id)
        tx.audit.add("bot", "imap.restored", row.userid, job=row.job_id)
        needed = tx.passwords.switched_by_others(row.userid, row.job_id) is not None
    if needed:  # a job saw it on a moment ago, and counts on it
        exmail.useroption_update(services.client, row.userid, {Option.IMAP_SMTP: True})


def give_back(services: Services, job_id: int) -> list[Words]:
    """
    Undo everything: minted passwords deleted, IMAP as it was, entered passwords forgotten, links ended.

    What cannot be undone because the mailbox is gone counts as undone. What WeCom refuses is returned in words, and
    its row stays open: it is tried again later. Raises NetworkError or WeComError where asking again soon helps.
    """
    with services.store.begin() as tx:
        tx.links.end(job_id)
        tx.passwords.forget(job_id)
        minted = list(tx.passwords.minted_for(job_id))
        switches = list(tx.passwords.switches_of(job_id))
    problems: list[Words] = []
    for row in minted:
        try:
            delete_by_remark(services, row)
        except WeComError as error:
            if error.retry is not Retry.NEVER:
                raise
            if error.errcode not in PUBLIC_GONE:
                problems.append(say("access.left_password", remark=row.remark, why=error.words()))
                continue
            with services.store.begin() as tx:
                tx.passwords.deleted(row.id)
    for switch in switches:
        try:
            put_back(services, switch)
        except WeComError as error:
            if error.retry is not Retry.NEVER:
                raise
            if error.errcode not in MEMBER_GONE:
                problems.append(say("access.left_imap", member=switch.userid, why=error.words()))
                continue
            with services.store.begin() as tx:
                tx.passwords.restored(switch.id)
    return problems


@work.sweep(CLEANUP_KIND, timedelta(hours=1))
def look_for_keys(sweep: SweepStep) -> None:
    """Keys that ended jobs could not give back are tried again, until it works."""
    if sweep.tx.passwords.left_over() and not sweep.tx.jobs.running(CLEANUP_KIND):
        sweep.start(sweep.tx.jobs.add(CLEANUP_KIND, asked_by="bot", params={}))


@work.job(CLEANUP_KIND)
def give_back_the_rest(job: JobContext) -> None:
    """One try for every job that left a key; the admins hear of what is left once a day."""
    problems: list[Words] = []
    with job.services.store.begin() as tx:
        ended = tx.passwords.left_over()
    for job_id in ended:
        try:
            problems += give_back(job.services, job_id)
        except UpstreamError as error:  # another hour, another try
            log.warning("key_left", job_id=job_id, error=str(error))
    with job.begin() as step:
        if problems and step.tx.moments.first_within(TOLD, TOLD_EVERY):
            step.say(*(Text(admin, lines(*problems)) for admin in step.roles.admins))
        step.tx.jobs.end(step.job, JobState.DONE)


# --- one-time pages --------------------------------------------------------------------------------------------------


def opener(step: JobStep, box: Mailbox, *, by_manager: bool = False) -> Opener:
    """Who opens a mailbox: its owner; of a public one somebody who can read it, the asker first if he can."""
    asker = step.job.asked_by
    if box.owner is not None:
        return Opener(asker if by_manager else box.owner, not by_manager)
    chosen = step.job.data.get("opener")
    if chosen:
        return Opener(str(chosen), False)
    readers = step.directory.readers(box)
    return Opener(asker if asker in readers or not readers else readers[0], False)


def ask_for(step: JobStep, side: Side, box: Mailbox, who: Opener, why: Words) -> list[Reply]:
    """Send the page; the link works once, for 15 minutes, for this member only."""
    step.put(page_for={**page_for(step.tx, step.job), side: who.userid})
    wait = step.tx.links.last_refusal(box.id)
    if wait is not None and wait.refused_at is not None and wait.refused_at > step.now - LINK_LIFE:
        again = page_comes_again(step.job, step.now)
        key = "access.wait_after_refusal" if not again else "access.wait_for_new_page"
        minutes = max(1, round((wait.refused_at + LINK_LIFE - step.now).total_seconds() / 60))
        return [Text(who.userid, say(key, address=box.address, minutes=minutes, number=step.job.id))]
    token = step.tx.links.make(member=who.userid, job_id=step.job.id, mailbox_id=box.id, side=side)
    url = f"{step.services.settings.bot_public_url}/pages/{token}"
    step.tx.audit.add("bot", "access.asked", box.address, job=step.job.id, member=who.userid, side=side)
    return [Text(who.userid, say("access.open_page", why=why, url=url, number=step.job.id), once=True)]


def needed(step: JobStep, sides: Iterable[Side]) -> list[Side]:
    """The sides that still lack a password."""
    return [side for side in sides if step.tx.passwords.find(step.job.id, side) is None]


def account(job: JobContext, side: Side, box: Mailbox, *, of: int | None = None) -> MailAccount:
    """How to log in to one side, by this job's password or that `of` another; NoPassword when it is not there."""
    settings = job.services.settings
    with job.services.store.begin() as tx:
        secret = tx.passwords.find(of or job.job_id, side)
    if secret is None:
        raise NoPassword(side)
    return MailAccount(
        settings.exmail_imap_host,
        settings.exmail_imap_port,
        box.address,
        job.services.vault.open(secret.ciphertext),
        settings.exmail_imap_tls,
    )


def login_refused(step: JobStep, side: Side, box: Mailbox, words: Words) -> None:
    """
    A refused login ends the link and forgets the password; nothing tries again by itself.

    A minted password that is refused means that the mailbox's IMAP is off on the web: the page takes over.
    """
    secret = step.tx.passwords.find(step.job.id, side)
    step.tx.passwords.forget(step.job.id, side)
    step.tx.audit.add("bot", "login.refused", box.address, job=step.job.id, side=side)
    if secret is not None and secret.given_by == "bot":
        step.tx.mailboxes.get(box.id).managed = False
        step.say(Text(step.job.asked_by, say("access.minted_refused", address=box.address)))
        return
    step.tx.links.refused(step.job.id, side)
    giver = secret.given_by if secret is not None else step.job.asked_by
    at = f"{(step.now + LINK_LIFE).astimezone(step.services.settings.zone):%H:%M}"
    for userid in sorted({step.job.asked_by, giver}):
        key = "access.login_refused_you" if userid == giver else "access.login_refused_other"
        if not page_comes_again(step.job, step.now):
            key = "access.login_refused"
        step.say(Text(userid, say(key, why=words, number=step.job.id, at=at, name=step.directory.name(giver))))


def page_comes_again(job: Job, now: datetime) -> bool:
    """Whether a new page may go out by itself after a refused login: twice a day and job, then somebody has to ask."""
    return len(pages_sent_again(job, now)) < PAGES_AGAIN_MAX


def pages_sent_again(job: Job, now: datetime) -> list[str]:
    """When new pages of a job went out by themselves within a day."""
    return [each for each in job.data.get("pages_again") or [] if datetime.fromisoformat(each) > now - DAY]


def steps_for(box: Mailbox, services: Services) -> list[Words]:
    """The exact switches on the web, in order."""
    kind = "access.step_open_public" if box.kind is not MailboxKind.MEMBER else "access.step_open"
    return [
        say(kind, address=box.address),
        say("access.step_imap"),
        say("access.step_range"),
        say("access.step_folders"),
        say("access.step_password"),
    ]


def mailbox_of(tx: Transaction, link: OneTimeLink) -> Mailbox:
    """The mailbox whose password a page asks for."""
    if link.mailbox_id is None:
        raise LookupError(f"link {link.id} asks for no mailbox")
    return tx.mailboxes.get(link.mailbox_id)


class PageHost:
    """What the one-time pages show and what happens when one is used; jobs that wait for a page are of any kind."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def facts(self, tx: Transaction, link: OneTimeLink) -> PageFacts:
        """What the member reads before he decides."""
        job = tx.jobs.get(link.job_id)
        box = mailbox_of(tx, link)
        data = job.data
        name = str(data.get("asker_name", job.asked_by))
        asker: Words | str = say("access.you") if link.member == job.asked_by else name
        lines = [say("access.page_job", number=job.id, asker=asker)]
        if job.kind == CHECK_KIND:
            lines.append(say("access.page_check", source=str(data["source_address"]), address=box.address))
            return self.shown(tx, link, box, lines)
        if data.get("reason"):
            lines.append(say("access.page_reason", reason=str(data["reason"])))
        if link.side == "source" and data.get("target_address"):
            lines.append(say("access.page_target", target=str(data["target_address"]), address=box.address))
            lines.append(
                say("access.page_readers", readers=list(data.get("reader_names", [])) or say("access.readers_unknown"))
            )
        if link.side == "target" and data.get("source_address"):
            lines.append(say("access.page_into", source=str(data["source_address"]), address=box.address))
        return self.shown(tx, link, box, lines)

    def shown(self, tx: Transaction, link: OneTimeLink, box: Mailbox, lines: list[Words]) -> PageFacts:
        """These lines with the form and the steps."""
        return PageFacts(
            language=language_of(tx, link.member, self.services.settings),
            address=box.address,
            heading=say("access.page_heading", address=box.address),
            lines=lines,
            steps=steps_for(box, self.services),
            warning=say("access.page_warning"),
        )

    def given(self, tx: Transaction, link: OneTimeLink, password: str) -> list[Start]:
        """The password, encrypted at once; the job goes on."""
        job = tx.jobs.get(link.job_id)
        box = mailbox_of(tx, link)
        if job.state not in (JobState.WAITING, JobState.DUE):
            return []
        tx.passwords.keep(job.id, link.side, given_by=link.member, ciphertext=self.services.vault.lock(password))
        tx.audit.add(link.member, "access.given", box.address, job=job.id, side=link.side)
        if job.state is JobState.DUE:  # the other side's password has just woken it: it will find this one, too
            return []
        tx.jobs.wake(job, WAITING_STAGE)
        return [job_start(job)]

    def reveal(self, tx: Transaction, link: OneTimeLink) -> tuple[str, list[Start]]:
        """These pages ask for passwords, they show none."""
        raise NoPassword(link.side)

    def declined(self, tx: Transaction, link: OneTimeLink) -> list[Start]:
        """He said no, and is not asked again for this side; the asker is told by the job."""
        job = tx.jobs.get(link.job_id)
        box = mailbox_of(tx, link)
        tx.audit.add(link.member, "access.declined", box.address, job=job.id, side=link.side)
        if job.state not in (JobState.WAITING, JobState.DUE):
            return []
        untold = [*job.data.get("untold", []), link.side]
        tx.jobs.put(job, refused_sides={**refused_sides(job), link.side: link.member}, untold=untold)
        if job.state is JobState.DUE or job.stage != WAITING_STAGE:  # it is at work, and finds it
            return []
        tx.jobs.wake(job, WAITING_STAGE)
        return [job_start(job)]


def refused_sides(job: Job) -> dict[str, str]:
    """The sides of a job that somebody refused to open, and who."""
    return dict(job.data.get("refused_sides") or {})


def page_for(tx: Transaction, job: Job) -> dict[str, str]:
    """Who is to open which side of a job; also who has no page yet, because a login was refused a moment ago."""
    sent = {link.side: link.member for link in sorted(tx.links.of_job(job.id), key=lambda each: each.id)}
    return sent | dict(job.data.get("page_for") or {})


def waits_for(job: Job, userid: str, tx: Transaction) -> list[str]:
    """The sides of a job that this member is to open and that lack their password."""
    return [
        side
        for side, member in page_for(tx, job).items()
        if member == userid and tx.passwords.find(job.id, side) is None
    ]
