"""That nothing is said outside the catalogue: literals where sentences go, Chinese in the code, words in the pages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WRITTEN = re.compile("[A-Za-z]{2,}|[\u3400-\u9fff]")
CHINESE = re.compile("[\u3400-\u9fff]")

# Functions that show a text, with what of their arguments is shown
SHOWING = {
    "Text": {"words"},
    "Choice": {"words"},
    "Card": {"rows", "title", "note", "done", "choices_title"},
    "lines": set(),
}
CATALOGUED = {"say", "ok", "warning", "wrong", "refused"}  # the first argument is a key, the others are values
NAMES = re.compile(r"[a-z_]+|[a-z]+@|/pages/|(WECOM|WECOM_CONTACTS|WECOM_APP_SECRET)|_(TOKEN|AES_KEY)")  # no sentences

HEADING = re.compile(
    r"[A-Z][A-Za-z ]*[a-z] [\u3400-\u9fff]+|(told 据告知|seen 可见|yes 是|differs 不一致)"
)  # both at once
HEARD = {  # Chinese that is read, not said: what people type, what servers and consoles write
    "bot/dispatcher.py": "a password that somebody pastes",
    "bot/dns/dnspod.py": "the provider's name of its standard line",
    "bot/doctor/questions.py": "the name of a thing in the reference",
    "bot/grammar/attempt.py": "what is typed",
    "bot/grammar/line.py": "what is typed",
    "bot/mail/pace.py": "what a mail server answers",
    "bot/mail/wrap.py": "what was said around a mail in former ways, to know it again",
    "handlers/copying/receipts.py": "a heading of the receipt's table",
    "bot/mail/quirks.py": "folders' names, and what a mail server answers",
    "bot/pinyin.py": "surnames",
    "handlers/address/alias_list.py": "what is typed",
    "handlers/backup/backup.py": "a folder's name",
    "handlers/exports.py": "columns of the console's file",
    "handlers/guide/search.py": "what is typed",
    "handlers/lookup.py": "what is typed",
    "handlers/organisation/freeze.py": "what is typed",
    "handlers/organisation/groups.py": "what is typed",
    "handlers/organisation/seats.py": "what the console calls it",
    "handlers/readers.py": "what is typed",
    "handlers/rescue/rescue_choice.py": "what is typed",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    """The production code; the sandbox's page has its own words, in `page/static/js/words`."""
    for path in sorted([*(ROOT / "bot").rglob("*.py"), *(ROOT / "handlers").rglob("*.py")]):
        if "sandbox" not in path.parts:
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))


def texts(node: ast.AST) -> Iterator[str]:
    """The literal texts of an expression that is shown: not those that a call looks up, compares or takes apart."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.value
    elif isinstance(node, ast.Call):
        if called(node) in CATALOGUED:
            yield from (text for each in [*node.args[1:], *node.keywords] for text in texts(each))
        elif called(node) == "join":
            yield from (text for each in [node.func, *node.args] for text in texts(each))
    elif isinstance(node, ast.IfExp):
        yield from (text for each in (node.body, node.orelse) for text in texts(each))
    elif isinstance(node, ast.Attribute) and node.attr == "join":
        yield from texts(node.value)
    elif not isinstance(node, (ast.Subscript, ast.Compare, ast.Attribute)):
        yield from (text for each in ast.iter_child_nodes(node) for text in texts(each))


def called(call: ast.Call) -> str:
    """The last part of a function's name."""
    return ast.unparse(call.func).rpartition(".")[2]


def shown(call: ast.Call) -> list[ast.expr]:
    """The arguments of a call that people get to read."""
    name = called(call)
    if name in CATALOGUED or name == "lines":
        return [*call.args[name != "lines" :], *(each.value for each in call.keywords)]
    if name in SHOWING:
        named = [each.value for each in call.keywords if each.arg in SHOWING[name]]
        return [*call.args[1:], *named] if name != "Card" else named
    return []


def said(tree: ast.Module) -> list[str]:
    """Literal sentences that a file gives to a function that shows them."""
    found = [
        text
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for argument in shown(node)
        for text in texts(argument)
    ]
    return [each for each in found if WRITTEN.search(each) and not NAMES.fullmatch(each)]


def test_no_sentence_is_said_but_by_the_catalogue() -> None:
    """Neither as a text, a row or an option, nor as a value within a sentence of the catalogue."""
    wrong = {name: found for name, tree in sources() if (found := said(tree))}
    assert not wrong


@pytest.mark.parametrize(
    "line",
    [
        'Text(asker, "Nothing there.")',
        'Text(asker, f"{count} mails")',
        'lines(say("who.free", address=at), "and more")',
        'say("who.free", address="no address")',
        'say("who.free", address=at or "请稍候")',
        'Card(to, about, title, rows=[(say("x.y"), "not yet")])',
        'Choice(id, "the other one" if other else name)',
        'Text(asker, " and then ".join(names))',
    ],
)
def test_what_would_be_found(line: str) -> None:
    assert said(ast.parse(line))


def chinese(tree: ast.Module) -> list[str]:
    """Chinese literals that are neither documentation, nor patterns of a command, nor a heading in both languages."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            skipped |= {id(each.value) for each in node.body[:1] if isinstance(each, ast.Expr)}
            for decorator in getattr(node, "decorator_list", []):
                skipped |= {id(each) for each in ast.walk(decorator)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped
        if CHINESE.search(node.value) and not HEADING.fullmatch(node.value)
    ]


def test_chinese_stands_in_the_catalogue() -> None:
    """Elsewhere it is only heard; a file that needs some for another reason says which, above."""
    having = {name: found for name, tree in sources() if (found := chinese(tree))}
    assert not {name: found for name, found in having.items() if name not in HEARD}
    assert not HEARD.keys() - having.keys()


def test_the_pages_have_no_words_of_their_own() -> None:
    """What members see on a one-time page comes through `say`, too."""
    pages = sorted((ROOT / "bot" / "pages" / "templates").glob("*.html"))
    assert len(pages) > 4
    for page in pages:
        html = re.sub(r"\{[{%#].*?[}%#]\}", "", page.read_text("utf-8"), flags=re.DOTALL)
        assert not re.sub(r"<[^>]*>", "", html).strip(), page.name
        assert not re.findall(r'(?:title|alt|placeholder|aria-label|value)="([^"]*[A-Za-z]{2,}[^"]*)"', html), page.name
