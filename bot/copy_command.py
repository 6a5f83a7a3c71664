"""`exmail-bot copy`: the bot's own copy engine from one mailbox to another, without the bot."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import UpstreamError
from bot.mail.account import MailAccount
from bot.mail.copy import CopyOutcome, Limits, Progress, copy_and_verify
from bot.mail.outcome import Filter
from bot.mail.pace import Hours
from bot.mail.verify import Verification, verify_copy
from storage.ledger import SqlHosts, SqlLedger
from storage.ledger_file import LedgerFile, alone

if TYPE_CHECKING:
    from bot.mail.plan import Plan

VERIFIED, FAILED, NOT_VERIFIED = 0, 1, 3
CONNECTIONS_MAX = 4
TELL_SECONDS = 2.0

HELP = """
Copies the mail of one mailbox into a folder of another: byte for byte, with flags and dates, each mail once.
Passwords come from the environment: SOURCE_PASSWORD and TARGET_PASSWORD.
With --ledger FILE an interrupted copy goes on where it was, and a second run copies only what is new; with --verify
as well, months later, nothing is copied: both mailboxes are compared with what the ledger says was copied, the
target alone where SOURCE_PASSWORD is not set.
Exit status: 0 everything copied and verified, 1 it failed, 2 wrong arguments, 3 not all was copied or verified.
"""


def arguments() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser("exmail-bot copy", description=HELP, formatter_class=argparse.RawTextHelpFormatter)
    for side in ("source", "target"):
        parser.add_argument(f"--{side}-host", required=True, metavar="HOST")
        parser.add_argument(f"--{side}-port", type=int, metavar="PORT", help="default 993, without TLS 143")
        parser.add_argument(f"--{side}-user", required=True, metavar="USER")
    parser.add_argument("--into", required=True, metavar="FOLDER", help="source folder X lands at FOLDER/X")
    parser.add_argument("--no-tls", action="store_true", help="plain connections; for tests on this machine only")
    parser.add_argument("--ca-file", metavar="FILE", help="certificates to trust instead of the system's")
    parser.add_argument("--dry-run", action="store_true", help="show what would be copied, change nothing")
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="remember what was copied; resumes")
    parser.add_argument("--verify", action="store_true", help="copy nothing, compare what that ledger says was copied")
    parser.add_argument(
        "--connections", type=int, metavar="N", help="to the target; default: as many as help, at most 4"
    )
    parser.add_argument("--source-connections", type=int, default=1, metavar="N", help="default 1")
    parser.add_argument(
        "--since", type=date.fromisoformat, metavar="DATE", help="only mail of that day (2024-01-31) on"
    )
    parser.add_argument("--folders", default="", metavar="A,B", help="only these folders and what is below them")
    parser.add_argument("--without-junk", action="store_true", help="leave out the junk folder")
    parser.add_argument("--mails-per-second", type=float, metavar="N", help="not more than that")
    parser.add_argument("--bytes-per-second", type=float, metavar="N", help="not more than that")
    parser.add_argument("--hours", type=Hours.parse, metavar="22:00-06:00", help="copy only then, wait meanwhile")
    parser.add_argument(
        "--wrap-refused",
        action="store_true",
        help="mail the target refuses for its bytes goes as the attachment of a small mail, original.eml",
    )
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    return parser


def run(argv: list[str]) -> int:
    """The command; gives the exit status. Writes the result to stdout, progress and errors to stderr."""
    parser = arguments()
    options = parser.parse_args(argv)
    if options.verify and (options.ledger is None or options.dry_run):
        parser.error("--verify needs the --ledger of the copy, and is no --dry-run")
    passwords = {side: os.environ.get(f"{side}_PASSWORD") for side in ("SOURCE", "TARGET")}
    needed = ["TARGET"] if options.verify else ["SOURCE", "TARGET"]
    if missing := [f"{side}_PASSWORD" for side in needed if passwords[side] is None]:
        print(f"Set {' and '.join(missing)} in the environment.", file=sys.stderr)
        return 2
    source = account(options, "source", passwords["SOURCE"] or "")
    target = account(options, "target", passwords["TARGET"] or "")
    try:
        return asyncio.run(work(options, source, target, both=passwords["SOURCE"] is not None))
    except KeyboardInterrupt:
        print("Stopped. With --ledger, the same command goes on from here.", file=sys.stderr)
        return FAILED
    except UpstreamError as error:
        words = error.words()
        tell(options, {"ok": False, "error": type(error).__name__, "text": str(error)}, str(words or error))
        return FAILED


def account(options: argparse.Namespace, side: str, password: str) -> MailAccount:
    """One side of the copy."""
    named = vars(options)
    return MailAccount(
        host=named[f"{side}_host"],
        port=named[f"{side}_port"] or (143 if options.no_tls else 993),
        user=named[f"{side}_user"],
        password=password,
        tls=not options.no_tls,
        ca_file=options.ca_file,
    )


async def work(options: argparse.Namespace, source: MailAccount, target: MailAccount, *, both: bool) -> int:
    """Plan, or copy and verify, or verify alone: the target without the source unless `both`."""
    meant = Filter(
        since=options.since,
        folders=tuple(name.strip() for name in options.folders.split(",") if name.strip()),
        without_junk=options.without_junk,
    )
    if options.dry_run:
        from bot.mail.plan import make_plan  # here: a copy does not need it

        plan = await make_plan(source, target, into=options.into, filter=meant, now=datetime.now(UTC))
        tell(options, {"ok": True, "dry_run": True, **plan_values(plan)}, plan_text(plan))
        return VERIFIED
    with alone(options.ledger) as free:
        if not free:
            text = (
                f"Another copy is under way with {options.ledger}. Nothing was done; run it again when that has ended."
            )
            tell(options, {"ok": False, "error": "LedgerInUse", "text": text}, text)
            return FAILED
        if options.verify:
            return await verified(options, source, target, meant, both=both)
        return await copied(options, source, target, meant)


async def copied(options: argparse.Namespace, source: MailAccount, target: MailAccount, meant: Filter) -> int:
    """Copy and verify, as the only one with this ledger."""
    file = LedgerFile(options.ledger)
    try:
        ledger = SqlLedger(file, key(source), key(target), options.into)
        ledger.retry_refused()  # a person asks again
        limits = Limits(
            connections=options.connections or CONNECTIONS_MAX,
            adaptive=options.connections is None,
            source_connections=options.source_connections,
            mails_per_second=options.mails_per_second,
            bytes_per_second=options.bytes_per_second,
            hours=options.hours,
            wrap_refused=options.wrap_refused,
        )
        while True:
            outcome, check = await copy_and_verify(
                source,
                target,
                into=options.into,
                filter=meant,
                ledger=ledger,
                limits=limits,
                on_progress=None if options.json else Teller(),
                hosts=SqlHosts(file),
            )
            if outcome.finished or not outcome.waits_seconds:
                break
            print(f"Outside of --hours: waiting for {outcome.waits_seconds / 3600:.1f} hours.", file=sys.stderr)
            await asyncio.sleep(outcome.waits_seconds)
    finally:
        file.close()
    complete = outcome.finished and check.ok and not outcome.refused
    complete = complete and not any(note.kind in ("folder_refused", "folder_unreadable") for note in outcome.notes)
    tell(options, {"ok": complete, **result_values(outcome, check)}, result_text(outcome, check))
    return VERIFIED if complete else NOT_VERIFIED


async def verified(
    options: argparse.Namespace, source: MailAccount, target: MailAccount, meant: Filter, *, both: bool
) -> int:
    """Compare with what the ledger says was copied; nothing copied is nothing verified."""
    if options.ledger.exists():
        file = LedgerFile(options.ledger)
        try:
            ledger = SqlLedger(file, key(source), key(target), options.into)
            if any(True for _ in ledger.folders()):
                check = await verify_copy(source if both else None, target, ledger=ledger, filter=meant)
                tell(options, {"ok": check.ok, **check_values(check)}, check_text(check, both=both))
                return VERIFIED if check.ok else NOT_VERIFIED
        finally:
            file.close()
    text = (
        f"{options.ledger} knows of no copy from {key(source)} into {options.into} of {key(target)}. "
        "Nothing was compared: give the ledger, the mailboxes and --into as they were given to the copy."
    )
    tell(options, {"ok": False, "error": "NothingCopied", "text": text}, text)
    return FAILED


def key(account: MailAccount) -> str:
    """What the ledger calls a mailbox."""
    return f"{account.user}@{account.host}:{account.port}"


class Teller:
    """Progress on stderr, now and then."""

    def __init__(self) -> None:
        self.told_at = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self.told_at < TELL_SECONDS:
            return
        self.told_at = time.monotonic()
        rate = progress.stored / progress.seconds if progress.seconds else 0
        total = progress.done + progress.planned
        print(f"{progress.done} of {total} mails, {rate:.0f} a second, {progress.folder}", file=sys.stderr)


def tell(options: argparse.Namespace, values: dict[str, Any], text: str) -> None:
    """The result, for a program or for a person."""
    print(json.dumps(values, ensure_ascii=False, default=str) if options.json else text)


def plan_values(plan: Plan) -> dict[str, Any]:
    return {
        "messages": plan.messages,
        "size_bytes": plan.size_bytes,
        "oldest": plan.oldest,
        "newest": plan.newest,
        "target_size_bytes": plan.target_size_bytes,
        "target_quota_bytes": plan.target_quota_bytes,
        "folders": [asdict(each) for each in plan.folders],
        "notes": [{"kind": each.kind, "folder": each.folder, "text": str(each.words())} for each in plan.notes],
    }


def plan_text(plan: Plan) -> str:
    lines = [f"{each.name} -> {each.target}: {each.messages} mails, {each.size_bytes} bytes" for each in plan.folders]
    lines += [str(note.words()) for note in plan.notes]
    span = f", {plan.oldest:%Y-%m-%d} to {plan.newest:%Y-%m-%d}" if plan.oldest and plan.newest else ""
    return "\n".join([*lines, f"{plan.messages} mails, {plan.size_bytes} bytes in all{span}. Nothing was copied."])


def result_values(outcome: CopyOutcome, check: Verification) -> dict[str, Any]:
    return {
        "finished": outcome.finished,
        "stored": outcome.stored,
        "already": outcome.already,
        "adopted": outcome.adopted,
        "removed": outcome.removed,
        "reconnects": outcome.reconnects,
        "size_bytes": outcome.size_bytes,
        "seconds": round(outcome.seconds, 3),
        "connections": outcome.connections,
        "refused": [asdict(each) for each in outcome.refused],
        "wrapped": [asdict(each) for each in outcome.wrapped],
        "folders": [asdict(each) for each in outcome.folders],
        "notes": [{"kind": each.kind, "folder": each.folder, "text": str(each.words())} for each in outcome.notes],
        **check_values(check),
    }


def check_values(check: Verification) -> dict[str, Any]:
    return {
        "verified": check.ok,
        "hashed": check.hashed,
        "checks": [asdict(each) for each in check.folders],
        "differences": check.differences,
    }


def result_text(outcome: CopyOutcome, check: Verification) -> str:
    lines = [f"{each.name} -> {each.target}: {each.stored} mails" for each in outcome.folders]
    lines += [str(note.words()) for note in outcome.notes]
    lines += [f"Refused: {each.folder}, {each.date}, {each.subject}: {each.words()}" for each in outcome.refused]
    lines += [f"Attached: {each.folder}, {each.date}, {each.subject}: {each.kept_words()}" for each in outcome.wrapped]
    lines += [f"Difference: {each}" for each in check.differences]
    rate = outcome.stored / outcome.seconds if outcome.seconds else 0
    lines.append(
        f"{outcome.stored} copied ({outcome.size_bytes} bytes in {outcome.seconds:.1f} s, {rate:.0f} a second), "
        f"{outcome.already + outcome.adopted} already there, {len(outcome.refused)} refused. "
        + (f"Verified, {check.hashed} of them byte for byte." if check.ok else "NOT verified.")
    )
    return "\n".join(lines)


def check_text(check: Verification, *, both: bool) -> str:
    lines = [f"{each.name} -> {each.target}: {each.found} of {each.stored} mails there" for each in check.folders]
    lines += [f"Difference: {each}" for each in check.differences]
    looked = "both mailboxes" if both else "the target (SOURCE_PASSWORD is not set: the source was not looked at)"
    found = sum(each.found for each in check.folders)
    lines.append(
        f"Compared with {looked}: {found} mails, {check.hashed} of them byte for byte. "
        + ("All is as it was copied." if check.ok else "NOT as it was copied.")
    )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """For `python -m bot.copy_command`."""
    return run(list(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
