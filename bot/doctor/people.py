"""Who is named in the settings, and who answers for whom: they must exist, and be in the app's visible range."""

from __future__ import annotations

from collections.abc import Iterator

from bot.directory import Directory
from bot.dispatcher import roles
from bot.doctor import machine
from bot.doctor.findings import Finding, ok, warning, wrong
from bot.errors import NetworkError, UpstreamError
from bot.policy import Role
from bot.wecom import contacts
from bot.wecom.contacts import MemberStatus
from bot.wecom.errcodes import APP, CONTACTS, Secret, WeComError
from bot.work import Services

NAMED_MAX = 100  # look-ups in one run
LEADERS_MAX = 100
DEPARTMENTS_MAX = 100
SHOWN_MAX = 10
UNKNOWN = frozenset({40003, 60111})
OUT_OF_SIGHT = frozenset({50002, 60011, 60021})


def named(services: Services) -> list[str]:
    """Userids with a role in the settings, admins first."""
    settings = services.settings
    lists = (settings.bot_super_admins, settings.bot_admins, settings.bot_approvers, settings.bot_auditors)
    return list(dict.fromkeys(userid for each in lists for userid in each))


def settings_of(services: Services, userid: str) -> list[str]:
    """In which settings a userid stands."""
    settings = services.settings
    lists = {
        "BOT_SUPER_ADMINS": settings.bot_super_admins,
        "BOT_ADMINS": settings.bot_admins,
        "BOT_APPROVERS": settings.bot_approvers,
        "BOT_AUDITORS": settings.bot_auditors,
    }
    return [name for name, userids in lists.items() if userid in userids]


def with_roles(services: Services) -> Iterator[Finding]:
    """Everybody named, asked about one by one; then the tags."""
    seen: set[str] = set()
    for userid in named(services)[:NAMED_MAX]:
        try:
            member = contacts.member(services.client, userid)
        except WeComError as error:
            where = settings_of(services, userid)
            if error.errcode in UNKNOWN:
                yield wrong("doctor.member_unknown", userid=userid, where=where)
            elif error.errcode in OUT_OF_SIGHT:
                yield wrong("doctor.member_unseen", userid=userid, where=where)
            else:
                return  # the app itself is refused, which was said
            continue
        except NetworkError:
            return
        if member.status not in (None, MemberStatus.ACTIVE):
            yield warning("doctor.member_inactive", userid=userid, where=settings_of(services, userid))
        else:
            seen.add(userid)
    if seen:
        yield ok("doctor.members_fine", count=len(seen))
    yield from tags(services)


def tags(services: Services) -> Iterator[Finding]:
    """Tags that give a role: readable, with somebody in them; two admins in all."""
    settings = services.settings
    admins = {*settings.bot_super_admins, *settings.bot_admins}
    for name, tag_id in settings.bot_role_tags.items():
        try:
            tag = contacts.tag(services.client, tag_id)
        except UpstreamError as error:
            yield wrong("doctor.tag_refused", role=name, tag=tag_id, why=error.words() or str(error))
            continue
        if not tag.userids and not tag.departments:
            yield wrong("doctor.tag_empty", role=name, tag=tag_id, name=tag.name)
        if name in ("admin", "super_admin"):
            admins |= {each.casefold() for each in tag.userids} | {f"department {each}" for each in tag.departments}
    if settings.bot_role_tags.keys() & {"admin", "super_admin"} and len(admins) < 2:
        yield warning("doctor.one_admin")


def managers(services: Services) -> Iterator[Finding]:
    """Leaders of departments must be in sight, or a question that waits for them is asked of nobody."""
    try:
        departments = contacts.departments(services.client)
    except UpstreamError:
        return  # said by the check of the directory
    leaders = sorted({each.casefold() for department in departments for each in department.leaders})
    unseen = []
    for userid in leaders[:LEADERS_MAX]:
        try:
            contacts.member(services.client, userid)
        except WeComError as error:
            if error.errcode in UNKNOWN | OUT_OF_SIGHT:
                unseen.append(userid)
        except NetworkError:
            return
    if unseen:
        yield wrong("doctor.leaders_unseen", userids=unseen[:SHOWN_MAX], count=len(unseen))
    elif leaders:
        yield ok("doctor.leaders_fine", count=len(leaders))
    yield from outside(services, [each.id for each in departments])
    yield from unanswered(services)


def outside(services: Services, departments: list[int]) -> Iterator[Finding]:
    """Members whom only contacts sync knows: they hear nothing, and a manager among them cannot be asked."""
    secret = may_list(services)
    if secret is None or len(departments) > DEPARTMENTS_MAX:
        return
    try:
        everybody = {each.userid.casefold() for each in contacts.list_ids(services.client, secret=secret)}
        seen = {each.userid.casefold() for one in departments for each in contacts.names(services.client, one)}
    except UpstreamError:
        return  # said by the checks of the directory
    unseen = sorted(everybody - seen)
    if unseen:
        shown = unseen[:SHOWN_MAX]
        yield warning("doctor.members_outside", count=len(unseen), everybody=len(everybody), userids=shown)
    else:
        yield ok("doctor.members_inside", everybody=len(everybody))


def may_list(services: Services) -> Secret | None:
    """The secret that lists everybody: contacts sync's, or the app's own where WeCom was seen to let it."""
    if services.settings.wecom_contacts_secret.get_secret_value():
        return CONTACTS
    if not machine.up_to_date(services):
        return None
    with services.store.begin() as tx:
        return APP if tx.answers.of("listed_by_app") == "yes" else None


def unanswered(services: Services) -> Iterator[Finding]:
    """Members whom nobody can answer for, as the directory was last read."""
    if not machine.up_to_date(services):
        return
    with services.store.begin() as tx:
        directory = Directory(tx, services.settings.exmail_domain)
        everybody = [each.userid for each in tx.members.all()]
        alone = [userid for userid in everybody if not directory.managers(userid)]
        fallback = roles(tx, services.settings).with_role(Role.APPROVER)
    if not alone:
        if everybody:
            yield ok("doctor.managers_fine", count=len(everybody))
    elif fallback:
        yield ok("doctor.managers_fallback", count=len(alone), approvers=sorted(fallback)[:SHOWN_MAX])
    else:
        yield warning("doctor.managers_missing", userids=alone[:SHOWN_MAX], count=len(alone))
