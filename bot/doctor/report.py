"""Findings as a terminal, a program or a ticket wants them."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bot.doctor.findings import Finding, Level
from bot.words import LANGUAGES, Language, say

MARKS = {Level.OK: "ok     ", Level.WARNING: "warning", Level.WRONG: "WRONG  "}
PACKAGES = ("exmail-bot", "dbos", "fastapi", "httpx", "sqlalchemy", "uvicorn", "wechatpy")


def as_text(findings: Sequence[Finding], language: Language) -> str:
    """A line each, what is wrong last, where a terminal's reader looks; then the sum."""
    order = {Level.OK: 0, Level.WARNING: 1, Level.WRONG: 2}
    sorted_ = sorted(findings, key=lambda each: order[each.level])
    told = [f"{MARKS[each.level]}  {each.words.text(language)}" for each in sorted_]
    return "\n".join([*told, "", summary(findings).text(language)])


def summary(findings: Iterable[Finding]) -> Any:
    """How many of each."""
    levels = [each.level for each in findings]
    wrongs, warnings, fine = (levels.count(each) for each in (Level.WRONG, Level.WARNING, Level.OK))
    if wrongs:
        return say("doctor.sum_wrong", wrongs=wrongs, warnings=warnings, fine=fine)
    if warnings:
        return say("doctor.sum_warnings", warnings=warnings, fine=fine)
    return say("doctor.sum_fine", fine=fine)


def as_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """For programs."""
    return [
        {
            "check": each.check,
            "level": each.level.value,
            **{language: each.words.text(language) for language in LANGUAGES},
        }
        for each in findings
    ]


def ticket(findings: Sequence[Finding], presence: Mapping[str, str]) -> str:
    """For whoever helps: versions, which settings are there, and the findings; no secret."""
    told = ["exmail-bot doctor --report", "", "versions"]
    told += [f"  {name} {version_of(name)}" for name in PACKAGES]
    told += [f"  Python {sys.version.split()[0]}, {platform.system()} {platform.machine()}", "", "settings"]
    told += [f"  {name}: {state}" for name, state in sorted(presence.items())]
    told += ["", "findings"]
    told += [f"  {MARKS[each.level]}  {each.check}: {each.words.text('en')}" for each in findings]
    return "\n".join(told)


def version_of(package: str) -> str:
    """A package's version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"
