"""A public mailbox is made and a member's renamed by processes that are killed: WeCom is asked once for each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sqlalchemy import select

from storage.models import AuditEntry, Job, JobState
from tests.crash.world import World, twice_told, world

MADE = ("made, not stored", "public: act, not committed")
RENAMED = ("renamed, not stored", "rename: call, committed", "rename: alias, not committed")


def agreed(here: World, line: str, kind: str, points: tuple[str, ...], then: str) -> None:
    """Asked for, and the yes is carried out in lives that end at the points."""
    here.say("mei", line)
    here.wait("it is asked", lambda: here.live_cards("mei", "confirm:") == 1)
    here.wait_settled()
    with here.store.begin() as tx:
        (job,) = tx.session.scalars(select(Job.id).where(Job.kind == kind))
    here.through(points, lambda: here.press("mei", f"confirm:{job}"), then=then)
    here.wait("it is over", lambda: state(here, job) is not JobState.DUE)
    here.wait_settled()
    assert state(here, job) is JobState.DONE, here.heard("mei")[-1]


def state(here: World, job: int) -> JobState:
    with here.store.begin() as tx:
        return tx.jobs.get(job).state


def test_a_change_outlives_every_kill(tmp_path: Path) -> None:
    with world(tmp_path / "data") as here:
        here.start(MADE[0])
        here.wait_ready()
        agreed(here, 'public create help@ "Help" for ahing', "public", MADE, RENAMED[0])
        agreed(here, "rename jun@ to lijun@ with none", "rename", RENAMED, "never")
        assert here.calls("exmail/publicmail/create") == 1
        assert [each.address for each in here.organisation.public.values()].count("help@corp.test") == 1
        jun = here.organisation.member("jun")
        assert jun is not None
        assert (jun.address, jun.aliases) == ("lijun@corp.test", ["jun@corp.test"])
        with here.store.begin() as tx:
            whats = Counter(each.what for each in tx.session.scalars(select(AuditEntry)))
            assert tx.audit.broken_at() is None
        for what in ("public.created", "rename.agreed", "rename.done", "alias.added"):
            assert whats[what] == 1, (what, whats)
        assert not twice_told(here)
