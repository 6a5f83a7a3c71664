"""What only a real organisation answers: asked without harm, kept, learnt in use, and used; under either answer."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bot.doctor import live as questions
from bot.doctor import machine, people
from bot.doctor.findings import Finding, Level
from bot.doctor.questions import QUESTIONS, Way
from bot.errors import UpstreamError
from bot.mail.errors import ConnectionLost, MailError
from bot.mail.probe import Tried
from bot.messages import MemberChanged
from bot.wecom import cards
from bot.wecom.errcodes import WeComError
from bot.words import LANGUAGES
from bot.work import learnt
from handlers import addresses, changes
from handlers.address import aliases
from handlers.bin import recycle_bin
from handlers.copying import access, copying
from handlers.doctor import live
from handlers.public import public_mailbox, public_shown
from storage.models import BinSource, JobState, LiveAnswer, MintedPassword
from storage.store import Store
from tests.handlers.conftest import FakeClock
from tests.handlers.wecom_in_process import World

AHING, SALES, PROBE = "ahing@corp.test", "sales@corp.test", "probe@corp.test"
TROUBLES = {"foreign_public": "own_public_mailboxes_only", "admin_log": "log_not_allowed"}


@pytest.fixture
def world(store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(machine, "up_to_date", lambda _: True)  # tables of tests are made without migrations
    made = World(store, clock)
    made.client.clock = clock  # type: ignore[attr-defined]
    with store.begin() as tx:
        tx.mailboxes.member_has("ahing", AHING, "look-up")
    return made


def asked(world: World) -> dict[str, Finding]:
    """Every finding of a run, by its check."""
    found = {each.check: each for each in questions.ask(world.services)}
    assert all(each.level is Level.OK or each.check == "changed" for each in found.values())
    return found


def answer(world: World, question: str) -> str | None:
    with world.store.begin() as tx:
        return tx.answers.of(question)


def saw(world: World, question: str, seen: Any, detail: str = "") -> None:
    with world.store.begin() as tx:
        tx.answers.saw(question, seen, detail, by="doctor")


def made_by_hand(world: World) -> None:
    """Somebody told us of sales@, which was made in the console."""
    with world.store.begin() as tx:
        tx.mailboxes.told_of(SALES, name="销售", readers={})


# --- asked of WeCom --------------------------------------------------------------------------------------------------


def test_every_question_is_told_and_only_what_reads_is_called(world: World) -> None:
    """Each in both languages, none as a fault; what is not asked says why."""
    told = asked(world)
    for question in QUESTIONS:
        if question.way is Way.MAILBOX:
            continue
        found = told[f"live_{question.name}"]
        for language in LANGUAGES:
            assert "{" not in found.words.text(language)
        if question.way in (Way.WATCHED, Way.LEFT):
            assert "not asked, because" in found.words.text("en")
            assert ("Watched instead in use" in found.words.text("en")) is (question.way is Way.WATCHED)
    assert "APPENDUID" in told["not_tried"].words.text("en")
    assert {name for name, _ in world.client.calls} <= {
        "exmail/publicmail/search", "exmail/group/search", "user/list_id", "department/list", "user/simplelist",
        "security/admin_oper_log/list", "user/get",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("question", "switch", "on", "off"),
    [
        ("foreign_public", "own_public_mailboxes_only", "no", "yes"),
        ("listed_by_app", "app_lists_ids", "yes", "no"),
        ("fetch_child", "fetch_child_works", "yes", "no"),
        ("admin_log", "log_not_allowed", "no", "yes"),
        ("aliases_shown", "aliases_shown", "yes", "no"),
    ],
)
def test_either_answer_and_that_it_changed(world: World, question: str, switch: str, on: str, off: str) -> None:
    """At the turn of a switch; the other answer of the last time is told."""
    made_by_hand(world)
    world.org.members["ahing"].aliases = ["ah@corp.test"]
    with world.store.begin() as tx:
        box = tx.mailboxes.of("ahing")
        assert box is not None
        tx.mailboxes.aliases_are(box, ["ah@corp.test"])
    for position, wanted in ((True, on), (False, off), (True, on)):
        world.org.troubles.set(switch, position)
        before = answer(world, question)
        told = asked(world)
        assert answer(world, question) == wanted
        assert f": {wanted} (asked at 2026-" in told[f"live_{question}"].words.text("en")
        assert ("changed" in told) is (before is not None)
        world.clock.advance(hours=2)
    with world.store.begin() as tx:
        row = tx.answers.find(question)
        assert row is not None
        assert (row.before, row.seen_by) == (off, "doctor")


def test_what_cannot_be_told_is_said_to_be_so(world: World) -> None:
    """Nobody told of a mailbox of the console's, no alias is known: no guess, and what would help is named."""
    told = asked(world)
    assert answer(world, "foreign_public") is None
    assert "no record of making: support@corp.test" in told["live_foreign_public"].words.text("en")
    assert "no record of making: none. One among" in told["live_foreign_groups"].words.text("en")
    assert "没有创建记录的：无。" in told["live_foreign_groups"].words.text("zh")
    assert "cannot be told here" in told["live_aliases_shown"].words.text("en")
    world.client.lost["exmail/publicmail/search"] = [False]
    found = list(questions.ask(world.services))
    assert [each.level for each in found if each.check == "failed"] == [Level.WARNING]
    assert {"live_foreign_groups", "live_admin_log"} <= {each.check for each in found}


# --- tried in a mailbox ----------------------------------------------------------------------------------------------


@pytest.fixture
def own(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The bot made probe@; the list holds what the next probes give or raise."""
    world.does("mei", public_mailbox.public_create, "probe@", "Probe", ["ahing"])
    world.does("mei", changes.confirm, world.newest("public").id)
    outcomes: list[Any] = []

    async def probe(account: Any, *, connections: int) -> Tried:
        assert account.user == PROBE
        assert account.password in world.org.box(PROBE).passwords.values()
        came = outcomes.pop(0)
        if isinstance(came, Exception):
            raise came
        return came

    monkeypatch.setattr(live, "probe", probe)
    return outcomes


def test_tried_with_a_password_that_lives_for_a_minute(world: World, own: list[Any]) -> None:
    """What was seen is kept and told to who asked; what could not be removed, too; no key is left."""
    own.append(Tried({"appenduid": (False, "OK"), "connections": (True, "2"), "minted_login": (True, "")}, ["x: no"]))
    said = world.does("mei", live.doctor_live)
    assert f"The folder that I made in {PROBE} to try the mail server could not be removed: x: no" in said
    assert "(APPENDUID): no (asked at 2026-03-02" in said
    assert (answer(world, "appenduid"), answer(world, "minted_login")) == ("no", "yes")
    assert answer(world, "connections") is None  # two of four say nothing of four
    assert world.org.public_of_address(PROBE).passwords == []  # type: ignore[union-attr]
    with world.store.begin() as tx:
        assert all(each.deleted_at is not None for each in tx.session.query(MintedPassword))
    assert world.newest("live").state is JobState.DONE


@pytest.mark.parametrize("error", [ConnectionLost("cut"), MailError("what is that")])
def test_a_server_in_trouble_ends_it_and_leaves_no_key(world: World, own: list[Any], error: Exception) -> None:
    """Said, and the rest is told all the same."""
    own.append(error)
    said = world.does("mei", live.doctor_live)
    assert f"The mail server could not be tried: {error.args[0]}" in said
    assert "Not tried yet in a mailbox" in said
    assert world.org.public_of_address(PROBE).passwords == []  # type: ignore[union-attr]


def test_in_nobody_elses_mailbox(world: World) -> None:
    """Without one that the bot made nothing is tried, and how to make one is said."""
    said = world.does("mei", live.doctor_live)
    assert "Type `public create probe@ Probe for mei`" in said
    assert "exmail/publicmail/update" not in [name for name, _ in world.client.calls]


def test_on_the_machine_it_waits_for_the_running_bot(
    world: World, own: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`exmail-bot doctor --live` has the bot do it; without a bot that is said, and nothing is left to be done."""
    own.append(Tried({"appenduid": (True, "")}))
    monkeypatch.setattr(questions.time, "sleep", lambda _: world.run())
    assert [each.check for each in questions.tried(world.services)] == ["tried"]
    monkeypatch.setattr(questions.time, "sleep", lambda _: None)
    monkeypatch.setattr(questions, "WAIT_SECONDS", 0.01)
    assert [each.check for each in questions.tried(world.services)] == ["no_bot"]
    assert world.newest("live").state is JobState.CANCELLED
    assert [each for each in world.heard("doctor") if each] == []


# --- learnt in use ---------------------------------------------------------------------------------------------------


def test_what_was_told_by_hand_and_is_shown_now(world: World) -> None:
    """A mailbox of the console's that the mail API hides, then one that it shows."""
    made_by_hand(world)
    world.does("mei", public_shown.public)
    assert answer(world, "foreign_public") == "no"
    world.org.troubles.set("own_public_mailboxes_only", False)
    world.does("mei", public_shown.public)
    assert answer(world, "foreign_public") == "yes"


def test_events_and_refusals_are_answers(world: World) -> None:
    """An address in an event; a code nobody knows; the mail API's limits, and not another API's."""
    with world.store.begin() as tx:
        addresses.changed(world.context(tx, "sys"), MemberChanged("sys", "ahing", None, AHING))
        learnt(tx, WeComError(680099, "who knows", "/cgi-bin/exmail/publicmail/update"))
        learnt(tx, WeComError(45009, "", "/cgi-bin/user/get"))
        assert tx.answers.of("rate_limits") is None
        learnt(tx, WeComError(45009, "", "/cgi-bin/exmail/publicmail/search"))
        learnt(tx, UpstreamError("no"))
        assert {each.question for each in tx.answers.all()} == {"address_told", "errcodes", "rate_limits"}
        row = tx.session.get_one(LiveAnswer, "errcodes")
        assert "680099 who knows" in row.detail


def test_a_card_that_was_sent_already(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """42014 to a card that is sent again is an answer; the card counts as sent."""
    from bot.delivery import Sender

    sender = Sender.__new__(Sender)
    sender._store, sender._client = store, None  # type: ignore[assignment]
    monkeypatch.setattr(Sender, "count", lambda *_: None)
    monkeypatch.setattr(cards, "send_card", lambda *_: cards.Sent(already_sent=True))
    sender.send_card("mei", {"card": {}, "task_id": "t"})
    with store.begin() as tx:
        assert tx.answers.of("resent_card") == "yes"


def test_what_is_seen_at_every_message_is_written_once_an_hour(world: World) -> None:
    """And a change at once."""
    saw(world, "resent_card", "yes")
    first = world.clock.now()
    world.clock.advance(minutes=30)
    saw(world, "resent_card", "yes")
    with world.store.begin() as tx:
        row = tx.answers.find("resent_card")
        assert row is not None
        assert row.seen_at == first
    saw(world, "resent_card", "no")
    assert answer(world, "resent_card") == "no"


def test_minting_elsewhere_is_an_answer(world: World) -> None:
    """Of mailboxes that the bot did not make, where such are seen; of its own nothing is concluded."""
    with world.store.begin() as tx:
        mine = tx.mailboxes.public_is(1, "support@corp.test", name="x", readers={}, aliases=[])
        access.foreign(tx, mine, "yes", "")
        assert tx.answers.of("foreign_changed") is None
        tx.answers.saw("foreign_public", "yes")
        access.foreign(tx, mine, "no", "680035")
        assert tx.answers.of("foreign_changed") == "no"
        tx.audit.add("mei", "public.created", "made@corp.test")
    with world.store.begin() as tx:
        access.foreign(tx, tx.mailboxes.public_is(9, "made@corp.test", name="y", readers={}, aliases=[]), "yes", "")
        assert tx.answers.of("foreign_changed") == "no"


@pytest.mark.parametrize(("before", "known"), [("0", "yes"), ("1", None)])
def test_a_members_mailbox_that_was_let_in(world: World, before: str, known: str | None) -> None:
    """After the bot had switched its IMAP on; one that was on says nothing."""
    with world.store.begin() as tx:
        job = tx.jobs.add("backup", asked_by="mei", params={}, state=JobState.WAITING)
        tx.passwords.switch(job.id, "ahing", before)
        box = tx.mailboxes.of("ahing")
        assert box is not None
    copying.let_in(cast(Any, SimpleNamespace(services=world.services, job_id=job.id)), {"source": box})
    assert answer(world, "imap_by_api") == known


# --- used ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "said", "unsaid"),
    [
        (None, "As far as I know, WeCom shows me only", None),
        ("no", "WeCom shows me only public mailboxes that I made myself", "As far as I know"),
        ("yes", "that I see: 1", "WeCom shows me only"),
    ],
)
def test_whether_the_list_is_whole(world: World, known: Any, said: str, unsaid: str | None) -> None:
    """Supposed, certain, or known to be otherwise."""
    if known is not None:
        saw(world, "foreign_public", known)
    told = world.does("mei", public_shown.public)
    assert said in told
    assert unsaid is None or unsaid not in told


@pytest.mark.parametrize(("known", "told"), [(None, False), ("yes", False), ("no", True)])
def test_imap_of_a_new_public_mailbox(world: World, known: Any, told: bool) -> None:
    """Whether somebody has to switch it on first is said where it was seen to be so."""
    if known is not None:
        saw(world, "minted_login", known)
    world.does("mei", public_mailbox.public_create, "help@", "Help", ["ahing"])
    assert ("has to switch IMAP on" in world.does("mei", changes.confirm, world.newest("public").id)) is told


def test_aliases_that_wecom_shows_need_nobody_to_tell_them(world: World) -> None:
    """Seen to be shown, they are read: what somebody added in the console meanwhile is kept."""
    world.org.members["ahing"].aliases = ["ah@corp.test"]
    world.org.troubles.set("aliases_shown", True)
    saw(world, "aliases_shown", "yes")
    said = world.does("mei", aliases.add_address, "ahing@", "xing@")
    assert "ah@corp.test" in said
    world.org.members["ahing"].aliases.append("hand@corp.test")
    world.does("mei", changes.confirm, world.newest("aliases").id)
    assert set(world.org.members["ahing"].aliases) == {"ah@corp.test", "hand@corp.test", "xing@corp.test"}


def test_aliases_that_are_not_shown_after_all_wipe_nothing(world: World) -> None:
    """None in the answer may mean none, or none shown: somebody has to say."""
    world.org.members["ahing"].aliases = ["ah@corp.test"]
    saw(world, "aliases_shown", "yes")
    said = world.does("mei", aliases.add_address, "ahing@", "xing@")
    assert "I do not know which aliases" in said
    assert world.org.members["ahing"].aliases == ["ah@corp.test"]


@pytest.mark.parametrize(("known", "checks"), [(None, []), ("no", []), ("yes", ["members_outside"])])
def test_without_contacts_sync_the_app_lists_everybody_where_it_may(
    world: World, known: Any, checks: list[str]
) -> None:
    """Then who is outside the visible range is found without the second secret."""
    world.org.troubles.set("app_lists_ids", True)
    world.org.visible = [2]
    if known is not None:
        saw(world, "listed_by_app", known)
    found = list(people.outside(world.services, [2]))
    assert [each.check for each in found] == checks


def test_fewer_days_in_the_bin_count_and_more_are_only_shown(world: World) -> None:
    """What the console showed of one holds for those that come after it, in the same way."""

    def entered(address: str, source: BinSource = BinSource.REPLACED) -> int:
        with world.store.begin() as tx:
            item = recycle_bin.enter(
                tx, world.services.settings, source=source, known_from="typed", address=address, added_by="mei"
            )
            assert item is not None
            return recycle_bin.days_in_bin(item)

    assert entered("a@corp.test") == 30
    world.does("mei", recycle_bin.bin_date, "a@", date(2026, 5, 1))
    assert answer(world, "retention") == "yes"
    assert entered("b@corp.test") == 30
    said = world.does("mei", recycle_bin.recycle_bin, "b@")
    assert "kept another one that came there in this way for 60 days" in said
    world.does("mei", recycle_bin.bin_date, "b@", date(2026, 3, 16))
    assert answer(world, "retention") == "no"
    assert entered("c@corp.test") == 14
    assert entered("d@corp.test", BinSource.LEFT) == 30
    assert entered("e@corp.test", BinSource.PUBLIC) == 30
    world.does("mei", recycle_bin.bin_date, "e@", date(2026, 4, 1))
    assert answer(world, "public_bin") == "yes"


@pytest.mark.parametrize(
    ("known", "detail", "takes"), [(None, "", 4), ("yes", "4", 4), ("no", "2: full", 2), ("no", "odd", 4)]
)
def test_a_copy_opens_no_more_connections_than_a_mailbox_takes(
    world: World, known: Any, detail: str, takes: int
) -> None:
    """As many as were seen to be let in; all that the settings say, before that is known."""
    if known is not None:
        saw(world, "connections", known, detail)
    with world.store.begin() as tx:
        assert copying.one_mailbox_takes(tx.answers.find("connections"), 4) == takes
