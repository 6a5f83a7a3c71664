"""
`domain setup corp.com`: from what DNS says to the first mail.

Stages: domain_look (read, plan), domain_shown (the difference waits for a yes), approval (where the policy wants
another's), domain_key, domain_write (`domain_write.py`) or domain_hand, domain_watch (`domain_watch.py`),
domain_verify, perhaps confirm, domain_probe (`domain_proof.py`), perhaps domain_imap (`domain_imap.py`), cleanup.
`domain undo 12` is the same with the plan turned round.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bot.context import Context
from bot.dns.lookup import Reading
from bot.dns.names import full_name, host_in, shown_name
from bot.dns.plan import Plan, make_plan
from bot.dns.providers import WITH_API, Provider, provider_of_all
from bot.dns.records import BadDkim, Mx, Record, judge, pasted_dkim, worst_ttl
from bot.dns.wire import Outcome
from bot.errors import UserError
from bot.policy import Requirement
from bot.replies import Card, CardUpdate, Reply, Text
from bot.router import Router
from bot.words import Words, lines, say
from bot.work import JobContext, JobStep, SweepStep, Work
from handlers import changes
from handlers.approvals import approvals
from handlers.copying import copying
from handlers.domain import domain_imap, domain_proof, domain_watch, domain_write
from handlers.domain.domain import fetch_with, in_words, lookup_of, meant, wanted_of
from handlers.domain.domain_words import about, difference, name_of, plan_card, provider_words
from handlers.handovers import handovers
from storage.models import Approval, Job, JobState

if TYPE_CHECKING:
    from storage.store import Transaction

router = Router()
work = Work()

KIND = domain_watch.KIND
POLICY = "domain"
ACTION = "domain"  # of the approval
PRIORITY_MIN, PRIORITY_MAX = 1, 50  # what every provider takes
SHOWN_WITHIN = timedelta(days=7)
NEGATIVE_SECONDS = 3600  # a guess, where nobody says how long "there is none" may be kept
STOPS = ("no_name", "all_lame", "all_silent", "nobody_answers", "apex_cname", "bogus")
MX_PAIR = re.compile(
    r"([\w.-]+\.[a-z][\w-]*)[\s,=:(（：，]+(\d{1,5})\)?|(\d{1,5})\s+([\w.-]+\.[a-z][\w-]*)", re.IGNORECASE
)


# --- asking for it ---------------------------------------------------------------------------------------------------


@router.command(
    "domain setup|connect {domain}", "域名 配置|接入 {domain}", role="admin", topic="domain",
    example=("domain setup corp.com", "域名 配置 corp.com"),
)  # fmt: skip
def domain_setup(ctx: Context, domain: str) -> list[Reply]:
    """Connect a domain: shown, agreed to, written at the DNS provider or by hand, watched until mail arrives."""
    return begin(ctx, meant(domain))


def begin(ctx: Context, name: str, *, undo_of: int | None = None) -> list[Reply]:
    """A job for one domain; one at a time."""
    open_ones = [
        each for each in ctx.tx.jobs.waiting_or_due(KIND) if each.params["domain"] == name and each.stage != "cleanup"
    ]
    if open_ones:
        raise UserError(say("domain_setup.open_already", domain=shown_name(name), number=open_ones[0].id))
    job = ctx.tx.jobs.add(KIND, asked_by=ctx.sender, params={"domain": name, "undo_of": undo_of}, stage="domain_look")
    ctx.tx.jobs.put(
        job, source_address=shown_name(name), target_address="DNS", asker_name=ctx.directory.name(ctx.sender),
        language=ctx.language,
    )  # fmt: skip
    ctx.tx.audit.add(ctx.sender, "domain.asked", name, job=job.id, undo_of=undo_of)
    ctx.start(job)
    return [Text(ctx.sender, say("domain_setup.looking", domain=shown_name(name), number=job.id))]


def again(ctx: Context, job: Job) -> list[Reply]:
    """`retry 12`: the same once more."""
    return begin(ctx, str(job.params["domain"]), undo_of=job.params.get("undo_of"))


@router.command(
    "domain undo {job_id:int}", "域名 撤销 {job_id:int}", role="admin", topic="domain",
    example=("domain undo 12", "域名 撤销 12"),
)  # fmt: skip
def domain_undo(ctx: Context, job_id: int) -> list[Reply]:
    """Put back what a domain's job changed, after showing it."""
    snapshot = ctx.tx.domains.snapshot_of(job_id)
    if snapshot is None:
        raise UserError(say("domain_setup.nothing_to_undo", number=job_id))
    job = ctx.tx.jobs.get(job_id)
    if job.state in (JobState.WAITING, JobState.DUE):  # it is watched: that is over
        if job.stage == "domain_write":
            raise UserError(say("domain_setup.writing", number=job_id))
        ctx.tx.jobs.put(job, ending="cancelled")
        ctx.tx.jobs.wake(job, "cleanup")
        ctx.start(job)
    return begin(ctx, str(job.params["domain"]), undo_of=job.id)


@router.command(
    "domain dkim {domain} {host} {value:text}", "域名 DKIM {domain} {host} {value:text}", role="admin", topic="domain",
    example=("domain dkim corp.com abc._domainkey v=DKIM1;p=…", "域名 DKIM corp.com abc._domainkey v=DKIM1;p=…"),
)  # fmt: skip
def domain_dkim(ctx: Context, domain: str, host: str, value: str) -> list[Reply]:
    """Tell me the DKIM record that the console shows; I plan it with the rest."""
    name = meant(domain)
    try:
        dkim = pasted_dkim(name, host, value)
    except BadDkim as error:
        raise UserError(say(f"domain_setup.dkim_bad_{error}")) from None
    row = ctx.tx.domains.known(name, added_by=ctx.sender)
    row.wanted = {**row.wanted, "dkim": list(dkim)}
    ctx.tx.audit.add(ctx.sender, "domain.dkim", name, host=dkim[0])
    return [Text(ctx.sender, say("domain_setup.dkim_kept", host=dkim[0])), *begin(ctx, name)]


@router.command(
    "domain mx {domain} {records:text}", "域名 MX {domain} {records:text}", role="admin", topic="domain",
    example=("domain mx corp.com mx1.qq.com 5, mx2.qq.com 10", "域名 MX corp.com mx1.qq.com 5、mx2.qq.com 10"),
)  # fmt: skip
def domain_mx(ctx: Context, domain: str, records: str) -> list[Reply]:
    """Tell me the MX records that the console shows, where they are not the usual ones."""
    name = meant(domain)
    found = [Mx(int(each[1] or each[2]), (each[0] or each[3]).lower().rstrip(".")) for each in MX_PAIR.findall(records)]
    if not found or not all(PRIORITY_MIN <= each.priority <= PRIORITY_MAX for each in found):
        raise UserError(say("domain_setup.mx_bad"))
    row = ctx.tx.domains.known(name, added_by=ctx.sender)
    row.wanted = {**row.wanted, "mx": [[each.priority, each.host] for each in found]}
    ctx.tx.audit.add(ctx.sender, "domain.mx", name, records=[f"{each.host} {each.priority}" for each in found])
    shown = [f"{each.host} ({each.priority})" for each in found]
    return [Text(ctx.sender, say("domain_setup.mx_kept", domain=shown_name(name), records=shown))]


# --- agreeing --------------------------------------------------------------------------------------------------------


@router.command(
    "domain write {job_id:int}", "域名 写入 {job_id:int}", role="admin", topic="domain",
    example=("domain write 12", "域名 写入 12"),
)  # fmt: skip
@router.action("domain_write", role="admin")
def domain_write_it(ctx: Context, job_id: int) -> list[Reply]:
    """Write at the DNS provider what was shown, and remove other services' MX records."""
    return agreed(ctx, job_id, "plan", "domain_key")


@router.command(
    "domain keep {job_id:int}", "域名 保留 {job_id:int}", role="admin", topic="domain",
    example=("domain keep 12", "域名 保留 12"),
)  # fmt: skip
@router.action("domain_keep", role="admin")
def domain_keep_others(ctx: Context, job_id: int) -> list[Reply]:
    """Write it, but leave other services' MX records."""
    return agreed(ctx, job_id, "plan_keep", "domain_key")


@router.command(
    "domain by hand {job_id:int}", "域名 手动 {job_id:int}", role="admin", topic="domain",
    example=("domain by hand 12", "域名 手动 12"),
)  # fmt: skip
@router.action("domain_hand", role="admin")
def domain_by_hand(ctx: Context, job_id: int) -> list[Reply]:
    """Get the exact fields to enter yourself; I watch."""
    return agreed(ctx, job_id, "plan", "domain_hand")


def agreed(ctx: Context, job_id: int, plan: str, stage: str) -> list[Reply]:
    """Yes, once: a second press hears that it is under way. The policy may want somebody else's yes, too."""
    job = ctx.tx.jobs.find(job_id)
    if job is None or job.kind != KIND:
        raise UserError(say("jobs.unknown", number=job_id))
    by_hand_now = stage == "domain_hand" and job.stage == "domain_key"
    if job.state is not JobState.WAITING or not (job.stage == "domain_shown" or by_hand_now):
        raise UserError(say("domain_setup.not_waiting", number=job_id))
    if stage == "domain_key" and job.data["provider"] not in WITH_API:
        raise UserError(say("domain_setup.no_api", provider=provider_words(job.data["provider"]), number=job_id))
    ctx.tx.jobs.put(job, plan=job.data.get(plan) or job.data["plan"], agreed_by=ctx.sender)
    ctx.tx.audit.add(ctx.sender, "domain.agreed", str(job.params["domain"]), job=job.id, way=stage)
    ctx.tx.links.end(job.id)
    replies = put_away(ctx.tx, job)
    requirement = ctx.policy.requirement(POLICY)
    if requirement is not Requirement.CONFIRM and not by_hand_now:
        return [*replies, *ask_others(ctx, job, requirement, stage)]
    ctx.tx.jobs.wake(job, stage)
    ctx.start(job)
    return replies


def put_away(tx: Transaction, job: Job) -> list[Reply]:
    """The cards of the question greyed."""
    title, done = say("domain_setup.card_title", domain=name_of(job)), say("domain_setup.card_done")
    return [
        CardUpdate(each.task_id, Card(each.member, about(job.id), title, done=done))
        for each in tx.cards.open_about(about(job.id))
    ]


def ask_others(ctx: Context, job: Job, requirement: Requirement, stage: str) -> list[Reply]:
    """Another admin's yes, where the policy file wants it; a domain has no owner with a manager."""
    if requirement is Requirement.MANAGER:
        requirement = Requirement.TWO
    try:
        may = approvals.who_may(requirement, ctx.directory, ctx.roles, asker=ctx.sender, owner=None, gains=[])
    except approvals.NobodyCanAnswer as nobody:
        raise UserError(nobody.words) from None
    question = say("domain_setup.question", domain=name_of(job), provider=provider_words(job.data["provider"]))
    approval, replies = approvals.ask(
        ctx.tx, action=ACTION, requirement=requirement, may=may, job_id=job.id, question=question,
        facts=facts_of(job), reason="-", asked_by=ctx.sender, asked_by_name=str(job.data["asker_name"]),
        settings=ctx.settings,
    )  # fmt: skip
    ctx.tx.jobs.put(job, after_approval=stage)
    ctx.tx.jobs.wait(job, "approval", expires_at=approval.expires_at)
    return [*replies, *(Text(each, lines(*difference(Plan.from_json(job.data["plan"])))) for each in may.userids)]


def facts_of(job: Job) -> dict[str, Any]:
    """What was agreed to."""
    return {"domain": job.params["domain"], "plan": job.data["plan"]}


@approvals.facts_of(ACTION)
def facts_again(ctx: Context, approval: Approval) -> dict[str, Any]:
    """The plan is the job's own; what the zone holds is compared at every write."""
    return facts_of(ctx.tx.jobs.get(approval.job_id))


@approvals.decided(ACTION)
def decided(ctx: Context, approval: Approval) -> list[Reply]:
    """A yes begins it, a no ends it."""
    stage = str(ctx.tx.jobs.get(approval.job_id).data["after_approval"])
    return approvals.go_on(ctx, approval, stage)


# --- the job ---------------------------------------------------------------------------------------------------------


@work.job(KIND)
def turn(job: JobContext) -> None:
    """One turn, by its stage."""
    stages: dict[str, Callable[[JobContext], None]] = {
        "domain_look": look, "domain_key": key, "domain_write": domain_write.write, "domain_hand": domain_write.hand,
        "domain_watch": domain_watch.watch, "domain_verify": domain_proof.verify, "domain_probe": domain_proof.probe,
        "domain_imap": domain_imap.look, "domain_proved": domain_proof.proved, "cleanup": clean_up,
    }  # fmt: skip
    copying.one_turn(job, stages[job.stage])


def key(job: JobContext) -> None:
    """The page for the provider's key."""
    with job.begin() as step:
        domain_write.ask_for_key(step)


def look(job: JobContext) -> None:
    """Read, and show the difference; nothing is written yet."""
    if job.params.get("undo_of") is not None:
        look_back(job)
        return
    name = str(job.params["domain"])
    lookup = lookup_of(job.services.settings)
    with job.services.store.begin() as tx:
        wanted = wanted_of(tx, name)
    dkim = [(full_name(wanted.dkim[0], name), "TXT")] if wanted.dkim is not None else []
    reading = lookup.read(name, also=[(f"_dmarc.{name}", "TXT"), *dkim])
    findings = judge(reading, wanted, fetch_with(lookup))
    stops = [in_words(each) for each in findings if each.key in STOPS and not below_a_zone(each.key, reading)]
    if stops:
        with job.begin() as step:
            copying.refuse(step, lines(*stops))
        return
    zone, asked_for = reading.delegation.zone, [(name, "MX"), (name, "TXT"), (f"_dmarc.{name}", "TXT"), *dkim]
    answers = {each: reading.answer(*each) for each in asked_for}
    if silent := [f"{each} {kind}" for (each, kind), answer in answers.items() if answer is None]:
        with job.begin() as step:  # "there is none" and "nobody says" are not the same: an SPF would be doubled
            copying.refuse(step, say("domain_setup.silent", questions=silent, domain=name_of(step.job)))
        return
    present = records_of(reading, asked_for)
    aliased = [host_in(each, zone) for (each, _), answer in answers.items() if answer is not None and answer.alias]
    plan = make_plan(name, zone, present, wanted, remove_foreign=True, aliased=aliased)
    keep = make_plan(name, zone, present, wanted, remove_foreign=False, aliased=aliased)
    provider = provider_of_all(each.host for each in reading.delegation.servers) or Provider.OTHER
    asked = [(full_name(each.host, zone), each.type) for each in plan.changes]
    with job.begin() as step:
        step.put(
            plan=plan.as_json(), plan_keep=keep.as_json(), provider=str(provider),
            ttl=max(worst_ttl(reading, asked), NEGATIVE_SECONDS // 6),
            target_address=provider_words(provider).text(step.job.data["language"]),
        )  # fmt: skip
        step.tx.domains.known(name, added_by=step.job.asked_by)
        warnings = [in_words(each) for each in findings if each.key in ("only_resolvers", "spf_too_many", "spf_dead")]
        if aliased:
            warnings.append(say("domain_setup.aliased", hosts=aliased))
        if not plan.changes:
            step.say(
                Text(step.job.asked_by, lines(say("domain_setup.right_already", domain=name_of(step.job)), *warnings))
            )
            step.go("domain_watch")
            return
        show(step, plan, warnings)


def below_a_zone(finding: str, reading: Reading) -> bool:
    """A name below a zone of ours may be missing: its records are what is planned."""
    return finding == "no_name" and "." in reading.delegation.zone


def records_of(reading: Reading, questions: list[tuple[str, str]]) -> list[Record]:
    """What DNS shows of these sets, as records of the zone."""
    zone, out = reading.delegation.zone, []
    for name, kind in questions:
        answer = reading.answer(name, kind)
        if answer is None or answer.outcome is not Outcome.FOUND or answer.alias is not None:
            continue
        host = "@" if name == zone else name.removesuffix(f".{zone}")
        for text in answer.values:
            if kind == "MX":
                mx = Mx.parse(text)
                out.append(Record("MX", host, mx.host, mx.priority, answer.ttl))
            else:
                out.append(Record(kind, host, text, None, answer.ttl))
    return out


def look_back(job: JobContext) -> None:
    """The way back of what an earlier job changed."""
    with job.begin() as step:
        before = step.tx.jobs.get(int(job.params["undo_of"]))
        snapshot = step.tx.domains.snapshot_of(before.id)
        assert snapshot is not None  # noqa: S101 - the command looked
        plan = Plan.from_json(snapshot.plan).undo()
        step.put(
            plan=plan.as_json(), plan_keep=plan.as_json(), provider=before.data["provider"], ttl=0,
            target_address=before.data["target_address"],
        )  # fmt: skip
        show(step, plan, [say("domain_setup.undo_of", number=before.id)])


def show(step: JobStep, plan: Plan, warnings: list[Words]) -> None:
    """The difference, the trap, and the card."""
    job, to = step.job, step.job.asked_by
    undo = job.params.get("undo_of") is not None
    foreign = [] if undo else [each.value for each in plan.removed_mx()]
    told = [
        say("domain_setup.shown", domain=name_of(job), provider=provider_words(job.data["provider"]), number=job.id),
        *difference(plan),
        *warnings,
    ]
    if foreign:
        told.append(say("domain_setup.foreign", hosts=foreign, number=job.id))
    if not undo:
        told.append(say("domain.trap", domain=name_of(job)))
    step.say(Text(to, lines(*told)), plan_card(job, to, str(job.data["provider"]), foreign))
    step.tx.jobs.wait(job, "domain_shown", expires_at=step.now + SHOWN_WITHIN)


# --- the end ---------------------------------------------------------------------------------------------------------


@work.failed(KIND)
def failed(step: JobStep, words: Words) -> None:
    """It cannot go on: say why, forget the key."""
    if step.job.stage == "cleanup":
        finish(step)
        step.job.error = step.job.error or words.text("en")
        return
    domain_write.stop(step, words)


def clean_up(job: JobContext) -> None:
    """No key and no open page or console step is left behind."""
    with job.begin() as step:
        finish(step)


def finish(step: JobStep) -> None:
    """The job has its ending; who asked hears of one that he did not choose."""
    job, ending = step.job, str(step.job.data.get("ending") or "failed")
    step.tx.links.end(job.id)
    domain_write.forget_key(step.tx, job.id, str(job.params["domain"]), keep=False)
    step.say(*handovers.withdraw(step.tx, job.id), *put_away(step.tx, job))
    step.say(*changes.put_away(step.tx, job, say("domain_setup.card_done")))
    step.tx.approvals.void(job.id)
    if ending in ("cancelled", "expired", "rejected"):
        told = [say(f"domain_setup.ended_{ending}", domain=name_of(job), number=job.id)]
        if step.tx.domains.snapshot_of(job.id) is not None:
            told.append(say("domain_setup.can_undo", number=job.id))
        step.say(Text(job.asked_by, lines(*told)))
    step.tx.audit.add("bot", "domain.ended", str(job.params["domain"]), job=job.id, ending=ending)
    step.tx.jobs.end_as(job, ending)


@work.sweep("domain-expiry", timedelta(minutes=1))
def expire(sweep: SweepStep) -> None:
    """What waited too long for a person ends."""
    for job in sweep.tx.jobs.expired(count_max=100):
        if job.kind == KIND:
            sweep.tx.jobs.put(job, ending="expired")
            sweep.tx.jobs.wake(job, "cleanup")
            sweep.start(job)
