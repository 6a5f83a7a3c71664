"""The soak in small: four of its steps in one profile each, and that it notices what it is there to notice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.sandbox.mail import utf7
from tests.bench import mailbox
from tests.bench.relay import Direction
from tests.servers.dovecot import Dovecot
from tests.soak.steps import STEPS, Ear, Heard, Then, step
from tests.soak.trials import ROOT, Run, Soak, Trial

SHORT = (
    ("a literal half sent", "exmail", 0),
    ("first stored, answer lost", "full", 40),
    ("a group of lines about to be committed", "exmail", 40),
    ("second copy removed, answer lost", "full", 0),
)


@pytest.fixture(scope="module")
def soak(dovecot: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Soak:
    return Soak(dovecot, tmp_path_factory.mktemp("soak"))


@pytest.mark.parametrize(("name", "profile", "distance"), SHORT)
def test_a_copy_killed_at_a_step_loses_and_doubles_nothing(soak: Soak, name: str, profile: str, distance: int) -> None:
    found = next(each for each in STEPS if each.name == name)
    kills = soak.tally.kills
    asyncio.run(soak.run(Trial(name, profile, distance, 1, found)))
    assert soak.tally.survived, soak.tally.words()
    assert not soak.tally.not_reached
    assert soak.tally.kills == kills + 1 + found.resumed


def test_what_it_is_there_to_notice(dovecot: Dovecot, tmp_path: Path) -> None:
    """A mail more and a mail less, in a copy that calls itself complete, end up in the tally."""
    soak = Soak(dovecot, tmp_path)
    trial = Trial("nothing", "full", 0, 1)
    target = dovecot.account()
    run = Run(soak, trial, soak.source.account, target)
    with mailbox.Raw(target) as connection:
        for folder, mails in soak.source.contents.items():
            connection.do(f'CREATE "{ROOT}/{utf7.encode(folder)}"'.encode())
            assert mails
        connection.do(f'APPEND "{ROOT}/INBOX" {{3+}}\r\none'.encode())
    soak.compare(trial, target, run)
    assert (soak.tally.lost, soak.tally.doubled) == (soak.source.mails, 1)
    assert not soak.tally.survived


@pytest.mark.parametrize(
    ("then", "passes"), [(Then.LOST, 4), (Then.ARRIVED, None), (Then.HALF, 4 + (len(b"two APPEND x") - 4) // 2)]
)
def test_an_ear_hears_words_that_come_in_pieces(then: Then, passes: int | None) -> None:
    ear = Ear(step("name", "target", "client", rb"APPEND ", 2, then), lambda late: None)
    assert ear.hear(b"one APP", b"") is None
    assert ear.hear(b"END x", b"one APP") is None
    assert (ear.times, ear.done) == (1, False)
    assert ear.hear(b"two APPEND x", b"one APPEND x") == passes
    assert ear.done


@pytest.mark.parametrize(("then", "passes"), [(Then.LOST, b"1"), (Then.ARRIVED, b"1 BODY[] 23"), (Then.HALF, b"1 BOD")])
def test_what_is_killed_half_way_has_no_hole(then: Then, passes: bytes) -> None:
    """What the relay takes away is followed by nothing: a mail with a hole in it would be stored as another mail."""

    async def work() -> bytes:
        there, back = Direction(0.0), Direction(0.0)
        end = Heard(there, back, Ear(step("name", "source", "server", rb" BODY", then=then), lambda late: None))
        for piece in (b"1 BODY[] 2", b"3"):
            end.data_received(piece)
        return b"".join(data for _, data in there.waiting)

    assert asyncio.run(work()) == passes
