"""
Client passwords of public mailboxes: listed with age and last use, made and shown once, revoked, looked after.

WeCom tells a password once, when it is made. It is kept encrypted until its page was opened, a day at most, then it is
forgotten here; one that nobody looked at is revoked again. It never is in a chat or a log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog

from bot.context import Context, job_start
from bot.delivery import language_of
from bot.errors import UserError
from bot.jobs import Start
from bot.pages.onetime import PageFacts
from bot.replies import File, Reply, Text
from bot.router import Router
from bot.wecom import exmail, limits
from bot.wecom.errcodes import WeComError
from bot.wecom.exmail import AuthCodeInfo
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from bot.workdays import may_speak_at, workdays
from handlers import changes
from handlers.changes import Question, Refused, Written
from handlers.copying import access
from handlers.copying.access import PUBLIC_GONE
from handlers.lookup import answers
from handlers.public import public_shown
from handlers.tables import Cell, Form, table
from storage.models import JobState, Mailbox, OneTimeLink

if TYPE_CHECKING:
    from storage.public_tables import ClientPassword
    from storage.store import Transaction

log = structlog.get_logger()
router = Router()
work = Work()

NEW_KIND = "password-new"
REVOKE_KIND = "password-revoke"
SIDE = "show"  # of the page, and of what is kept until it was opened
SHOW_WITHIN = timedelta(days=1)
OLD_AFTER = timedelta(days=90)
NEVER_USED_AFTER = timedelta(days=7)  # younger ones may still be set up
NEARLY_FULL = 8
OURS = "exmail-bot "  # the remark of those that jobs make for themselves begins so
LISTED_MAX = 25
HYGIENE = "password-hygiene"  # the moment of the last digest
COLUMNS = (
    "Mailbox 邮箱", "Number 编号", "What for 用途", "Made by 创建人", "Made 创建", "Last login 最近登录", "Note 提示",
)  # fmt: skip


# --- listed ----------------------------------------------------------------------------------------------------------


@router.command(
    "passwords [{mailbox}] [as {form:xlsx|csv}]",
    "客户端密码 [{mailbox}] [导出 {form:xlsx|csv}]",
    role="auditor",
    topic="public",
    example=("passwords support@", "客户端密码 support@"),
)
def passwords(ctx: Context, mailbox: str | None = None, form: Form | None = None) -> list[Reply]:
    """The client passwords of a public mailbox, or what is wrong with any: age, last use, who made them."""
    address = public_shown.meant(ctx, mailbox) if mailbox is not None else None
    ctx.start(ctx.tx.jobs.add("passwords", asked_by=ctx.sender, params={"address": address, "form": form}))
    return []


@answers(work, "passwords")
def listed(job: JobContext) -> list[Reply]:
    """Those of one mailbox, or the hygiene of all."""
    address = job.params["address"]
    if address is None:
        return hygiene(job, to=None)
    try:
        box, seen = public_shown.must_be_shown(job, str(address))
    except Refused as refusal:
        with job.begin() as step:
            return [Text(step.job.asked_by, refusal.words)]
    found = live(job, seen.id)
    with job.begin() as step:
        zone, local = step.services.settings.zone, f"{box.address.partition('@')[0]}@"
        if not found:
            return [Text(step.job.asked_by, say("passwords.none", address=box.address, local=local))]
        told = [say("passwords.heading", address=box.address, count=len(found), max=limits.AUTH_CODES_MAX)]
        form: Form | None = job.params.get("form")
        if form is not None:
            rows = [cells_of(step, box.address, seen.id, each) for each in found]
            return [Text(step.job.asked_by, lines(*told, say("passwords.in_file"))), file_of(step, rows, form=form)]
        told += [line_of(step.tx, seen.id, each, step.now, zone) for each in found]
        told.append(say("passwords.how_to_revoke", local=local, number=found[0].id))
        return [Text(step.job.asked_by, lines(*told))]


def live(job: JobContext, public_id: int) -> list[AuthCodeInfo]:
    """The living passwords of a mailbox, the oldest first; our rows follow."""
    found = exmail.publicmail_get_auth_code_list(job.client, public_id)
    with job.services.store.begin() as tx:
        tx.client_passwords.only_these_live(public_id, {each.id for each in found})
    return sorted(found, key=lambda each: (each.created_at is not None, each.created_at, each.id))


def line_of(tx: Transaction, public_id: int, password: AuthCodeInfo, now: datetime, zone: ZoneInfo) -> Words:
    """A password in one line, with what is wrong with it."""
    made = public_shown.day(password.created_at, zone) if password.created_at is not None else "-"
    used = password.last_used_at
    last = say("passwords.used", day=public_shown.day(used, zone)) if used is not None else say("passwords.unused")
    line = say("passwords.line", number=password.id, remark=password.remark or "-", made=made, last=last)
    notes = notes_of(tx, public_id, password, now)
    return say("passwords.noted", line=line, notes=notes) if notes else line


def cells_of(step: JobStep, address: str, public_id: int, password: AuthCodeInfo) -> tuple[Cell, ...]:
    """A password as a row of the file."""
    zone, row = step.services.settings.zone, row_of(step.tx, public_id, password)
    return (
        address, password.id, password.remark, step.directory.name(row.made_by) if row is not None else "",
        public_shown.day(password.created_at, zone) if password.created_at is not None else "",
        public_shown.day(password.last_used_at, zone) if password.last_used_at is not None else "",
        "；".join(note.text("zh") for note in notes_of(step.tx, public_id, password, step.now)),
    )  # fmt: skip


def file_of(step: JobStep, rows: Sequence[Sequence[Cell]], *, to: str | None = None, form: Form | None = None) -> File:
    """Passwords as a file, to who asked or somebody else."""
    name = f"client-passwords-{step.now.astimezone(step.services.settings.zone):%Y%m%d}"
    return table(to or step.job.asked_by, name, "Client passwords 客户端密码", COLUMNS, rows, form or "xlsx")


def row_of(tx: Transaction, public_id: int, password: AuthCodeInfo) -> ClientPassword | None:
    """Our row of a password, if it was made through us."""
    rows = tx.client_passwords.of_mailbox(public_id)
    return next((each for each in rows if each.auth_code_id == password.id), None)


def notes_of(tx: Transaction, public_id: int, password: AuthCodeInfo, now: datetime) -> list[Words]:
    """What speaks against leaving it as it is."""
    found: list[Words] = []
    age = now - password.created_at if password.created_at is not None else timedelta()
    if password.last_used_at is None and age >= NEVER_USED_AFTER:
        found.append(say("passwords.note_never"))
    if age >= OLD_AFTER:
        found.append(say("passwords.note_old", days=age.days))
    row = row_of(tx, public_id, password)
    maker = tx.members.find(row.made_by) if row is not None else None
    if maker is not None and maker.left_at is not None:
        found.append(say("passwords.note_left", name=maker.name))
    return found


# --- made, and shown once --------------------------------------------------------------------------------------------


@router.command(
    "password new {mailbox} for {words:text}",
    "客户端密码 新建|创建 {mailbox} 用于|用途 {words:text}",
    role="admin",
    topic="public",
    example=('password new support@ for "office printer"', "客户端密码 新建 support@ 用于 “办公室打印机”"),
)
def password_new(ctx: Context, mailbox: str, words: str) -> list[Reply]:
    """Make a client password for a public mailbox; you see it once, on a page of your own."""
    ctx.require_admin()
    address, what = public_shown.meant(ctx, mailbox), words.strip()
    title = say("passwords.title_new", address=address, what=what[:40])
    job = changes.ask_for(ctx, NEW_KIND, address, title, what=what)
    ctx.tx.audit.add(ctx.sender, "client_password.asked", address, job=job.id)
    return []


def remark_of(job: JobContext, asker: str) -> str:
    """How it is recognised in WeCom's list: what for, for whom, and a number that no other has."""
    tail = f" ({asker} #{job.job_id})"
    room = limits.AUTH_CODE_REMARK_BYTES - len(tail.encode())
    what = str(job.params["what"])
    if what.startswith(OURS):
        what = f"“{what}"
    return what.encode()[:room].decode(errors="ignore") + tail


def look_new(job: JobContext) -> Question:
    """How many there are, and who would be able to read what."""
    box, seen = public_shown.must_be_shown(job, str(job.params["address"]))
    found = live(job, seen.id)
    with job.begin() as step:
        zone, asker = step.services.settings.zone, step.job.asked_by
        if len(found) >= limits.AUTH_CODES_MAX:
            old = [line_of(step.tx, seen.id, each, step.now, zone) for each in found[:3]]
            raise Refused(lines(say("passwords.full", address=box.address, max=limits.AUTH_CODES_MAX), *old))
        reads = step.tx.mailboxes.backups_in(box)
        reader = asker in step.directory.readers(box)
    what = str(job.params["what"])
    words = say("passwords.ask_new", address=box.address, what=what, count=len(found), max=limits.AUTH_CODES_MAX)
    facts = facts_of(box, seen.id, reads)
    if reads and not reader:
        told = lines(words, say("public.reads_backups", address=box.address, sources=reads))
        return Question(told, "add_readers_to_backup", facts, reason=what, gains=[asker])
    return Question(words, "client_password", facts, reason=what, hints=[say("passwords.whoever_knows")])


def facts_of(box: Mailbox, public_id: int, reads: Sequence[str]) -> dict[str, object]:
    """What is agreed to."""
    return {"mailbox": box.address, "id": public_id, "reads": list(reads)}


def make(job: JobContext) -> Written | None:
    """
    Made, kept encrypted, and a page sent; the job waits for the page to be opened.

    The intent stands in a row before the call: after a lost answer whatever bears the remark is deleted first.
    """
    with job.services.store.begin() as tx:
        row, kept = tx.client_passwords.of_job(job.job_id), tx.passwords.find(job.job_id, SIDE)
        shown = row is not None and row.shown_at is not None
        asker = tx.jobs.get(job.job_id).asked_by
    if row is not None and shown:
        local = f"{str(job.params['address']).partition('@')[0]}@"
        told = say("passwords.was_shown", what=job.params["what"], local=local, number=row.auth_code_id)
        return lambda step: told
    if row is None or kept is None:
        box, seen = public_shown.must_be_shown(job, str(job.params["address"]))
        with job.services.store.begin() as tx:
            reads = tx.mailboxes.backups_in(box)
        changes.still_agreed(job, facts_of(box, seen.id, reads))
        mint(job, box, seen.id, asker, row)
    with job.begin() as step:
        step.say(*page(step))
        step.tx.jobs.wait(step.job, "show", expires_at=step.now + SHOW_WITHIN)
    return None


def mint(job: JobContext, box: Mailbox, public_id: int, asker: str, lost: ClientPassword | None) -> None:
    """
    One call; what an earlier one left behind is deleted first.

    A busy WeCom is asked again by the client and may have made two: the one whose code nobody knows is deleted.
    """
    if lost is not None:
        revoke(job, lost)
    remark = remark_of(job, asker)
    with job.begin() as step:
        row_id = step.tx.client_passwords.intend(job.job_id, public_id, remark, asker).id
        step.put(sent=True, box=box.id)
    try:
        code = exmail.mint_auth_code(job.client, public_id, remark)
    except LookupError as error:
        if isinstance(error, (KeyError, IndexError)):
            raise  # a bug, not "yes, and no code"
        raise Refused(say("passwords.not_told", address=box.address)) from None
    for each in live(job, public_id):
        if each.remark == remark and each.id != code.id:
            exmail.publicmail_delete_auth_code(job.client, public_id, each.id)
    with job.begin() as step:
        step.tx.client_passwords.get(row_id).auth_code_id = code.id
        step.tx.passwords.keep(job.job_id, SIDE, given_by="bot", ciphertext=job.services.vault.lock(code.code))
        step.tx.audit.add(asker, "client_password.made", box.address, job=job.job_id, number=code.id)


def revoke(job: JobContext, row: ClientPassword) -> None:
    """End a password of ours: by its id, or when that was lost, whatever bears its remark."""
    try:
        ids = (
            [row.auth_code_id]
            if row.auth_code_id is not None
            else [each.id for each in live(job, row.public_id) if each.remark == row.remark]
        )
        for number in ids:
            if row.auth_code_id is None or any(each.id == number for each in live(job, row.public_id)):
                exmail.publicmail_delete_auth_code(job.client, row.public_id, number)
    except WeComError as error:
        if error.errcode not in PUBLIC_GONE:
            raise
    with job.services.store.begin() as tx:
        tx.client_passwords.get(row.id).ended_at = tx.now
        tx.passwords.forget(job.job_id, SIDE)


def page(step: JobStep | Context, job_id: int | None = None) -> list[Reply]:
    """The page that shows it, once, to who asked for it."""
    job = step.job if isinstance(step, JobStep) else step.tx.jobs.get(int(job_id or 0))
    settings = step.services.settings if isinstance(step, JobStep) else step.settings
    token = step.tx.links.make(member=job.asked_by, job_id=job.id, mailbox_id=int(job.data["box"]), side=SIDE)
    url = f"{settings.bot_public_url}/pages/{token}"
    words = say("passwords.open_page", address=job.params["address"], url=url, number=job.id)
    return [Text(job.asked_by, words, once=True)]


@router.command(
    "password show {job_id:int}",
    "客户端密码 显示 {job_id:int}",
    role="admin",
    topic="public",
    example=("password show 12", "客户端密码 显示 12"),
)
def password_show(ctx: Context, job_id: int) -> list[Reply]:
    """Send me a new page for a client password that I have not looked at yet."""
    ctx.require_admin()
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind != NEW_KIND or job.asked_by != ctx.sender:
        raise UserError(say("jobs.unknown", number=job_id))
    if job.state is not JobState.WAITING or job.stage != "show" or ctx.tx.passwords.find(job_id, SIDE) is None:
        raise UserError(say("passwords.not_there", number=job_id))
    if ctx.tx.links.made_since(ctx.sender, job_id, timedelta(hours=1)) >= access.LINKS_AN_HOUR_MAX:
        raise UserError(say("backup.too_many_links", number=job_id))
    return page(ctx, job_id)


def never_shown(job: JobContext) -> Callable[[JobStep], tuple[Words, str]] | None:
    """Nobody looked at it in time, or it was cancelled: it is revoked, and nothing of it is kept."""
    with job.services.store.begin() as tx:
        tx.links.end(job.job_id)
        tx.passwords.forget(job.job_id, SIDE)
        row = tx.client_passwords.of_job(job.job_id)
    if row is None or row.shown_at is not None:
        return None
    revoke(job, row)

    def written(step: JobStep) -> tuple[Words, str]:
        ending = str(step.job.data.get("ending") or "failed")
        step.tx.audit.add("bot", "client_password.unseen", str(job.params["address"]), job=job.job_id)
        return say("passwords.never_shown", what=job.params["what"], address=job.params["address"]), ending

    return written


changes.kind(work, NEW_KIND, look=look_new, act=make, last=never_shown)


class PageHost(access.PageHost):
    """The one-time pages of every job, and those that show a password."""

    def facts(self, tx: Transaction, link: OneTimeLink) -> PageFacts:
        """What the member reads before he presses the button."""
        if link.side != SIDE:
            return super().facts(tx, link)
        job, box, settings = tx.jobs.get(link.job_id), access.mailbox_of(tx, link), self.services.settings
        return PageFacts(
            language=language_of(tx, link.member, settings),
            address=box.address,
            heading=say("passwords.page_heading", address=box.address),
            lines=[say("passwords.page_what", what=str(job.params["what"]))],
            steps=[
                say("passwords.page_user", address=box.address),
                say(
                    "passwords.page_hosts",
                    imap=settings.exmail_imap_host,
                    imap_port=settings.exmail_imap_port,
                    smtp=settings.exmail_smtp_host,
                    smtp_port=settings.exmail_smtp_port,
                ),
                say("passwords.page_switch"),
            ],
            warning=say("passwords.page_warning"),
            shows=True,
        )

    def given(self, tx: Transaction, link: OneTimeLink, password: str) -> list[Start]:
        """A password for a job that asked for one; never for a page that shows one."""
        return [] if link.side == SIDE else super().given(tx, link, password)

    def reveal(self, tx: Transaction, link: OneTimeLink) -> tuple[str, list[Start]]:
        """The password, which is forgotten with this transaction; the job goes on."""
        job, kept, row = (
            tx.jobs.get(link.job_id), tx.passwords.find(link.job_id, SIDE), tx.client_passwords.of_job(link.job_id),
        )  # fmt: skip
        if kept is None or row is None or job.state is not JobState.WAITING or job.stage != "show":
            raise UserError(say("passwords.not_there", number=link.job_id))
        password = self.services.vault.open(kept.ciphertext)
        tx.passwords.forget(link.job_id, SIDE)
        row.shown_at = tx.now
        tx.audit.add(link.member, "client_password.shown", str(job.params["address"]), job=job.id)
        tx.jobs.wake(job, "act")
        return password, [job_start(job)]


# --- revoked ---------------------------------------------------------------------------------------------------------


@router.command(
    "password revoke {mailbox} {number:int}",
    "客户端密码 作废|撤销 {mailbox} {number:int}",
    role="admin",
    topic="public",
    example=("password revoke support@ 3", "客户端密码 作废 support@ 3"),
)
def password_revoke(ctx: Context, mailbox: str, number: int) -> list[Reply]:
    """End a client password: whatever still uses it gets in no more."""
    ctx.require_admin()
    address = public_shown.meant(ctx, mailbox)
    title = say("passwords.title_revoke", number=number, address=address)
    job = changes.ask_for(ctx, REVOKE_KIND, address, title, number=number)
    ctx.tx.audit.add(ctx.sender, "client_password.revoke_asked", address, job=job.id, number=number)
    return []


def look_revoke(job: JobContext) -> Question:
    """Which one it is, and when it was used last."""
    box, seen = public_shown.must_be_shown(job, str(job.params["address"]))
    found, number = live(job, seen.id), int(job.params["number"])
    password = next((each for each in found if each.id == number), None)
    with job.begin() as step:
        if password is None:
            known = [str(each.id) for each in found] or "-"
            raise Refused(say("passwords.unknown", number=number, address=box.address, known=known))
        if password.remark.startswith(OURS):
            raise Refused(say("passwords.mine", number=number))
        line = line_of(step.tx, seen.id, password, step.now, step.services.settings.zone)
    words = lines(say("passwords.ask_revoke", address=box.address), line)
    return Question(words, "client_password", {"mailbox": box.address, "id": seen.id})


def act_revoke(job: JobContext) -> Written:
    """One call; one that is gone already is revoked."""
    box, seen = public_shown.must_be_shown(job, str(job.params["address"]))
    number = int(job.params["number"])
    changes.still_agreed(job, {"mailbox": box.address, "id": seen.id})
    if any(each.id == number for each in live(job, seen.id)):
        changes.sending(job)
        try:
            exmail.publicmail_delete_auth_code(job.client, seen.id, number)
        except WeComError:  # a busy WeCom may have done it when it was asked first
            if any(each.id == number for each in live(job, seen.id)):
                raise
    live(job, seen.id)

    def written(step: JobStep) -> Words:
        step.tx.audit.add(step.job.asked_by, "client_password.revoked", box.address, job=step.job.id, number=number)
        return say("passwords.revoked", number=number, address=box.address)

    return written


changes.kind(work, REVOKE_KIND, look=look_revoke, act=act_revoke)


# --- looked after ----------------------------------------------------------------------------------------------------


@work.sweep(HYGIENE, timedelta(hours=1))
def look_monthly(sweep: SweepStep) -> None:
    """On the first working day of a month, in working hours: what is wrong with client passwords, if anything is."""
    tx, zone = sweep.tx, sweep.services.settings.zone
    last = tx.moments.last(HYGIENE)
    if last is None:
        tx.moments.happened(HYGIENE)  # the first digest comes with the next month
        return
    this, before = tx.now.astimezone(zone), last.astimezone(zone)
    if (this.year, this.month) == (before.year, before.month) or may_speak_at(tx.now, zone, workdays()) > tx.now:
        return
    tx.moments.happened(HYGIENE)
    sweep.start(tx.jobs.add("password-hygiene", asked_by="bot", params={}))


@work.job("password-hygiene")
def digest(job: JobContext) -> None:
    """One message to every admin, if there is anything to say."""
    with job.services.store.begin() as tx:
        admins = job.roles(tx).admins
    replies = hygiene(job, to=admins)
    with job.begin() as step:
        step.say(*replies)
        step.tx.jobs.end(step.job, JobState.DONE)


def hygiene(job: JobContext, *, to: Sequence[str] | None) -> list[Reply]:
    """What is wrong with any client password; to nobody in particular: to who asked, also that all is well."""
    told: list[Words] = []
    rows: list[tuple[Cell, ...]] = []
    mailboxes = public_shown.read_all(job)
    for seen in mailboxes:
        found = live(job, seen.id)
        with job.begin() as step:
            zone = step.services.settings.zone
            if len(found) >= NEARLY_FULL:
                full = say("passwords.nearly_full", address=seen.address, count=len(found), max=limits.AUTH_CODES_MAX)
                told.append(full)
                rows.append((seen.address, "", "", "", "", "", full.text("zh")))
            for each in found:
                notes = notes_of(step.tx, seen.id, each, step.now)
                if not notes or each.remark.startswith(OURS):
                    continue
                line = line_of(step.tx, seen.id, each, step.now, zone)
                told.append(say("passwords.of", address=seen.address, line=line))
                rows.append(cells_of(step, seen.address, seen.id, each))
    with job.begin() as step:
        receivers = [step.job.asked_by] if to is None else list(to)
        if not told:
            well = say("passwords.all_well", count=len(mailboxes))
            return [] if to is not None else [Text(each, lines(well, say("public.only_own"))) for each in receivers]
        heading = say("passwords.hygiene", count=len(told))
        how = say("passwords.hygiene_how")
        form: Form | None = job.params.get("form")
        if form is None and len(told) <= LISTED_MAX:
            return [Text(each, lines(heading, *told, how)) for each in receivers]
        return [
            reply
            for each in receivers
            for reply in (
                Text(each, lines(heading, say("passwords.in_file"), how)),
                file_of(step, rows, to=each, form=form),
            )
        ]
