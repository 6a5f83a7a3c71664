"""All checks in the order in which things are set up; those that wait for others' servers wait at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import structlog

from bot.doctor import callbacks, hosts, machine, pages, people, settings, wecom
from bot.doctor.findings import Finding, Level, wrong
from bot.work import Services

log = structlog.get_logger()

Check = Callable[[], Iterable[Finding]]
AT_ONCE = 6


def examine(services: Services) -> list[Finding]:
    """Everything, also what is fine."""
    given = services.settings
    checks: list[tuple[str, Check]] = [
        ("settings", lambda: settings.check(given)),
        ("data", lambda: machine.folder(given)),
        ("database", lambda: machine.database(services)),
        ("wecom", lambda: at_wecom(services)),
        ("callbacks", lambda: callbacks.check(services)),
        ("pages", lambda: pages.check(services)),
        ("imap", lambda: hosts.imap(given)),
        ("smtp", lambda: hosts.smtp(given)),
        ("dns", lambda: hosts.dns(given)),
    ]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="doctor") as pool:
        return [finding for found in pool.map(lambda each: safely(*each), checks) for finding in found]


def at_wecom(services: Services) -> Iterator[Finding]:
    """What asks WeCom, in order: without a token nothing else is worth asking."""
    client, given = services.client, services.settings
    for found in (wecom.reached(given, services.clock), wecom.tokens(given, services.clock)):
        findings = list(found)
        yield from findings
        if any(each.check in ("wecom_unreachable", "token_app_refused") for each in findings):
            return
    said = False
    checks: tuple[Check, ...] = (
        lambda: wecom.app(client, given),
        lambda: wecom.directory(client, people.named(services)),
        lambda: wecom.contacts_sync(client, given),
        lambda: wecom.mail_api(client),
        lambda: people.with_roles(services),
        lambda: people.managers(services),
    )
    for check in checks:
        for finding in check():
            if finding.check == "ip_not_trusted":  # said once, of both lists
                if said:
                    continue
                said = True
            yield finding


def safely(name: str, check: Check) -> list[Finding]:
    """A check's findings; a bug in one is a finding too, without its text, which may hold a secret."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except Exception as error:
        log.error("check_failed", check=name, error=type(error).__name__)
        found.append(wrong("doctor.check_failed", name=name, error=type(error).__name__))
    return found


def worst(findings: Iterable[Finding]) -> Level:
    """The worst of them."""
    levels = {each.level for each in findings}
    return Level.WRONG if Level.WRONG in levels else Level.WARNING if Level.WARNING in levels else Level.OK
