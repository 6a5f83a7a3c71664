"""`exmail-bot doctor`: what is set up right, what is not, and what to do about it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from bot.app import Bot, build
from bot.commands import EXIT_FAILED, configure_logs
from bot.doctor import checkup, report, settings
from bot.doctor import live as questions
from bot.doctor.findings import Finding, Level, wrong
from bot.doctor.scrub import scrubbed, secrets_of
from bot.policy import PolicyFileError
from bot.settings import Settings
from bot.vault import VaultError
from bot.words import Language


def run(*, as_report: bool = False, as_json: bool = False, live: bool = False) -> int:
    """Look at everything and print it. 0 only when nothing is wrong; warnings alone are no failure."""
    configure_logs()
    language: Language = "zh" if os.environ.get("BOT_LANGUAGE", "") == "zh" else "en"
    presence: Mapping[str, str] = {}
    secrets: list[str] = []
    findings: Sequence[Finding]
    of_the_file = list(settings.open_file(env_file()))
    try:
        given = Settings()
    except ValidationError as error:
        findings = [*of_the_file, *settings.unknown_names(names_given()), *settings.unreadable(error)]
    else:
        language, presence, secrets = given.bot_language, settings.presence(given), list(secrets_of(given))
        findings = [*of_the_file, *settings.unknown_names(names_given()), *looked_at(given, live=live)]
    if as_json:
        told = [{name: scrubbed(text, secrets) for name, text in each.items()} for each in report.as_json(findings)]
        print(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        text = report.ticket(findings, presence) if as_report else report.as_text(findings, language)
        print(scrubbed(text, secrets))
    return EXIT_FAILED if checkup.worst(findings) is Level.WRONG else 0


def looked_at(given: Settings, *, live: bool) -> list[Finding]:
    """All checks, or only those of the settings where no bot can be made of them."""
    try:
        bot = build(given)
    except (VaultError, PolicyFileError, ValueError, OSError) as error:
        found = list(settings.check(given))
        if not any(each.level is Level.WRONG for each in found):
            found = [wrong("doctor.no_bot", why=f"{type(error).__name__}: {error}")]
        return found
    try:
        found = checkup.examine(bot.services)
        if live:
            found += checkup.safely("mailbox", lambda: questions.tried(bot.services))
            found += checkup.safely("live", lambda: questions.ask(bot.services))
        return found
    finally:
        closed(bot)


def closed(bot: Bot) -> None:
    """Give everything back; it was never started."""
    bot.services.client.close()
    bot.store.close()


def env_file() -> Path:
    """`.env` where doctor runs."""
    return Path(str(Settings.model_config.get("env_file") or ""))


def names_given() -> Iterator[str]:
    """The names in the environment and in `.env`."""
    yield from os.environ
    file = env_file()
    if file.is_file():
        for line in file.read_text("utf-8", errors="replace").splitlines():
            name, equals, _ = line.strip().removeprefix("export ").partition("=")
            if equals and not name.startswith("#"):
                yield name.strip()
