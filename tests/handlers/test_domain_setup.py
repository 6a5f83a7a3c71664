"""A domain's job turned by hand: killed at every call, pressed twice, refused, changed by others, undone, watched."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.dns.api import Held, Key, ProviderError, Refusal
from bot.dns.lookup import Delegation, NameServer, Reading
from bot.dns.plan import Plan, SetChange
from bot.dns.providers import Provider
from bot.dns.records import Record
from bot.dns.wire import Answer, Outcome
from bot.errors import NetworkError, UserError
from bot.mail.errors import LoginRefused
from bot.messages import PublicMailArrived
from bot.wecom.errcodes import WeComError
from bot.wecom.exmail import PublicMailbox
from bot.words import say
from bot.workdays import workdays
from handlers import changes
from handlers.domain import (
    domain,
    domain_drift,
    domain_imap,
    domain_list,
    domain_proof,
    domain_setup,
    domain_watch,
    domain_write,
)
from handlers.handovers.handovers import Look
from handlers.public import public_shown
from storage.models import AuditEntry, Delivery, JobState
from storage.store import Store
from tests.handlers.backup_world import World
from tests.handlers.conftest import FakeClock

NAME = "corp.com"
BEFORE = [
    Record("MX", "@", "mail.old.example", 10, 3600),
    Record("TXT", "@", "v=spf1 a ~all", None, 600),
    Record("TXT", "@", "site=1", None, 600),
]
RIGHT = [
    Record("MX", "@", "mxbiz1.qq.com", 5, 600),
    Record("MX", "@", "mxbiz2.qq.com", 10, 600),
    Record("TXT", "@", "v=spf1 include:spf.mail.qq.com ~all", None, 600),
    Record("TXT", "_dmarc", "v=DMARC1; p=none", None, 600),
]
MX_AFTER = {("mxbiz1.qq.com", 5), ("mxbiz2.qq.com", 10)}


class Killed(BaseException):
    """The process died here."""


class Zone:
    """A provider's zone, in memory; `troubles` are raised by the next calls, before or after they take effect."""

    def __init__(self) -> None:
        self.records_held = list(BEFORE)
        self.writes = 0
        self.troubles: list[tuple[str, BaseException]] = []
        self.closed = 0

    def trouble(self, when: str) -> None:
        if self.troubles and self.troubles[0][0] == when:
            raise self.troubles.pop(0)[1]

    def records(self, zone: str) -> list[Held]:
        self.trouble("read")
        return [Held(each, str(number)) for number, each in enumerate(self.records_held)]

    def write(self, zone: str, change: SetChange, held: Any) -> None:
        self.trouble("before")
        self.writes += 1
        others = [each for each in self.records_held if each.key != (change.type, change.host)]
        self.records_held = [*others, *change.after]
        self.trouble("after")

    def close(self) -> None:
        self.closed += 1

    def texts(self, kind: str) -> set[Any]:
        return {
            (each.value, each.priority) if kind == "MX" else each.value
            for each in self.records_held
            if each.type == kind
        }


class DomainWorld(World):
    """With one zone at Aliyun, whose name servers say what it holds; resolvers what `old` says, if anything."""

    zone: Zone
    old: list[Record] | None
    hosts: tuple[str, ...]
    public: dict[str, int]  # the public mailboxes that WeCom shows
    made: list[str]

    def shows(self, address: str, number: int) -> None:
        self.public[address] = number
        with self.store.begin() as tx:
            tx.mailboxes.public_is(number, address, name=address, readers={}, aliases=[])

    def shown(self, job: Any, address: str) -> Any:
        number = self.public.get(address)
        return None if number is None else (None, PublicMailbox(number, address, address))

    def make(self, job: Any, domain: str, userid: str) -> Look:
        self.made.append(f"probe@{domain}")
        self.public[f"probe@{domain}"] = 9
        return Look(True, say("domain_watch.saw_made", address=f"probe@{domain}"), {})

    def read(self, name: str, *, also: Any = ()) -> Reading:
        servers = tuple(NameServer(each, ("127.0.0.1",)) for each in self.hosts)
        reading = Reading(Delegation(name, NAME, Outcome.FOUND, servers, "com"), probe=f"probe.{name}")
        questions = [(name, "MX"), (name, "TXT"), (name, "CNAME"), (f"_dmarc.{name}", "TXT"), *also]

        def said(records: list[Record]) -> dict[tuple[str, str], Answer]:
            return {each: self.answer(each, records) for each in questions}

        reading.own = {self.hosts[0]: said(self.zone.records_held)}
        reading.resolvers = {"127.0.0.91": said(self.old if self.old is not None else self.zone.records_held)}
        return reading

    def answer(self, question: tuple[str, str], records: list[Record]) -> Answer:
        host = "@" if question[0] == NAME else question[0].removesuffix(f".{NAME}")
        found = [each for each in records if each.key == (question[1], host)]
        values = [each.value if each.priority is None else f"{each.priority} {each.value}" for each in found]
        if not found:
            return Answer(Outcome.NO_DATA, ttl=600)
        return Answer(Outcome.FOUND, tuple(sorted(values)), found[0].ttl)

    def texts(self, name: str) -> Answer:
        return Answer(Outcome.FOUND, ("v=spf1 ip4:192.0.2.1 ~all",), 600)

    def read_many(self, names: Any, also: Any) -> list[Reading]:
        return [self.read(each, also=also.get(each, ())) for each in names]

    def setup(self, name: str = NAME) -> int:
        self.does("mei", domain_setup.domain_setup, name)
        return self.run_newest()

    def run_newest(self) -> int:
        job = self.newest()
        self.run(job)
        return job

    def newest(self) -> int:
        with self.store.begin() as tx:
            return max(each.id for each in tx.jobs.recent([domain_setup.KIND]))

    def key_given(self, job: int, *, keep: bool = False) -> None:
        with self.store.begin() as tx:
            row = tx.jobs.get(job)
            packed = Key("id", "secret").packed()
            tx.passwords.keep(job, "key", given_by="mei", ciphertext=self.services.vault.lock(packed))
            tx.jobs.put(row, keep_key=keep)
            tx.jobs.wake(row, "domain_write")

    def keys(self) -> int:
        with self.store.begin() as tx:
            return len(tx.passwords.all())

    def plan(self, job: int) -> Plan:
        return Plan.from_json(self.data(job)["plan"])


@pytest.fixture
def world(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> DomainWorld:
    made = DomainWorld(store, clock, monkeypatch)
    made.zone, made.old, made.hosts = Zone(), None, ("dns9.hichina.com",)
    for module in (domain, domain_setup, domain_watch, domain_drift):
        monkeypatch.setattr(module, "lookup_of", lambda settings: made)
    made.public, made.made = {}, []
    monkeypatch.setattr(public_shown, "shown", made.shown)
    monkeypatch.setattr(public_shown, "slots", lambda job: public_shown.Slots(2, 0))
    monkeypatch.setattr(domain_proof, "domain_accepted", made.make)
    monkeypatch.setattr(domain_write, "open_api", lambda services, provider, key: made.zone)
    return made


def agreed(world: DomainWorld) -> int:
    """A job whose plan was agreed to, waiting for the key."""
    job = world.setup()
    assert world.state(job) == (JobState.WAITING, "domain_shown")
    world.does("mei", domain_setup.domain_write_it, job)
    world.run(job)
    assert world.state(job) == (JobState.WAITING, "domain_key")
    return job


def test_nothing_is_written_before_a_yes_and_a_key(world: DomainWorld) -> None:
    """The difference is shown; the same press twice is one yes."""
    job = agreed(world)
    assert world.zone.writes == 0
    with pytest.raises(UserError, match=r"domain_setup\.not_waiting"):
        world.does("mei", domain_setup.domain_write_it, job)
    world.key_given(job)
    world.run(job)
    assert world.zone.texts("MX") == MX_AFTER
    assert world.zone.texts("TXT") == {"v=spf1 a include:spf.mail.qq.com ~all", "site=1", "v=DMARC1; p=none"}
    assert world.keys() == 0
    assert world.zone.closed


@pytest.mark.parametrize("when", ["before", "after", "read"])
@pytest.mark.parametrize("at", range(3))
def test_killed_at_every_call(world: DomainWorld, when: str, at: int) -> None:
    """The run after it makes the same of the zone; what is there is not written again; the first snapshot counts."""
    job = agreed(world)
    world.key_given(job)
    calls = 0

    def dying(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            nonlocal calls
            mine = (method.__name__ == "records") == (when == "read")
            if mine and calls == at and when != "after":
                calls += 1
                raise Killed
            told = method(*args)
            if mine and calls == at:
                calls += 1
                raise Killed
            calls += mine
            return told

        return call

    zone = world.zone
    for name in ("records", "write"):
        setattr(zone, name, dying(getattr(zone, name)))
    with pytest.raises(Killed):
        world.run(job)
    del zone.records, zone.write
    world.run(job)
    assert world.state(job)[1] in ("confirm", "domain_watch")
    assert zone.texts("MX") == MX_AFTER
    assert zone.writes == len(world.plan(job).changes)
    world.does("mei", domain_setup.domain_undo, job)
    undo = world.run_newest()
    world.does("mei", domain_setup.domain_write_it, undo)
    world.run(undo)
    world.key_given(undo)
    world.run(undo)
    assert world.state(undo)[0] is JobState.DONE
    assert sorted(map(str, zone.records_held)) == sorted(map(str, BEFORE))
    assert world.keys() == 0


def test_a_lost_answer_is_read_before_it_is_written_again(world: DomainWorld) -> None:
    """The write arrived: it is not made twice."""
    job = agreed(world)
    world.key_given(job)
    world.zone.troubles = [("after", NetworkError("ReadTimeout"))]
    world.run(job)
    assert world.zone.writes == 1
    world.clock.advance(seconds=60)
    world.run(job)
    assert world.zone.writes == len(world.plan(job).changes)
    assert world.zone.texts("MX") == MX_AFTER


def test_what_somebody_else_changed_is_not_overwritten(world: DomainWorld) -> None:
    """It stops, says what is there, and forgets the key."""
    job = agreed(world)
    world.zone.records_held.append(Record("MX", "@", "new.example", 1, 600))
    world.key_given(job)
    world.run(job)
    assert world.state(job)[0] is JobState.FAILED
    assert world.zone.writes == 0
    assert "new.example" in world.told("mei")[-1]
    assert world.keys() == 0


@pytest.mark.parametrize(
    ("refusal", "stage"),
    [
        (Refusal.BAD_KEY, (JobState.WAITING, "domain_key")),
        (Refusal.NO_ZONE, (JobState.WAITING, "domain_key")),
        (Refusal.NOT_ELIGIBLE, (JobState.DUE, "domain_watch")),
        (Refusal.BUSY, (JobState.DUE, "domain_write")),
        (Refusal.BAD_RECORD, (JobState.FAILED, "cleanup")),
    ],
)
def test_each_refusal_has_its_way(world: DomainWorld, refusal: Refusal, stage: tuple[JobState, str]) -> None:
    """Another key, by hand, later, or the end; a key that was refused is kept nowhere."""
    job = agreed(world)
    world.key_given(job, keep=True)
    world.zone.troubles = [("before", ProviderError(Provider.ALIYUN, refusal, "X", "no"))]
    world.run(job)
    assert world.state(job) == stage
    assert world.keys() == (1 if refusal is Refusal.BUSY else 0)
    if refusal is Refusal.NOT_ELIGIBLE:
        assert any("mxbiz1.qq.com" in each for each in world.told("mei"))
        with world.store.begin() as tx:
            assert tx.answers.of("godaddy_api") is None, "it is Aliyun that said so"


def test_a_provider_that_stays_busy_is_given_up(world: DomainWorld) -> None:
    """Later, later, and then it is said; nobody waits for ever."""
    job = agreed(world)
    world.key_given(job)
    busy = [("read", ProviderError(Provider.ALIYUN, Refusal.BUSY, "Throttling.User")) for _ in range(100)]
    world.zone.troubles = list(busy)
    for _ in range(60):
        world.run(job)
        world.clock.advance(seconds=61)
    assert world.state(job)[0] is JobState.FAILED
    assert world.keys() == 0


def test_a_key_can_be_kept_on_purpose(world: DomainWorld) -> None:
    """The next change of the domain does not ask for it."""
    job = agreed(world)
    world.key_given(job, keep=True)
    world.run(job)
    assert world.keys() == 1
    world.does("mei", domain_setup.domain_undo, job)
    undo = world.run_newest()
    world.does("mei", domain_setup.domain_write_it, undo)
    world.run(undo)
    assert world.zone.texts("MX") == {("mail.old.example", 10)}
    assert world.keys() == 1


def test_foreign_mx_stay_without_consent(world: DomainWorld) -> None:
    """`domain keep`."""
    job = world.setup()
    world.does("mei", domain_setup.domain_keep_others, job)
    world.run(job)
    world.key_given(job)
    world.run(job)
    assert world.zone.texts("MX") == {*MX_AFTER, ("mail.old.example", 10)}


def test_where_there_is_no_api_every_field_comes_by_hand(world: DomainWorld) -> None:
    """In the provider's own labels, one message a record, the value alone."""
    world.hosts = ("ada.ns.cloudflare.com",)
    job = world.setup()
    with pytest.raises(UserError, match=r"domain_setup\.no_api"):
        world.does("mei", domain_setup.domain_write_it, job)
    world.does("mei", domain_setup.domain_by_hand, job)
    world.run(job)
    told = world.told("mei")
    assert any("DNS only" in each for each in told)
    assert any("Type MX · Name @ · Priority 5" in each for each in told)
    assert sum("'mxbiz1.qq.com'" in each for each in told) == 1


def test_watched_until_the_world_sees_it(world: DomainWorld) -> None:
    """Its own servers first, with the worst moment; then green, once."""
    job = agreed(world)
    world.key_given(job)
    world.old = list(BEFORE)
    world.run(job)
    assert any("its own name servers have the new records" in each for each in world.told("mei"))
    for _ in range(5):
        world.clock.advance(seconds=61)
        world.run(job)
    assert sum("its own name servers have the new records" in each for each in world.told("mei")) == 1
    world.old = None
    world.clock.advance(seconds=61)
    world.run(job)
    assert sum("all is right" in each for each in world.told("mei")) == 1
    assert world.state(job) == (JobState.WAITING, "confirm")


def test_a_mailbox_for_the_proof_is_made_only_after_a_yes(world: DomainWorld) -> None:
    """It takes a place: how many are taken is said, a yes leads to the console's button, a no makes nothing."""
    world.zone.records_held = list(RIGHT)
    job = world.setup()
    assert world.state(job) == (JobState.WAITING, "confirm")
    asked = next(each for each in world.told("mei") if "so I would make probe@corp.com" in each)
    assert "I know of 2; a free plan has places for 3" in asked
    assert f"`confirm {job}`" in asked
    world.does("mei", changes.confirm, job)
    world.run(job)
    assert world.state(job) == (JobState.WAITING, "domain_verify")
    assert any("Have the console verify corp.com" in each for each in world.told("mei"))
    world.cancel(job)
    world.run(job)
    again = world.setup()
    world.cancel(again)
    world.run(again)
    assert world.state(again)[0] is JobState.CANCELLED
    assert not world.made


def test_a_public_mailbox_of_the_domain_receives_the_proof(world: DomainWorld) -> None:
    """WeCom shows it: the console has the domain, nothing is made; that the mail may be another's is said."""
    world.zone.records_held = list(RIGHT)
    world.shows("support@corp.com", 7)
    job = world.setup()
    assert world.state(job) == (JobState.WAITING, "domain_probe")
    assert any("nothing has to be verified" in each and "support@corp.com" in each for each in world.told("mei"))
    world.does("mei", domain_proof.mail_arrived, PublicMailArrived("sys", 8, 1))
    assert world.state(job) == (JobState.WAITING, "domain_probe")
    world.does("mei", domain_proof.mail_arrived, PublicMailArrived("sys", 7, 1))
    world.run(job)
    assert world.state(job)[0] is JobState.DONE
    assert any("If it is yours, from outside" in each for each in world.told("mei"))
    assert not world.made


def test_a_members_address_spares_the_console(world: DomainWorld) -> None:
    """A look-up knew it: the mailbox for the proof is asked for all the same, and made after the yes."""
    world.zone.records_held = list(RIGHT)
    with world.store.begin() as tx:
        tx.mailboxes.member_has("calvin", "calvin@corp.com", "look-up")
    job = world.setup()
    assert world.state(job) == (JobState.WAITING, "confirm")
    assert any("calvin@corp.com there" in each for each in world.told("mei"))
    assert not world.made
    world.does("mei", changes.confirm, job)
    world.run(job)
    assert world.state(job) == (JobState.WAITING, "domain_probe")
    assert world.made == ["probe@corp.com"]
    world.does("mei", domain_proof.mail_arrived, PublicMailArrived("sys", 9, 1))
    world.run(job)
    assert any("public delete probe@corp.com" in each for each in world.told("mei"))


def test_never_right_ends_after_two_weeks(world: DomainWorld) -> None:
    """Said, and over."""
    job = agreed(world)
    world.key_given(job)
    world.old = list(BEFORE)
    world.run(job)
    world.clock.advance(days=15)
    world.run(job)
    assert world.state(job)[0] is JobState.CANCELLED
    assert any("in two weeks" in each for each in world.told("mei"))


def test_only_one_job_a_domain(world: DomainWorld) -> None:
    """A second is sent to the first."""
    job = world.setup()
    with pytest.raises(UserError, match=r"domain_setup\.open_already"):
        world.does("mei", domain_setup.domain_setup, NAME)
    world.cancel(job)
    world.run(job)
    assert world.state(job)[0] is JobState.CANCELLED
    world.setup()


def written(world: DomainWorld) -> int:
    """A job that has written all of it."""
    job = agreed(world)
    world.key_given(job)
    world.run(job)
    return job


def undone(world: DomainWorld, job: int) -> int:
    """A job that has put back what another changed."""
    world.does("mei", domain_setup.domain_undo, job)
    undo = world.run_newest()
    world.does("mei", domain_setup.domain_write_it, undo)
    world.run(undo)
    world.key_given(undo)
    world.run(undo)
    return undo


def answering(world: DomainWorld, name: str, kind: str, answer: Answer) -> None:
    """DNS says this to one question, whatever the zone holds."""
    usual = world.answer
    world.answer = lambda question, records: answer if question == (name, kind) else usual(question, records)  # type: ignore[method-assign]


def test_only_what_the_provider_has_is_kept_and_put_back(world: DomainWorld) -> None:
    """A wildcard's text becomes no record of its own; what others add or delete meanwhile stays so, undone too."""
    answering(world, f"_dmarc.{NAME}", "TXT", Answer(Outcome.FOUND, ("wild=1",), 600))
    job = agreed(world)
    world.zone.records_held.remove(Record("TXT", "@", "site=1", None, 600))
    world.zone.records_held.append(Record("TXT", "@", "came=1", None, 600))
    world.key_given(job)
    world.run(job)
    spf = "v=spf1 a include:spf.mail.qq.com ~all"
    assert world.zone.texts("TXT") == {spf, "came=1", "v=DMARC1; p=none"}
    world.zone.records_held.append(Record("TXT", "@", "later=1", None, 600))
    assert world.state(undone(world, job))[0] is JobState.DONE
    assert world.zone.texts("TXT") == {"v=spf1 a ~all", "came=1", "later=1"}
    assert world.zone.texts("MX") == {("mail.old.example", 10)}


def test_what_was_there_before_the_write_is_not_undone(world: DomainWorld) -> None:
    """An admin wrote the MX himself while the plan waited."""
    job = agreed(world)
    own = [Record("MX", "@", host, priority, 600) for host, priority in MX_AFTER]
    world.zone.records_held = [*own, *BEFORE[1:]]
    world.key_given(job)
    world.run(job)
    undone(world, job)
    assert world.zone.texts("MX") == MX_AFTER
    assert world.zone.texts("TXT") == {"v=spf1 a ~all", "site=1"}


def test_nothing_is_written_where_one_set_cannot_be(world: DomainWorld) -> None:
    """All sets are looked at before the first is written: another's SPF, a line for a part of the world."""
    job = agreed(world)
    world.zone.records_held.append(Record("TXT", "@", "v=spf1 include:new.example -all", None, 600))
    world.key_given(job)
    world.run(job)
    assert (world.zone.writes, world.state(job)[0]) == (0, JobState.FAILED)
    assert "domain undo" not in world.told("mei")[-1]
    world.zone.records_held.pop()
    job = agreed(world)
    lined = [Held(each, "1", "telecom" if each.type == "TXT" else "") for each in world.zone.records_held]
    world.zone.records = lambda zone: lined  # type: ignore[method-assign]
    world.key_given(job)
    world.run(job)
    assert (world.zone.writes, world.state(job)[0]) == (0, JobState.FAILED)
    assert "telecom" in world.told("mei")[-1]


def test_no_plan_where_nobody_says_what_is_there(world: DomainWorld) -> None:
    """An SPF would be doubled by hand; a look says that it does not know."""
    answering(world, NAME, "TXT", Answer(Outcome.TIMEOUT))
    job = world.setup()
    world.run(job)
    assert world.state(job)[1] == "cleanup"
    assert "so I plan nothing" in world.told("mei")[-1]
    world.does("mei", domain.domain, NAME)
    with world.store.begin() as tx:
        look = max(each.id for each in tx.jobs.recent([domain.LOOK]))
    world.run(look)
    assert "No SPF" not in world.told("mei")[-1]
    assert "cannot tell whether there is an SPF" in world.told("mei")[-1]


def test_nothing_is_planned_beside_a_cname(world: DomainWorld) -> None:
    """The provider would refuse it after the MX were written."""
    answering(world, f"_dmarc.{NAME}", "TXT", Answer(Outcome.NO_DATA, ttl=600, alias="dmarc.example"))
    job = agreed(world)
    assert [each.host for each in world.plan(job).sets] == ["@", "@"]
    assert any("_dmarc is a CNAME" in each for each in world.told("mei"))


def test_green_is_what_works(world: DomainWorld) -> None:
    """Another text, the words of an SPF in another order, a stricter DMARC; not two SPF."""
    job = agreed(world)
    world.does("mei", domain_setup.domain_by_hand, job)
    right = [Record("MX", "@", host, priority, 600) for host, priority in MX_AFTER]
    spf = Record("TXT", "@", "v=spf1 include:spf.mail.qq.com a ~all", None, 600)
    more = [Record("TXT", "@", "new=1", None, 600), Record("TXT", "_dmarc", "v=DMARC1; p=reject", None, 600)]
    world.zone.records_held = [*right, spf, *more, Record("TXT", "@", "v=spf1 a ~all", None, 600)]
    world.run(job)
    world.run(job)
    assert world.state(job) == (JobState.DUE, "domain_watch")
    world.zone.records_held.pop()
    world.clock.advance(seconds=61)
    world.run(job)
    assert world.state(job) == (JobState.WAITING, "confirm")


def test_who_enters_nothing_by_hand_is_reminded(world: DomainWorld) -> None:
    """After 1, 3 and 7 days, in working hours, with what is lacking; not any more once the zone has it."""
    job = agreed(world)
    world.clock.advance(hours=12)  # it begins when nobody works
    world.does("mei", domain_setup.domain_by_hand, job)
    world.run(job)

    def reminders() -> list[str]:
        return [each for each in world.told("mei") if "do not have these records yet" in each]

    told = []
    for _ in range(10 * 8):
        world.clock.advance(hours=3)
        world.run(job)
        told.append(len(reminders()))
    assert max(told) == 3
    assert "MX @ mxbiz1.qq.com (5)" in reminders()[0]
    assert "site=1" not in reminders()[0]
    with world.store.begin() as tx:
        rows = tx.session.query(Delivery).filter_by(receiver="mei", kind="text").all()
        sent = [each.created_at for each in rows if "do not have these records yet" in str(each.body)]
    zone = world.services.settings.zone
    assert all(9 <= each.astimezone(zone).hour < 18 and workdays().works(each.astimezone(zone).date()) for each in sent)


def test_domain_alone_lists_them(world: DomainWorld) -> None:
    """As last seen: red, green, being set up, not looked at; more than a message holds as a file."""
    world.sweep(domain_drift.KIND)  # the organisation's own domain: EXMAIL_DOMAIN
    with world.store.begin() as tx:
        green = {"MX": ["5 mxbiz1.qq.com"], "SPF": ["v=spf1 include:spf.mail.qq.com ~all"], "CNAME": []}
        tx.domains.known("good.com", added_by="mei").seen = green
        tx.domains.known("two.com", added_by="mei").seen = {**green, "MX": [*green["MX"], "9 other.example"]}
        tx.domains.known("new.com", added_by="mei")
    job = world.setup()
    told = world.does("mei", domain_list.domains)[0]
    for part in ("✓ good.com", "✗ two.com", "? new.com", f"… corp.com: being set up, job {job}"):
        assert part in told
    with world.store.begin() as tx:
        for number in range(domain_list.LISTED_MAX):
            tx.domains.known(f"d{number}.com", added_by="mei")
        replies = domain_list.domains(world.context(tx, "mei"))
    assert [type(each).__name__ for each in replies] == ["Text", "File"]


def waits_for_mail(
    world: DomainWorld, monkeypatch: pytest.MonkeyPatch, look: Callable[[datetime], datetime | None]
) -> int:
    """A job that waits for the proof; what IMAP shows, asked with the moment since when."""

    async def first_since(account: Any, since: datetime) -> datetime | None:
        assert account.user == "support@corp.com"
        assert world.open_rows() == (1, 0)
        return look(since)

    monkeypatch.setattr(domain_imap, "first_since", first_since)
    world.zone.records_held = list(RIGHT)
    world.shows("support@corp.com", 7)
    job = world.setup()
    assert world.state(job) == (JobState.WAITING, "domain_probe")
    return job


def test_where_the_event_does_not_come_imap_is_looked_at_once(
    world: DomainWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an hour; the delay is that of the mail; the password is gone."""
    job = waits_for_mail(world, monkeypatch, lambda since: since + timedelta(minutes=3))
    world.clock.advance(minutes=50)
    assert world.sweep("domain-imap") == 0
    world.clock.advance(minutes=11)
    assert world.sweep("domain-imap") == 1
    assert world.state(job)[0] is JobState.DONE
    assert any("3 min 0 s" in each for each in world.told("mei"))
    assert world.open_rows() == (0, 0)
    assert (world.keys(), world.wecom.minted) == (0, {})


def test_a_look_that_sees_nothing_goes_on_waiting(world: DomainWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing came: said once, not looked again. No password, a refused login: the event still ends the wait."""
    job = waits_for_mail(world, monkeypatch, lambda since: None)
    with world.store.begin() as tx:
        until = tx.jobs.get(job).expires_at
    world.clock.advance(hours=2)
    assert world.sweep("domain-imap") == 1
    assert world.state(job) == (JobState.WAITING, "domain_probe")
    with world.store.begin() as tx:
        assert tx.jobs.get(job).expires_at == until
    assert sum("looked into the mailbox myself" in each for each in world.told("mei")) == 1
    assert world.sweep("domain-imap") == 0
    assert world.open_rows() == (0, 0)
    world.does("mei", domain_proof.mail_arrived, PublicMailArrived("sys", 7, 1))
    world.run(job)
    assert world.state(job)[0] is JobState.DONE


def refusing(since: datetime) -> None:
    """The server lets nobody in."""
    raise LoginRefused("no")


@pytest.mark.parametrize("minted", [True, False])
def test_a_mailbox_that_cannot_be_looked_into(
    world: DomainWorld, monkeypatch: pytest.MonkeyPatch, *, minted: bool
) -> None:
    """IMAP is off, or WeCom lets nobody mint: nothing is said, nothing is left."""
    job = waits_for_mail(world, monkeypatch, refusing)
    if not minted:
        world.wecom.refusals["mint"] = [WeComError(48002)]
    world.clock.advance(hours=2)
    assert world.sweep("domain-imap") == 1
    assert world.state(job) == (JobState.WAITING, "domain_probe")
    assert world.open_rows() == (0, 0)
    assert not [each for each in world.told("mei") if "myself" in each]


KEY = base64.b64encode(bytes([0x30, 92]) + bytes(range(92))).decode()  # a DER sequence of 92 bytes


def test_dkim_is_pasted_and_planned(world: DomainWorld) -> None:
    """Wrapped lines are joined, the host cut, the record planned with the rest; what is no key is refused."""
    wrapped = f"v=DKIM1; k=rsa; p={KEY[:40]}\n {KEY[40:]}"
    world.does("mei", domain_setup.domain_dkim, NAME, f"abc2609._domainkey.{NAME}", wrapped)
    job = world.run_newest()
    change = next(each for each in world.plan(job).changes if each.host == "abc2609._domainkey")
    assert change.after[0].value == f"v=DKIM1; k=rsa; p={KEY}"
    for host, value, why in (
        ("abc2609", wrapped, "host"), ("a._domainkey", "v=spf1", "value"), ("a._domainkey", "v=DKIM1; p=", "revoked"),
        ("a._domainkey", f"v=DKIM1; p={KEY[:60]}", "key"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=rf"domain_setup\.dkim_bad_{why}"):
            world.does("mei", domain_setup.domain_dkim, "other.com", host, value)


def test_other_mx_than_the_usual(world: DomainWorld) -> None:
    """What the admin's console shows counts."""
    world.does("mei", domain_setup.domain_mx, NAME, "hwmx1.example.com 5, hwmx2.example.com: 10")
    job = world.setup()
    assert {(each.value, each.priority) for each in world.plan(job).changes[0].after} == {
        ("hwmx1.example.com", 5), ("hwmx2.example.com", 10),
    }  # fmt: skip
    with pytest.raises(UserError, match=r"domain_setup\.mx_bad"):
        world.does("mei", domain_setup.domain_mx, NAME, "nothing")
    for wrong in ("mx1.example.com 0", "mx1.example.com 5, mx2.example.com 100"):
        with pytest.raises(UserError, match=r"domain_setup\.mx_bad"):
            world.does("mei", domain_setup.domain_mx, NAME, wrong)
    told = world.does("mei", domain_setup.domain_mx, NAME, "mx1.example.com（5）、mx2.example.com：10")
    assert "mx1.example.com (5), mx2.example.com (10)" in told[-1]


def test_drift_is_told_once_with_before_and_after(world: DomainWorld) -> None:
    """The first look only remembers; a change is told to every admin, once; what cannot be asked is no change."""
    with world.store.begin() as tx:
        tx.domains.known(NAME, added_by="mei")
    world.sweep(domain_drift.KIND)
    assert not world.told("yan")
    world.zone.records_held[0] = Record("MX", "@", "stolen.example", 1, 600)
    world.sweep(domain_drift.KIND)
    assert "corp.com MX: 10 mail.old.example → 1 stolen.example" in world.told("yan")[0]
    assert world.audited("domain.changed") == 1
    world.sweep(domain_drift.KIND)
    assert len(world.told("yan")) == len(world.told("mei")) == 1
    answer = world.answer
    world.answer = lambda question, records: Answer(Outcome.TIMEOUT)  # type: ignore[method-assign]
    world.sweep(domain_drift.KIND)
    world.answer = answer  # type: ignore[method-assign]
    world.sweep(domain_drift.KIND)
    assert len(world.told("yan")) == 1


def test_what_the_bot_changed_is_no_drift(world: DomainWorld) -> None:
    """A domain that is being set up is left alone, and what came of it is remembered."""
    with world.store.begin() as tx:
        tx.domains.known(NAME, added_by="mei")
    world.sweep(domain_drift.KIND)
    job = agreed(world)
    world.key_given(job)
    world.run(job)
    world.sweep(domain_drift.KIND)
    world.cancel(job)
    world.run(job)
    world.sweep(domain_drift.KIND)
    assert not [each for each in world.told("yan") if "→" in each]
    assert say("domain_drift.head").text("en")
    assert AuditEntry.__tablename__ == "audit"
