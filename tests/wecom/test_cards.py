"""Messages fit WeCom's limits before they leave, and what became of them is told."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from email import message_from_bytes
from email.policy import HTTP
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import BotError
from bot.wecom import cards, limits
from bot.wecom.cards import CardRefused, FileRefused, check_card, split_text
from bot.wecom.client import WeComClient
from bot.wecom.errcodes import WeComError

from .conftest import FIXTURES, FakeClock, WeCom, fixture

SEND = "/cgi-bin/message/send"
UPDATE = "/cgi-bin/message/update_template_card"
SAMPLES = sorted((FIXTURES / "api" / "message").glob("*card*.request.json"))


def sample(kind: str) -> dict[str, Any]:
    """A card of the documentation."""
    card: dict[str, Any] = fixture(f"message/send.template_card.{kind}.request.json")["template_card"]
    if kind == "news_notice":  # the SDK's sample lacks the picture that the page asks for
        card["card_image"] = {"url": "https://example.com/picture.png", "aspect_ratio": 1.5}
    return card


# Sending


def test_a_text(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(SEND, {"errcode": 0, "msgid": "m1"})
    assert cards.send_text(client, "mei", "你好") == [cards.Sent("m1")]
    assert wecom.last.json == {
        "touser": "mei",
        "agentid": 1000002,
        "msgtype": "text",
        "text": {"content": "你好"},
    }


def test_a_long_text_is_several_messages_in_order(client: WeComClient, wecom: WeCom) -> None:
    text = "\n".join(f"line {number} of the report" for number in range(300))
    assert len(cards.send_text(client, ["mei", "ling"], text)) == 4
    sent = [each.json for each in wecom.calls(SEND)]
    assert "\n".join(each["text"]["content"] for each in sent) == text
    assert {each["touser"] for each in sent} == {"mei|ling"}


def test_an_empty_text_is_a_bug_of_ours(client: WeComClient, wecom: WeCom) -> None:
    for text in ("", " \n \n"):
        with pytest.raises(ValueError, match="empty"):
            cards.send_text(client, "mei", text)
    assert not wecom.asked


@pytest.mark.parametrize("to", ["", [], ["a|b"], ["a"] * 1001, ["a", ""]])
def test_receivers(client: WeComClient, wecom: WeCom, to: cards.Receivers) -> None:
    with pytest.raises(ValueError, match="userids"):
        cards.send_text(client, to, "hello")
    assert not wecom.asked


def test_who_was_not_reached(client: WeComClient, wecom: WeCom) -> None:
    """WeCom says 0 and writes the names in lower case."""
    wecom.answer(SEND, {"errcode": 0, "msgid": "m", "invaliduser": "aHing|ghost", "unlicenseduser": "mei"})
    [sent] = cards.send_text(client, ["Ahing", "ling", "Mei"], "hello")
    assert sent.invalid == ["Ahing", "Mei"]


def test_the_answer_of_the_documentation(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(SEND, fixture("message/send.response.json"))
    sent = cards.send_card(client, ["UserID1", "x", "userid4"], sample("button_interaction"))
    assert sent == cards.Sent("xxxx", "xyzxyz", ["UserID1", "userid4"])
    assert "xyzxyz" not in repr(sent), "a card code is leave to act"
    assert wecom.last.json["template_card"] == sample("button_interaction")


def test_nobody_was_reached(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(SEND, {"errcode": 81013, "errmsg": "user & party & tag all invalid"})
    with pytest.raises(WeComError) as caught:
        cards.send_text(client, "ghost", "hello")
    assert "可见范围" in caught.value.words().text("zh")


def test_a_card_sent_again_after_a_time_out(client: WeComClient, wecom: WeCom) -> None:
    """The task id is the key: the second time WeCom knows it, and the first one's code is lost."""
    wecom.answer(SEND, {"errcode": 42014, "errmsg": "taskid has existed or empty or exceed max len"})
    sent = cards.send_card(client, "mei", sample("button_interaction"))
    assert sent == cards.Sent(already_sent=True)
    assert sent.response_code is None


def test_42014_without_a_task_id_is_an_error(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(SEND, {"errcode": 42014})
    card = {"card_type": "text_notice", "sub_title_text": "x", "card_action": {"type": 1, "url": "https://example.com"}}
    with pytest.raises(WeComError):
        cards.send_card(client, "mei", card)


def test_a_bad_card_does_not_leave(client: WeComClient, wecom: WeCom) -> None:
    with pytest.raises(CardRefused):
        cards.send_card(client, "mei", {"card_type": "poster"})
    with pytest.raises(CardRefused):
        cards.update_card(client, "code", "mei", card={"card_type": "poster"})
    assert not wecom.asked


def test_buttons_turn_grey(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(UPDATE, fixture("message/update_template_card.response.json"))
    updated = cards.update_card(client, "code", ["UserID1", "ling"], replace_name="已同意")
    assert updated == cards.Updated(["UserID1"])
    assert wecom.last.json == {
        "userids": ["UserID1", "ling"],
        "agentid": 1000002,
        "response_code": "code",
        "button": {"replace_name": "已同意"},
    }


@pytest.mark.parametrize("kind", ["text_notice", "button_interaction"])
def test_a_card_is_redrawn(client: WeComClient, wecom: WeCom, kind: str) -> None:
    wanted = fixture(f"message/update_template_card.{kind}.request.json")
    assert cards.update_card(client, "response_code", wanted["userids"], card=wanted["template_card"]) == (
        cards.Updated()
    )
    assert wecom.last.json["template_card"] == wanted["template_card"]


def test_a_spent_code_is_told(client: WeComClient, wecom: WeCom) -> None:
    """Two may race for one code; the loser is no error."""
    wecom.answer(UPDATE, {"errcode": 60140, "errmsg": "invalid response_code"})
    assert cards.update_card(client, "code", "mei", replace_name="x") == cards.Updated(code_spent=True)
    wecom.answer(UPDATE, {"errcode": 42016})
    with pytest.raises(WeComError):
        cards.update_card(client, "code", "mei", replace_name="x")


def test_a_redrawing_is_one_of_two(client: WeComClient) -> None:
    with pytest.raises(ValueError, match="either"):
        cards.update_card(client, "code", "mei")
    with pytest.raises(ValueError, match="either"):
        cards.update_card(client, "code", "mei", card=sample("text_notice"), replace_name="x")


def test_a_file(client: WeComClient, wecom: WeCom, clock: FakeClock) -> None:
    wecom.answer("/cgi-bin/media/upload", fixture("media/upload.response.json"))
    wecom.answer(SEND, {"errcode": 0, "msgid": "m"})
    content = b"\xef\xbb\xbfmailbox,mails\r\n"
    assert cards.send_file(client, "mei", "receipt-12.csv", content).msgid == "m"
    [upload] = wecom.calls("/cgi-bin/media/upload")
    assert upload.query["type"] == "file"
    head = f"Content-Type: {upload.headers['Content-Type']}\r\n\r\n".encode()
    [part] = message_from_bytes(head + upload.body, policy=HTTP).iter_parts()  # type: ignore[attr-defined]
    assert part["Content-Disposition"] == 'form-data; name="media"; filename="receipt-12.csv"'
    assert part.get_payload(decode=True) == content
    assert wecom.last.json["file"] == {"media_id": "1G6nrLmr5EC3MMb_-zK1dDdzmd0p7cNliYu9V5w7o8K0"}


def test_a_file_lives_three_days(client: WeComClient, wecom: WeCom, clock: FakeClock) -> None:
    wecom.answer("/cgi-bin/media/upload", fixture("media/upload.response.json"))
    media = cards.upload(client, "a.txt", b"123456")
    assert (media.expires_at - clock.now()).days == 3


@pytest.mark.parametrize("name", ["", "报告.csv", 'a".csv', "a\r\nX: y.csv", "../a.csv", "a/b.csv", ".csv", "a" * 121])
def test_file_names(client: WeComClient, wecom: WeCom, name: str) -> None:
    with pytest.raises(FileRefused):
        cards.upload(client, name, b"123456")
    assert not wecom.asked


def test_file_sizes() -> None:
    for size in (0, 5, limits.FILE_BYTES_MAX + 1):
        with pytest.raises(FileRefused):
            cards.check_file("a.csv", bytes(size))
    for size in (6, limits.FILE_BYTES_MAX):
        cards.check_file("a.csv", bytes(size))


def test_recall(client: WeComClient, wecom: WeCom) -> None:
    cards.recall(client, "m1")
    assert (wecom.last.path, wecom.last.json) == ("/cgi-bin/message/recall", {"msgid": "m1"})


# Splitting


def test_short_texts_are_one_part() -> None:
    for text in ("a", "a\nb", "a\n\n b", "x" * 2048, "邮" * 682):
        assert split_text(text) == [text]


def test_bytes_count_not_characters() -> None:
    assert [len(each) for each in split_text("邮" * 683)] == [682, 1]


def test_broken_at_line_ends() -> None:
    lines = ["x" * 1000, "y" * 1000, "z" * 1000]
    assert split_text("\n".join(lines)) == ["\n".join(lines[:2]), lines[2]]


def test_long_lines_are_broken_at_spaces() -> None:
    text = " ".join(["word"] * 1000)
    parts = split_text(text)
    assert "".join(parts) == text
    assert all(each.endswith(" ") for each in parts[:-1])


@pytest.mark.parametrize(
    "whole", ["👨‍👩‍👧", "e\u0301", "👍🏽", "❤️", "1️⃣", '<a href="https://bot.example.com/1">open it</a>']
)
def test_never_within_what_a_reader_sees_as_one(whole: str) -> None:
    """Wherever the 2048th byte falls."""
    for filler in range(limits.TEXT_BYTES - len(whole.encode()) - 1, limits.TEXT_BYTES + 1):
        text = "x" * filler + whole + "y" * 50
        parts = split_text(text)
        assert "".join(parts) == text
        assert any(whole in part for part in parts)


def test_a_link_too_long_for_anything() -> None:
    assert "".join(split_text(f'<a href="{"x" * 5000}">y</a>')) == f'<a href="{"x" * 5000}">y</a>'


@given(
    st.lists(
        st.one_of(
            st.text(max_size=40),
            st.builds(
                lambda each, times: each * times,
                st.sampled_from(["x", "邮", "é ", "👨‍👩‍👧", "\u0301"]),
                st.integers(0, 2100),
            ),
        ),
        max_size=8,
    )
)
def test_nothing_is_lost(lines: list[str]) -> None:
    """Every part fits and has words; together they are the text, but for line ends at the breaks."""
    text = "\n".join(lines)
    parts = split_text(text)
    assert all(0 < len(part.encode()) <= limits.TEXT_BYTES and part.strip() for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


@given(st.lists(st.text("xy邮", min_size=1, max_size=600), min_size=1, max_size=20))
def test_lines_that_fit_stay_whole(lines: list[str]) -> None:
    assert [line for part in split_text("\n".join(lines)) for line in part.split("\n")] == lines


# Cards


def test_task_ids() -> None:
    rng = random.Random(1)
    made = {cards.make_task_id("approval", rng) for _ in range(100)}
    assert len(made) == 100
    assert all(each.startswith("approval-") and cards.TASK_ID.fullmatch(each) for each in made)
    for kind in ("审批", "a b", "x" * 128):
        with pytest.raises(ValueError, match="task id"):
            cards.make_task_id(kind, rng)


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.name)
def test_the_cards_of_the_documentation_pass(file: Any) -> None:
    card = fixture(f"message/{file.name}").get("template_card")
    if card is None:  # only buttons
        return
    if card["card_type"] == "news_notice":
        card = sample("news_notice")
    check_card(card, update=file.name.startswith("update"))


Change = Callable[[dict[str, Any]], object]


def put(**blocks: Any) -> Change:
    return lambda card: card.update(blocks)


def drop(*path: str) -> Change:
    def change(card: Any) -> None:
        for each in path[:-1]:
            card = card[each] if not isinstance(card[each], list) else card[each][0]
        del card[path[-1]]

    return change


def fill(most: int, *path: str, **unique: str) -> Change:
    """Lengthen a list to `most` items, with `unique` fields different in each."""

    def change(card: Any) -> None:
        for each in path[:-1]:
            card = card[each] if not isinstance(card[each], list) else card[each][0]
        first = card[path[-1]][0]
        card[path[-1]] = [{**first, **{name: f"{text}{n}" for name, text in unique.items()}} for n in range(most)]
        card.pop("selected_id", None)

    return change


def inside(*path: str, **fields: Any) -> Change:
    def change(card: Any) -> None:
        for each in path:
            card = card[each] if not isinstance(card[each], list) else card[each][0]
        card.update(fields)

    return change


BUTTONS, FULL = "button_interaction", "button_interaction.full"
TEXT, NEWS, VOTE, MANY = "text_notice", "news_notice", "vote_interaction", "multiple_interaction"
REFUSED: list[tuple[str, Change, str]] = [
    (TEXT, put(card_type="poster"), "card_type"),
    (TEXT, drop("card_type"), "card_type"),
    (TEXT, drop("card_action"), "card_action"),
    (NEWS, drop("card_action"), "card_action"),
    (TEXT, put(card_action={}), "card_action"),
    (TEXT, put(card_action={"url": "https://example.com"}), "card_action.type"),
    (TEXT, put(card_action={"type": 3}), "card_action.type"),
    (TEXT, put(card_action={"type": 1}), "card_action.url"),
    (TEXT, put(card_action={"type": 2}), "card_action.appid"),
    (TEXT, put(card_action="https://example.com"), "card_action"),
    (TEXT, put(main_title={}, sub_title_text=""), "main_title"),
    (NEWS, put(main_title={"desc": "x"}), "main_title.title"),
    (BUTTONS, drop("main_title"), "main_title.title"),
    (VOTE, drop("main_title", "title"), "main_title.title"),
    (MANY, drop("main_title", "title"), "main_title.title"),
    (BUTTONS, drop("task_id"), "task_id"),
    (VOTE, drop("task_id"), "task_id"),
    (MANY, drop("task_id"), "task_id"),
    (TEXT, drop("task_id"), "task_id"),
    (BUTTONS, put(task_id=""), "task_id"),
    (BUTTONS, put(task_id="a b"), "task_id"),
    (BUTTONS, put(task_id="审批"), "task_id"),
    (BUTTONS, put(task_id="x\n"), "task_id"),
    (BUTTONS, put(task_id="x" * 129), "task_id"),
    (BUTTONS, put(task_id=12), "task_id"),
    (TEXT, inside("source", desc_color=4), "source.desc_color"),
    (TEXT, put(quote_area={"type": 1}), "quote_area.url"),
    (TEXT, put(emphasis_content="100"), "emphasis_content"),
    (BUTTONS, put(emphasis_content={"title": "1"}), "emphasis_content"),
    (BUTTONS, put(jump_list=[]), "jump_list"),
    (TEXT, put(button_list=[]), "button_list"),
    (TEXT, put(vertical_content_list=[]), "vertical_content_list"),
    (BUTTONS, put(checkbox={}), "checkbox"),
    (VOTE, put(select_list=[]), "select_list"),
    (BUTTONS, put(submit_button={}), "submit_button"),
    (BUTTONS, fill(7, "horizontal_content_list"), "horizontal_content_list"),
    (BUTTONS, put(horizontal_content_list="x"), "horizontal_content_list"),
    (BUTTONS, put(horizontal_content_list=["x"]), "horizontal_content_list"),
    (BUTTONS, drop("horizontal_content_list", "keyname"), "horizontal_content_list.keyname"),
    (BUTTONS, inside("horizontal_content_list", type=1), "horizontal_content_list.url"),
    (BUTTONS, inside("horizontal_content_list", type=2), "horizontal_content_list.media_id"),
    (BUTTONS, inside("horizontal_content_list", type=3), "horizontal_content_list.userid"),
    (BUTTONS, inside("horizontal_content_list", type=4), "horizontal_content_list.type"),
    (NEWS, fill(5, "vertical_content_list"), "vertical_content_list"),
    (NEWS, drop("vertical_content_list", "title"), "vertical_content_list.title"),
    (TEXT, fill(4, "jump_list"), "jump_list"),
    (TEXT, drop("jump_list", "title"), "jump_list.title"),
    (TEXT, drop("jump_list", "url"), "jump_list.url"),
    (NEWS, drop("card_image"), "card_image"),
    (NEWS, drop("card_image", "url"), "card_image.url"),
    (NEWS, inside("card_image", aspect_ratio=1.2), "card_image.aspect_ratio"),
    (NEWS, inside("card_image", aspect_ratio=2.25), "card_image.aspect_ratio"),
    (NEWS, put(image_text_area={"title": "x"}), "image_text_area.image_url"),
    (TEXT, put(action_menu={}), "action_menu"),
    (TEXT, put(action_menu={"desc": "x"}), "action_menu.action_list"),
    (TEXT, fill(4, "action_menu", "action_list", key="k"), "action_menu.action_list"),
    (TEXT, fill(2, "action_menu", "action_list"), "action_menu.action_list.key"),
    (TEXT, inside("action_menu", "action_list", key="x" * 1025), "action_menu.action_list.key"),
    (TEXT, drop("action_menu", "action_list", "text"), "action_menu.action_list.text"),
    (BUTTONS, drop("button_list"), "button_list"),
    (BUTTONS, put(button_list=[]), "button_list"),
    (BUTTONS, fill(7, "button_list", key="k"), "button_list"),
    (BUTTONS, fill(2, "button_list"), "button_list.key"),
    (BUTTONS, drop("button_list", "key"), "button_list.key"),
    (BUTTONS, inside("button_list", key="邮" * 342), "button_list.key"),
    (BUTTONS, drop("button_list", "text"), "button_list.text"),
    (BUTTONS, inside("button_list", style=5), "button_list.style"),
    (BUTTONS, inside("button_list", type=1), "button_list.url"),
    (BUTTONS, inside("button_list", type=2), "button_list.type"),
    (FULL, drop("button_selection", "question_key"), "button_selection.question_key"),
    (FULL, inside("button_selection", question_key="x" * 1025), "button_selection.question_key"),
    (FULL, fill(11, "button_selection", "option_list", id="i"), "button_selection.option_list"),
    (FULL, inside("button_selection", option_list=[]), "button_selection.option_list"),
    (FULL, inside("button_selection", selected_id="other"), "button_selection.selected_id"),
    (FULL, inside("button_selection", "option_list", id="x" * 129), "button_selection.option_list.id"),
    (FULL, put(button_selection={}), "button_selection"),
    (VOTE, drop("checkbox"), "checkbox"),
    (VOTE, inside("checkbox", mode=2), "checkbox.mode"),
    (VOTE, fill(21, "checkbox", "option_list", id="i"), "checkbox.option_list"),
    (VOTE, fill(2, "checkbox", "option_list"), "checkbox.option_list.id"),
    (VOTE, drop("checkbox", "option_list", "text"), "checkbox.option_list.text"),
    (VOTE, drop("checkbox", "question_key"), "checkbox.question_key"),
    (VOTE, drop("submit_button"), "submit_button"),
    (VOTE, drop("submit_button", "key"), "submit_button.key"),
    (MANY, drop("submit_button", "text"), "submit_button.text"),
    (MANY, inside("submit_button", key="x" * 1025), "submit_button.key"),
    (MANY, drop("select_list"), "select_list"),
    (MANY, fill(4, "select_list", question_key="q"), "select_list"),
    (MANY, fill(2, "select_list"), "select_list.question_key"),
    (MANY, fill(11, "select_list", "option_list", id="i"), "select_list.option_list"),
    (MANY, drop("select_list", "question_key"), "select_list.question_key"),
]


@pytest.mark.parametrize(("kind", "change", "block"), REFUSED, ids=lambda each: each if isinstance(each, str) else "")
def test_what_wecom_would_refuse(kind: str, change: Change, block: str) -> None:
    card = copy.deepcopy(sample(kind))
    check_card(card)
    change(card)
    with pytest.raises(CardRefused) as caught:
        check_card(card)
    assert caught.value.block == block
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, BotError)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (BUTTONS, fill(6, "button_list", key="k")),
        (BUTTONS, fill(6, "horizontal_content_list")),
        (BUTTONS, inside("button_list", key="x" * 1024)),
        (BUTTONS, put(task_id="aZ09_-@" + "x" * 121)),
        (FULL, fill(10, "button_selection", "option_list", id="i")),
        (VOTE, fill(20, "checkbox", "option_list", id="i")),
        (MANY, fill(3, "select_list", question_key="q")),
        (TEXT, fill(3, "action_menu", "action_list", key="k")),
        (TEXT, fill(3, "jump_list")),
        (NEWS, fill(4, "vertical_content_list")),
        (TEXT, put(main_title={})),
        (BUTTONS, drop("card_action")),
    ],
)
def test_the_limits_themselves_are_allowed(kind: str, change: Change) -> None:
    card = copy.deepcopy(sample(kind))
    change(card)
    check_card(card)


def test_a_greyed_card_needs_no_task_id() -> None:
    card = fixture("message/update_template_card.button_interaction.request.json")["template_card"]
    check_card(card, update=True)
    del card["replace_text"]
    with pytest.raises(CardRefused) as caught:
        check_card(card, update=True)
    assert caught.value.block == "task_id"


def test_what_is_cut_on_screen() -> None:
    card = sample(FULL)
    card["horizontal_content_list"] = [{"keyname": "邮箱", "value": "x" * 27}]
    card["button_list"][1]["text"] = "十一个字的按钮太长了吧啊"
    assert cards.cut_on_screen(card) == ["horizontal_content_list.value", "button_list.text"]
    check_card(card)


# Menu


def test_a_menu(client: WeComClient, wecom: WeCom) -> None:
    wanted = fixture("menu/create.request.json")
    cards.create_menu(client, wanted["button"])
    assert wecom.last.json == wanted
    assert wecom.last.query["agentid"] == "1000002"


def test_the_menu_of_the_documentation_passes() -> None:
    cards.check_menu(fixture("menu/get.response.json")["button"][:3])


CLICK = {"type": "click", "name": "帮助", "key": "help"}


@pytest.mark.parametrize(
    ("buttons", "block"),
    [
        ([], "button"),
        ([CLICK] * 4, "button"),
        ([{**CLICK, "name": "六个字的名字"}], "button.name"),
        ([{**CLICK, "name": ""}], "button.name"),
        ([{**CLICK, "key": "x" * 129}], "button.key"),
        ([{"name": "a"}], "button.type"),
        ([{"name": "a", "type": "view"}], "button.url"),
        ([{"name": "a", "type": "view", "url": "x" * 1025}], "button.url"),
        ([{"name": "a", "sub_button": [CLICK] * 6}], "button.sub_button"),
        ([{"name": "a", "type": "click", "sub_button": [CLICK]}], "button.type"),
        ([{"name": "a", "sub_button": [{**CLICK, "name": "邮" * 14}]}], "button.sub_button.name"),
        ([{"name": "a", "sub_button": [{"name": "b", "type": "click"}]}], "button.sub_button.key"),
    ],
)
def test_menus_wecom_would_refuse(buttons: list[dict[str, Any]], block: str) -> None:
    with pytest.raises(CardRefused) as caught:
        cards.check_menu(buttons)
    assert caught.value.block == block
