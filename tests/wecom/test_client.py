"""Tokens renewed once, a busy WeCom asked three times, and nothing secret in any text."""

from __future__ import annotations

import logging
import traceback

import pytest

from bot.errors import NetworkError
from bot.http import Http
from bot.wecom.client import WeComClient
from bot.wecom.errcodes import NoContactsSecret, Retry, WeComError

from .conftest import CUT, GETTOKEN, FakeClock, WeCom

PATH = "/cgi-bin/user/get"
OK = {"errcode": 0, "errmsg": "ok", "userid": "mei"}


def test_the_token_is_in_the_query_and_nowhere_else(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(PATH, OK)
    assert client.call("GET", PATH, query={"userid": "mei", "n": 1}) == OK
    assert wecom.last.query == {"userid": "mei", "n": "1", "access_token": "token-1"}
    assert "token-1" not in str(wecom.last.headers)


def test_bodies_are_raw_utf8(client: WeComClient, wecom: WeCom) -> None:
    """WeCom may answer 40033 to escapes."""
    client.call("POST", PATH, body={"name": "阿兴"})
    assert wecom.last.body == '{"name": "阿兴"}'.encode()
    assert wecom.last.headers["Content-Type"] == "application/json; charset=utf-8"


def test_each_secret_has_its_token(client: WeComClient, wecom: WeCom) -> None:
    for _ in range(2):
        client.call("GET", PATH)
        client.call("GET", PATH, secret="contacts")
    assert [each.query["corpsecret"] for each in wecom.calls(GETTOKEN)] == ["app-secret", "contacts-secret"]
    assert [each.query["access_token"] for each in wecom.calls(PATH)] == ["token-1", "token-2"] * 2


def test_no_contacts_secret(http: Http, clock: FakeClock, wecom: WeCom) -> None:
    for secret in (None, ""):
        client = WeComClient(http, clock, "corp", 1, "app-secret", secret)
        with pytest.raises(NoContactsSecret) as caught:
            client.call("GET", PATH, secret="contacts")
        assert "WECOM_CONTACTS_SECRET" in caught.value.words().text("zh")
    assert not wecom.asked


@pytest.mark.parametrize("errcode", [40001, 40014, 42001])
def test_a_refused_token_is_renewed_once(client: WeComClient, wecom: WeCom, slept: list[float], errcode: int) -> None:
    wecom.answer(PATH, {"errcode": errcode, "errmsg": "access_token expired"}, OK)
    assert client.call("GET", PATH) == OK
    assert [each.query["access_token"] for each in wecom.calls(PATH)] == ["token-1", "token-2"]
    assert not slept


@pytest.mark.parametrize("errcode", [40001, 40014, 42001])
def test_and_only_once(client: WeComClient, wecom: WeCom, errcode: int) -> None:
    """A token refused for another reason must not recurse for ever."""
    wecom.answer(PATH, *[{"errcode": errcode, "errmsg": "no"}] * 5)
    with pytest.raises(WeComError) as caught:
        client.call("GET", PATH)
    assert caught.value.errcode == errcode
    assert len(wecom.calls(PATH)) == 2
    assert len(wecom.calls(GETTOKEN)) == 2


def test_a_secret_refused_by_gettoken_is_not_renewed(client: WeComClient, wecom: WeCom) -> None:
    wecom.always(GETTOKEN, {"errcode": 40001, "errmsg": "invalid credential"})
    with pytest.raises(WeComError):
        client.call("GET", PATH)
    assert len(wecom.calls(GETTOKEN)) == 1
    assert not wecom.calls(PATH)


@pytest.mark.parametrize("errcode", [-1, 45033])
def test_busy_is_asked_three_times(client: WeComClient, wecom: WeCom, slept: list[float], errcode: int) -> None:
    busy = {"errcode": errcode, "errmsg": "system error"}
    wecom.answer(PATH, busy, busy, OK)
    assert client.call("GET", PATH) == OK
    assert slept == [0.5, 1.0]
    wecom.always(PATH, busy)
    wecom.asked.clear()
    with pytest.raises(WeComError) as caught:
        client.call("GET", PATH)
    assert caught.value.retry is Retry.BACKOFF
    assert len(wecom.calls(PATH)) == 3


def test_busy_and_a_refused_token_in_one_call(client: WeComClient, wecom: WeCom) -> None:
    busy = {"errcode": -1}
    wecom.answer(PATH, busy, {"errcode": 42001}, busy, OK)
    assert client.call("GET", PATH) == OK
    assert len(wecom.calls(GETTOKEN)) == 2


def test_gettoken_busy_is_asked_again(client: WeComClient, wecom: WeCom, slept: list[float]) -> None:
    wecom.answer(GETTOKEN, {"errcode": -1}, {"errcode": -1})
    wecom.answer(PATH, OK)
    assert client.call("GET", PATH) == OK
    assert len(slept) == 2


@pytest.mark.parametrize("errcode", [45009, 60011, 99999999])
def test_others_are_asked_once(client: WeComClient, wecom: WeCom, slept: list[float], errcode: int) -> None:
    wecom.always(PATH, {"errcode": errcode, "errmsg": "no"})
    with pytest.raises(WeComError):
        client.call("GET", PATH)
    assert len(wecom.calls(PATH)) == 1
    assert not slept


@pytest.mark.parametrize(
    ("status", "told"),
    [(200, b"<html>"), (502, b"<html>"), (200, b"[]"), (200, b""), (500, {}), (200, {"errcode": "x"})],
)
def test_no_answer_of_wecoms(client: WeComClient, wecom: WeCom, status: int, told: bytes) -> None:
    client.call("GET", PATH)
    wecom.status = status
    wecom.answer(PATH, told)
    with pytest.raises(NetworkError):
        client.call("GET", PATH)
    assert len(wecom.calls(PATH)) == 2


def test_a_cut_line_is_not_asked_again(client: WeComClient, wecom: WeCom) -> None:
    """Nobody knows whether it arrived: the caller looks first."""
    wecom.answer(PATH, CUT)
    with pytest.raises(NetworkError):
        client.call("POST", PATH)
    assert len(wecom.calls(PATH)) == 1


def test_an_errcode_may_be_text_or_absent(client: WeComClient, wecom: WeCom) -> None:
    wecom.answer(PATH, {"userid": "mei"}, {"errcode": "0"}, {"errcode": "60011"})
    assert client.call("GET", PATH) == {"userid": "mei"}
    client.call("GET", PATH)
    with pytest.raises(WeComError) as caught:
        client.call("GET", PATH)
    assert caught.value.errcode == 60011


def test_nothing_secret_in_any_text(client: WeComClient, wecom: WeCom, caplog: pytest.LogCaptureFixture) -> None:
    """Neither refusals nor broken connections tell the URL, in which the token travels."""
    errors: list[BaseException] = []
    with caplog.at_level(logging.DEBUG, "bot"):
        wecom.answer(PATH, {"errcode": 60011, "errmsg": "no privilege"}, b"<html>", CUT, {"errcode": 40014})
        wecom.answer(GETTOKEN, {"errcode": 0, "access_token": "token-1", "expires_in": 7200}, CUT)
        query = {"code": "-".join(["one", "time"])}  # tracebacks show the lines of this file
        for _ in range(4):
            with pytest.raises((WeComError, NetworkError)) as caught:
                client.call("GET", PATH, query=query)
            errors.append(caught.value)
    assert [type(each) for each in errors] == [WeComError, NetworkError, NetworkError, NetworkError]
    texts = [each for error in errors for each in (str(error), repr(error), *traceback.format_exception(error))]
    texts += [each.getMessage() for each in caplog.records if each.name.startswith("bot")]
    for secret in ("token-1", "app-secret", "contacts-secret", "one-time", "access_token="):
        assert not [each for each in texts if secret in each]
