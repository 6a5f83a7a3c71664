"""Tokens, secrets, switches and JSON: what every call of the simulated WeCom has in common."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bot.sandbox.wecom.api import Gate
from tests.sandbox.wecom_world import World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def raw_post(world: World, content: bytes) -> int:
    params = {"access_token": world.token()}
    answer = world.run(world.http.post("/cgi-bin/message/send", params=params, content=content))
    assert answer.status_code == 200
    errcode: int = answer.json()["errcode"]
    return errcode


def test_a_token_is_the_same_until_it_runs_out(world: World) -> None:
    first = world.fresh_token()
    assert (first["errcode"], first["expires_in"]) == (0, 7200)
    world.advance(minutes=10)
    again = world.fresh_token()
    assert (again["access_token"], again["expires_in"]) == (first["access_token"], 6600)
    world.advance(minutes=110)
    assert world.fresh_token()["access_token"] != first["access_token"]
    answer = world.run(world.http.get("/cgi-bin/tag/list", params={"access_token": first["access_token"]}))
    assert answer.json()["errcode"] == 42001


def test_the_two_secrets_have_two_tokens(world: World) -> None:
    assert world.token("app") != world.token("contacts")


@pytest.mark.parametrize(
    ("change", "errcode"),
    [
        ({"corpid": "wwother"}, 40013),
        ({"corpid": ""}, 41002),
        ({"corpsecret": ""}, 41004),
        ({"corpsecret": "short"}, 40001),
        ({"corpsecret": "x" * 43}, 40091),
    ],
)
def test_bad_credentials_are_refused(world: World, change: dict[str, str], errcode: int) -> None:
    assert world.fresh_token(**change)["errcode"] == errcode


def test_calls_without_or_with_a_foreign_token_are_refused(world: World) -> None:
    assert world.run(world.http.get("/cgi-bin/tag/list")).json()["errcode"] == 41001
    assert world.get("tag/list", access_token="made up")["errcode"] == 40014


def test_tokens_die_early_when_wecom_wants(world: World) -> None:
    token = world.token()
    world.trouble("tokens_expired")
    assert world.get("tag/list")["errcode"] == 42001
    fresh = world.fresh_token()["access_token"]
    assert fresh != token
    assert world.get("tag/list", access_token=fresh)["errcode"] == 0
    world.trouble("tokens_invalid")
    assert world.get("tag/list", access_token=fresh)["errcode"] == 40014


def test_a_token_refused_for_ever_stays_refused(world: World) -> None:
    world.trouble("tokens_refused")
    assert world.get("tag/list", access_token=world.fresh_token()["access_token"])["errcode"] == 40014
    world.trouble("tokens_refused", on=False)
    assert world.get("tag/list")["errcode"] == 0


@pytest.mark.parametrize(
    ("switch", "errcode"),
    [("busy", -1), ("rate_limited", 45009), ("too_concurrent", 45033), ("ip_not_trusted", 60020)],
)
def test_a_switch_strikes_as_often_as_asked(world: World, switch: str, errcode: int) -> None:
    world.token()
    world.trouble(switch, times=2)
    assert [world.get("tag/list")["errcode"] for _ in range(3)] == [errcode, errcode, 0]


def test_a_switch_can_be_for_one_call_only(world: World) -> None:
    world.trouble("busy", path="department/list")
    assert world.get("tag/list")["errcode"] == 0
    assert world.get("department/list")["errcode"] == -1


def test_the_untrusted_address_is_in_the_error(world: World) -> None:
    world.trouble("ip_not_trusted")
    assert "from ip: 203.0.113.9" in world.get("tag/list")["errmsg"]


def test_a_disabled_app_gets_nothing(world: World) -> None:
    world.token()
    world.trouble("app_disabled")
    assert world.get("tag/list")["errcode"] == 50003
    assert world.fresh_token()["errcode"] == 50003
    assert world.get("tag/list", caller="contacts")["errcode"] == 0


def test_a_reset_secret_is_a_bad_secret(world: World) -> None:
    world.token()
    world.trouble("secret_reset")
    assert world.fresh_token()["errcode"] == 40001
    assert world.get("tag/list")["errcode"] == 40014


def test_a_gateway_answers_html(world: World) -> None:
    world.token()
    world.trouble("gateway_error", times=1)
    answer = world.run(world.http.get("/cgi-bin/tag/list", params={"access_token": world.token()}))
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (502, "text/html")
    assert world.get("tag/list")["errcode"] == 0


def test_a_lost_answer_was_carried_out(world: World) -> None:
    world.token()
    world.trouble("answer_lost", times=1, path="message/send")
    body = {"touser": "mei", "msgtype": "text", "agentid": world.org.agent_id, "text": {"content": "你好"}}
    content = json.dumps(body, ensure_ascii=False).encode()
    answer = world.run(
        world.http.post("/cgi-bin/message/send", params={"access_token": world.token()}, content=content)
    )
    assert answer.status_code == 504
    assert world.last("mei")["text"] == "你好"


def test_escaped_json_is_refused(world: World) -> None:
    body = {"touser": "mei", "msgtype": "text", "agentid": world.org.agent_id, "text": {"content": "你好"}}
    assert raw_post(world, json.dumps(body).encode()) == 40033
    assert raw_post(world, json.dumps(body, ensure_ascii=False).encode()) == 0


def test_a_backslash_before_a_u_is_no_escape(world: World) -> None:
    body = {"touser": "mei", "msgtype": "text", "agentid": world.org.agent_id, "text": {"content": r"C:\u4f60"}}
    assert raw_post(world, json.dumps(body, ensure_ascii=False).encode()) == 0
    assert world.last("mei")["text"] == r"C:\u4f60"


@pytest.mark.parametrize("content", [b"{", b"[1]", b'"x"', b"\xff\xfe"])
def test_what_is_no_json_object_is_refused(world: World, content: bytes) -> None:
    assert raw_post(world, content) == 40058


def test_an_unknown_path_is_not_there(world: World) -> None:
    for path in ("exmail/backup/create", "message/nothing"):
        answer = world.run(world.http.post(f"/cgi-bin/{path}", params={"access_token": world.token()}))
        assert answer.status_code == 404


def test_the_wrong_method_is_refused(world: World) -> None:
    assert world.get("exmail/publicmail/get")["errcode"] == 40058
    assert world.post("exmail/publicmail/search")["errcode"] == 40058


def test_each_secret_has_its_calls(world: World) -> None:
    assert world.text("mei", "x", agentid=world.org.agent_id)["errcode"] == 0
    assert world.code("message/send", {}, caller="contacts") == 48002
    assert world.code("user/update", {"userid": "mei"}) == 48002
    assert world.code("user/list_id", {}) == 48002
    assert world.get("user/get", caller="contacts", userid="mei")["errcode"] == 48009
    assert world.code("exmail/mail/get_newcount", {"userid": "mei"}, caller="contacts") == 48002


def test_the_mail_api_must_be_allowed_for_the_app(world: World) -> None:
    world.trouble("mail_not_allowed")
    assert world.code("exmail/mail/get_newcount", {"userid": "mei"}) == 48002


def test_secrets_are_made_anew_and_never_on_the_wire_log(world: World) -> None:
    other = World()
    assert other.org.app_secret != world.org.app_secret
    assert len(world.org.callback_aes_key) == 43
    other.close()
    token = world.fresh_token()["access_token"]
    world.get("tag/list")
    wire = json.dumps(world.look("wire"))
    assert "gettoken" in wire
    assert token not in wire
    assert world.org.app_secret not in wire


def test_ten_thousand_calls_a_minute_are_the_end(world: World) -> None:
    gate = Gate(world.org)
    query = {"access_token": world.token()}
    for _ in range(10_000):
        gate.answer("GET", "tag/list", query, b"")
    assert (gate.answer("GET", "tag/list", query, b"") or {})["errcode"] == 45009
    assert (gate.answer("GET", "department/list", query, b"") or {})["errcode"] == 0
    world.clock.advance(60)
    assert (gate.answer("GET", "tag/list", query, b"") or {})["errcode"] == 0
