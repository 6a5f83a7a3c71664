"""Each question that only a real organisation answers has what the bot does under either answer, and tests of it."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import re
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from bot.dns.plan import spf_set
from bot.dns.records import Record, standard
from bot.doctor import live
from bot.doctor.questions import BY_NAME, QUESTIONS, Way
from bot.words import catalogue

HERE = Path(__file__).parent
TABLE = tomllib.loads((HERE / "questions.toml").read_text("utf-8"))
WECOM = {f"wecom 10.{number}" for number in range(1, 13)}
TO_VERIFY = {f"exmail 9.{number}" for number in range(1, 11)}
CONFLICTS = {
    "exmail 9: bin time of a replaced mailbox", "exmail 9: what is cleared on convert-to-public",
    "exmail 9: seat released", "exmail 9: 备份联系人", "exmail 9: GoDaddy API eligibility", "exmail 9: SPF host",
    "exmail 9: SEARCH dates on Exmail", "exmail 9: HEADER.FIELDS", "exmail 9: DNSPod MX range", "exmail 9: ICP needed",
}  # fmt: skip


@cache
def functions(file: Path) -> frozenset[str]:
    """The tests a file has."""
    nodes = ast.walk(ast.parse(file.read_text("utf-8")))
    return frozenset(each.name for each in nodes if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_open_question_of_both_lists_is_here() -> None:
    """Section 10 of the one reference, both lists of section 9 of the other; each question once."""
    assert len(BY_NAME) == len(QUESTIONS)
    assert {each for question in QUESTIONS for each in question.of} == WECOM | TO_VERIFY | CONFLICTS
    assert list(TABLE) == list(BY_NAME)


def test_each_way_has_what_it_needs() -> None:
    """What is asked has its probe, what is not its reason, in words."""
    assert set(live.PROBES) == {each.name for each in QUESTIONS if each.way is Way.ASKED}
    for each in QUESTIONS:
        assert f"live.{each.name}" in catalogue()
        assert (f"live.{each.name}_why" in catalogue()) is (each.way in (Way.WATCHED, Way.LEFT)), each.name
        assert (f"live.{each.name}_unknown" in catalogue()) is (each.way is Way.ASKED), each.name


@pytest.mark.parametrize("name", TABLE)
def test_behaviour_under_either_answer_has_its_tests(name: str) -> None:
    """Either the same, or told for yes, for no and for before; every named test is there."""
    row = TABLE[name]
    assert set(row) in ({"same", "tests"}, {"yes", "no", "before", "tests"})
    assert row["tests"]
    for test in row["tests"]:
        path, _, function = test.partition("::")
        assert function in functions(HERE / path), f"{name}: {test} is not there"


def test_what_is_learnt_in_use_is_noted_somewhere() -> None:
    """A question that is watched has a place in the code that sees its answer."""
    sources = [each for folder in ("bot", "handlers") for each in (HERE.parent / folder).rglob("*.py")]
    noted = set(re.findall(r'answers\.saw\("([a-z_]+)"', "\n".join(each.read_text("utf-8") for each in sources)))
    assert {each.name for each in QUESTIONS if each.way is Way.WATCHED} <= noted <= set(BY_NAME)


def renderer() -> ModuleType:
    """scripts/questions-table as a module."""
    loader = importlib.machinery.SourceFileLoader("questions_table", str(HERE.parent / "scripts" / "questions-table"))
    spec = importlib.util.spec_from_loader("questions_table", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_page_about_them_is_current() -> None:
    """After a change: PYTHONPATH=. python scripts/questions-table."""
    assert (HERE.parent / "docs" / "questions.md").read_text("utf-8") == renderer().page()


def test_contacts_are_never_promised() -> None:
    """备份联系人 is there in some consoles only: no sentence but the question about it speaks of it."""
    assert [key for key, said in catalogue().items() if "备份联系人" in said["zh"]] == ["live.backup_contacts"]


def test_another_spf_of_tencents_is_left_alone() -> None:
    """include:spf.exmail.qq.com is never written, and as good when it is there already."""
    wanted = standard()
    for value, changed in (("v=spf1 include:spf.exmail.qq.com ~all", False), ("v=spf1 mx ~all", True)):
        plan = spf_set((Record("TXT", "@", value, None, 600),), "@", wanted)
        assert (plan.before != plan.after) is changed
        assert "spf.exmail" not in wanted.spf
