"""A page works once, for one member, for 15 minutes; what is typed there is seen by nobody else."""

from __future__ import annotations

import html
import logging
import re
import threading
from datetime import timedelta
from typing import Any

import httpx
import pytest

from bot.errors import UserError
from bot.jobs import Start
from bot.pages.onetime import BODY_BYTES_MAX, HEADERS, LINK_BURST, cleaned, wrong
from bot.words import catalogue, say
from storage.links import CAME_BACK
from tests.pages.conftest import PASSWORD, Browser, WeCom, World

UNKNOWN_TOKEN = "A" * 32


def csrf(page: httpx.Response) -> str:
    found = re.findall(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert len(set(found)) == 1, page.text
    return str(found[0])


def title(page: httpx.Response) -> str:
    found = re.search(r"<h1>(.*?)</h1>", page.text)
    assert found, page.text
    return html.unescape(found[1])


def said(page: httpx.Response, key: str, language: str = "en") -> bool:
    return catalogue()[key][language] in html.unescape(page.text)


# The whole way


def test_the_password_arrives_once_encrypted_and_the_job_wakes(world: World, browser: Browser, token: str) -> None:
    """The way everybody should go."""
    page = browser.form(token)
    assert page.status_code == 200
    assert "ahing@corp.test" in page.text

    answer = browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": " abcd efgh\u00a0ijkl mnop\u200b"})

    assert answer.status_code == 200
    assert said(answer, "pages.thanks")
    assert world.kept() == PASSWORD
    assert world.job().stage == "given"
    assert world.started == [Start("job", world.job_id, 2, str(world.job_id), "backup")]
    assert world.row(token).spent_at == world.clock.now()


def test_the_job_starts_after_the_commit(world: World, browser: Browser, token: str) -> None:
    """A workflow that starts earlier would find nothing."""
    seen: list[str | None] = []
    world.pages._start = lambda _: seen.append(world.kept())
    browser.post(f"/pages/{token}", {"csrf": csrf(browser.form(token)), "password": PASSWORD})
    assert seen == [PASSWORD]


def test_a_start_that_fails_is_left_to_the_tick(world: World, browser: Browser, token: str, logs: list[Any]) -> None:
    """The row is stored; the member is not bothered."""

    def start(_: Start) -> None:
        raise RuntimeError("no workflows")

    world.pages._start = start
    answer = browser.post(f"/pages/{token}", {"csrf": csrf(browser.form(token)), "password": PASSWORD})
    assert answer.status_code == 200
    assert world.kept() == PASSWORD
    assert [each["event"] for each in logs][-1] == "page_not_started"
    assert PASSWORD not in repr(logs)


def test_no_is_an_answer(world: World, browser: Browser, token: str) -> None:
    """Declining uses the link up and tells the job."""
    page = browser.form(token)
    answer = browser.post(f"/pages/{token}/decline", {"csrf": csrf(page)})
    assert said(answer, "pages.declined")
    assert world.job().stage == "declined"
    assert world.kept() is None
    assert len(world.started) == 1
    again = browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD})
    assert again.status_code == 410
    assert world.kept() is None


def test_asking_again_for_the_answer_to_no_leads_to_the_link(browser: Browser, token: str) -> None:
    """Some browsers reload a posted page with GET."""
    browser.post(f"/pages/{token}/decline", {"csrf": csrf(browser.form(token))})
    answer = browser.get(f"/pages/{token}/decline")
    assert answer.headers["location"] == f"/pages/{token}"
    assert browser.get(f"/pages/{token}").status_code == 410


def test_userids_have_no_case(browser: Browser, token: str) -> None:
    """WeCom may spell them as it likes; the link was made for `AHing`."""
    assert browser.form(token, "AHING").status_code == 200


# Those who look before the member does


def test_scanners_change_nothing(world: World, token: str) -> None:
    """Mail gateways and previews open links, with GET and HEAD, before and while the member does."""
    scanner = Browser(world, address="10.2.2.2")
    for method in ("GET", "HEAD", "GET"):
        scanner.request(method, f"/pages/{token}")
    member = Browser(world)
    page = member.form(token)
    scanner.get(f"/pages/{token}")
    scanner.request("HEAD", f"/pages/{token}")
    assert world.untouched(token)
    assert member.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD}).status_code == 200
    assert world.kept() == PASSWORD


def test_head_writes_nothing_and_tells_nothing(world: World, browser: Browser, token: str) -> None:
    """Not even a trip to WeCom begins."""
    answers = [browser.request("HEAD", f"/pages/{each}") for each in (token, UNKNOWN_TOKEN)]
    assert [(each.status_code, each.content) for each in answers] == [(200, b""), (200, b"")]
    assert world.row(token).state_hash is None
    assert not browser.cookies


def test_a_scanner_during_the_trip_costs_the_member_another_trip(world: World, browser: Browser, token: str) -> None:
    """The link knows the newest state only; the member's browser is sent once more, without a word."""
    state = browser.leave(token)
    Browser(world, address="10.2.2.2").leave(token)
    answer = browser.back(state, "ahing")
    assert answer.headers["location"] == f"/pages/{token}"
    assert browser.form(token).status_code == 200


def test_a_scanner_while_wecom_is_asked_does_not_lose_the_trip(world: World, browser: Browser, token: str) -> None:
    """The code is used up by then."""
    state = browser.leave(token)
    told = world.wecom.told

    def meanwhile(path: str, query: dict[str, str]) -> dict[str, Any]:
        if path.endswith("getuserinfo"):
            with world.store.begin() as tx:
                link = tx.links.find(token)
                assert link is not None
                tx.links.sent_to_wecom(link)
        return told(path, query)

    world.wecom.told = meanwhile  # type: ignore[method-assign, assignment]
    browser.back(state, "ahing")
    assert browser.get(f"/pages/{token}").status_code == 200


# Those who may not


@pytest.mark.parametrize("somebody", ["calvin", None], ids=["another member", "not a member"])
def test_the_page_is_for_one_member(world: World, browser: Browser, token: str, somebody: str | None) -> None:
    """Somebody else gets nothing and spoils nothing."""
    answer = browser.back(browser.leave(token), somebody)
    assert answer.status_code == 403
    assert title(answer) == "This page is for somebody else"
    assert "ahing" not in answer.text
    assert browser.get(f"/pages/{token}").status_code == 302
    assert browser.post(f"/pages/{token}", {"csrf": "0" * 64, "password": PASSWORD}).status_code == 403
    assert world.untouched(token)
    assert Browser(world).form(token).status_code == 200


def test_the_trip_belongs_to_the_browser_that_began_it(world: World, browser: Browser, token: str) -> None:
    """Who is sent another's way back (login CSRF) is not let in by it."""
    state = browser.leave(token)
    other = Browser(world)
    answer = other.back(state, "ahing")
    assert answer.status_code == 403
    assert said(answer, "pages.reopen")
    assert not other.cookies
    assert world.row(token).session_hash is None


def test_a_state_works_once(browser: Browser, token: str) -> None:
    """The way back cannot be walked again."""
    state = browser.leave(token)
    assert browser.back(state, "ahing").status_code == 303
    assert browser.back(state, "ahing").status_code == 403


def test_a_state_of_another_link_is_no_way_in(world: World, browser: Browser, token: str) -> None:
    """The token in the cookie and the state must be of one link."""
    other = world.link("target")
    state = browser.leave(other)
    name = next(each for each in browser.cookies if each.startswith("trip-"))
    browser.cookies.set(name, token, domain="bot.corp.test", path="/pages")
    answer = Browser.back(browser, state, "ahing")
    assert not any(each.startswith("page-") for each in browser.cookies), answer.headers


@pytest.mark.parametrize("query", ["", "?code=x", "?state=" + "0" * 32, "?code=x&state=%00", "?state=a&state=b"])
def test_coming_back_with_nothing_in_hand(browser: Browser, query: str) -> None:
    answer = browser.get(f"/pages/return{query}")
    assert answer.status_code == 403
    assert said(answer, "pages.reopen")


def test_coming_back_without_a_code(browser: Browser, token: str) -> None:
    state = browser.leave(token)
    assert browser.get("/pages/return", params={"state": state}).status_code == 403
    assert browser.form(token).status_code == 200


def test_a_used_code_asks_for_the_link_again(browser: Browser, token: str) -> None:
    """WeCom's 40029."""
    state = browser.leave(token)
    answer = browser.get("/pages/return", params={"code": "used", "state": state})
    assert answer.status_code == 403
    assert said(answer, "pages.reopen")


def test_wecom_out_of_order_is_said_so(
    world: World, browser: Browser, token: str, wecom: WeCom, logs: list[Any]
) -> None:
    """The link outlives it."""
    state = browser.leave(token)
    wecom.errcode = 60020
    answer = browser.back(state, "ahing")
    assert answer.status_code == 502
    assert said(answer, "pages.no_wecom")
    assert logs[-1]["errcode"] == 60020
    wecom.errcode = 0
    assert browser.form(token).status_code == 200


@pytest.mark.parametrize("forged", ["", "0" * 64, "other session", "other link"])
def test_a_form_that_is_not_ours(world: World, browser: Browser, token: str, forged: str) -> None:
    """The CSRF token is of this session and this link."""
    older = csrf(Browser(world).form(token))
    honest = csrf(browser.form(token))
    if forged == "other session":
        forged = older
    elif forged == "other link":
        forged = csrf(browser.form(world.link("target")))
    assert forged != honest
    for path in (f"/pages/{token}", f"/pages/{token}/decline"):
        answer = browser.post(path, {"csrf": forged, "password": PASSWORD} if forged else {"password": PASSWORD})
        assert answer.status_code == 403
    assert world.untouched(token)
    assert browser.post(f"/pages/{token}", {"csrf": honest, "password": PASSWORD}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.test"}, 403),
        ({"Origin": "http://bot.corp.test"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "null"}, 403),
        ({"Origin": "https://bot.corp.test", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "HTTPS://Bot.Corp.Test"}, 200),
        ({}, 200),
    ],
)
def test_where_a_form_comes_from(
    world: World, browser: Browser, token: str, headers: dict[str, str], status: int
) -> None:
    """Browsers that say so are believed; those that do not have the token."""
    page = browser.form(token)
    answer = browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD}, headers=headers)
    assert answer.status_code == status
    assert (world.kept() == PASSWORD) is (status == 200)


def test_two_browsers_of_the_member(world: World, browser: Browser, token: str) -> None:
    """The newest counts; the older one is told to open the link again, and nothing is lost."""
    older, newer = browser.form(token), Browser(world)
    page = newer.form(token)
    answer = browser.post(f"/pages/{token}", {"csrf": csrf(older), "password": "wrong browser"})
    assert answer.status_code == 403
    assert world.untouched(token)
    assert browser.get(f"/pages/{token}").status_code == 302
    assert newer.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD}).status_code == 200


def test_two_pages_in_one_browser(world: World, browser: Browser) -> None:
    """A member may own the source and be able to open the target."""
    source, target = world.link("source"), world.link("target")
    states = browser.leave(source), browser.leave(target)
    for state in states:
        assert browser.back(state, "ahing").status_code == 303
    for token in (source, target):
        page = browser.get(f"/pages/{token}")
        assert browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD}).status_code == 200
    assert world.kept("source") == world.kept("target") == PASSWORD


# Once, and not for long


def test_a_replayed_post_finds_the_link_used(world: World, browser: Browser, token: str) -> None:
    """Even with the cookies of before, and another password."""
    page = browser.form(token)
    copied = Browser(world)
    copied.cookies = httpx.Cookies(browser.cookies)
    assert browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD}).status_code == 200
    for each in (browser, copied):
        answer = each.post(f"/pages/{token}", {"csrf": csrf(page), "password": "something else"})
        assert answer.status_code == 410
        assert title(answer) == "This page has been used"
    assert world.kept() == PASSWORD
    assert len(world.started) == 1
    assert browser.get(f"/pages/{token}").status_code == 410


def test_it_runs_out_between_looking_and_sending(world: World, browser: Browser, token: str) -> None:
    page = browser.form(token)
    world.clock.advance(minutes=15)
    for answer in (
        browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD}),
        browser.post(f"/pages/{token}/decline", {"csrf": csrf(page)}),
        browser.get(f"/pages/{token}"),
    ):
        assert answer.status_code == 410
        assert title(answer) == "This page has run out"
    assert world.untouched(token)


def test_it_runs_out_during_the_trip(world: World, browser: Browser, token: str) -> None:
    state = browser.leave(token)
    world.clock.advance(minutes=15)
    browser.back(state, "ahing")
    assert browser.get(f"/pages/{token}").status_code == 410
    assert world.row(token).session_hash is None
    assert not any(each.startswith("page-") for each in browser.cookies)


def test_it_works_until_the_last_second(world: World, browser: Browser, token: str) -> None:
    page = browser.form(token)
    world.clock.advance(minutes=14, seconds=59)
    assert "for 1 more min" in browser.get(f"/pages/{token}").text
    assert browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD}).status_code == 200


def test_a_newer_link_ends_the_older(world: World, browser: Browser, token: str) -> None:
    page = browser.form(token)
    world.link()
    assert browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD}).status_code == 410
    assert world.untouched(token)


def test_of_many_at_once_one_wins(world: World, browser: Browser, token: str) -> None:
    """Two fingers, two tabs, a retrying proxy."""
    page = browser.form(token)
    count = 6
    barrier = threading.Barrier(count)
    statuses: list[int] = []

    def send(number: int) -> None:
        tab = Browser(world)
        tab.cookies = httpx.Cookies(browser.cookies)
        barrier.wait(10)
        path, form = f"/pages/{token}", {"csrf": csrf(page), "password": f"password {number}", "sure": "1"}
        statuses.append((tab.post(path + "/decline", form) if number % 2 else tab.post(path, form)).status_code)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert sorted(statuses) == [200] + [410] * (count - 1)
    assert len(world.started) == 1
    assert world.job().wakes == 2
    assert (world.kept() is not None) is (world.job().stage == "given")


def test_the_statement_decides_when_both_saw_it_alive(
    world: World, browser: Browser, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL lets two transactions look at once; here the other one is first between the look and the spending."""
    page = browser.form(token)
    facts = world.host.facts

    def meanwhile(tx: Any, link: Any) -> Any:
        tx.links.spend(token, world.session_of(browser, token))
        return facts(tx, link)

    monkeypatch.setattr(world.host, "facts", meanwhile)
    answer = browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD})
    assert answer.status_code == 410
    assert title(answer) == "This page has been used"
    assert world.kept() is None
    assert not world.started


def test_what_the_host_refuses_is_undone(world: World, browser: Browser, token: str) -> None:
    """The link still works after the reason is gone."""
    page = browser.form(token)
    world.host.error = UserError(say("pages.unknown"))
    answer = browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD})
    assert answer.status_code == 409
    assert said(answer, "pages.unknown")
    assert world.untouched(token)
    world.host.error = None
    assert browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD}).status_code == 200


def test_a_bug_gets_a_reference_and_tells_no_secret(
    world: World, browser: Browser, token: str, logs: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """An error may carry what was typed; neither its text nor its traceback is logged."""
    caplog.set_level(logging.DEBUG)
    page = browser.form(token)
    world.host.error = RuntimeError(f"cannot store {PASSWORD}")
    answer = browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD})
    assert answer.status_code == 500
    failed = logs[-1]
    assert failed["event"] == "page_failed"
    assert failed["error"] == "RuntimeError"
    assert failed["at"][-1].startswith("conftest.py:")
    assert failed["reference"] in answer.text
    assert PASSWORD not in repr(logs) + caplog.text + answer.text
    assert world.untouched(token)


# What is typed


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("", "pages.empty"),
        (" \t ", "pages.empty"),
        ("x" * 129, "pages.absurd"),
        ("two\nlines", "pages.absurd"),
        ("two\r\nlines", "pages.absurd"),
        ("bell\x07", "pages.absurd"),
        (None, "pages.empty"),
    ],
)
def test_what_can_be_no_password_costs_nothing(
    world: World, browser: Browser, token: str, typed: str | None, key: str
) -> None:
    """The form stands there again, with what is wrong and without what was typed."""
    form = {"csrf": csrf(browser.form(token))} | ({} if typed is None else {"password": typed})
    answer = browser.post(f"/pages/{token}", form)
    assert answer.status_code == 422
    assert say(key, length=128).text("en") in html.unescape(answer.text)
    assert 'aria-invalid="true"' in answer.text
    if typed is not None and typed.strip():
        assert typed not in answer.text
    assert world.untouched(token)
    assert browser.post(f"/pages/{token}", {"csrf": csrf(answer), "password": PASSWORD}).status_code == 200


@pytest.mark.parametrize(
    ("typed", "used"),
    [
        ("abcd efgh ijkl mnop", "abcdefghijklmnop"),
        ("\u3000ABCD efgh\tijkl\u00a0mnop \n", "ABCDefghijklmnop"),
        ("\ufeffabcd\u200befghijklmnop", "abcdefghijklmnop"),
        ("abcd efgh ijkl mno", "abcd efgh ijkl mno"),
        ("abcd efgh ijkl mno1", "abcd efgh ijkl mno1"),
        (" a pass phrase ", " a pass phrase "),
        ("密码密码密码密码密码密码密码密 码", "密码密码密码密码密码密码密码密 码"),
    ],
)
def test_only_a_client_password_is_freed_of_blanks(typed: str, used: str) -> None:
    """Another password may hold them."""
    assert cleaned(typed) == used


def test_what_may_be_a_password() -> None:
    for fine in ("x" * 128, "pass word", "пароль", "密码", "%&<>'\""):
        assert wrong(fine) is None


def test_any_other_password_arrives_as_typed(world: World, browser: Browser, token: str) -> None:
    typed = ' p&=+%ä 密"<x> '
    page = browser.form(token)
    assert browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": typed, "sure": "1"}).status_code == 200
    assert world.kept() == typed


def test_what_is_no_client_password_is_asked_about_first(world: World, browser: Browser, token: str) -> None:
    """A slip is found before it costs a login; who has another kind of password says so with the second button."""
    page = browser.form(token)
    assert "formnovalidate" in page.text
    pattern = re.search(r'pattern="([^"]+)"', page.text)
    assert pattern is not None
    for typed, fits in (("abcd efgh ijkl mnop ", True), ("abcd\u200befghijklmnop", True), ("abcdefghijklmno", False)):
        assert bool(re.fullmatch(pattern[1], typed)) is fits
    answer = browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": "abcdefghijklmno"})
    assert answer.status_code == 422
    assert say("pages.unusual", length=16, typed=15).text("en") in html.unescape(answer.text)
    assert world.untouched(token)
    assert (
        browser.post(f"/pages/{token}", {"csrf": csrf(answer), "password": "abcdefghijklmno", "sure": "1"}).status_code
        == 200
    )
    assert world.kept() == "abcdefghijklmno"


def test_a_page_that_ran_out_says_how_to_have_a_new_one(world: World, browser: Browser, token: str) -> None:
    """By the job's number, which may stand far up in the chat."""
    world.clock.advance(minutes=16)
    assert f"type `link {world.row(token).job_id}` in the chat" in html.unescape(browser.get(f"/pages/{token}").text)


@pytest.mark.parametrize("over", [0, 1])
def test_a_long_body_is_cut_off(world: World, browser: Browser, token: str, over: int) -> None:
    page = browser.form(token)
    start = f"csrf={csrf(page)}&password={PASSWORD}&more="
    body = start + "x" * (BODY_BYTES_MAX - len(start) + over)
    answer = browser.request(
        "POST", f"/pages/{token}", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == (413 if over else 200)
    assert (world.kept() is None) is bool(over)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"password=%ff", "application/x-www-form-urlencoded"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"&".join([b"a=b"] * 500), "application/x-www-form-urlencoded"),
        (b'{"password": "x"}', "application/json"),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x"),
        (b"", ""),
    ],
)
def test_what_is_no_form(world: World, browser: Browser, token: str, body: bytes, kind: str) -> None:
    browser.form(token)
    answer = browser.request("POST", f"/pages/{token}", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 403
    assert world.untouched(token)


# What is shown


def test_the_form_in_both_languages(world: World, browser: Browser, token: str) -> None:
    """The host knows the member's language; everything is escaped; the field has its label and its hint."""
    page = browser.form(token)
    assert '<html lang="en">' in page.text
    assert "Mei &lt;mei&gt; wants a copy &amp; more" in page.text
    for key in ("pages.how", "pages.label", "pages.hint", "pages.decline", "pages.too_often"):
        assert said(page, key), key
    assert '<label for="password">' in page.text
    assert re.search(r'<input id="password" name="password" type="password"[^>]*aria-describedby="hint"', page.text)

    world.host.language = "zh"
    page = browser.get(f"/pages/{token}")
    assert '<html lang="zh-CN">' in page.text
    for key in ("pages.how", "pages.label", "pages.hint", "pages.decline", "pages.too_often"):
        assert said(page, key, "zh"), key
    answer = browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD})
    assert said(answer, "pages.thanks", "zh")


@pytest.mark.parametrize(
    ("sent", "language"),
    [("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-US,zh;q=0.8", "en"), ("fr, zh", "zh"), ("", "en"), ("de", "en")],
)
def test_strangers_read_their_browsers_language(world: World, sent: str, language: str) -> None:
    answer = Browser(world, language=sent).get(f"/pages/{UNKNOWN_TOKEN}")
    assert answer.status_code == 404
    assert said(answer, "pages.unknown", language)


@pytest.mark.parametrize("path", [UNKNOWN_TOKEN, "x", "A" * 33, "a/b/c", "%00", "..%2f", "x/decline", "static/x.css"])
def test_what_is_not_there_looks_alike(browser: Browser, path: str) -> None:
    expected = browser.get(f"/pages/{UNKNOWN_TOKEN}")
    answer = browser.get(f"/pages/{path}")
    assert (answer.status_code, answer.text) == (404, expected.text)
    assert browser.post(f"/pages/{path}", {"csrf": "", "password": PASSWORD}).text == expected.text


def test_every_answer_carries_the_headers(world: World, browser: Browser, token: str) -> None:
    """Also those of errors, redirects and odd methods."""
    page = browser.form(token)
    used = world.link("target")
    answers = [
        page,
        Browser(world).get(f"/pages/{token}"),
        browser.request("HEAD", f"/pages/{token}"),
        browser.get("/pages/return"),
        Browser(world).back("0" * 32, "ahing"),
        browser.get("/pages/static/page.css"),
        browser.get(f"/pages/{UNKNOWN_TOKEN}"),
        browser.get("/pages/x/y/z"),
        *(browser.request(method, f"/pages/{token}") for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")),
        browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": ""}),
        browser.post(f"/pages/{token}", {"password": PASSWORD}),
        browser.request("POST", f"/pages/{token}", content=b"x" * 5000),
        browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD}),
        browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD}),
        browser.back(browser.leave(used), "calvin"),
    ]
    world.clock.advance(hours=1)
    answers.append(browser.get(f"/pages/{used}"))
    assert {each.status_code for each in answers} >= {200, 302, 403, 404, 410, 413, 422}
    for each in answers:
        for name, value in HEADERS.items():
            assert each.headers[name] == value, (each.request.method, each.request.url, each.status_code)


def test_nothing_is_loaded_from_elsewhere(browser: Browser, token: str) -> None:
    """One style sheet of our own; no script, no picture, no font, no inline style that the policy would refuse."""
    page = browser.form(token)
    assert re.findall(r'(?:src|href)="([^"]*)"', page.text) == ["/pages/static/page.css"]
    assert re.findall(r'action="([^"]*)"', page.text) == [f"/pages/{token}", f"/pages/{token}/decline"]
    assert not re.search(r"<script|<style|style=|\son\w+=|<img|<link rel=\"icon", page.text)
    style = browser.get("/pages/static/page.css")
    assert style.headers["content-type"].startswith("text/css")
    assert not re.search(r"url\(|@import|@font-face", style.text)


def test_cookies_are_for_the_pages_alone(world: World, token: str) -> None:
    """Not for scripts, not for other sites' forms, not over plain HTTP, and not for long."""
    browser = Browser(world)
    sent = browser.get(f"/pages/{token}")
    cookies = sent.headers.get_list("set-cookie")
    state = re.search(r"state=([0-9a-f]{32})", sent.headers["location"])
    assert state
    cookies += [each for each in browser.back(state[1], "ahing").headers.get_list("set-cookie") if "page-" in each]
    assert len(cookies) == 2
    for cookie in cookies:
        parts = {each.strip().lower() for each in cookie.split(";")[1:]}
        assert {"httponly", "samesite=lax", "secure", "path=/pages"} <= parts
    assert "Max-Age=600" in cookies[0]
    assert "Max-Age=900" in cookies[1]


def test_the_token_stays_out_of_wecoms_sight(world: World, browser: Browser, token: str) -> None:
    """The trip carries a state, which is letters and digits and tells nothing."""
    answer = browser.get(f"/pages/{token}")
    assert token not in answer.headers["location"]
    assert answer.headers["location"].endswith("#wechat_redirect")
    assert "redirect_uri=https%3A%2F%2Fbot.corp.test%2Fpages%2Freturn&" in answer.headers["location"]


def test_no_log_holds_a_secret(
    world: World, browser: Browser, token: str, logs: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the password nor what opens the page, at any level; links are named by their id."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "asyncio"):  # the test's own browser, and the HTTP client that bot.http hides
        caplog.set_level(logging.WARNING, logger=name)
    page = browser.form(token)
    session = world.session_of(browser, token)
    browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": "x" * 200})
    browser.post(f"/pages/{token}", {"csrf": "no", "password": PASSWORD})
    browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD})
    browser.post(f"/pages/{token}", {"csrf": csrf(page), "password": PASSWORD})
    told = repr(logs) + caplog.text
    assert {"event": "page_answered", "link_id": 1, "job_id": world.job_id, "log_level": "info"} in logs
    for secret in (PASSWORD, "x" * 200, token, session, csrf(page)):
        assert secret not in told


# Not too often


def test_one_link_is_not_asked_for_without_end(world: World, token: str) -> None:
    """Whoever asks, from wherever; other links go on working, and this one after a while."""
    answers = [Browser(world, address=f"10.3.0.{number}").get(f"/pages/{token}") for number in range(LINK_BURST + 1)]
    assert [each.status_code for each in answers] == [302] * LINK_BURST + [429]
    assert answers[-1].headers["retry-after"] == "30"
    assert answers[-1].headers["cache-control"] == "no-store"
    assert Browser(world).form(world.link("target")).status_code == 200
    world.clock.advance(seconds=30)
    assert Browser(world).form(token).status_code == 200


def test_one_client_does_not_ask_without_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guessing is hopeless; this keeps it cheap for us. Who claims to be a proxy is still one client."""
    monkeypatch.setattr(world.pages._by_client, "_burst", 5)
    statuses = [
        Browser(world).get(f"/pages/{UNKNOWN_TOKEN}", headers={"X-Forwarded-For": f"10.4.0.{number}"}).status_code
        for number in range(6)
    ]
    assert statuses == [404] * 5 + [429]
    assert Browser(world, address="10.1.1.2").get(f"/pages/{UNKNOWN_TOKEN}").status_code == 404
    world.clock.advance(seconds=1)
    assert Browser(world).get(f"/pages/{UNKNOWN_TOKEN}").status_code == 404


def test_the_clients_behind_our_proxy_are_told_apart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the address our proxy added, not by what the client wrote in front of it."""
    monkeypatch.setattr(world.pages._by_client, "_burst", 2)

    def ask(forwarded: str) -> int:
        proxy = Browser(world, address="10.9.0.1")
        return proxy.get(f"/pages/{UNKNOWN_TOKEN}", headers={"X-Forwarded-For": forwarded}).status_code

    assert [ask(f"198.51.100.{number}, 203.0.113.7, 10.9.3.3") for number in range(3)] == [404, 404, 429]
    assert ask("203.0.113.7, 203.0.113.8") == 404


def test_a_session_ends_with_the_link(world: World, token: str) -> None:
    """The life of the cookie is the link's."""
    link = world.row(token)
    assert link.expires_at - link.created_at == timedelta(minutes=15)


# A password that is shown instead of asked for


def test_a_password_is_shown_once_to_its_member_only(
    world: World, browser: Browser, token: str, logs: list[Any]
) -> None:
    """A GET shows a button; the POST shows it and forgets it; a second, a stranger, and No see nothing."""
    world.host.shows = True
    with world.store.begin() as tx:
        ciphertext = world.host.vault.lock(PASSWORD)
        tx.passwords.keep(world.job_id, "source", given_by="bot", ciphertext=ciphertext)
    form = browser.form(token)
    assert PASSWORD not in form.text
    assert 'name="password"' not in form.text
    honest = {"csrf": csrf(form)}
    assert browser.post(f"/pages/{token}", {"csrf": "x"}).status_code == 403
    assert PASSWORD not in browser.post(f"/pages/{token}/decline", honest).text
    assert world.kept() == PASSWORD
    stranger = Browser(world)
    assert stranger.back(stranger.leave(token), "calvin").status_code == 403
    shown = browser.post(f"/pages/{token}", honest)
    assert (shown.status_code, shown.headers["cache-control"]) == (200, "no-store")
    assert PASSWORD in shown.text
    assert world.kept() is None
    assert [each.id for each in world.started] == [world.job_id]
    again = browser.post(f"/pages/{token}", honest)
    assert (again.status_code, PASSWORD in again.text) == (410, False)
    assert PASSWORD not in repr(logs)


def test_a_page_that_asks_for_nothing_proves_the_way_to_it(world: World, browser: Browser) -> None:
    """`doctor` sends it: whoever is brought back by WeCom has proved the trusted domain; no form, and only once."""
    with world.store.begin() as tx:
        token = tx.links.make(member="mei", job_id=world.job_id, mailbox_id=None, side="test")
    assert browser.back(browser.leave(token), "ahing").status_code == 403
    with world.store.begin() as tx:
        assert tx.moments.last(CAME_BACK) is None
    answer = browser.back(browser.leave(token), "mei")
    assert answer.status_code == 200
    assert "the trusted domain is right" in answer.text
    assert "<form" not in answer.text
    with world.store.begin() as tx:
        assert tx.moments.last(CAME_BACK) == world.clock.now()
    assert browser.get(f"/pages/{token}").status_code == 410
    assert browser.post(f"/pages/{token}", {"password": PASSWORD}).status_code == 410
    assert world.kept("test") is None
