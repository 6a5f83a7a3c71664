"""
`doctor --live`: questions that only a real organisation answers, each asked as far as asking does no harm.

What was seen is kept as a moment, `live:<question>:<answer>`, so that a later run tells when it changed.
Questions that cannot be asked without changing something are named as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from bot.doctor import machine, wecom
from bot.doctor.findings import Finding, Level, ok, warning
from bot.errors import UpstreamError
from bot.wecom import contacts, exmail
from bot.wecom.client import WeComClient
from bot.wecom.errcodes import APP, WeComError
from bot.words import say
from bot.work import Services

UNKNOWN = "unknown"
ANSWERS = ("yes", "no", UNKNOWN)
# Asking these would make, change or delete something: they are learnt when the bot does it on an admin's word.
NOT_ASKED = ("rename", "minted_login", "deleted_public", "card_code", "resent_card", "errcodes", "rate_limits")


def foreign_public(client: WeComClient) -> str:
    """Whether a public mailbox is in sight whose client passwords may not be listed, or at all (section 10, 1)."""
    seen = exmail.publicmail_search(client)
    if not seen:
        return UNKNOWN
    try:
        exmail.publicmail_get_auth_code_list(client, seen[0].id)
    except WeComError:
        return "no"
    return "yes"


def listed_by_app(client: WeComClient) -> str:
    """Whether the app's own secret may list userids, too (section 10, 8)."""
    try:
        client.call("POST", "/cgi-bin/user/list_id", secret=APP, body={"limit": 1})
    except WeComError as error:
        return "no" if error.errcode in wecom.NO_PERMISSION else UNKNOWN
    return "yes"


def fetch_child(client: WeComClient) -> str:
    """Whether simplelist still goes down when asked to (section 10, 8)."""
    roots = [each for each in contacts.departments(client) if each.parent is None]
    if not roots:
        return UNKNOWN
    path, query = "/cgi-bin/user/simplelist", {"department_id": roots[0].id}
    flat = client.call("GET", path, query=query).get("userlist", [])
    deep = client.call("GET", path, query={**query, "fetch_child": 1}).get("userlist", [])
    return "yes" if len(deep) > len(flat) else "no"


def admin_log(client: WeComClient) -> str:
    """Whether the console's log may be read (section 10, 7)."""
    now = client.clock.now()
    try:
        contacts.admin_log(client, now - timedelta(hours=1), now)
    except WeComError as error:
        return "no" if error.errcode in wecom.NO_PERMISSION else UNKNOWN
    return "yes"


PROBES: dict[str, Callable[[WeComClient], str]] = {
    "foreign_public": foreign_public,
    "listed_by_app": listed_by_app,
    "fetch_child": fetch_child,
    "admin_log": admin_log,
}


def ask(services: Services) -> Iterator[Finding]:
    """Every question: what is seen now, or what is not asked."""
    for question, probe in PROBES.items():
        try:
            answer = probe(services.client)
        except UpstreamError as error:
            yield warning(
                "doctor.live_failed", question=say(f"doctor.live_{question}"), why=error.words() or str(error)
            )
            continue
        before = last_answer(services, question)
        keep(services, question, answer)
        told = say(f"doctor.answer_{answer}")
        yield Finding(
            Level.OK, f"live_{question}", say("doctor.live", question=say(f"doctor.live_{question}"), answer=told)
        )
        if UNKNOWN not in (before, answer) and before != answer:
            yield warning("doctor.live_changed", question=say(f"doctor.live_{question}"))
    yield ok("doctor.live_not_asked", questions=[say(f"doctor.live_{each}") for each in NOT_ASKED])


def keep(services: Services, question: str, answer: str) -> None:
    """Remember it, where there are tables to."""
    if answer == UNKNOWN or not machine.up_to_date(services):
        return
    with services.store.begin() as tx:
        tx.moments.happened(f"live:{question}:{answer}")


def last_answer(services: Services, question: str) -> str:
    """What was seen last."""
    if machine.is_new(services.settings):
        return UNKNOWN
    try:
        with services.store.begin() as tx:
            at = {answer: tx.moments.last(f"live:{question}:{answer}") for answer in ("yes", "no")}
    except SQLAlchemyError:
        return UNKNOWN
    seen = {answer: moment for answer, moment in at.items() if moment is not None}
    return max(seen, key=lambda answer: seen[answer]) if seen else UNKNOWN
