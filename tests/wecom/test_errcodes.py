"""Every errcode of the reference: a class, a remedy in both languages, and where in the console it is done."""

from __future__ import annotations

import pickle

import pytest

from bot.wecom.client import WeComClient
from bot.wecom.errcodes import MEANINGS, Retry, WeComError
from bot.words import LANGUAGES, Language, catalogue

from .conftest import WeCom

# What the bot can meet, by what it does (pages 90313, 90236, 94888, 95511, 95510, 95512, 95513).
MET = {
    *(-1, 40001, 40003, 40007, 40013, 40014, 40018, 40029, 40031, 40033, 40035, 40056, 40058, 40063, 40088, 40089),
    *(40091, 41001, 42001, 42014, 42015, 42016, 42027, 42028, 42029, 42031, *range(42035, 42048), 42049, 42050),
    *(42051, 42052, 44004, 45001, 45002, 45009, 45029, 45031, 45033, 46003, 46004, 48001, 48002, 48006, 48009),
    *(50002, 50003, 60011, 60020, 60021, 60031, 60105, 60106, 60111, 60132, 60140, 60143, 60144, 60145, 60148),
    *(81011, 81013, 81015, 82001, 82002, 82003, 301002),
    *(680000, 680001, 680002, 680003, 680004, 680006, 680007, 680008, 680010, 680011, 680012, 680015),
    *(680032, 680033, 680034, 680035, 680036, 680037, 680040, 680041, 680042, 680043, 680044, 680045, 680046),
}
RETRIED = {-1: Retry.BACKOFF, 45033: Retry.BACKOFF, 45009: Retry.AFTER_WINDOW}
IN_THE_CONSOLE = {
    60020: "企业可信IP",
    40001: "Secret",
    40013: "我的企业",
    40056: "AgentId",
    50003: "启用",
    48001: "可调用应用",
    48002: "通讯录同步",
    60011: "可见范围",
    60021: "可见范围",
    60144: "成员邮箱",
    81015: "邮箱域名",
    680012: "邮件群组",
    680033: "邮箱管理",
    680035: "公共邮箱",
    680044: "权限管理",
}
IP_REFUSED = "not allow to access from your ip, hint: [1696660606158], from ip: 203.0.113.7, more info at https://x"


def test_every_errcode_is_known() -> None:
    assert not MET - MEANINGS.keys()


@pytest.mark.parametrize("errcode", sorted(MEANINGS))
def test_type_class_and_words(client: WeComClient, wecom: WeCom, errcode: int) -> None:
    """As it comes over the wire."""
    wecom.answer("/cgi-bin/x", *[{"errcode": errcode, "errmsg": f"refused {errcode}"}] * 5)
    with pytest.raises(WeComError) as caught:
        client.call("GET", "/cgi-bin/x")
    error = caught.value
    assert (error.errcode, error.errmsg) == (errcode, f"refused {errcode}")
    assert error.retry is RETRIED.get(errcode, Retry.NEVER)
    for language in LANGUAGES:
        text = error.words().text(language)
        assert str(errcode) in text, "who asks for help must be able to name it"
        assert "{" not in text
        assert len(text) < 400
    assert error.words().text("en") != error.words().text("zh")


@pytest.mark.parametrize("errcode", sorted(IN_THE_CONSOLE))
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_place_in_the_console(errcode: int, language: Language) -> None:
    assert IN_THE_CONSOLE[errcode] in WeComError(errcode).words().text(language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_60020_shows_the_address(language: Language) -> None:
    """And the list of the secret that was refused: each has its own."""
    for secret, place in (("app", "应用管理"), ("contacts", "通讯录同步")):
        text = WeComError(60020, IP_REFUSED, "/cgi-bin/gettoken", secret).words().text(language)  # type: ignore[arg-type]
        assert "203.0.113.7" in text
        assert place in text


@pytest.mark.parametrize(
    ("errmsg", "ip"),
    [
        (IP_REFUSED, "203.0.113.7"),
        ("from ip: 203.0.113.7", "203.0.113.7"),
        ("from ip: 203.0.113.7.", "203.0.113.7"),
        ("from ip: 2001:db8::1, more", "2001:db8::1"),
        ("from ip: 999.1.1.1", None),
        ("from ip: ", None),
        ("not allowed", None),
    ],
)
def test_the_address_in_the_text(errmsg: str, ip: str | None) -> None:
    error = WeComError(60020, errmsg)
    assert error.ip == ip
    for language in LANGUAGES:
        assert (ip or catalogue()["wecom.address_not_told"][language]) in error.words().text(language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_unknown_errcode(language: Language) -> None:
    """WeCom adds some every year."""
    error = WeComError(680999, "brand new")
    text = error.words().text(language)
    assert error.retry is Retry.NEVER
    assert "680999" in text
    assert "brand new" in text
    assert "https://open.work.weixin.qq.com/devtool/query?e=680999" in text


def test_a_card_refusal_names_the_block() -> None:
    assert "button_list.key" in WeComError(42039).words().text("en")


def test_braces_in_errmsg_are_no_fields() -> None:
    assert "{0} {errcode}" in WeComError(40058, "{0} {errcode}").words().text("en")


def test_errmsg_is_not_endless() -> None:
    assert len(WeComError(40058, "x" * 10_000).words().text("zh")) < 400


def test_every_sentence_is_used() -> None:
    others = {"unknown", "no_contacts_secret", "where_app", "where_contacts", "address_not_told"}
    keys = {key.removeprefix("wecom.") for key in catalogue() if key.startswith("wecom.")}
    assert keys == others | {each.key for each in MEANINGS.values()}


def test_it_survives_a_journey() -> None:
    """Job queues keep errors of steps pickled."""
    error = WeComError(60020, IP_REFUSED, "/cgi-bin/user/get", "contacts")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own)
    assert (str(again), again.ip, again.secret) == (str(error), "203.0.113.7", "contacts")
