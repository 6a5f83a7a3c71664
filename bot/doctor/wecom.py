"""WeCom: reached, on time, and what each secret may do. Every probe is one that changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from bot.clock import Clock
from bot.doctor.findings import Finding, host_of, ok, refused, warning, wrong
from bot.errors import NetworkError, UpstreamError
from bot.http import Http
from bot.settings import Settings
from bot.wecom import contacts, exmail
from bot.wecom.client import WeComClient
from bot.wecom.errcodes import APP, CONTACTS, FROM_IP, Secret, WeComError
from bot.wecom.limits import TIMESTAMP_WINDOW_SECONDS
from bot.wecom.tokens import TokenCache

UNAUTHORISED = "/cgi-bin/getcallbackip"  # without a token it is refused, and tells the time and where we come from
IP_NOT_TRUSTED = 60020
NO_PERMISSION = frozenset({48001, 48002, 48006})
NO_RECEIVER = 82001
SKEW_SECONDS = 30
TIMEOUT_SECONDS = 10.0
FIELDS_USED = ("name", "department", "main_department", "is_leader_in_dept", "direct_leader", "status", "biz_mail")


def reached(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Whether WeCom answers, what time it has, and under which address it sees us."""
    host = host_of(settings.wecom_api_base)
    http = Http(settings.wecom_api_base, timeout_seconds=TIMEOUT_SECONDS)
    try:
        answer = http.request("GET", UNAUTHORISED)
        body = answer.json()
    except NetworkError as error:
        yield wrong("doctor.wecom_unreachable", host=host, why=str(error))
        return
    finally:
        http.close()
    now = clock.now()
    yield from on_time(answer.headers.get("date", ""), now)
    seen = FROM_IP.search(str(body.get("errmsg", ""))) if isinstance(body, dict) else None
    if seen is not None:
        yield ok("doctor.egress", ip=seen[1].rstrip("."))


def on_time(header: str, now: datetime) -> Iterator[Finding]:
    """Our clock against WeCom's: callbacks are refused when they are far apart, and due days shift."""
    try:
        theirs = parsedate_to_datetime(header)
    except ValueError:
        return
    ahead = round((now - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))).total_seconds())
    if abs(ahead) <= SKEW_SECONDS:
        yield ok("doctor.clock_fine")
    elif ahead > 0:
        yield clock_off(abs(ahead))("doctor.clock_ahead", seconds=abs(ahead))
    else:
        yield clock_off(abs(ahead))("doctor.clock_behind", seconds=abs(ahead))


def clock_off(seconds: int) -> Any:
    """Half of what a callback's timestamp may differ is too much."""
    return wrong if seconds > TIMESTAMP_WINDOW_SECONDS // 2 else warning


def tokens(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """A fresh token for each secret: one that is kept would hide that the secret was reset."""
    http = Http(settings.wecom_api_base, timeout_seconds=TIMEOUT_SECONDS)
    try:
        for name, secret in secrets_of(settings):
            try:
                TokenCache(http, settings.wecom_corp_id, secret, clock, name).get()
            except UpstreamError as error:
                yield refused(f"doctor.token_{name}_refused", error)
            else:
                yield ok(f"doctor.token_{name}_fine")
    finally:
        http.close()


def secrets_of(settings: Settings) -> Iterator[tuple[Secret, str]]:
    """Those that are set."""
    for name, secret in ((APP, settings.wecom_app_secret), (CONTACTS, settings.wecom_contacts_secret)):
        if secret.get_secret_value():
            yield name, secret.get_secret_value()


def not_trusted(error: UpstreamError) -> Finding | None:
    """60020 with the address to paste, and both lists it belongs in."""
    if isinstance(error, WeComError) and error.errcode == IP_NOT_TRUSTED:
        return wrong("doctor.ip_not_trusted", ip=error.ip or "?")
    return None


def app(client: WeComClient, settings: Settings) -> Iterator[Finding]:
    """The app: switched on, seen by somebody, with our domain as its trusted one, allowed to send."""
    try:
        info = contacts.app_info(client)
    except UpstreamError as error:
        yield not_trusted(error) or refused("doctor.app_refused", error)
        return
    if not info.enabled:
        yield wrong("doctor.app_off", name=info.name)
    if not (info.userids or info.departments or info.tags):
        yield wrong("doctor.app_seen_by_nobody", name=info.name)
    else:
        yield ok(
            "doctor.app_fine",
            name=info.name,
            members=len(info.userids),
            departments=len(info.departments),
            tags=len(info.tags),
        )
    if not info.reports_enter:
        yield warning("doctor.app_reports_no_enter")
    yield trusted_domain(info.trusted_domain, settings.bot_public_url)
    yield from may_send(client)


def trusted_domain(trusted: str, public_url: str) -> Finding:
    """The one-time pages: OAuth2 brings members back to exactly this host, and port if there is one."""
    host = urlsplit(public_url).netloc
    bare = trusted.partition("://")[2] or trusted
    if not trusted:
        return wrong("doctor.trusted_domain_missing", host=host)
    if bare.rstrip("/").casefold() != host.casefold():
        return wrong("doctor.trusted_domain_other", host=host, trusted=bare)
    return ok("doctor.trusted_domain_fine", host=host)


def may_send(client: WeComClient) -> Iterator[Finding]:
    """A message to nobody: refused for having no receiver, unless sending itself is not allowed."""
    body = {"msgtype": "text", "agentid": client.agent_id, "text": {"content": "doctor"}}
    try:
        client.call("POST", "/cgi-bin/message/send", body=body)
    except WeComError as error:
        if error.errcode != NO_RECEIVER:
            yield not_trusted(error) or refused("doctor.messages_refused", error)
            return
    except NetworkError as error:
        yield refused("doctor.messages_refused", error)
        return
    yield ok("doctor.messages_fine")


def directory(client: WeComClient, userids: list[str]) -> Iterator[Finding]:
    """What the app may read of departments and of a member."""
    try:
        seen = contacts.departments(client)
        yield ok("doctor.departments_fine", count=len(seen))
    except UpstreamError as error:
        yield not_trusted(error) or refused("doctor.departments_refused", error)
        return
    for userid in userids:
        try:
            told = client.call("GET", "/cgi-bin/user/get", query={"userid": userid})
        except UpstreamError:
            continue  # the check of people names him
        given = [name for name in FIELDS_USED if name in told]
        hidden = [name for name in FIELDS_USED if name not in told]
        if "biz_mail" in given:
            yield ok("doctor.fields_all", fields=given)
        else:
            yield ok("doctor.fields_no_address", fields=given, hidden=hidden)
        return


def contacts_sync(client: WeComClient, settings: Settings) -> Iterator[Finding]:
    """The contacts-sync secret: everybody's userid, and whether it may write (asked without a userid)."""
    if not settings.wecom_contacts_secret.get_secret_value():
        return
    try:
        everybody = {each.userid.casefold() for each in contacts.list_ids(client)}
    except UpstreamError as error:
        yield not_trusted(error) or refused("doctor.contacts_refused", error)
        return
    yield ok("doctor.contacts_fine", count=len(everybody))
    try:
        client.call("POST", "/cgi-bin/user/update", secret=CONTACTS, body={})
    except WeComError as error:
        if error.errcode in NO_PERMISSION:
            yield warning("doctor.contacts_read_only", errcode=error.errcode)
            return
    except NetworkError:
        return  # it answered a moment ago
    yield ok("doctor.contacts_write_fine")


def mail_api(client: WeComClient) -> Iterator[Finding]:
    """Whether the app is on the mail API's list, and which public mailboxes it sees."""
    try:
        seen = exmail.publicmail_search(client)
    except WeComError as error:
        if error.errcode in NO_PERMISSION:
            yield wrong("doctor.mail_api_not_allowed", errcode=error.errcode)
        else:
            yield not_trusted(error) or refused("doctor.mail_api_refused", error)
        return
    except UpstreamError as error:
        yield refused("doctor.mail_api_refused", error)
        return
    yield ok("doctor.mail_api_fine", count=len(seen))
