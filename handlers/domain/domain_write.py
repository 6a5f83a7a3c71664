"""
A plan carried out at a provider: the key on a one-time page, a snapshot, the writes, read back.

Every change is read before it is written, so a run that was killed is gone on with, and nobody's own change is
overwritten. The key is forgotten when the job is done with it, unless it is kept on purpose.
"""

from __future__ import annotations

import json
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from bot.context import job_start
from bot.delivery import language_of
from bot.dns.aliyun import Aliyun
from bot.dns.api import Held, Key, ProviderError, Refusal, ZoneApi
from bot.dns.dnspod import DnsPod
from bot.dns.godaddy import open_godaddy
from bot.dns.plan import Plan, SetChange, Standing, settled, standing
from bot.dns.providers import Provider
from bot.errors import NetworkError
from bot.jobs import Start
from bot.pages.onetime import Input, PageFacts
from bot.replies import Text
from bot.words import Words, as_json, lines, say
from bot.work import JobContext, JobStep, Services
from handlers.domain.domain_words import by_hand, name_of, provider_words, record_words
from handlers.public import client_passwords
from storage.models import JobState, OneTimeLink

if TYPE_CHECKING:
    from storage.store import Transaction

log = structlog.get_logger()

SIDE = "key"
KEY_WITHIN = timedelta(days=1)
BUSY_AGAIN = timedelta(seconds=5)
BUSY_MAX = 40
READ_BACK_AGAIN = timedelta(seconds=3)
READ_BACKS_MAX = 10
ANOTHER_KEY = (Refusal.BAD_KEY, Refusal.NO_RIGHT, Refusal.NO_ZONE, Refusal.CLOCK)


def open_api(services: Services, provider: str, key: Key) -> ZoneApi:
    """The provider's API with a key."""
    settings = services.settings
    if provider == Provider.ALIYUN:
        return Aliyun(key, services.clock, base=settings.bot_aliyun_dns_base)
    if provider == Provider.DNSPOD:
        return DnsPod(key, services.clock, base=settings.bot_dnspod_base)
    return open_godaddy(key, base=settings.bot_godaddy_base)


# --- the key ---------------------------------------------------------------------------------------------------------


def ask_for_key(step: JobStep, why: Words | None = None) -> None:
    """A page for the asker; a key that was kept for this domain is used without asking."""
    job, domain = step.job, step.tx.domains.known(str(step.job.params["domain"]), added_by=step.job.asked_by)
    kept = step.tx.passwords.find(domain.key_job_id, SIDE) if domain.key_job_id is not None else None
    if kept is not None and why is None:
        step.tx.passwords.keep(job.id, SIDE, given_by=kept.given_by, ciphertext=kept.ciphertext)
        step.go("domain_write")
        return
    token = step.tx.links.make(member=job.asked_by, job_id=job.id, mailbox_id=None, side=SIDE)
    url = f"{step.services.settings.bot_public_url}/pages/{token}"
    step.tx.audit.add("bot", "domain.key_asked", str(job.params["domain"]), job=job.id, provider=job.data["provider"])
    words = say("domain_setup.key_page", provider=provider_words(job.data["provider"]), url=url, number=job.id)
    step.say(Text(job.asked_by, words if why is None else lines(why, words), once=True))
    step.tx.jobs.wait(job, "domain_key", expires_at=step.now + KEY_WITHIN)


class PageHost(client_passwords.PageHost):
    """The one-time pages of every job, and those on which a provider's key is given."""

    def facts(self, tx: Transaction, link: OneTimeLink) -> PageFacts:
        """What it is for, how to get it, what becomes of it."""
        if link.side != SIDE:
            return super().facts(tx, link)
        job = tx.jobs.get(link.job_id)
        provider = str(job.data["provider"])
        two = provider == Provider.GODADDY
        return PageFacts(
            language=language_of(tx, link.member, self.services.settings),
            address=name_of(job),
            heading=say("domain_page.heading", provider=provider_words(provider)),
            lines=[
                say("domain_page.what", number=job.id, domain=name_of(job)),
                say("domain_page.forgotten"),
            ],
            steps=[say(f"domain_page.steps_{provider}"), say(f"domain_page.right_{provider}")],
            inputs=[
                Input("id", say(f"domain_page.id_{provider}")),
                Input("secret", say(f"domain_page.secret_{provider}"), optional=two),
                Input("keep", say("domain_page.keep"), box=True),
            ],
        )

    def given(self, tx: Transaction, link: OneTimeLink, password: str) -> list[Start]:
        """The key, encrypted at once; the job goes on."""
        if link.side != SIDE:
            return super().given(tx, link, password)
        job, form = tx.jobs.get(link.job_id), json.loads(password)
        if job.state is not JobState.WAITING or job.stage != "domain_key":
            return []
        key = Key(form["id"], form["secret"])
        tx.passwords.keep(job.id, SIDE, given_by=link.member, ciphertext=self.services.vault.lock(key.packed()))
        tx.audit.add(link.member, "domain.key_given", str(job.params["domain"]), job=job.id, kept=bool(form["keep"]))
        tx.jobs.put(job, keep_key=bool(form["keep"]))
        tx.jobs.wake(job, "domain_write")
        return [job_start(job)]

    def declined(self, tx: Transaction, link: OneTimeLink) -> list[Start]:
        """No key: by hand, then."""
        if link.side != SIDE:
            return super().declined(tx, link)
        job = tx.jobs.get(link.job_id)
        if job.state is not JobState.WAITING or job.stage != "domain_key":
            return []
        tx.jobs.wake(job, "domain_hand")
        return [job_start(job)]


def forget_key(tx: Transaction, job_id: int, domain: str, *, keep: bool) -> None:
    """The key is not needed any more; one that is kept on purpose stays with this job, in place of an older one."""
    row = tx.domains.find(domain)
    if keep and row is not None:
        if row.key_job_id is not None and row.key_job_id != job_id:
            tx.passwords.forget(row.key_job_id, SIDE)
        row.key_job_id = job_id
    elif row is None or row.key_job_id != job_id:
        tx.passwords.forget(job_id, SIDE)


# --- writing ---------------------------------------------------------------------------------------------------------


def write(job: JobContext) -> None:
    """All changes of the plan, each read before and after; the provider's moods are waited out."""
    plan = Plan.from_json(job.data["plan"])
    with job.services.store.begin() as tx:
        secret = tx.passwords.find(job.job_id, SIDE)
    if secret is None:
        with job.begin() as step:
            ask_for_key(step)
        return
    key = Key.unpacked(job.services.vault.open(secret.ciphertext))
    with closing(open_api(job.services, str(job.data["provider"]), key)) as api:
        try:
            carry_out(job, api, plan)
        except ProviderError as error:
            refused(job, error)
        except NetworkError:  # nobody knows whether it arrived: it is read before it is written again
            later(job, say("domain_setup.no_answer", provider=provider_words(job.data["provider"])))


def carry_out(job: JobContext, api: ZoneApi, plan: Plan) -> None:
    """Snapshot, writes, and the look whether all is there."""
    held = api.records(plan.zone)
    with job.services.store.begin() as tx:
        first = tx.domains.snapshot_of(job.job_id) is None
    if first:
        plan = settled(plan, [each.record for each in held])
        for change in plan.changes:
            if stopped_before(job, change, of_set(held, change)):
                return
        with job.begin() as step:
            domain = step.tx.domains.known(str(step.job.params["domain"]), added_by=step.job.asked_by)
            step.tx.domains.snapshot(domain, step.job.id, plan.as_json(), [each.record.as_json() for each in held])
            step.put(plan=plan.as_json())
    for change in plan.changes:
        here = of_set(held, change)
        how = standing(change, [each.record for each in here])
        if how is Standing.FOREIGN:
            changed_meanwhile(job, change, here)
            return
        if how is Standing.DONE:
            continue
        if job.cancelled():
            return
        audit_write(job, change)
        api.write(plan.zone, change, here)
        held = api.records(plan.zone)
    left = [
        each for each in plan.changes if standing(each, [one.record for one in of_set(held, each)]) is not Standing.DONE
    ]
    if left:
        not_there_yet(job, left)
    else:
        written(job, plan)


def stopped_before(job: JobContext, change: SetChange, here: list[Held]) -> bool:
    """Whether a set is not as it may be changed; looked at for all of them before any is written."""
    if others := sorted({each.line for each in here if each.line}):
        with job.begin() as step:
            words = say(
                "domain_setup.split_lines", set=f"{change.type} {change.host}", lines=others, domain=name_of(step.job)
            )
            stop(step, words)
        return True
    if standing(change, [each.record for each in here]) is Standing.FOREIGN:
        changed_meanwhile(job, change, here)
        return True
    return False


def of_set(held: list[Held], change: SetChange) -> list[Held]:
    """What is held of a set."""
    return [each for each in held if each.record.key == change.key]


def audit_write(job: JobContext, change: SetChange) -> None:
    """Who, what, before, after: before the call."""
    with job.begin() as step:
        step.tx.audit.add(
            "bot", "domain.write", str(step.job.params["domain"]), job=step.job.id, set=f"{change.type} {change.host}",
            before=[record_words(each) for each in change.before], after=[record_words(each) for each in change.after],
        )  # fmt: skip


def not_there_yet(job: JobContext, left: list[SetChange]) -> None:
    """The provider said yes, and shows something else: a few looks more, then it is said."""
    with job.begin() as step:
        looks = int(step.job.data.get("read_backs", 0)) + 1
        step.put(read_backs=looks)
        if looks < READ_BACKS_MAX:
            step.go("domain_write", due_at=step.now + READ_BACK_AGAIN)
            return
        named = [f"{each.type} {each.host}" for each in left]
        stop(step, say("domain_setup.not_read_back", sets=named, number=step.job.id))


def changed_meanwhile(job: JobContext, change: SetChange, here: list[Held]) -> None:
    """Somebody else's record is there: nothing is overwritten."""
    with job.begin() as step:
        now = [record_words(each.record) for each in here] or ["-"]
        words = say(
            "domain_setup.changed_meanwhile", set=f"{change.type} {change.host}", now=now, domain=name_of(step.job)
        )
        stop(step, words)


def written(job: JobContext, plan: Plan) -> None:
    """All is there: said, the key is done with, and the world is watched."""
    with job.begin() as step:
        data, domain = step.job.data, str(step.job.params["domain"])
        step.tx.audit.add("bot", "domain.written", domain, job=step.job.id, provider=data["provider"])
        if data["provider"] == Provider.GODADDY:
            step.tx.answers.saw("godaddy_api", "yes", domain)
        forget_key(step.tx, step.job.id, domain, keep=bool(data.get("keep_key")))
        provider = provider_words(data["provider"])
        if step.job.params.get("undo_of") is not None:
            step.say(Text(step.job.asked_by, say("domain_setup.undone", domain=name_of(step.job), provider=provider)))
            step.put(ending="done")
            step.go("cleanup")
            return
        words = say(
            "domain_setup.written", domain=name_of(step.job), provider=provider, count=len(plan.changes),
            number=step.job.id,
        )  # fmt: skip
        step.say(Text(step.job.asked_by, words))
        step.put(written_at=step.now.isoformat(), trouble=None)
        step.go("domain_watch")


def refused(job: JobContext, error: ProviderError) -> None:
    """Later, with another key, by hand, or not at all."""
    if error.refusal is Refusal.BUSY:
        later(job, error.words())
        return
    with job.begin() as step:
        data = step.job.data
        step.tx.audit.add(
            "bot", "domain.refused", str(step.job.params["domain"]), job=step.job.id, provider=data["provider"],
            code=error.code,
        )  # fmt: skip
        log.warning("dns_provider_refused", job_id=step.job.id, code=error.code)
        drop_key(step)
        if error.refusal is Refusal.NOT_ELIGIBLE:
            if data["provider"] == Provider.GODADDY:
                step.tx.answers.saw("godaddy_api", "no", str(error.code))
            step.say(Text(step.job.asked_by, error.words()))
            step.go("domain_hand")
        elif error.refusal in ANOTHER_KEY:
            ask_for_key(step, error.words())
        else:
            stop(step, error.words())


def drop_key(step: JobStep) -> None:
    """A key that was refused is kept nowhere."""
    row = step.tx.domains.find(str(step.job.params["domain"]))
    if row is not None and row.key_job_id is not None:
        step.tx.passwords.forget(row.key_job_id, SIDE)
        row.key_job_id = None
    step.tx.passwords.forget(step.job.id, SIDE)


def later(job: JobContext, why: Words) -> None:
    """The same again soon; who asked hears of it once; not for ever."""
    with job.begin() as step:
        times = int(step.job.data.get("busy", 0)) + 1
        step.put(busy=times)
        if times == 1:
            step.say(Text(step.job.asked_by, say("domain_setup.later", why=why, number=step.job.id)))
        if times > BUSY_MAX:
            stop(step, why)
            return
        step.go("domain_write", due_at=step.now + BUSY_AGAIN * min(times, 12))


def stop(step: JobStep, why: Words) -> None:
    """It cannot go on; what was written can be undone."""
    told: list[Words] = [say("domain_setup.stopped", domain=name_of(step.job), number=step.job.id, why=why)]
    if step.tx.domains.snapshot_of(step.job.id) is not None:
        told.append(say("domain_setup.can_undo", number=step.job.id))
    step.say(Text(step.job.asked_by, lines(*told)))
    step.put(ending="failed", why=as_json(why))
    step.go("cleanup")


def hand(job: JobContext) -> None:
    """The exact fields, one message a record; then the world is watched."""
    plan = Plan.from_json(job.data["plan"])
    with job.begin() as step:
        forget_key(step.tx, step.job.id, str(step.job.params["domain"]), keep=False)
        provider: Any = step.job.data["provider"]
        step.say(*by_hand(step.job, plan, str(provider), step.job.asked_by))
        step.put(by_hand=True, written_at=None)
        step.go("domain_watch")
