"""One token for all threads, renewed in time, and no hammering when WeCom refuses."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.errors import NetworkError
from bot.http import Http
from bot.wecom.errcodes import WeComError
from bot.wecom.tokens import HOLD_SECONDS, TokenCache, lifetime_seconds

from .conftest import GETTOKEN, Asked, FakeClock, WeCom, fixture

THREADS = 8


@pytest.fixture
def cache(http: Http, clock: FakeClock) -> TokenCache:
    return TokenCache(http, "wwtestcorpid", "app-secret", clock)


def together(call: object) -> list[str]:
    """What `call` gave to each of several threads that started at once."""
    barrier = threading.Barrier(THREADS)

    def one() -> str:
        barrier.wait(5)
        try:
            return str(call())  # type: ignore[operator]
        except (WeComError, NetworkError) as error:
            return str(error)

    with ThreadPoolExecutor(THREADS) as pool:
        return [each.result(10) for each in [pool.submit(one) for _ in range(THREADS)]]


def crowded(wecom: WeCom) -> None:
    """Keep the next gettoken waiting for one more, which must not come."""
    second = threading.Event()
    before = len(wecom.calls(GETTOKEN))

    def told(_: Asked) -> dict[str, object]:
        if len(wecom.calls(GETTOKEN)) > before + 1:
            second.set()
        second.wait(0.2)
        return {"errcode": 0, "access_token": f"token-{len(wecom.calls(GETTOKEN))}", "expires_in": 7200}

    wecom.always(GETTOKEN, told)


def test_corp_and_secret_are_asked_with(cache: TokenCache, wecom: WeCom) -> None:
    wecom.answer(GETTOKEN, fixture("gettoken.response.json"))
    assert cache.get() == "accesstoken000001"
    assert wecom.last.query == {"corpid": "wwtestcorpid", "corpsecret": "app-secret"}


def test_one_thread_fetches_for_all(cache: TokenCache, wecom: WeCom) -> None:
    crowded(wecom)
    assert set(together(cache.get)) == {"token-1"}
    assert len(wecom.calls(GETTOKEN)) == 1


def test_one_thread_refreshes_for_all(cache: TokenCache, wecom: WeCom) -> None:
    """All were refused with the same token; the first brings the new one for the others."""
    old = cache.get()
    crowded(wecom)
    assert set(together(lambda: cache.refresh(old))) == {"token-2"}
    assert len(wecom.calls(GETTOKEN)) == 2


def test_a_failure_is_shared_too(cache: TokenCache, wecom: WeCom) -> None:
    wecom.always(GETTOKEN, fixture("errors/gettoken.40091.response.json"))
    assert set(together(cache.get)) == {"40091 secret is invalid (/cgi-bin/gettoken, app)"}
    assert len(wecom.calls(GETTOKEN)) == 1


def test_renewed_five_minutes_before_its_end(cache: TokenCache, clock: FakeClock) -> None:
    assert cache.get() == "token-1"
    clock.advance(7200 - 300 - 1)
    assert cache.get() == "token-1"
    clock.advance(1)
    assert cache.get() == "token-2"


@pytest.mark.parametrize(
    ("told", "seconds"), [(7200, 6900), ("7200", 6900), (600, 300), (60, 30), (0, 0), (None, 0), ("soon", 0)]
)
def test_lifetime(told: object, seconds: float) -> None:
    """A life shorter than ten minutes is used by half, or each call would fetch."""
    assert lifetime_seconds(told) == seconds


def test_the_new_token_of_another_thread_is_taken(cache: TokenCache, wecom: WeCom) -> None:
    old = cache.get()
    assert cache.refresh(old) == "token-2"
    assert cache.refresh(old) == "token-2"
    assert len(wecom.calls(GETTOKEN)) == 2


def test_the_same_token_again_is_fine(cache: TokenCache, wecom: WeCom) -> None:
    """WeCom tends to give the same one within its life."""
    wecom.always(GETTOKEN, {"errcode": 0, "access_token": "same", "expires_in": 7200})
    assert cache.refresh(cache.get()) == "same"


def test_a_token_refused_for_another_reason_is_not_fetched_for_ever(
    cache: TokenCache, wecom: WeCom, clock: FakeClock
) -> None:
    token = cache.get()
    for _ in range(20):
        token = cache.refresh(token)
    assert len(wecom.calls(GETTOKEN)) == 1 + 5
    clock.advance(60)
    assert cache.refresh(token) == "token-7"


def test_a_refused_secret_is_not_tried_again_at_once(cache: TokenCache, wecom: WeCom, clock: FakeClock) -> None:
    """Thousands of failed gettoken an hour block the whole corp; each refusal waits twice as long."""
    wecom.always(GETTOKEN, {"errcode": 40001, "errmsg": "invalid credential"})
    waits = [HOLD_SECONDS, HOLD_SECONDS * 2, HOLD_SECONDS * 4]
    for asked, seconds in enumerate(waits, 1):
        for _ in range(3):
            with pytest.raises(WeComError) as caught:
                cache.get()
            assert caught.value.errcode == 40001
        assert len(wecom.calls(GETTOKEN)) == asked
        clock.advance(seconds - 1)
        with pytest.raises(WeComError):
            cache.get()
        assert len(wecom.calls(GETTOKEN)) == asked
        clock.advance(1)
    wecom.always(GETTOKEN, {"errcode": 0, "access_token": "mended", "expires_in": 7200})
    assert cache.get() == "mended"


def test_45009_waits_for_its_window(cache: TokenCache, wecom: WeCom, clock: FakeClock) -> None:
    wecom.answer(GETTOKEN, {"errcode": 45009, "errmsg": "api freq out of limit"})
    for _ in range(3):
        with pytest.raises(WeComError):
            cache.get()
    clock.advance(59)
    with pytest.raises(WeComError):
        cache.get()
    assert len(wecom.calls(GETTOKEN)) == 1
    clock.advance(1)
    assert cache.get() == "token-2"


def test_a_refused_refresh_is_held_too(cache: TokenCache, wecom: WeCom) -> None:
    old = cache.get()
    wecom.always(GETTOKEN, {"errcode": 40001, "errmsg": "invalid credential"})
    for _ in range(3):
        with pytest.raises(WeComError):
            cache.refresh(old)
        with pytest.raises(WeComError):
            cache.get()
    assert len(wecom.calls(GETTOKEN)) == 2


@pytest.mark.parametrize("told", [b"<html>proxy</html>", b"[]", {"errcode": 0}, {"errcode": 0, "access_token": 5}])
def test_an_answer_that_is_none(cache: TokenCache, wecom: WeCom, clock: FakeClock, told: dict[str, object]) -> None:
    wecom.answer(GETTOKEN, told)
    for _ in range(3):
        with pytest.raises(NetworkError):
            cache.get()
    assert len(wecom.calls(GETTOKEN)) == 1
    clock.advance(2)
    assert cache.get() == "token-2"
