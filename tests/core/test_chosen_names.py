"""What fits several is asked once and remembered for who asked; what fits one only roughly is said in the answer."""

from __future__ import annotations

from sqlalchemy import select

from bot.dispatcher import Dispatcher
from bot.settings import Settings
from storage.models import Job
from storage.store import Store
from tests.core.conftest import text_fields
from tests.core.test_dispatcher import production, received, told

PEOPLE = {"mei": "美玲", "jun": "李军", "liwei": "李伟", "lan": "王兰", "ahing": "阿兴", "solo": "独孤星"}


def organisation(store: Store) -> None:
    """Two of the surname 李, and whoever else is needed; everybody's address is known."""
    with store.begin() as tx:
        for userid, name in PEOPLE.items():
            tx.members.saw(userid, name=name, departments=[1])
            tx.mailboxes.member_has(userid, f"{userid}@corp.test", "look-up")
        tx.mailboxes.public_is(1, "support@corp.test", name="客户支持", readers={}, aliases=[])


def said(store: Store, dispatcher: Dispatcher, sender: str, line: str) -> list[str]:
    """What a line is answered."""
    before = len(told(store))
    dispatcher.decide(received(store, text_fields(sender, line)))
    return [text for _, text in told(store)[before:] if text != "None"]


def newest(store: Store) -> Job:
    """The job that was asked for last."""
    with store.begin() as tx:
        return tx.session.scalars(select(Job).order_by(Job.id.desc())).all()[0]


def test_two_that_fit_are_asked_about_once(store: Store, settings: Settings) -> None:
    """By pinyin; remembered for that admin and that word, said each time, forgotten on his word."""
    organisation(store)
    dispatcher = production(store, settings)
    asked = said(store, dispatcher, "mei", "freeze li because his phone was stolen")
    assert "1. 李军 (jun)\n2. 李伟 (liwei)" in asked[-1]
    (chosen, *_) = said(store, dispatcher, "mei", "李军")
    assert chosen == "“li” is 李军 (jun) for you from now on; `forget li` makes me ask again."
    assert newest(store).params["userid"] == "jun"
    (again, *_) = said(store, dispatcher, "mei", "freeze @LI because his phone was stolen")
    assert again == "“LI” is 李军 (jun) for you, as you chose; `forget LI` makes me ask again."
    assert newest(store).params["userid"] == "jun"
    said(store, dispatcher, "mei", "mailbox li")  # who looks sees whom he looks at: nothing is said before
    assert newest(store).params["userid"] == "jun"

    asked = said(store, dispatcher, "jun", "冻结 li 原因 手机被盗")  # another admin is asked, too
    assert asked == ["也可以直接输入序号：\n1. 李军 (jun)\n2. 李伟 (liwei)"]
    said(store, dispatcher, "jun", "2")
    assert newest(store).params["userid"] == "liwei"
    assert "以后您说“li”就是指" not in str(said(store, dispatcher, "jun", "昵称"))
    assert said(store, dispatcher, "jun", "昵称")[-1] == "仅对您：li 指 李伟 (liwei)"

    assert said(store, dispatcher, "mei", "forget li") == ["I ask you again what you mean by “li”."]
    assert "2. 李伟 (liwei)" in said(store, dispatcher, "mei", "freeze li because x")[-1]
    assert "liwei" in str(said(store, dispatcher, "jun", "冻结 li 原因 手机被盗"))
    assert "I keep nothing under “li”" in str(said(store, dispatcher, "mei", "forget li"))


def test_one_of_a_list_is_asked_about_where_it_stands(store: Store, settings: Settings) -> None:
    """`public add support@ lan, li, ahing`: the answer takes the place of the word, the others stay."""
    organisation(store)
    dispatcher = production(store, settings)
    assert "李伟" in said(store, dispatcher, "mei", "public add support@ lan, li, wl, ahing")[-1]
    replies = said(store, dispatcher, "mei", "2")
    assert newest(store).params["people"]["userids"] == ["lan", "liwei", "ahing"]  # wl is 王兰, who is there once
    assert "“li” is 李伟 (liwei) for you from now on" in replies[0]
    assert "I take “wl” for 王兰 (lan)." in replies[0]


def test_who_is_guessed_is_named(store: Store, settings: Settings) -> None:
    """One alone fits, but not exactly: an admin's command goes on and says whom it took."""
    organisation(store)
    dispatcher = production(store, settings)
    for typed, who in (
        ("wanglan", "王兰 (lan)"),
        ("dgx", "独孤星 (solo)"),
        ("李军军"[:2], None),
        ("独孤", "独孤星 (solo)"),
    ):
        replies = said(store, dispatcher, "mei", f"freeze {typed} because x")
        assert (f"I take “{typed}” for {who}." in replies) == (who is not None), typed
    assert said(store, dispatcher, "mei", "freeze wangln because x") == [
        "I know nobody called “wangln”. Nearest: 王兰 (lan). Please type one of them, or a whole address."
    ]


def test_who_left_is_not_remembered_and_a_new_userid_is(store: Store, settings: Settings) -> None:
    """The choice follows a member to another userid, and is of no use once he is gone."""
    organisation(store)
    dispatcher = production(store, settings)
    said(store, dispatcher, "mei", "freeze li because x")
    said(store, dispatcher, "mei", "1")
    with store.begin() as tx:
        tx.members.renamed("jun", "li.jun")
        tx.members.saw("lina", name="李娜", departments=[1])
    said(store, dispatcher, "mei", "freeze li because x")
    assert newest(store).params["userid"] == "li.jun"
    with store.begin() as tx:
        member = tx.members.find("li.jun")
        assert member is not None
        tx.members.left(member)
    assert "1. 李娜 (lina)\n2. 李伟 (liwei)" in said(store, dispatcher, "mei", "freeze li because x")[-1]


def test_the_same_name_in_two_domains_is_asked_about(store: Store, settings: Settings) -> None:
    """`sales@` alone; with its domain it is exact; in one domain only it is that one, and the answer says so."""
    organisation(store)
    with store.begin() as tx:
        for number, address in ((7, "sales@corp.test"), (8, "sales@other.test"), (9, "press@other.test")):
            tx.mailboxes.public_is(number, address, name=address[:5], readers={}, aliases=[])
    dispatcher = production(store, settings)
    for typed in ("sales@", "sales"):
        assert (
            "1. sales@corp.test\n2. sales@other.test" in said(store, dispatcher, "mei", f"freeze {typed} because x")[-1]
        )
    said(store, dispatcher, "mei", "2")
    assert newest(store).params["address"] == "sales@other.test"
    said(store, dispatcher, "mei", "freeze sales@corp.test because x")
    assert newest(store).params["address"] == "sales@corp.test"
    assert "I take “press@” for press@other.test." in said(store, dispatcher, "mei", "freeze press@ because x")
    assert newest(store).params["address"] == "press@other.test"
