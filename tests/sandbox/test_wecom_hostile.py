"""Whatever a client sends, the simulated WeCom answers with an errcode and stays in order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bot.sandbox.wecom as calls
from bot.clock import ShiftedClock
from bot.sandbox.mailserver import MailServer
from bot.sandbox.organisation import Organisation
from bot.sandbox.wecom.api import ENDPOINTS, Gate, Upload

assert calls.__all__


def words(text: str) -> list[str]:
    return text.split()


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 9),
    st.sampled_from([1, 2, 2**40, -(2**40)]),
    st.sampled_from(
        ["mei", "ahing", "@all", "1", "support@corp.test", "x@corp.test", "a\r\nb@corp.test", "", "中", "|"]
    ),
    st.text(max_size=4),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["list", "item", "type", "value", "emails", "userids", "remark"]), inner),
    ),
    max_leaves=6,
)
CARD_KEYS = words("""
    card_type main_title title desc task_id button_list text key style url button_selection question_key option_list
    id checkbox mode submit_button select_list action_menu action_list horizontal_content_list keyname type media_id
    userid card_action jump_list vertical_content_list card_image replace_text sub_title_text
""")
KINDS = st.sampled_from(
    ["text_notice", "news_notice", "button_interaction", "vote_interaction", "multiple_interaction", "x"]
)
CARD = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(CARD_KEYS), inner, max_size=6)
    ),
    max_leaves=12,
)
WHOLE_CARD = st.builds(
    lambda card, kind: {**card, "card_type": kind} if isinstance(card, dict) else card,
    st.dictionaries(st.sampled_from(CARD_KEYS), CARD, max_size=8),
    KINDS,
)
FIELDS = words("""
    userid department_id cursor limit mobile email email_type biz_mail biz_mail_alias department is_leader_in_dept
    order direct_leader enable name id tagid code agentid jobid start_time end_time oper_type touser toparty totag
    msgtype userids partyids tagids atall response_code button msgid userid_list department_list tag_list alias_list
    type option create_auth_code auth_code_info auth_code_id id_list fuzzy groupid groupname email_list group_list
    allow_type allow_emaillist allow_departmentlist allow_taglist to cc bcc subject content content_type
    attachment_list begin_time mail_id new_email publicemail_id text markdown file textcard
""")
LISTS = [each for each in FIELDS if each.endswith("list")]
VALUE = st.one_of(JSON, st.builds(lambda items: {"list": items}, st.lists(JSON, max_size=2)))
BODY = st.dictionaries(st.sampled_from(FIELDS), VALUE, max_size=9)
NEAR = st.one_of(
    st.dictionaries(st.sampled_from(FIELDS), VALUE, max_size=3),
    st.dictionaries(st.sampled_from(LISTS), VALUE, min_size=1, max_size=3),
)


@pytest.fixture(scope="module")
def org() -> Organisation:
    clock = ShiftedClock()
    return Organisation(clock, MailServer(clock))


def ask(org: Organisation, path: str, body: Any, query: dict[str, str]) -> dict[str, Any]:
    gate = Gate(org)
    found = ENDPOINTS[path]
    caller = found.callers[0]
    corpsecret = org.app_secret if caller == "app" else org.contacts_secret
    token = gate.answer("GET", "gettoken", {"corpid": org.corp_id, "corpsecret": corpsecret}, b"") or {}
    raw = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    upload = Upload("x", "text/plain", b"some bytes") if path == "media/upload" else None
    answer = gate.answer(found.method, path, {**query, "access_token": token["access_token"]}, raw, upload)
    assert answer is not None
    assert isinstance(answer["errcode"], int)
    json.dumps(answer)
    return answer


@given(path=st.sampled_from(sorted(ENDPOINTS)), body=BODY, values=st.dictionaries(st.sampled_from(FIELDS), st.text()))
def test_no_body_breaks_a_call(org: Organisation, path: str, body: dict[str, Any], values: dict[str, str]) -> None:
    ask(org, path, body, values)


@given(path=st.sampled_from(sorted(ENDPOINTS)), data=st.data())
def test_no_body_near_the_right_one_breaks_a_call(org: Organisation, path: str, data: st.DataObject) -> None:
    right: dict[str, Any] = {
        "userid": "ahing",
        "agentid": org.agent_id,
        "touser": "mei",
        "id": 1,
        "email": "new@corp.test",
        "name": "new",
        "userid_list": {"list": ["mei"]},
        "groupid": "new@corp.test",
        "groupname": "new",
        "email_list": {"list": ["mei@corp.test"]},
        "to": {"userids": ["mei"]},
        "subject": "s",
        "content": "c",
    }
    body = right | data.draw(NEAR)
    body |= {"msgtype": data.draw(st.sampled_from(["text", "markdown", "file", "textcard", "template_card"]))}
    query = {"agentid": str(org.agent_id), "id": "1", "fuzzy": "1", "userid": "mei", "tagid": "1", "type": "file"}
    ask(org, path, body, query)


@given(card=WHOLE_CARD)
def test_no_card_breaks_sending(org: Organisation, card: Any) -> None:
    body = {"agentid": org.agent_id, "touser": "mei", "msgtype": "template_card", "template_card": card}
    answer = ask(org, "message/send", body, {})
    if answer["errcode"] == 0:
        json.dumps(org.chats.shown("mei"))
    update = {"agentid": org.agent_id, "atall": 1, "response_code": answer.get("response_code"), "template_card": card}
    ask(org, "message/update_template_card", update, {})


@pytest.mark.parametrize("path", ["exmail/publicmail/create", "exmail/publicmail/update", "exmail/group/create"])
@pytest.mark.parametrize("item", [{}, [], 1.5, True, None, "2"])
def test_an_item_of_the_wrong_kind_is_refused(org: Organisation, path: str, item: Any) -> None:
    right = {"id": 1, "email": "new@corp.test", "name": "new", "groupid": "new@corp.test", "groupname": "new"}
    for name in ("userid_list", "department_list", "tag_list"):
        if path.startswith("exmail/group") and name == "userid_list":
            continue
        assert ask(org, path, {**right, name: {"list": [item]}}, {})["errcode"] != 0
    if path == "exmail/publicmail/update":
        assert ask(org, path, {**right, "alias_list": {"list": [item]}}, {})["errcode"] != 0


@pytest.mark.parametrize("emails", ["mei@corp.test", 7, [7], ["a\r\nBcc: b@corp.test"], [{}]])
def test_a_mail_to_nobody_in_particular_is_refused(org: Organisation, emails: Any) -> None:
    body = {"to": {"emails": emails}, "subject": "s", "content": "c"}
    assert ask(org, "exmail/app/compose_send", body, {})["errcode"] == 40058
