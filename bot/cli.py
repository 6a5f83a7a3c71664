"""The `exmail-bot` command. Each subcommand imports what it needs, so that `--help` is quick."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from datetime import datetime

EXIT_USAGE = 2
GARBAGE_OBJECTS = 20_000  # made and not freed before a copy looks for garbage


def moment(typed: str) -> datetime:
    """A moment, in Shanghai's time unless it says otherwise; ValueError when it is none."""
    from zoneinfo import ZoneInfo

    given = datetime.fromisoformat(typed)
    return given if given.tzinfo else given.replace(tzinfo=ZoneInfo("Asia/Shanghai"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit code is 0 only when it did what it was asked."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["copy"]:  # its options are its own
        usual = gc.get_threshold()
        gc.set_threshold(GARBAGE_OBJECTS)  # neither modules nor mails on their way leave much that refers to itself
        try:
            from bot import copy_command

            gc.freeze()  # what is loaded now is no garbage later
            return copy_command.run(arguments[1:])
        finally:
            gc.unfreeze()
            gc.set_threshold(*usual)
    parser = argparse.ArgumentParser(
        "exmail-bot", description="A WeCom chat bot that backs up and hands over corporate mailboxes (Exmail)."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="run the bot with the settings of the environment")
    sandbox = commands.add_parser("sandbox", help="try the bot against a simulated WeCom and Exmail")
    sandbox.add_argument("--port", type=int, default=8800, help="of the page, on loopback (8800)")
    sandbox.add_argument("--no-browser", action="store_true", help="do not open the page")
    sandbox.add_argument(
        "--play",
        metavar="STORY",
        help="run a story without a page and check it: backup, domain, reassign, reminders, or a file.json",
    )
    sandbox.add_argument(
        "--begin", type=moment, metavar="MOMENT", help="what the clock shows at first, such as 2026-09-08T10:00 (now)"
    )
    doctor = commands.add_parser("doctor", help="check the settings and what they lead to, and say what to mend")
    doctor.add_argument("--report", action="store_true", help="as text for a ticket, with versions and without secrets")
    doctor.add_argument(
        "--live",
        action="store_true",
        help="also ask what only a real organisation tells; harmless",
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    commands.add_parser("copy", help="copy a mailbox into a folder of another, verified", add_help=False)
    audit = commands.add_parser("audit", help="the chain of decisions and effects")
    audit.add_argument("what", choices=["verify", "export"], help="check the chain, or print it as JSON lines")
    keys = commands.add_parser("keys", help="keys for secrets at rest")
    keys.add_argument(
        "what", choices=["new", "callbacks"],
        help="new: a key for BOT_SECRET_KEYS; callbacks: Token and EncodingAESKey of both callbacks, to enter there",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.command == "keys":
        from bot import vault

        print(vault.new_key() if options.what == "new" else "\n".join(vault.new_callbacks()))
        return 0
    if options.command == "sandbox":
        from bot.sandbox.run import run

        return run(port=options.port, browser=not options.no_browser, play=options.play, begins=options.begin)
    if options.command == "doctor":
        from bot import doctor_command

        return doctor_command.run(as_report=options.report, as_json=options.json, live=options.live)
    from bot import commands as engineer

    if options.command == "audit":
        return engineer.audit_verify() if options.what == "verify" else engineer.audit_export()
    return engineer.serve()
