"""
Chinese names as they are typed on a Latin keyboard: `wanglan`, `wang lan`, `lanwang`, `wl`, `wangl`, `wlan` for 王兰.

A character that is read in several ways counts as each of them: 曾 is zeng and ceng, 单 shan and dan, 吕 lv, lyu and
lu. How a name is usually read comes first: 王 can be read yu, but nobody who types `yulan` means a 王兰 while there is
a 于兰. The name is walked through once, all ways at a time: nothing typed makes it slow, and nothing makes it raise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

UNITS_MAX = 12  # characters of a name; a longer one is a company's
TYPED_MAX = 60
TYPED = re.compile(r"[a-z]{2,}")
BETWEEN = re.compile(r"[\s'’·.\-_]+")  # what people put between syllables
UNIT = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]|[a-z0-9]+")
REMARK = re.compile(r"[(（\[【].*", re.DOTALL)  # 王兰（北京）
# How these are read as surnames, where that is not their most common reading; in words they are read otherwise.
SURNAMES: dict[str, str] = dict(
    re.findall(
        r"(\w) (\w+)",
        "曾 zeng, 单 shan, 仇 qiu, 解 xie, 翟 zhai, 盖 ge, 区 ou, 查 zha, 覃 qin, 朴 piao, 乐 yue, 缪 miao, "
        "员 yun, 种 chong, 折 she, 冼 xian, 黑 he, 召 shao, 繁 po, 秘 bi, 佴 nai, 么 yao, 车 che, 晁 chao, "
        "谌 chen, 句 gou, 祭 zhai, 柏 bai, 尉 yu, 万 wan, 长 zhang, 宓 mi, 洗 xian, 那 na, 纪 ji, 华 hua, 宁 ning, "
        "任 ren, 葛 ge, 燕 yan, 应 ying, 隗 wei, 郇 xun, 都 du, 盛 sheng",
    )
)
COMPOUND: frozenset[str] = frozenset(
    re.findall(
        r"\S+",
        "欧阳 上官 司马 司徒 诸葛 夏侯 皇甫 尉迟 公孙 慕容 长孙 宇文 司空 令狐 端木 "
        "东方 南宫 独孤 万俟 轩辕 呼延 钟离 闻人 澹台 赫连 申屠 太史 拓跋 百里 第五",
    )
)


class Fit(IntEnum):
    """How well something typed fits a name, the worst first."""

    NOT = 0
    RARE = 1  # with a reading that is right for a character, but seldom in a name
    USUAL = 2


@dataclass(frozen=True)
class Unit:
    """One character of a name, or letters between them, with the ways it is usually and sometimes typed."""

    usual: tuple[str, ...]
    every: tuple[str, ...]

    def ways(self, *, rare: bool) -> tuple[str, ...]:
        return self.every if rare else self.usual

    def initials(self, *, rare: bool) -> tuple[str, ...]:
        return tuple({each[0] for each in self.ways(rare=rare)})


def letters(typed: str) -> str | None:
    """What was typed as bare letters; None when it cannot be pinyin."""
    bare = BETWEEN.sub("", typed.strip().casefold()) if len(typed) <= TYPED_MAX else ""
    return bare if TYPED.fullmatch(bare) else None


def fit(typed: str, name: str) -> Fit:
    """How well what was typed fits a name as pinyin or initials. Never raises; NOT for a name without Chinese."""
    bare = letters(typed)
    if bare is None:
        return Fit.NOT
    surname, given = parts(name)
    if bare[0] not in beginnings(name):
        return Fit.NOT
    for rare in (False, True):
        if any(reaches(bare, way) for way in ways_to_type(surname, given, rare=rare)):
            return Fit.RARE if rare else Fit.USUAL
    return Fit.NOT


@lru_cache(20_000)
def beginnings(name: str) -> frozenset[str]:
    """The letters with which a name can begin as it is typed; nine in ten names need no closer look."""
    surname, given = parts(name)
    return frozenset(first for unit in (*surname[:1], *given[:1]) for first in unit.initials(rare=True))


def spelled(name: str) -> str | None:
    """The usual pinyin of a name, to compare a slip of the finger with; None for a name without Chinese."""
    surname, given = parts(name)
    return "".join(unit.usual[0] for unit in (*surname, *given)) or None


def ways_to_type(surname: Sequence[Unit], given: Sequence[Unit], *, rare: bool) -> Iterator[list[tuple[str, ...]]]:
    """Every manner of typing a name: for each of its places in turn, what may stand there."""
    wholes = [[unit.ways(rare=rare) for unit in part] for part in (surname, given)]
    firsts = [[unit.initials(rare=rare) for unit in part] for part in (surname, given)]
    for family in (wholes[0], firsts[0]):  # wanglan, wangl, wlan, wl
        for own in (wholes[1], firsts[1]):
            yield family + own
    if given:
        yield wholes[0]  # wang
        yield wholes[1] + wholes[0]  # lanwang
        yield wholes[1] + firsts[0]  # lanw
        yield firsts[1] + wholes[0]  # lwang
    if len(given) > 1:
        yield wholes[1]  # xiaoming


def reaches(bare: str, places: Sequence[tuple[str, ...]]) -> bool:
    """Whether the letters are exactly one of the ways for each place, in order."""
    ends = {0}
    for ways in places:
        ends = {end + len(way) for end in ends for way in ways if bare.startswith(way, end)}
        if not ends:
            return False
    return len(bare) in ends


@lru_cache(20_000)
def parts(name: str) -> tuple[tuple[Unit, ...], tuple[Unit, ...]]:
    """A name's surname and the rest, each character with its readings; both empty without Chinese, or when too long."""
    found = UNIT.findall(REMARK.sub("", name).casefold())
    if len(found) > UNITS_MAX or not any(is_character(each) for each in found):
        return (), ()
    family = 2 if len(found) > 2 and "".join(found[:2]) in COMPOUND else 1
    units = [unit(each, as_surname=position < family) for position, each in enumerate(found)]
    known = [each for each in units if each is not None]
    if len(known) < len(units):
        return (), ()
    return tuple(known[:family]), tuple(known[family:])


def unit(text: str, *, as_surname: bool) -> Unit | None:
    """One place of a name; None for a character without a reading."""
    if not is_character(text):
        return Unit((text,), (text,))
    every = readings(text)
    if as_surname and text in SURNAMES:
        every = tuple(dict.fromkeys((SURNAMES[text], *every)))
        usual = every[:2]  # as surname, and as most people read it who do not know
    else:
        usual = every[:1]
    return Unit(spellings(usual), spellings(every)) if every else None


def spellings(each: Sequence[str]) -> tuple[str, ...]:
    """How syllables are typed: ü as v, yu or u."""
    ways = [way for syllable in each for way in (syllable, syllable.replace("v", "yu"), syllable.replace("v", "u"))]
    return tuple(dict.fromkeys(ways))


@lru_cache(10_000)
def readings(character: str) -> tuple[str, ...]:
    """How a character is read, without tones, the most common first."""
    library = pypinyin()
    found = library.pinyin(character, style=library.Style.NORMAL, heteronym=True, errors="ignore")
    return tuple(each for each in (found[0] if found else ()) if TYPED.fullmatch(each) or each in ("a", "e", "o"))


@cache
def pypinyin() -> ModuleType:
    """The library, loaded when first needed: 15 MB, without its phrases, which names are not."""
    os.environ.setdefault("PYPINYIN_NO_PHRASES", "true")
    os.environ.setdefault("PYPINYIN_NO_DICT_COPY", "true")
    import pypinyin as library

    return library


def is_character(text: str) -> bool:
    """A Chinese character, not letters."""
    return not text.isascii()
