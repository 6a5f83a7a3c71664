"""What somebody typed becomes a member or a mailbox, or a sentence that helps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bot.context import Context
from bot.directory import Ambiguous, Directory
from bot.errors import UserError
from bot.policy import Role
from storage.models import MailboxKind
from storage.store import Store, Transaction
from tests.handlers.conftest import FakeClock


def seed(tx: Transaction) -> Directory:
    """Addresses of some, one with a name that is not its userid; a public mailbox."""
    tx.mailboxes.member_has("ahing", "ahing@corp.test", "look-up")
    tx.mailboxes.member_has("calvin", "c.wang@corp.test", "look-up")
    tx.mailboxes.public_is(
        1, "support@corp.test", name="客户支持", aliases=["help@corp.test"],
        readers={"userids": ["mei"], "departments": [2], "tags": [7]},
    )  # fmt: skip
    tx.members.saw("ahing2", name="阿兴", alias="Hing", departments=[2], main_department=2, direct_leader="", status=1)
    tx.members.tag_is(7, {"Solo"})
    return Directory(tx, "corp.test")


@pytest.mark.parametrize(
    ("typed", "address", "userid"),
    [
        ("calvin", "c.wang@corp.test", "calvin"),
        ("CALVIN", "c.wang@corp.test", "calvin"),
        (" calvin ", "c.wang@corp.test", "calvin"),
        ("@calvin", "c.wang@corp.test", "calvin"),
        ("卡尔文", "c.wang@corp.test", "calvin"),
        ("Calvin", "c.wang@corp.test", "calvin"),
        ("卡尔", "c.wang@corp.test", "calvin"),  # nobody else begins so
        ("c.wang@", "c.wang@corp.test", "calvin"),
        ("C.Wang@Corp.Test", "c.wang@corp.test", "calvin"),
        ("ahing", "ahing@corp.test", "ahing"),  # a userid comes before names that begin so
        ("tao", None, "tao"),  # the address is still to be looked up
        ("tao@", "tao@corp.test", "tao"),
        ("support@", "support@corp.test", None),
        ("support", "support@corp.test", None),
        ("客户支持", "support@corp.test", None),
        ("help@", "support@corp.test", None),  # an alias we know
        ("nobody@", "nobody@corp.test", None),
        ("calvin@", "calvin@corp.test", None),  # not his: we know that his is another
    ],
)
def test_a_mailbox_by_whatever_name(store: Store, typed: str, address: str | None, userid: str | None) -> None:
    with store.begin() as tx:
        meant = seed(tx).mailbox(typed)
        assert (meant.address, meant.userid) == (address, userid)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("阿星", "I know nobody called “阿星”. Nearest: 阿兴 (ahing), 阿兴 (ahing2)."),
        ("clavin", "Nearest: 卡尔文 (calvin)"),
        ("suport", "Nearest: support@corp.test"),
        ("qqqqqqqq", "I know nobody called “qqqqqqqq”. Type a userid, a name, or a whole address"),
        ("ahing@gmail.com", "ahing@gmail.com is not in corp.test"),
        ("阿兴@", "“阿兴@” cannot be a mail address. Type it like support@ or support@corp.test."),
        ("a b@corp.test", "cannot be a mail address"),
        ("a@b@corp.test", "cannot be a mail address"),
        ('"x"@corp.test', "cannot be a mail address"),
        ("x@corp", "cannot be a mail address"),
        ("x" * 300 + "@", "cannot be a mail address"),
    ],
)
def test_what_names_nobody_gets_a_remedy(store: Store, typed: str, said: str) -> None:
    with store.begin() as tx, pytest.raises(UserError) as caught:
        seed(tx).mailbox(typed)
    assert said in caught.value.words.text("en")
    assert caught.value.words.text("zh")


@pytest.mark.parametrize("typed", ["阿兴", "@阿兴"])
def test_two_of_a_name_are_a_choice(store: Store, typed: str) -> None:
    with store.begin() as tx, pytest.raises(Ambiguous) as caught:
        seed(tx).mailbox(typed)
    assert [(each.value, each.label) for each in caught.value.candidates] == [
        ("ahing", "阿兴 (ahing)"), ("ahing2", "阿兴 (ahing2)"),
    ]  # fmt: skip
    assert caught.value.typed == typed


def test_at_most_three_are_the_nearest(store: Store) -> None:
    with store.begin() as tx:
        directory = seed(tx)
        for number in range(6):
            tx.members.saw(f"wang{number}", name=f"王小{number}", departments=[1], status=1)
        assert len(directory.nearest("王小")) == 3


def test_a_name_before_the_directory_was_read(store: Store) -> None:
    with store.begin() as tx:
        for member in tx.members.all():
            tx.members.left(member)
        with pytest.raises(UserError) as caught:
            Directory(tx, "corp.test").member("calvi")
    assert "still reading" in caught.value.words.text("en")


@pytest.mark.parametrize(
    ("userid", "managers"),
    [
        ("ahing", ["ling", "fang"]),
        ("calvin", ["ling", "fang"]),  # no direct leader: the department's, then those above
        ("tao", ["lan", "ling", "fang"]),
        ("lan", ["ling", "fang"]),  # nobody is his own manager
        ("fang", []),
        ("solo", []),
        ("nobody", []),
    ],
)
def test_managers_nearest_first(store: Store, userid: str, managers: list[str]) -> None:
    with store.begin() as tx:
        assert Directory(tx, "corp.test").managers(userid) == managers


@pytest.mark.parametrize("status", [2, 4, 5])
def test_a_manager_who_cannot_answer_is_passed_over(store: Store, status: int) -> None:
    """Disabled, not joined yet, or gone."""
    with store.begin() as tx:
        tx.members.saw("ling", status=status)
        assert Directory(tx, "corp.test").managers("ahing") == ["fang"]
        tx.members.left(tx.members.saw("fang"))
        assert Directory(tx, "corp.test").managers("ahing") == []


def test_readers_are_expanded(store: Store) -> None:
    """Members, departments with those below, tags."""
    with store.begin() as tx:
        directory = seed(tx)
        box = tx.mailboxes.at("support@corp.test")
        assert box is not None
        assert directory.readers(box) == ["ahing", "ahing2", "calvin", "lan", "ling", "mei", "solo", "tao"]
        own = tx.mailboxes.at("ahing@corp.test")
        assert own is not None
        assert directory.readers(own) == ["ahing"]


def test_an_address_with_another_owner_is_another_mailbox(store: Store, clock: FakeClock) -> None:
    """What was copied of the former owner's mail is never continued with the new one's."""
    with store.begin() as tx:
        first = tx.mailboxes.member_has("ahing", "ahing@corp.test", "look-up")
        calvins = tx.mailboxes.member_has("calvin", "calvin@corp.test", "look-up")
    clock.advance(days=1)
    with store.begin() as tx:
        second = tx.mailboxes.member_has("calvin", "ahing@corp.test", "look-up")
        assert second.id != first.id
        assert tx.mailboxes.at("ahing@corp.test") is second
        assert tx.mailboxes.of("calvin") is second  # his own went to the bin: nobody has two
        assert tx.mailboxes.get(first.id).ended_at is not None
        assert tx.mailboxes.get(calvins.id).ended_at is not None
        assert tx.mailboxes.of("ahing") is None
        third = tx.mailboxes.member_has("ahing", "ahing@corp.test", "look-up")
        assert third.id not in (first.id, second.id)  # between them somebody else's mail was in it


def test_an_owner_who_was_out_of_sight_keeps_his_mailbox(store: Store) -> None:
    """46004 also means “outside the visible range”: it must not begin a second copy of everything."""
    with store.begin() as tx:
        first = tx.mailboxes.member_has("ahing", "ahing@corp.test", "look-up")
        tx.mailboxes.ended(first)
        tx.mailboxes.unseen("ahing@corp.test")
        again = tx.mailboxes.member_has("ahing", "ahing@corp.test", "look-up")
        assert again is first
        assert again.ended_at is None
        assert [box.kind for box in tx.mailboxes.all()] == [MailboxKind.MEMBER]


def test_public_readers_follow_wecom(store: Store) -> None:
    with store.begin() as tx:
        seed(tx)
        box = tx.mailboxes.public_is(1, "support@corp.test", name="客户支持", aliases=[], readers={"userids": ["Ling"]})
        assert Directory(tx, "corp.test").readers(box) == ["ling"]
        assert [each.address for each in tx.mailboxes.public()] == ["support@corp.test"]


def test_a_member_with_a_new_userid_is_the_same(store: Store) -> None:
    """His language, mailbox, manager's place, open questions and cards go on under the new one."""
    with store.begin() as tx:
        tx.members.saw("ling").language = "zh"
        box = tx.mailboxes.member_has("ling", "ling@corp.test", "look-up")
        job = tx.jobs.add("backup", asked_by="ling", params={})
        approval = tx.approvals.open(
            action="x", requirement="manager", job_id=job.id, question={"key": "lookup.nothing", "values": {}},
            facts={}, fingerprint="", reason="r", asked_by="mei", approvers=["ling"],
        )  # fmt: skip
        tx.cards.add("t1", "approval-1", "ling")
        tx.members.saw("ling.zhao", name="凌")  # the event of the new userid came first
    with store.begin() as tx:
        assert tx.members.renamed("Ling", "ling.zhao") is not None
    with store.begin() as tx:
        member = tx.members.find("ling.zhao")
        assert member is not None
        assert (member.name, member.language, member.departments) == ("凌", "zh", [2])
        assert tx.members.find("ling") is None
        owned = tx.mailboxes.of("ling.zhao")
        assert owned is not None
        assert owned.id == box.id
        assert [each.id for each in tx.approvals.waiting_for("ling.zhao")] == [approval.id]
        card = tx.cards.find("t1")
        assert card is not None
        assert card.member == "ling.zhao"
        assert tx.jobs.get(job.id).asked_by == "ling.zhao"
        assert Directory(tx, "corp.test").managers("ahing")[0] == "ling.zhao"
        assert tx.members.renamed("ling", "x") is None


@pytest.mark.parametrize(
    ("sender", "roles", "wanted", "said"),
    [
        ("ahing", {}, (Role.SUPER_ADMIN, Role.ADMIN), "Only an admin can do that. Admins: 美玲, 赵燕."),
        ("ahing", {Role.ADMIN: frozenset()}, (Role.SUPER_ADMIN, Role.ADMIN), "there is none yet"),
        (
            "ahing", {Role.AUDITOR: frozenset({"tao"})}, (Role.AUDITOR, Role.ADMIN, Role.SUPER_ADMIN),
            "Only admins and auditors can see that. Admins: 美玲, 赵燕.",
        ),
        (
            "mei", {Role.SUPER_ADMIN: frozenset({"fang"})}, (Role.SUPER_ADMIN,),
            "Only a super admin can do that. Super admins: 方敏.",
        ),
        ("mei", {}, (Role.SUPER_ADMIN,), "BOT_SUPER_ADMINS"),
        ("mei", {}, (Role.SUPER_ADMIN, Role.ADMIN), None),
        ("fang", {Role.SUPER_ADMIN: frozenset({"fang"})}, (Role.SUPER_ADMIN, Role.ADMIN), None),
    ],
)  # fmt: skip
def test_who_may_not_is_told_who_may(
    store: Store,
    speaking: Callable[..., Context],
    sender: str,
    roles: dict[Role, frozenset[str]],
    wanted: tuple[Role, ...],
    said: str | None,
) -> None:
    with store.begin() as tx:
        ctx = speaking(tx, sender, roles=roles)
        if said is None:
            assert ctx.require(*wanted) == sender
            return
        with pytest.raises(UserError) as caught:
            ctx.require(*wanted)
    assert said in caught.value.words.text("en")
    assert caught.value.words.text("zh")
