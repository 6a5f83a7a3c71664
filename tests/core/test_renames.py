"""A member with another userid is the same member, also where JSON names him; one seen by two at once is one row."""

from __future__ import annotations

import threading
from datetime import timedelta

from storage.approvals import fingerprint
from storage.models import BinSource, Handover, JobState
from storage.store import Store

FACTS = {"mailbox": "ahing@corp.test", "owner": "ahing", "new_owner": "calvin", "readers": ["ahing", "calvin", "tao"]}


def test_what_is_under_way_follows(store: Store) -> None:
    """Jobs, the question with its fingerprint, the console step, the book; reasons and folders stay as typed."""
    with store.begin() as tx:
        for userid in ("ahing", "calvin", "mei", "ling"):
            tx.members.saw(userid, name=userid.upper())
        params = {
            "new_owner": "Calvin", "reason": "calvin", "folders": ["calvin"],
            "source": {"address": "calvin@corp.test", "userid": "calvin"},
        }  # fmt: skip
        job = tx.jobs.add("reassign", asked_by="mei", params=params, state=JobState.WAITING)
        tx.jobs.put(job, facts=FACTS, owner="ahing", acknowledged_by="calvin", refused_sides={"target": "calvin"})
        at_work = tx.jobs.add("backup", asked_by="calvin", params={"target": {"userid": "calvin"}})
        tx.jobs.put(at_work, page_for={"source": "calvin", "target": "mei"})
        tx.passwords.keep(at_work.id, "source", given_by="calvin", ciphertext=b"x")
        other = tx.jobs.add("backup", asked_by="mei", params={"target": {"userid": "calvinist"}})
        asked = tx.approvals.open(
            action="reassign", requirement="manager", job_id=job.id, question={"key": "lookup.nothing", "values": {}},
            facts=FACTS, fingerprint=fingerprint(FACTS), reason="calvin", asked_by="mei", approvers=["ling", "calvin"],
        )  # fmt: skip
        handover = tx.handovers.open(
            job_id=job.id, stage="assign", check_job_id=at_work.id, asked_of="calvin", title={}, why={}, how=[],
            values=[], check="owner_is", args={"address": "ahing@corp.test", "userid": "calvin"}, looks=[], before=None,
            remind_at=tx.now, deadline_at=tx.now + timedelta(days=1),
        )  # fmt: skip
        item = tx.recycle_bin.enter(
            address=None, mailbox_id=None, owner="calvin", owner_name="CALVIN", manager="ling",
            source=BinSource.LEFT, known_from="callback", added_by=None, entered_at=tx.now, deletes_at=tx.now,
        )  # fmt: skip
        assert item is not None
        item.again_for = ["calvin", "mei"]
        tx.recycle_bin.digest("calvin", "2026-11-24", [item.id])
    with store.begin() as tx:
        tx.members.renamed("CALVIN", "zhou.calvin")
    with store.begin() as tx:
        job, at_work, other = (tx.jobs.get(each.id) for each in (job, at_work, other))
        assert job.params == {
            "new_owner": "zhou.calvin", "reason": "calvin", "folders": ["calvin"],
            "source": {"address": "calvin@corp.test", "userid": "zhou.calvin"},
        }  # fmt: skip
        facts = {**FACTS, "new_owner": "zhou.calvin", "readers": ["ahing", "tao", "zhou.calvin"]}
        assert job.data == {
            "facts": facts, "owner": "ahing", "acknowledged_by": "zhou.calvin",
            "refused_sides": {"target": "zhou.calvin"},
        }  # fmt: skip
        assert (job.wakes, job.state) == (1, JobState.WAITING)
        assert (at_work.asked_by, at_work.params["target"]["userid"]) == ("zhou.calvin", "zhou.calvin")
        assert at_work.data["page_for"] == {"source": "zhou.calvin", "target": "mei"}, "his link opens his page still"
        given = tx.passwords.find(at_work.id, "source")
        assert given is not None
        assert given.given_by == "zhou.calvin"
        assert at_work.wakes == 2, "a turn that has read the old userid writes nothing"
        assert (other.params["target"]["userid"], other.wakes) == ("calvinist", 1)
        asked = tx.approvals.get(asked.id)
        assert (asked.facts, asked.fingerprint) == (facts, fingerprint(facts))
        assert (asked.reason, asked.approvers) == ("calvin", ["ling", "zhou.calvin"])
        step = tx.session.get_one(Handover, handover.id)
        assert (step.args["userid"], step.asked_of) == ("zhou.calvin", "zhou.calvin")
        kept = tx.recycle_bin.waiting_of("zhou.calvin")
        assert kept is not None
        assert (kept.id, kept.owner, kept.again_for) == (item.id, "zhou.calvin", ["mei", "zhou.calvin"])
        assert tx.recycle_bin.had_digest({"zhou.calvin"}, "2026-11-24")


def test_two_who_see_the_same_new_member_at_once(store: Store) -> None:
    """A callback and a look-up both find Tao, unknown so far: one row, no error, and what either knew is kept."""
    looked, errors = threading.Barrier(2), list[BaseException]()

    def see(**known: str) -> None:
        try:
            with store.begin() as tx:
                if tx.session.get_bind().dialect.name == "postgresql":  # SQLite lets one write after the other
                    assert tx.members.find("tao") is None
                    looked.wait(20)
                tx.members.saw("Tao", **known)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=see, kwargs=each) for each in ({"name": "陈涛"}, {"alias": "Tom"})]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors
    with store.begin() as tx:
        (member,) = tx.members.all()
        assert (member.userid, member.name, member.alias) == ("tao", "陈涛", "Tom")
