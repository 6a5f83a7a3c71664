"""Messages out of the simulated WeCom: receivers, contents, limits, cards and their codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.sandbox.wecom_world import World, button_card


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


NOTICE = {
    "card_type": "text_notice",
    "main_title": {"title": "完成"},
    "card_action": {"type": 1, "url": "http://127.0.0.1:8000/job/1"},
}
VOTE = {
    "card_type": "vote_interaction",
    "main_title": {"title": "哪些"},
    "task_id": "vote-1",
    "checkbox": {
        "question_key": "which",
        "mode": 1,
        "option_list": [{"id": "a", "text": "甲", "is_checked": True}, {"id": "b", "text": "乙"}],
    },
    "submit_button": {"text": "提交", "key": "pick"},
}
MULTIPLE = {
    "card_type": "multiple_interaction",
    "main_title": {"title": "谁"},
    "task_id": "multi-1",
    "select_list": [
        {
            "question_key": "who",
            "title": "成员",
            "option_list": [{"id": "1", "text": "阿兴"}, {"id": "2", "text": "凌"}],
        }
    ],
    "submit_button": {"text": "提交", "key": "choose"},
}


# ---------------------------------------------------------------------- receivers
def test_a_text_arrives_and_invalid_receivers_are_named_in_lower_case(world: World) -> None:
    answer = world.text("mei|Nobody|AHING", "你好")
    assert (answer["errcode"], answer["invaliduser"]) == (0, "nobody")
    assert world.last("mei")["text"] == world.last("ahing")["text"] == "你好"


def test_departments_and_tags_are_expanded_and_nobody_hears_it_twice(world: World) -> None:
    answer = world.text("ling", "x", toparty="2|99", totag="3|77")
    assert (answer["invalidparty"], answer["invalidtag"]) == ("99", "77")
    for member in ("ling", "ahing", "calvin", "lan", "tao"):
        assert len(world.entries(member)) == 1
    assert world.entries("mei") == []


def test_everybody_in_sight_is_all(world: World) -> None:
    world.console("set_range", departments=[2])
    assert world.text("@all", "x")["errcode"] == 0
    assert len(world.entries("tao")) == 1
    assert world.entries("mei") == []
    assert world.text("mei", "x")["errcode"] == 81013


@pytest.mark.parametrize(
    ("change", "errcode"),
    [
        ({"agentid": None}, 40056),
        ({"agentid": "1"}, 40056),
        ({"agentid": 1}, 301002),
        ({"touser": ""}, 82001),
        ({"touser": "nobody"}, 81013),
        ({"touser": "|".join(["mei"] * 1001)}, 40032),
        ({"toparty": "|".join(["1"] * 101)}, 82002),
        ({"totag": "|".join(["1"] * 101)}, 82003),
        ({"msgtype": "carrier_pigeon"}, 40008),
        ({"text": {"content": ""}}, 44004),
        ({"text": None}, 44004),
        ({"msgtype": "markdown", "markdown": {"content": "一" * 683}}, 45002),
        ({"msgtype": "file", "file": {"media_id": "made up"}}, 40007),
        ({"msgtype": "textcard", "textcard": {"title": "t", "description": "d"}}, 41010),
        ({"msgtype": "textcard", "textcard": {"title": "t", "description": "d", "url": "u" * 2049}}, 40039),
    ],
)
def test_what_cannot_be_sent_is_refused(world: World, change: dict[str, Any], errcode: int) -> None:
    body = {"touser": "mei", "msgtype": "text", "agentid": world.org.agent_id, "text": {"content": "x"}, **change}
    assert world.code("message/send", body) == errcode
    assert world.entries("mei") == []


# ---------------------------------------------------------------------- contents and limits
def test_a_text_is_cut_at_2048_bytes_never_inside_a_character(world: World) -> None:
    world.text("mei", "一" * 1000)
    assert world.last("mei")["text"] == "一" * 682
    world.text("mei", "a" * 2048)
    assert world.last("mei")["text"] == "a" * 2048


def test_the_31st_message_of_a_minute_is_dropped_in_silence(world: World) -> None:
    for number in range(31):
        assert world.text("mei|ling", str(number))["errcode"] == 0
    assert [each["text"] for each in world.entries("mei")] == [str(number) for number in range(30)]
    assert world.look("chat", member="mei")["dropped"] == 1
    world.advance(minutes=1)
    world.text("mei", "again")
    assert world.last("mei")["text"] == "again"


def test_a_thousand_an_hour_is_the_end(world: World) -> None:
    chats = world.org.chats
    for _ in range(1000):
        assert chats.allows("mei", world.clock.now())
        world.clock.advance(3)
    world.text("mei", "one too many")
    assert world.entries("mei") == []


def test_the_same_content_is_sent_once_when_asked(world: World) -> None:
    for _ in range(2):
        assert world.text("mei", "once", enable_duplicate_check=1)["errcode"] == 0
    world.text("mei", "once")
    assert len(world.entries("mei")) == 2
    world.advance(minutes=31)
    world.text("mei", "once", enable_duplicate_check=1)
    assert len(world.entries("mei")) == 3


def test_a_textcard_is_cut(world: World) -> None:
    world.send(
        "mei", "textcard", {"title": "一" * 100, "description": "d" * 600, "url": "http://x.test", "btntxt": "abcdef"}
    )
    card = world.last("mei")["textcard"]
    assert (card["title"], len(card["description"]), card["button"]) == ("一" * 42, 512, "abcd")


def test_a_recalled_message_is_gone(world: World) -> None:
    msgid = world.text("mei", "oops")["msgid"]
    assert world.code("message/recall", {"msgid": "other"}) == 40058
    assert world.code("message/recall", {"msgid": msgid}) == 0
    assert (world.last("mei")["recalled"], world.last("mei")["text"]) == (True, "")
    late = world.text("mei", "too late")["msgid"]
    world.advance(hours=24)
    assert world.code("message/recall", {"msgid": late}) == 42052


# ---------------------------------------------------------------------- cards
def test_a_card_arrives_as_the_member_sees_it(world: World) -> None:
    answer = world.card("mei|ling", "backup-1")
    assert answer["errcode"] == 0
    assert answer["response_code"]
    card = world.last("mei")["card"]
    assert card["title"] == "备份 ahing@corp.test"
    assert card["rows"] == [{"name": "原因", "value": "离职", "url": None}]
    assert [(each["text"], each["key"]) for each in card["buttons"]] == [("同意", "approve:1"), ("拒绝", "reject:1")]
    assert (card["task_id"], card["greyed"]) == ("backup-1", False)


@pytest.mark.parametrize("task_id", [None, "", "with space", "中文", "x" * 129])
def test_a_bad_task_id_is_refused(world: World, task_id: str | None) -> None:
    assert world.send("mei", "template_card", button_card(task_id))["errcode"] == 42014


def test_a_task_id_is_used_up_for_ever(world: World) -> None:
    assert world.card("mei", "x" * 128)["errcode"] == 0
    world.advance(days=400)
    assert world.card("ling", "x" * 128)["errcode"] == 42014
    assert len(world.entries("mei")) == 1


def test_a_refused_card_does_not_use_up_its_task_id(world: World) -> None:
    assert world.card("mei", "t-1", card_type="poster")["errcode"] == 42031
    assert world.card("nobody", "t-1")["errcode"] == 81013
    assert world.card("mei", "t-1")["errcode"] == 0


def test_a_notice_needs_no_task_id_and_brings_no_code(world: World) -> None:
    answer = world.send("mei", "template_card", NOTICE)
    assert (answer["errcode"], answer.get("response_code")) == (0, None)
    menu = {"desc": "m", "action_list": [{"text": "停", "key": "stop"}]}
    assert world.send("mei", "template_card", {**NOTICE, "action_menu": menu})["errcode"] == 42014
    answer = world.send("mei", "template_card", {**NOTICE, "action_menu": menu, "task_id": "n-1"})
    assert answer["response_code"]


ROW = {"keyname": "k", "value": "v"}
BUTTON = {"text": "b", "key": "k"}
OPTIONS = [{"id": str(number), "text": "o"} for number in range(11)]


@pytest.mark.parametrize(
    ("card", "errcode"),
    [
        ({**button_card("t"), "card_type": "x"}, 42031),
        ({**button_card("t"), "main_title": {}}, 42033),
        ({**NOTICE, "main_title": {}}, 42033),
        ({**NOTICE, "card_action": {}}, 42045),
        ({**NOTICE, "card_action": {"type": 1}}, 42028),
        ({**NOTICE, "card_action": {"type": 2}}, 42030),
        ({**NOTICE, "card_type": "news_notice"}, 42044),
        ({**button_card("t"), "horizontal_content_list": [ROW] * 7}, 42035),
        ({**button_card("t"), "horizontal_content_list": [{"value": "v"}]}, 42027),
        ({**button_card("t"), "horizontal_content_list": [{**ROW, "type": 1}]}, 42028),
        ({**button_card("t"), "horizontal_content_list": [{**ROW, "type": 2}]}, 42029),
        ({**button_card("t"), "horizontal_content_list": [{**ROW, "type": 3}]}, 42050),
        ({**NOTICE, "vertical_content_list": [{"title": "t"}] * 5}, 42036),
        ({**NOTICE, "jump_list": [{"title": "t"}] * 4}, 42042),
        ({**NOTICE, "jump_list": [{"type": 1, "url": "u"}]}, 42033),
        ({**button_card("t"), "button_list": []}, 40058),
        ({**button_card("t"), "button_list": [{**BUTTON, "key": str(n)} for n in range(7)]}, 40058),
        ({**button_card("t"), "button_list": [BUTTON, BUTTON]}, 42039),
        ({**button_card("t"), "button_list": [{"text": "b"}]}, 42039),
        ({**button_card("t"), "button_list": [{"key": "k"}]}, 42038),
        ({**button_card("t"), "button_list": [{**BUTTON, "key": "k" * 1025}]}, 42039),
        ({**button_card("t"), "button_list": [{"text": "b", "type": 1}]}, 42028),
        ({**button_card("t"), "button_selection": {"question_key": "q", "option_list": OPTIONS}}, 42037),
        ({**button_card("t"), "button_selection": {"option_list": OPTIONS[:1]}}, 42043),
        ({**button_card("t"), "button_selection": {"question_key": "q", "option_list": [{"text": "o"}]}}, 42040),
        ({**button_card("t"), "button_selection": {"question_key": "q", "option_list": [{"id": "o"}]}}, 42041),
        ({**button_card("t"), "action_menu": {"action_list": [{"text": "a", "key": "k"}] * 2}}, 42051),
        ({**button_card("t"), "action_menu": {"action_list": []}}, 40058),
        ({**VOTE, "submit_button": {"text": "s"}}, 42046),
        ({**VOTE, "submit_button": {"key": "s"}}, 42049),
        ({**VOTE, "checkbox": {"question_key": "q", "option_list": OPTIONS * 2}}, 42037),
        ({**MULTIPLE, "select_list": MULTIPLE["select_list"] * 4}, 42047),
        ({**MULTIPLE, "select_list": []}, 42047),
        ({**MULTIPLE, "select_list": MULTIPLE["select_list"] * 2}, 42043),
    ],
)
def test_what_breaks_a_card_rule_is_refused(world: World, card: dict[str, Any], errcode: int) -> None:
    assert world.send("mei", "template_card", card)["errcode"] == errcode
    assert world.entries("mei") == []


def test_the_largest_cards_are_taken(world: World) -> None:
    full = {
        **button_card("big-1"),
        "horizontal_content_list": [ROW] * 6,
        "button_list": [{**BUTTON, "key": str(number)} for number in range(6)],
        "button_selection": {"question_key": "q", "option_list": OPTIONS[:10]},
    }
    boxes = [{"id": str(number), "text": "o"} for number in range(20)]
    for card in (full, {**VOTE, "checkbox": {"question_key": "q", "option_list": boxes}}, MULTIPLE):
        assert world.send("mei", "template_card", card)["errcode"] == 0


# ---------------------------------------------------------------------- updating cards
def test_greying_the_buttons_spends_the_code(world: World) -> None:
    code = world.card("mei|ling", "t-1")["response_code"]
    assert world.update(code, atall=0, userids=["mei", "Stranger"], button={"replace_name": "已同意"}) == {
        "errcode": 0,
        "errmsg": "ok",
        "invaliduser": ["stranger"],
    }
    card = world.last("mei")["card"]
    assert (card["greyed"], card["replaced_text"]) == (True, "已同意")
    assert world.last("ling")["card"]["greyed"] is False
    assert world.update(code, button={"replace_name": "again"})["errcode"] == 60140


def test_a_code_lives_72_hours(world: World) -> None:
    code, other = (world.card("mei", task)["response_code"] for task in ("t-1", "t-2"))
    world.advance(hours=71, minutes=59)
    assert world.update(code, button={"replace_name": "ok"})["errcode"] == 0
    world.advance(minutes=1)
    assert world.update(other, button={"replace_name": "late"})["errcode"] == 60140


def test_a_refused_update_leaves_the_code_alone(world: World) -> None:
    code = world.card("mei", "t-1")["response_code"]
    assert world.update(code)["errcode"] == 40058
    assert world.update(code, atall=0, button={"replace_name": "x"})["errcode"] == 82001
    assert world.update(code, agentid=1, button={"replace_name": "x"})["errcode"] == 301002
    assert world.update(code, template_card=button_card(None, button_list=[]))["errcode"] == 40058
    assert world.update(code, button={"replace_name": "x"})["errcode"] == 0


def test_a_new_card_takes_the_place_of_the_old(world: World) -> None:
    code = world.card("mei", "t-1")["response_code"]
    new = {**button_card(None), "main_title": {"title": "好了"}, "replace_text": "已完成"}
    assert world.update(code, template_card=new)["errcode"] == 0
    card = world.last("mei")["card"]
    assert (card["title"], card["greyed"], card["replaced_text"]) == ("好了", True, "已完成")
    assert len(world.entries("mei")) == 1


def test_a_new_card_may_be_of_another_kind(world: World) -> None:
    code = world.card("mei", "t-1")["response_code"]
    assert world.update(code, template_card=NOTICE)["errcode"] == 0
    card = world.last("mei")["card"]
    assert (card["card_type"], card["buttons"], card["title"]) == ("text_notice", [], "完成")


def test_a_live_new_card_needs_a_task_id_of_its_own(world: World) -> None:
    code = world.card("mei", "t-1")["response_code"]
    assert world.update(code, template_card=button_card(None))["errcode"] == 42014
    assert world.update(code, template_card=button_card("t-1"))["errcode"] == 42014
    assert world.update(code, template_card=button_card("t-2"))["errcode"] == 0
    assert world.last("mei")["card"]["task_id"] == "t-2"
    world.control("click", {"member": "mei", "task_id": "t-1", "key": "approve:1"}, 404)
    assert world.control("click", {"member": "mei", "task_id": "t-2", "key": "approve:1"})["acknowledged"]


# ---------------------------------------------------------------------- menu and media
def test_the_menu_is_kept_and_clicked(world: World) -> None:
    agent = {"agentid": world.org.agent_id}
    assert world.get("menu/get", **agent)["errcode"] == 46003
    menu = {"button": [{"name": "帮助", "type": "click", "key": "help"}]}
    assert world.post("menu/create", menu, **agent)["errcode"] == 0
    assert world.get("menu/get", **agent)["button"] == menu["button"]
    world.control("menu", {"member": "mei", "key": "nothing"}, 404)
    world.control("menu", {"member": "mei", "key": "help"})
    assert (world.bot.messages[-1]["Event"], world.bot.messages[-1]["EventKey"]) == ("click", "help")
    assert world.get("menu/delete", **agent)["errcode"] == 0
    assert world.get("menu/get", **agent)["errcode"] == 46003


@pytest.mark.parametrize(
    ("buttons", "errcode"),
    [
        ([], 40016),
        ([{"name": "一二三四五六", "type": "click", "key": "k"}], 40018),
        ([{"name": "n", "type": "click", "key": "k" * 129}], 40019),
        ([{"name": "n", "type": "view", "url": "u" * 1025}], 40020),
        ([{"name": "n", "type": "fly"}], 40017),
        ([{"name": "n", "sub_button": [{"name": "一" * 14, "type": "click", "key": "k"}]}], 40025),
        ([{"name": "n", "sub_button": [{"name": "n", "type": "click", "key": "k"}] * 6}], 40023),
        ([{"type": "click", "key": "k"}], 41102),
    ],
)
def test_what_breaks_a_menu_rule_is_refused(world: World, buttons: list[Any], errcode: int) -> None:
    answer = world.post("menu/create", {"button": buttons}, agentid=world.org.agent_id)
    assert answer["errcode"] == errcode


def upload(world: World, name: str, content: bytes, kind: str = "file") -> dict[str, Any]:
    params = {"access_token": world.token(), "type": kind}
    files = {"media": (name, content, "text/csv")}
    answer: dict[str, Any] = world.run(world.http.post("/cgi-bin/media/upload", params=params, files=files)).json()
    return answer


def test_a_file_is_uploaded_sent_and_fetched_for_three_days(world: World) -> None:
    answer = upload(world, "report.csv", b"a,b,c\r\n")
    assert (answer["errcode"], answer["type"]) == (0, "file")
    assert isinstance(answer["created_at"], str)
    media_id = answer["media_id"]
    assert world.send("mei", "file", {"media_id": media_id})["errcode"] == 0
    shown = world.last("mei")["file"]
    assert (shown["name"], shown["size_bytes"]) == ("report.csv", 7)
    assert world.run(world.http.get(shown["url"])).content == b"a,b,c\r\n"
    params = {"access_token": world.token(), "media_id": media_id}
    assert world.run(world.http.get("/cgi-bin/media/get", params=params)).content == b"a,b,c\r\n"
    world.advance(days=3)
    assert world.send("mei", "file", {"media_id": media_id})["errcode"] == 40007
    params["access_token"] = world.token()
    assert world.run(world.http.get("/cgi-bin/media/get", params=params)).json()["errcode"] == 40007


@pytest.mark.parametrize(
    ("content", "kind", "errcode"),
    [
        (b"12345", "file", 40006),
        (b"", "file", 44001),
        (b"x" * 9, "poem", 40005),
        (b"x" * (2 << 20) + b"y", "voice", 45001),
    ],
)
def test_a_bad_file_is_refused(world: World, content: bytes, kind: str, errcode: int) -> None:
    assert upload(world, "x.bin", content, kind)["errcode"] == errcode
