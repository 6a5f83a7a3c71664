"""The flow of a copy when something dies, rests, waits or is asked to stop."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from bot import copy_command
from bot.mail import copy, prepare, reconcile, rounds, settling, telling
from bot.mail.copy import Limits
from bot.mail.errors import ConnectionLost, NotReachable
from bot.mail.notes import NoteKind
from bot.mail.outcome import Progress
from bot.mail.plan import Filter, make_plan
from bot.mail.stream import STREAM_HELD_BYTES
from bot.mail.survey import list_mails
from bot.mail.verify import verify_copy
from bot.mail.work import GivenUp
from storage.ledger import FORGOTTEN_SECONDS, SqlLedger
from storage.ledger_file import alone
from tests.mail.middle import Middle
from tests.mail.test_exmail import MAILS, NOW, ROOT, World, world
from tests.mail.test_faults import Scene, once
from tests.servers.dovecot import Dovecot


def test_what_a_killed_run_still_stores_is_seen(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lands when the next run has long looked: the last look comes late enough, and nothing is left double."""
    monkeypatch.setattr(settling, "LAST_LOOK_SECONDS", 2.5)

    async def work() -> None:
        async with world(ledger) as here:
            await here.copy()
            ledger.begin_run()  # and killed

            async def lands() -> None:
                await asyncio.sleep(2.0)
                mail = next(iter(here.target.folders[f"{ROOT}/INBOX"].messages.values()))
                here.target.put(f"{ROOT}/INBOX", mail.raw, mail.date, mail.flags)

            outcome, _ = await asyncio.gather(here.copy(silence=10), lands())
            assert outcome.finished
            assert outcome.removed == 1
            assert here.copied() == here.expected()
            assert ledger.begin_run(), "the wait is over, also for the next run"

    asyncio.run(work())


def landed(here: World) -> None:
    """The first mail of the inbox once more, as a dead session stores it."""
    mail = next(iter(here.target.folders[f"{ROOT}/INBOX"].messages.values()))
    here.target.put(f"{ROOT}/INBOX", mail.raw, mail.date, mail.flags)


@pytest.mark.parametrize("killed", [True, False])
def test_what_lands_after_the_last_look_is_seen_by_the_comparison(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """Nobody can say how late a starved server is: the comparison looks once more, after a death only."""
    compare = copy.check_over

    def late(*sides: Any, **more: Any) -> Any:
        if not late_ones:
            landed(here_now[0])
            late_ones.append(1)
        return compare(*sides, **more)

    late_ones: list[int] = []
    here_now: list[World] = []
    monkeypatch.setattr(copy, "check_over", late)
    monkeypatch.setattr(settling, "LAST_LOOK_SECONDS", 0.1)

    async def work() -> None:
        async with world(ledger) as here:
            here_now.append(here)
            if killed:
                ledger.begin_run()
            outcome, found = await begun(here, Limits(silence_seconds=5)).run(verify=True)
            assert found is not None
            assert found.ok
            assert (outcome.removed, here.copied() == here.expected()) == ((1, True) if killed else (0, False))

    asyncio.run(work())


def test_what_lands_after_everything_is_seen_by_the_next_run(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run after the one that saw the death, however late; and then no more: what comes later is a person's own."""
    monkeypatch.setattr(settling, "LAST_LOOK_SECONDS", 0.1)
    now = [1_000_000.0]
    ledger._now = lambda: now[0]

    async def work() -> None:
        async with world(ledger) as here:
            ledger.begin_run()
            assert (await here.copy()).finished
            landed(here)
            check = await verify_copy(*here.accounts, ledger=ledger)
            assert (check.ok, check.unsettled) == (True, 1), "the bot goes back to copying"
            now[0] += 3 * FORGOTTEN_SECONDS
            assert (await here.copy()).removed == 1
            landed(here)
            assert (await verify_copy(*here.accounts, ledger=ledger)).unsettled == 0
            assert (await here.copy()).removed == 0

    asyncio.run(work())


def begun(here: World, limits: Limits, **more: Any) -> copy.Copy:
    """A copy whose insides can be looked at."""
    source, target = here.accounts
    told: dict[str, Any] = {"on_progress": None, "should_stop": lambda: False, **more}
    return copy.Copy(
        source,
        target,
        ROOT,
        Filter(),
        here.ledger,
        limits,
        told["on_progress"],
        told["should_stop"],
        (),
        None,
        no_pause,
        on_fewer=told.get("on_fewer", lambda connections: None),
    )


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


async def reached(what: Callable[[], bool]) -> None:
    """Bounded by the timeout of `world`."""
    while not what():
        await asyncio.sleep(0.01)


def test_a_rested_connection_takes_over(ledger: SqlLedger) -> None:
    """Two to the target, one is rested, the other is lost: the rested one goes on."""

    async def work() -> None:
        async with world(ledger) as here:
            for number in range(200):
                here.source.put("INBOX", b"Subject: %d\r\n\r\n" % number + b"x" * 5000, NOW, [])
            limits = Limits(connections=2, silence_seconds=5, mails_per_second=200, budget_bytes=50_000)
            going = begun(here, limits)
            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                run = group.create_task(going.run())
                await reached(lambda: going.course.stored > 20)
                passing = going.rounds.passing
                assert passing is not None
                going.target_side.governor.no_more(1)
                await reached(lambda: len(passing._writing) == 1)
                going.target_side.live[0].fail(ConnectionLost("cut"))
            assert run.result()[0].finished
            assert here.copied() == here.expected()

    asyncio.run(work())


def test_a_connection_that_rests_for_long_is_logged_out(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """And who lends connections hears that fewer do; the copy goes on with those."""
    monkeypatch.setattr(rounds, "REST_SECONDS", 0.3)
    fewer: list[int] = []

    async def work() -> None:
        async with world(ledger) as here:
            for number in range(200):
                here.source.put("INBOX", b"Subject: %d\r\n\r\n" % number + b"x" * 5000, NOW, [])
            limits = Limits(connections=3, silence_seconds=5, mails_per_second=200, budget_bytes=50_000)
            going = begun(here, limits, on_fewer=fewer.append)
            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                run = group.create_task(going.run())
                await reached(lambda: going.course.stored > 20)
                before = list(going.target_side.live)
                going.target_side.governor.refused(0.0, 3)  # half of them, for good
                await reached(lambda: bool(fewer))
                assert not run.done()
                assert [each.lost is None for each in before] == [True, False, False]
                assert going.target_side.live == before[:1]
            assert run.result()[0].finished
            assert (fewer, going.target_side.logins) == ([1], 3)
            assert here.copied() == here.expected()

    asyncio.run(work())


def test_who_may_stop_it_is_asked_from_the_first_second_on(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while a mailbox is listed: who is asked keeps leases."""
    asked: list[float] = []

    async def slow(*args: Any, **more: Any) -> Any:
        before = len(asked)
        await reached(lambda: len(asked) >= before + 3)
        return await list_mails(*args, **more)

    monkeypatch.setattr(prepare, "list_mails", slow)
    monkeypatch.setattr(reconcile, "list_mails", slow)

    def should_stop() -> bool:
        asked.append(time.monotonic())
        return False

    async def work() -> None:
        async with world(ledger) as here, asyncio.timeout(20):
            for _ in range(2):
                outcome, _found = await begun(here, Limits(silence_seconds=5), should_stop=should_stop).run()
                assert outcome.finished

    asyncio.run(work())


@pytest.mark.parametrize("what", ["copy", "verify", "plan"])
def test_who_gives_up_is_heard_while_a_mailbox_is_looked_at(ledger: SqlLedger, what: str) -> None:
    """A listing may take long, and a server may hang; what was begun goes on another time."""

    async def work() -> None:
        async with world(ledger) as here, asyncio.timeout(20):
            source, target = here.accounts
            here.source.faults.arm("hang", times=1, command="EXAMINE")
            asked: list[float] = []

            def give_up() -> bool:
                asked.append(time.monotonic())
                return len(asked) > 3

            works: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
                "copy": lambda: copy.copy_mail(
                    source, target, into=ROOT, filter=Filter(), ledger=ledger, give_up=give_up
                ),
                "verify": lambda: verify_copy(source, target, ledger=ledger, give_up=give_up),
                "plan": lambda: make_plan(source, target, into=ROOT, filter=Filter(), now=NOW, give_up=give_up),
            }
            with pytest.raises(GivenUp):
                await works[what]()
            assert (await here.copy()).finished
            assert here.copied() == here.expected()

    asyncio.run(work())


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_server_that_restarts_at_the_first_login_is_waited_for(ledger: SqlLedger, side: str) -> None:
    """It was there; one that never was is told at once."""

    async def work() -> None:
        async with world(ledger) as here:
            box = here.source if side == "source" else here.target
            box.faults.arm("drop_on_command", times=1)
            assert (await here.copy()).finished
            assert here.pauses == [1.0]
            here.accounts[side == "target"] = dataclasses.replace(here.accounts[0], port=1)
            with pytest.raises(NotReachable):
                await here.copy()
            assert here.pauses == [1.0]

    asyncio.run(work())


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_plan_outlives_its_connections(ledger: SqlLedger, side: str) -> None:
    """Closed in the middle twice; and a folder that ends the session is named in it, not the end of it."""

    async def work() -> None:
        async with world(ledger) as here:
            source, target = here.accounts
            box = here.source if side == "source" else here.target
            box.faults.arm("drop_on_command", times=2, after=4)
            box.add_folder("其他文件夹/locked").locked = True
            box.put("其他文件夹/locked", b"Subject: x\r\n\r\n", NOW)
            plan = await make_plan(source, target, into=ROOT, filter=Filter(), now=NOW, pause=here.pause)
            assert plan.messages == MAILS
            unreadable = [each.folder for each in plan.notes if each.kind is NoteKind.FOLDER_UNREADABLE]
            assert unreadable == (["其他文件夹/locked"] if side == "source" else [])

    asyncio.run(work())


def test_a_mail_is_measured_also_while_no_connection_is_left(ledger: SqlLedger) -> None:
    """What the target takes was asked at the beginning."""

    async def work() -> None:
        async with world(ledger) as here:
            here.target.faults["appendlimit"] = True
            going = begun(here, Limits(silence_seconds=5))
            await going.run()
            assert not going.target_side.live
            assert going.rounds.supply.append_limit
            assert not list(going.rounds.supply.batches())

    asyncio.run(work())


def test_a_group_that_was_refused_and_stored_is_not_sent_again(dovecot: Dovecot, ledger: SqlLedger) -> None:
    """All or nothing, says RFC 3502; but who knows every server?"""
    scene = Scene(dovecot, ledger, "full")
    scene.fill(per_folder=40)
    changed = 0

    def on_answer(data: bytes) -> bytes:
        nonlocal changed
        if changed:
            return data
        data, changed = re.subn(rb"OK \[APPENDUID \d+ \d+:\d+\][^\r]*", b"NO Internal failure", data, count=1)
        return data

    scene.target_side.on_answer = on_answer
    outcome = scene.copy()
    assert changed
    assert outcome.finished
    assert outcome.adopted
    scene.check()


def test_a_slow_pace_breaks_no_connection(ledger: SqlLedger) -> None:
    """A mail's turn comes later than a server is silent: the wait is before its command."""

    async def work() -> None:
        async with world(ledger) as here:
            for number in range(3):
                here.source.put("INBOX", b"Subject: %d\r\n\r\n" % number + b"x" * 30_000, NOW, [])
            outcome, _ = await begun(here, Limits(silence_seconds=1, bytes_per_second=20_000)).run()
            assert outcome.finished
            assert outcome.reconnects == 0
            assert here.copied() == here.expected()

    asyncio.run(work())


def test_who_waits_for_a_turn_hears_that_it_is_over(ledger: SqlLedger) -> None:
    async def work() -> None:
        async with world(ledger) as here:
            limits = Limits(silence_seconds=60, mails_per_second=0.02)
            going = begun(here, limits, should_stop=lambda: going.course.stored > 0)
            async with asyncio.timeout(15):
                outcome, _ = await going.run()
            assert not outcome.finished

    asyncio.run(work())


def test_stored_mails_are_not_read_to_ask_whether_there_are_any(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without UIDPLUS that is all of them, and there may be half a million."""

    def unplaced(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(SqlLedger, "unplaced", unplaced)

    async def work() -> None:
        async with world(ledger) as here:
            here.target.faults["no_appenduid"] = True
            assert (await here.copy()).finished
            assert here.copied() == here.expected()

    asyncio.run(work())


def test_two_runs_on_one_ledger_are_one_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second says so and touches nothing; a run after the first one's end is welcome."""
    monkeypatch.setenv("SOURCE_PASSWORD", "x")
    monkeypatch.setenv("TARGET_PASSWORD", "x")
    ledger = tmp_path / "ledger.sqlite"
    where = [f"--{side}-{what}" for side in ("source", "target") for what in ("host=127.0.0.1", "port=1", "user=a@b")]
    line = [*where, "--into=Backup", "--no-tls", "--json", f"--ledger={ledger}"]
    with alone(ledger) as free:
        assert free
        assert copy_command.run(line) == copy_command.FAILED
        assert json.loads(capsys.readouterr().out)["error"] == "LedgerInUse"
        assert not ledger.exists()
    assert copy_command.run(line) == copy_command.FAILED
    assert json.loads(capsys.readouterr().out)["error"] != "LedgerInUse"


def test_a_pause_that_is_asked_for_is_made_also_between_passes(ledger: SqlLedger) -> None:
    """The source ends the line while it is listed, and says how long it wants to be left alone."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def work() -> None:
        async with world(ledger) as here:
            busy = Middle(here.server.port)
            busy.on_command = once(b"LIST", b"* BYE Request is throttled. Suggested Backoff Time: 20000 milliseconds")
            async with busy.running():
                here.accounts[0] = dataclasses.replace(here.accounts[0], port=busy.port)
                going = begun(here, Limits(silence_seconds=5))
                going.pause = pause
                assert (await going.run())[0].finished

    asyncio.run(work())
    assert len(pauses) == 1
    assert 19 < pauses[0] <= 20


def test_progress_is_not_counted_all_the_time(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting takes long when there are many: what came since is added."""
    counted = 0

    def progress_of(*_: object) -> Progress:
        nonlocal counted
        counted += 1
        time.sleep(0.1)
        return Progress(
            done=10, planned=5, refused=0, size_bytes=1000, planned_bytes=500, folder="", seconds=0.0, stored=0
        )

    monkeypatch.setattr(telling, "progress_of", progress_of)
    monkeypatch.setattr(telling, "TELL_SECONDS", 0.0)
    told: list[Progress] = []

    async def work() -> None:
        async with world(ledger) as here:
            going = begun(here, Limits(), on_progress=told.append)
            course = going.course
            course.jobs = []
            going.telling.tell()
            course.stored, course.size_bytes, course.refused = 2, 200, 1
            going.telling.tell()

    asyncio.run(work())
    assert counted == 1
    assert (told[1].done, told[1].planned, told[1].refused) == (12, 2, 1)
    assert (told[1].size_bytes, told[1].planned_bytes, told[1].stored) == (1200, 300, 2)


@pytest.mark.parametrize("size", [100_000, 700_000])
def test_a_source_that_lies_about_sizes_does_not_fill_the_memory(ledger: SqlLedger, size: int) -> None:
    """RFC822.SIZE 0: what is really there counts, whether it is held whole or passed on; and all of it arrives."""
    mails, most = 40 if size < 512 * 1024 else 12, 0

    async def work() -> None:
        nonlocal most
        async with world(ledger) as here:
            for number in range(mails):
                here.source.put("INBOX", b"Subject: %d\r\n\r\n" % number + b"x" * size, NOW, [])
            middle = Middle(here.server.port)
            middle.on_answer = lambda data: re.sub(rb"RFC822\.SIZE \d+", b"RFC822.SIZE 0", data)
            async with middle.running():
                here.accounts[0] = dataclasses.replace(here.accounts[0], port=middle.port)
                going = begun(here, Limits(silence_seconds=10, budget_bytes=300_000, mails_per_second=60))
                run = asyncio.create_task(going.run())
                while not run.done():
                    await asyncio.sleep(0.005)
                    passing = going.rounds.passing
                    items = list(passing.channel._items) if passing is not None else []
                    most = max(most, sum(min(each.read_bytes, STREAM_HELD_BYTES) for each in items))
                assert (await run)[0].finished
            assert here.copied() == here.expected()

    asyncio.run(work())
    assert most <= 300_000 + 3 * size, f"{most:,} bytes were held"
