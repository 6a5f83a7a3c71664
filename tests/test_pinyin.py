"""Chinese names as they are typed on a Latin keyboard."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.pinyin import SURNAMES, TYPED, Fit, fit, letters, parts, spelled

FITS = [
    ("阿兴", "axing ax xinga a.xing AXing", "xing x a axin asing"),
    ("王兰", "wanglan lanwang wl wangl wlan lanw lwang wang wang-lan WangLan", "lan la w lw wa wangla"),
    ("李军", "lijun li lj junli", "liju lijunn lin"),
    ("陈小明", "chenxiaoming cxm xiaomingchen chenxm cxiaoming xmchen xiaoming chen", "xm xiao mingchen"),
    ("曾丽", "zengli cengli zl cl", "sengli"),
    ("单雄", "shanxiong danxiong sx dx", "tanxiong"),
    ("仇英", "qiuying chouying qy cy", "xiuying"),
    ("吕布", "lvbu lubu lyubu lb", "libu"),
    ("欧阳锋", "ouyangfeng fengouyang oyf ouyang fouyang", "yangfengou"),
    ("尉迟恭", "yuchigong weichigong ycg gongyuchi", "gongchi"),
    ("万俟卨", "moqixie wanqixie", "moqiqi"),
    ("朴正", "piaozheng puzheng", "bozhenggg"),
    ("盖聂", "genie gainie", "kainie"),
    ("西安", "xian xi'an xa xia", "xiann"),
    ("王兰（北京）", "wanglan wl", "wanglanbeijing"),
    ("Tom王", "tomwang wangtom", "wang"),
    ("客户支持", "kehuzhichi khzc", "kehu"),
]


@pytest.mark.parametrize(("name", "typed", "others"), FITS)
def test_what_people_type_for_a_name(name: str, typed: str, others: str) -> None:
    for each in typed.split():
        assert fit(each, name) is not Fit.NOT, each
    for each in others.split():
        assert fit(each, name) is Fit.NOT, each


def test_a_rare_reading_is_rare() -> None:
    """王 can be read yu: it fits, but whoever is usually read so fits better."""
    assert fit("yulan", "王兰") is Fit.RARE
    assert fit("yulan", "于兰") is Fit.USUAL


@pytest.mark.parametrize("typed", ["", "w", "王兰", "wang1", "wang@", "a" * 100, "w" * 61, "\u2005", "'", "wàng"])
def test_what_is_no_pinyin_fits_nobody(typed: str) -> None:
    assert fit(typed, "王兰") is Fit.NOT


@pytest.mark.parametrize("name", ["", "Calvin", "😀", "()", "王" * 13, "𰻝", "\ud800", "é"])
def test_what_is_no_chinese_name_is_nobodys_pinyin(name: str) -> None:
    assert fit("wanglan", name) is Fit.NOT
    spelled(name)


@given(st.text(max_size=70), st.text(max_size=30))
def test_it_never_raises(typed: str, name: str) -> None:
    fit(typed, name)
    spelled(name)


@given(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=1, max_size=12))
def test_a_name_fits_its_own_pinyin_and_initials(name: str) -> None:
    """Whatever the characters are, as long as they can be read."""
    surname, given_ = parts(name)
    whole = spelled(name)
    if whole is not None and TYPED.fullmatch(whole):
        assert fit(whole, name) is Fit.USUAL
        first = "".join(each.usual[0][0] for each in (*surname, *given_))
        if len(first) > 1:
            assert fit(first, name) is Fit.USUAL
            assert letters(f" {first.upper()} ") == first


def test_a_hostile_name_costs_nothing() -> None:
    """Every place read in many ways: all ways are followed at once, not one after the other."""
    begun = time.process_time()
    for _ in range(200):
        fit("h" * 60, "和" * 12)
        fit("he" * 12, "和" * 12)
    assert time.process_time() - begun < 2
    assert fit("he" * 12, "和" * 12) is Fit.USUAL


def test_surnames_keep_the_common_reading_too() -> None:
    """Who does not know how 仇 is read as a surname types chou, and is understood."""
    for character, reading in SURNAMES.items():
        assert fit(f"{reading}wei", f"{character}伟") is Fit.USUAL, character
