"""The sentences themselves: what a machine can hold of how they are written, in both languages."""

from __future__ import annotations

import re
import string

import pytest

import handlers
from bot.grammar import NotUnderstood
from bot.words import Language, catalogue

COUNTED = (
    "address|addresses|alias|aliases|attachments|bytes|changes|characters|days|departments|domains|folders|groups|hours"
    "|jobs|letters|mails|mailboxes|members|minutes|passwords|people|places|records|seconds|tags|tries"
)
BEFORE = r"(?:client|free|further|mail|more|new|old|open|other|possible|public|unread) "
NOT_COUNTED = {"number", "free", "high", "length", "low", "max"}  # names of things, and limits, which are never one


def parts(text: str) -> list[tuple[str, str | None, str | None]]:
    """(text before, name, forms) of a sentence."""
    return [(before, name, forms) for before, name, forms, _ in string.Formatter().parse(text)]


def test_a_number_goes_with_its_word() -> None:
    """No "1 mails": beside a number stands `{count:mail|mails}`."""
    wrong = {
        key: found
        for key, sentence in catalogue().items()
        if (found := [
            shown
            for shown, name in re.findall(rf"(\{{(\w+)\}} (?:{BEFORE})*(?:{COUNTED})\b)", sentence["en"])
            if name not in NOT_COUNTED
        ])
    }  # fmt: skip
    assert not wrong


def test_forms_are_two_words_of_english() -> None:
    """Chinese has one form; a form is told apart by the number it stands with, which the sentence shows."""
    for key, sentence in catalogue().items():
        assert not [forms for _, _, forms in parts(sentence["zh"]) if forms], key
        for _, name, forms in parts(sentence["en"]):
            if forms:
                assert re.fullmatch(r"(?!(.+)\|\1$)[^|]+\|[^|]+", forms), f"{key}: {forms}"
                assert f"{{{name}}}" in sentence["en"], f"{key} does not show {name}"


@pytest.mark.parametrize("mark", ["!", "！"])
def test_nothing_is_shouted(mark: str) -> None:
    """A mark of exclamation makes no mistake smaller."""
    assert not [key for key, sentence in catalogue().items() if any(mark in text for text in sentence.values())]


# What to type

NO_COMMANDS = {
    "@", "none", "quietly", "because", "dept:", "dept:Sales", "dept:{name}", "tag:", "tag:oncall", "without backup",
    "saved into support@", "calvin, dept:Sales, tag:oncall",
}  # fmt: skip
ON_SCREEN = {
    "备份邮件",
    "备份联系人",
    "邮箱别名",
    "DNS only",
    "exmail-bot audit verify",
}  # a button's name that would be a command, too
SAMPLES = {
    "address": "ahing@", "alias": "sales@", "date": "2026-12-15", "displaced": "ahing@", "domain": "corp.com",
    "into": "support@", "lead": "backup", "local": "support", "mailbox": "ahing@", "name": "Sales", "near": "backup",
    "reason": "he leaves", "source": "ahing@", "target": "support@", "topic": "backup", "typed": "ahing@",
    "userid": "calvin", "what": "ahing@",
}  # fmt: skip


def typed(shown: str) -> str:
    """A command as somebody would copy it, with something in its slots."""
    return re.sub(r"\{(\w+)[^}]*\}", lambda slot: SAMPLES.get(slot[1], "12"), shown)


def understood(shown: str, language: Language) -> str | None:
    """The command that a line of this language means, if any."""
    try:
        parsed = handlers.router().grammar.parse(typed(shown))
    except NotUnderstood:
        return None
    return parsed.command if parsed.language == language else None


def test_what_a_sentence_says_to_type_is_understood() -> None:
    """Every piece between backticks is a line of English, and the same commands stand in quotes in Chinese."""
    for key, sentence in catalogue().items():
        if key.startswith("grammar."):  # repeats what somebody typed
            continue
        shown = re.findall(r"`([^`]*)`", sentence["en"])
        meant = [each for each in shown if each not in NO_COMMANDS and not each.startswith("exmail-bot ")]
        english = [(each, understood(each, "en")) for each in meant]
        assert not [each for each, command in english if command is None], key
        quoted = [each for each in re.findall(r"“([^“”]+)”", sentence["zh"]) if each not in ON_SCREEN]
        chinese = [command for each in quoted if (command := understood(each, "zh")) is not None]
        assert sorted(chinese) == sorted(command for _, command in english if command), f"{key}: {quoted}"


# Spaces in Chinese: one between a character and Latin letters, a digit or a value, none beside a full-width mark

CHINESE = "\u3400-\u9fff"
FULL = "\u3001-\u303f\uff00-\uffef\u201c\u201d\u2026"
NAMES = (  # of others, as they stand on their screens, and a date as people type it
    "DKIM验证", "MX优先级", "企业ID", "企业可信IP", "设置API接收", "API编辑通讯录", "开启IMAP/SMTP服务",
    "网页授权及JS-SDK", "2024年1月31日",
)  # fmt: skip
PHRASES = {  # values that are Chinese themselves: a sentence, or a piece of one
    "before", "begin", "callback", "expected", "field", "groups", "last", "lost", "menu", "question", "seen",
    "title", "what", "why",
}  # fmt: skip
QUOTED = {"possible.line_password_new", "possible.line_public_note"}  # a line to type, with a remark in quotes


def loose(chinese: str) -> list[str]:
    """Where a space lacks or is too much."""
    text = re.sub("|".join(map(re.escape, NAMES)), "中", re.sub(r"^ *[·…] ", "", chinese, flags=re.MULTILINE))
    text = re.sub(r"\{(\w+)[^}]*\}", lambda value: "中" if value[1] in PHRASES else "x1", text)
    lacking = rf"[{CHINESE}][A-Za-z0-9]|[A-Za-z0-9][{CHINESE}]"
    too_many = rf"(?<=\S) +[{FULL}]|[{FULL}] +(?![ >])"
    return re.findall(rf".{{0,6}}(?:{lacking}|{too_many}).{{0,6}}", text)


def test_spaces_in_chinese_are_those_of_the_house() -> None:
    """As WeCom's own texts: 3 封, “帮助”之后; a mark brings its own room."""
    assert [loose(each) for each in ("共 {count} 封。", "{why}请重试", "「应用 > 企业可信IP」", "· “帮助”：全部")] == [
        []
    ] * 4
    assert all(map(loose, ("共{count}封", "共 3封", "正在查看 ……", "完成。 请", "用IMAP登录")))
    wrong = {key: found for key, each in catalogue().items() if (found := loose(each["zh"])) and key not in QUOTED}
    assert not wrong


def test_brackets_in_chinese_are_full_width() -> None:
    """Half-width ones only around what is typed or written so elsewhere, of which there is nothing now."""
    assert not [key for key, each in catalogue().items() if re.search(r"[()\[\]]", each["zh"])]
