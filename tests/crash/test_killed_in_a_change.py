"""Changes carried out by processes that are killed: WeCom is asked once, people are told once, and so is the audit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sqlalchemy import select

from storage.models import AuditEntry, Job, JobState
from tests.crash.world import World, twice_told, world

MADE = ("made, not stored", "public: act, not committed")
MINUTE = 61  # in which a member hears at most 25 messages
RENAMED = ("renamed, not stored", "rename: call, committed", "rename: alias, not committed")
SOON_ENDED = (
    ("public add help@ yan", "public", "public.readers"),
    ("public alias add help@ hilfe@", "public-change", "public.aliases"),
    ('group create all@ "All" with mei', "group", "group.created"),
    ("vip add ahing", "seats", "seats.changed"),
    ("freeze calvin@ because his phone was stolen", "freeze", "freeze.frozen"),
)  # done at WeCom, and killed right before it is written down


def agreed(here: World, line: str, kind: str, points: tuple[str, ...], then: str) -> None:
    """Asked for, and the yes is carried out in lives that end at the points."""
    here.say("mei", line)
    here.wait("it is asked", lambda: here.live_cards("mei", "confirm:") == 1)
    here.wait_settled()
    with here.store.begin() as tx:
        job = max(tx.session.scalars(select(Job.id).where(Job.kind == kind)))
    here.through(points, lambda: here.press("mei", f"confirm:{job}"), then=then)
    here.wait("it is over", lambda: state(here, job) is not JobState.DUE)
    here.wait_settled()
    assert state(here, job) is JobState.DONE, here.heard("mei")[-1]


def killed_in(kind: str) -> str:
    """The last moment of an act: WeCom has done it, the transaction that says so is not committed."""
    return f"{kind}: act, not committed"


def state(here: World, job: int) -> JobState:
    with here.store.begin() as tx:
        return tx.jobs.get(job).state


def test_a_change_outlives_every_kill(tmp_path: Path) -> None:
    with world(tmp_path / "data") as here:
        here.start(MADE[0])
        here.wait_ready()
        agreed(here, 'public create help@ "Help" for ahing', "public", MADE, RENAMED[0])
        agreed(here, "rename jun@ to lijun@ with none", "rename", RENAMED, killed_in(SOON_ENDED[0][1]))
        for (line, kind, _), then in zip(SOON_ENDED, [*SOON_ENDED[1:], None], strict=True):
            here.advance(MINUTE)
            agreed(here, line, kind, (killed_in(kind),), killed_in(then[1]) if then is not None else "never")
        assert here.calls("exmail/publicmail/create") == 1
        assert [each.address for each in here.organisation.public.values()].count("help@corp.test") == 1
        jun = here.organisation.member("jun")
        assert jun is not None
        assert (jun.address, jun.aliases) == ("lijun@corp.test", ["jun@corp.test"])
        with here.store.begin() as tx:
            whats = Counter(each.what for each in tx.session.scalars(select(AuditEntry)))
            assert tx.audit.broken_at() is None
        for what in (
            "public.created",
            "rename.agreed",
            "rename.done",
            "alias.added",
            *(what for *_, what in SOON_ENDED),
        ):
            assert whats[what] == 1, (what, whats)
        assert not twice_told(here)
