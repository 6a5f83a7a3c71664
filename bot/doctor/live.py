"""
`doctor --live`: questions that only a real organisation answers (`questions.py`), each asked as far as it does no harm.

WeCom is asked here. What is tried in a mailbox is the bot's own to do, by a job that `tried` waits for. What is seen is
kept in `live_answers`, where the rest of the bot reads it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from bot.doctor import machine, wecom
from bot.doctor.findings import Finding, Level, ok, warning
from bot.doctor.questions import QUESTIONS, Question, Way
from bot.errors import UpstreamError
from bot.wecom import contacts, exmail
from bot.wecom.errcodes import APP, WeComError
from bot.words import Words, say
from bot.work import Services
from storage.answers import Seen
from storage.mailboxes import made_in_console
from storage.models import JobState, LiveAnswer

JOB = "live"  # the job that tries what can be tried in a mailbox
ASKED_BY = "doctor"  # of that job, when it was asked for on the machine
WAIT_SECONDS = 150.0
LOOK_EVERY_SECONDS = 1.0
MEMBERS_MAX = 20
SHOWN_MAX = 10
LOG_DAYS = 7


@dataclass(frozen=True)
class Told:
    """What came of asking; without an answer the detail says why there is none."""

    answer: Seen | None
    detail: str = ""


def foreign_public(services: Services) -> Told:
    """Whether a public mailbox is in sight that somebody told us was made in the console, or is not (10.1)."""
    seen = {each.address.casefold(): each.id for each in exmail.publicmail_search(services.client)}
    with services.store.begin() as tx:
        by_hand = [each.address for each in tx.mailboxes.public() if made_in_console(each)]
        made = tx.audit.subjects("public.created")
    if shown := [each for each in by_hand if each in seen]:
        return Told("yes", listed(shown))
    if by_hand:
        return Told("no", listed(by_hand))
    return Told(None, listed(sorted(seen.keys() - made)))


def foreign_groups(services: Services) -> Told:
    """The same of mail groups; nobody tells us of those, so that only who knows which they are can say (10.1)."""
    seen = {each.address.casefold() for each in exmail.group_search(services.client)}
    with services.store.begin() as tx:
        made = tx.audit.subjects("group.created")
    return Told(None, listed(sorted(seen - made)))


def aliases_shown(services: Services) -> Told:
    """Whether a member who has aliases is shown with them (10.2)."""
    with services.store.begin() as tx:
        having = [each.owner for each in tx.mailboxes.all() if each.owner and each.aliases_known_at and each.aliases]
    for userid in having[:MEMBERS_MAX]:
        try:
            return Told("no" if contacts.aliases_of(services.client, userid) is None else "yes", userid)
        except WeComError:
            continue  # gone, or out of sight
    return Told(None)


def listed_by_app(services: Services) -> Told:
    """Whether the app's own secret may list userids, too (10.8)."""
    try:
        services.client.call("POST", "/cgi-bin/user/list_id", secret=APP, body={"limit": 1})
    except WeComError as error:
        return Told("no" if error.errcode in wecom.NO_PERMISSION else None, str(error.errcode))
    return Told("yes")


def fetch_child(services: Services) -> Told:
    """Whether simplelist still goes down when asked to (10.8)."""
    departments = contacts.departments(services.client)
    roots = [each for each in departments if each.parent is None or each.parent not in {d.id for d in departments}]
    if not roots or len(departments) < 2:
        return Told(None)
    path, query = "/cgi-bin/user/simplelist", {"department_id": roots[0].id}
    flat = services.client.call("GET", path, query=query).get("userlist", [])
    deep = services.client.call("GET", path, query={**query, "fetch_child": 1}).get("userlist", [])
    return Told("yes" if len(deep) > len(flat) else "no", f"{len(flat)}, {len(deep)}")


def admin_log(services: Services) -> Told:
    """Whether the console's log may be read, and which kinds of acts stand in it (10.7)."""
    now = services.clock.now()
    try:
        acts = contacts.admin_log(services.client, now - timedelta(days=LOG_DAYS), now)
    except WeComError as error:
        return Told("no" if error.errcode in wecom.NO_PERMISSION else None, str(error.errcode))
    kinds = Counter(f"{each.kind}/{each.detail_kind}" for each in acts)
    return Told("yes", ", ".join(f"{kind}: {count}" for kind, count in kinds.most_common(SHOWN_MAX)))


PROBES: dict[str, Callable[[Services], Told]] = {
    "foreign_public": foreign_public,
    "foreign_groups": foreign_groups,
    "aliases_shown": aliases_shown,
    "listed_by_app": listed_by_app,
    "fetch_child": fetch_child,
    "admin_log": admin_log,
}


def listed(addresses: list[str]) -> str:
    """Some of them."""
    return ", ".join(addresses[:SHOWN_MAX])


def ask(services: Services) -> Iterator[Finding]:
    """Every question: what is seen now, or what was seen, or why it is not asked."""
    kept = machine.up_to_date(services)
    before = answers(services) if kept else {}
    if not kept:
        yield warning("live.no_database")
        return
    for question in QUESTIONS:
        if question.way is Way.ASKED:
            yield from asked(services, question)
        elif question.way is not Way.MAILBOX:
            yield from not_asked(services, question, before.get(question.name))
    tried_ones = [each for each in QUESTIONS if each.way is Way.MAILBOX]
    for question in tried_ones:
        if (seen := before.get(question.name)) is not None:
            yield from told(services, question, seen)
    if open_ones := [each for each in tried_ones if each.name not in before]:
        yield ok("live.not_tried", questions=[say(f"live.{each.name}") for each in open_ones])


def asked(services: Services, question: Question) -> Iterator[Finding]:
    """Asked now; an answer is kept, and told when it was another before."""
    words = say(f"live.{question.name}")
    try:
        now = PROBES[question.name](services)
    except UpstreamError as error:
        yield warning("live.failed", question=words, why=error.words() or str(error))
        return
    with services.store.begin() as tx:
        if now.answer is not None:
            tx.answers.saw(question.name, now.answer, now.detail, by="doctor")
        seen = tx.answers.find(question.name)
    if now.answer is None and seen is None:
        detail = say(f"live.{question.name}_unknown", detail=now.detail or say("live.none"))
        yield finding(question, say("live.unknown", question=words, detail=detail))
    elif seen is not None:
        yield from told(services, question, seen)


def told(services: Services, question: Question, seen: LiveAnswer) -> Iterator[Finding]:
    """What was seen, when, by whom; and that it was otherwise once."""
    words, at = say(f"live.{question.name}"), machine.shown(services.settings, seen.seen_at)
    by = say(f"live.by_{seen.seen_by}", at=at)
    answer = say(f"live.answer_{seen.answer}")
    if seen.detail:
        yield finding(question, say("live.told_detail", question=words, answer=answer, detail=seen.detail, by=by))
    else:
        yield finding(question, say("live.told", question=words, answer=answer, by=by))
    if seen.before is not None and seen.changed_at is not None and seen.changed_at >= seen.seen_at:
        yield warning("live.changed", question=words)


def not_asked(services: Services, question: Question, seen: LiveAnswer | None) -> Iterator[Finding]:
    """Why not; and what was seen of it in use."""
    if seen is not None:
        yield from told(services, question, seen)
        return
    words, why = say(f"live.{question.name}"), say(f"live.{question.name}_why")
    key = "live.watched" if question.way is Way.WATCHED else "live.left"
    yield finding(question, say(key, question=words, why=why))


def finding(question: Question, words: Words) -> Finding:
    """A question is never a fault."""
    return Finding(Level.OK, f"live_{question.name}", words)


def answers(services: Services) -> dict[str, LiveAnswer]:
    """What is known, by question."""
    with services.store.begin() as tx:
        return {each.question: each for each in tx.answers.all()}


def tried(services: Services) -> Iterator[Finding]:
    """Have the running bot try what can be tried in a mailbox, and wait for it."""
    if not machine.up_to_date(services):
        return
    with services.store.begin() as tx:
        number = tx.jobs.add(JOB, asked_by=ASKED_BY, params={}).id
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        time.sleep(LOOK_EVERY_SECONDS)
        with services.store.begin() as tx:
            job = tx.jobs.get(number)
            state, data = job.state, dict(job.data)
        if state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED):
            yield from outcome(data)
            return
    with services.store.begin() as tx:  # nobody took it: no bot runs
        job = tx.jobs.get(number)
        if job.state is JobState.DUE:
            tx.jobs.end(job, JobState.CANCELLED)
    yield warning("live.no_bot", seconds=round(WAIT_SECONDS))


def outcome(data: dict[str, object]) -> Iterator[Finding]:
    """What the job noted: that it found no mailbox to try in, what it could not remove."""
    if data.get("no_mailbox"):
        yield warning("live.no_mailbox")
    elif data.get("busy"):
        yield warning("live.busy")
    elif why := data.get("why"):
        yield warning("live.not_reached", why=str(why))
    elif left := data.get("left"):
        yield warning("live.left_behind", mailbox=str(data.get("address")), folders=left)
    else:
        yield ok("live.tried", mailbox=str(data.get("address")))
