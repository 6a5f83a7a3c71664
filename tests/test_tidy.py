"""What reviews forget: locks without URLs, words in both languages, no dead file, documents that tell the truth."""

from __future__ import annotations

import ast
import re
import string
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from bot.words import LANGUAGES, catalogue

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = ("requirements.lock", "requirements-dev.lock")
DOCUMENTS = (
    "LICENSE",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docs/dependencies.md",
    "docs/install.md",
    "docs/performance.md",
)
TARGETS = {"setup", "demo", "test", "lint", "bench", "soak"}
ENTRIES = {"bot.__main__"}  # what is started, not imported; Alembic finds storage.migrations by itself

# Written so that they do not find themselves here.
REGISTRIES = (r"pypi[.]org", r"pythonhosted[.]org", r"registry[.]npmjs", r"deb[.]debian[.]org", r"index[-]url")
MACHINE = (r"(?<![\w.])/work[/]", r"(?<![\w.])/root[/]", r"/[t]mp/bash", r"[.]library[/]")
TOOLS = (r"issues[ ](show|note|resolved|blocked)\b", r"notes/[c]ontracts", r"process[_]api", r"[C]o-authored-by")
MERGES = (r"^<{7} ", r"^>{7} ")


@cache
def files() -> list[Path]:
    """Every text file that is, or would be, committed; without git (an unpacked archive) all but the hidden ones."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        found = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        found = [each for each in ROOT.rglob("*") if not re.search(r"/(\.|__pycache__|[^/]+\.egg-info/)", f"/{each}")]
    return [each for each in found if each.is_file() and b"\0" not in each.read_bytes()[:8000]]


def sources(*folders: str) -> Iterator[Path]:
    """The Python files of our packages."""
    return (each for each in files() if each.suffix == ".py" and each.relative_to(ROOT).parts[0] in folders)


@cache
def tree(path: Path) -> ast.Module:
    """A file's syntax."""
    return ast.parse(path.read_text("utf-8"), str(path))


def name_of(path: Path) -> str:
    """A path as people say it."""
    return path.relative_to(ROOT).as_posix()


# Packages


def requirements(extra: str | None = None) -> list[Requirement]:
    """What pyproject.toml asks for."""
    project = PYPROJECT["project"]
    return [
        Requirement(each) for each in (project["optional-dependencies"][extra] if extra else project["dependencies"])
    ]


@cache
def locked(lock: str) -> dict[str, set[str]]:
    """Versions by name (a name may have one for each platform)."""
    versions: dict[str, set[str]] = {}
    for line in (ROOT / lock).read_text("utf-8").splitlines():
        if pinned := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;]+)", line):
            versions.setdefault(canonicalize_name(pinned[1]), set()).add(pinned[2])
    return versions


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_hold_names_versions_and_hashes_only(lock: str) -> None:
    """The same lock serves behind every mirror, and nothing comes in unchecked."""
    text = (ROOT / lock).read_text("utf-8")
    assert "://" not in text
    entries = re.split(r"\n(?=[^ ])", text.strip())
    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,_-]+\])?==\S+( ; .*?)? \\\n    --hash=sha256:", entry), entry


def test_locks_are_those_of_the_project() -> None:
    """After a change of pyproject.toml: make lock."""
    build = [Requirement(each) for each in PYPROJECT["build-system"]["requires"]]
    for lock, wanted in (
        ("requirements.lock", requirements() + build),
        ("requirements-dev.lock", requirements() + requirements("dev") + build),
    ):
        for requirement in wanted:
            versions = locked(lock).get(canonicalize_name(requirement.name))
            assert versions, f"{lock} lacks {requirement.name}"
            assert all(Version(each) in requirement.specifier for each in versions), (
                f"{lock}: {requirement}, {versions}"
            )
    runtime, dev = (locked(lock) for lock in LOCKS)
    assert runtime.items() <= dev.items()


def test_what_is_imported_is_asked_for() -> None:
    """A package that comes along with another today may not tomorrow."""
    runtime = {canonicalize_name(each.name) for each in requirements()}
    dev = runtime | {canonicalize_name(each.name) for each in requirements("dev")}
    providers = packages_distributions()
    wrong = set()
    ours = {"bot", "handlers", "storage", "tests", "scripts"}
    for path in sources("bot", "handlers", "storage", "tests", "scripts"):
        allowed = dev if path.relative_to(ROOT).parts[0] == "tests" else runtime
        for name in imported(tree(path)) - ours - sys.stdlib_module_names:
            distributions = {canonicalize_name(each) for each in providers.get(name, [])}
            if not distributions & allowed:
                wrong.add(f"{name_of(path)} imports {name}")
    assert not wrong


def imported(module: ast.Module) -> set[str]:
    """The top names of what a file imports."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_every_dependency_is_explained() -> None:
    """docs/dependencies.md says of each package why it is there, and of no other."""
    text = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    explained = {canonicalize_name(each) for each in re.findall(r"^\| `([^`[]+)", text, re.MULTILINE)}
    build = [Requirement(each) for each in PYPROJECT["build-system"]["requires"]]
    assert explained == {canonicalize_name(each.name) for each in requirements() + requirements("dev") + build}


# Files


@pytest.mark.parametrize("pattern", REGISTRIES + MACHINE + TOOLS + MERGES)
def test_no_file_knows_where_it_was_written(pattern: str) -> None:
    """No registry, no path of one machine, no word of the tools it was written with, nothing of a merge left."""
    wrong = []
    for path in files():
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
            if re.search(pattern, line) and not (path.name == "lock" and "emit" in line):
                wrong.append(f"{name_of(path)}:{number}: {line.strip()[:120]}")
    assert not wrong


def test_no_lock_with_addresses_is_committed() -> None:
    """uv.lock and pylock.toml record where each file came from."""
    assert not [name_of(each) for each in files() if each.name in {"uv.lock", "pylock.toml", "poetry.lock"}]


@cache
def graph() -> grimp.ImportGraph:
    """Who imports whom."""
    return grimp.build_graph("bot", "handlers", "storage", cache_dir=None)


def test_no_dead_module() -> None:
    """Each module is imported by another, started, or named by its full name in the code."""
    text = "\n".join(each.read_text("utf-8") for each in sources("bot", "handlers", "storage"))
    scripts = {each.partition(":")[0] for each in PYPROJECT["project"]["scripts"].values()}
    dead = []
    for module in sorted(graph().modules - ENTRIES - scripts):
        is_package = bool(graph().find_children(module)) or ROOT.joinpath(*module.split("."), "__init__.py").exists()
        if is_package or module.startswith("storage.migrations."):
            continue
        if not graph().find_modules_that_directly_import(module) and f'"{module}' not in text:
            dead.append(module)
    assert not dead


def test_every_module_has_its_layer() -> None:
    """A new module of bot/ says in pyproject.toml where it stands, or import-linter would not look at it."""
    contract = next(each for each in PYPROJECT["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    placed = {name for layer in contract["layers"] for name in re.findall(r"[\w.]+", layer)}
    assert graph().find_children("bot") - {"bot.sandbox"} <= placed


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_are_there(document: str) -> None:
    """What a newcomer looks for first."""
    assert (ROOT / document).read_text("utf-8").strip()


def test_the_image_copies_what_is_there() -> None:
    """The Dockerfile cannot be built in the tests; at least it names our files, and .dockerignore lets them through."""
    copied = [
        name
        for line in re.findall(r"^COPY +(.+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
        for name in line.split()[:-1]
    ]
    let_through = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), f"the Dockerfile copies {name}"
        assert name in let_through, f".dockerignore hides {name}"


# Words


def says() -> Iterator[tuple[Path, ast.Call]]:
    """Every `say(…)` and `Words(…)` of the code."""
    for path in sources("bot", "handlers"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in {"say", "words.say", "Words"}:
                yield path, node


def fields(sentence: str) -> set[str]:
    """The values a sentence takes."""
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def test_every_sentence_is_in_both_languages() -> None:
    """The same values in both, each named."""
    for key, sentence in catalogue().items():
        assert set(sentence) == set(LANGUAGES), key
        assert all(text.strip() for text in sentence.values()), key
        assert fields(sentence["en"]) == fields(sentence["zh"]), key
        assert all(re.fullmatch(r"[a-z_]+", name) for name in fields(sentence["en"])), key


# A mark beside Chinese, or beside a value, which may be Chinese; not in `3. value`, `.xlsx`, or a time of day.
HALF_WIDTH = r"(?<=[{cjk}}}])[,;:?!()]|[,;:?!()](?=[{cjk}{{])|(?<=[{cjk}])\.(?![a-z])|\.(?=[{cjk}])".format(
    cjk="\u2018-\u201d\u2026\u3001-\u303f\u3400-\u9fff\uff00-\uffef"
)


def test_chinese_has_its_own_punctuation() -> None:
    """Full-width marks: on a phone a half-width one between characters looks like a slip."""
    wrong = {
        key: found
        for key, sentence in catalogue().items()
        if (found := re.findall(rf".{{0,3}}(?:{HALF_WIDTH}).{{0,3}}", re.sub(r"https?://[!-~]+", "", sentence["zh"])))
    }
    assert not wrong


def test_every_sentence_said_is_in_the_catalogue() -> None:
    """Here, and not only when somebody hears it."""
    for path, call in says():
        key = call.args[0]
        where = f"{name_of(path)}:{call.lineno}"
        if not isinstance(key, ast.Constant):
            continue
        assert key.value in catalogue(), f"{where} says {key.value}, which no catalogue has"
        if ast.unparse(call.func) != "Words" and all(each.arg for each in call.keywords):
            wanted, given = fields(catalogue()[key.value]["en"]), {each.arg for each in call.keywords}
            assert wanted == given, f"{where}: {key.value} wants {sorted(wanted)}, is given {sorted(map(str, given))}"


def test_every_sentence_of_the_catalogue_is_said() -> None:
    """Its key stands in the code: in full, or as the constant beginning of an f-string."""
    text = "\n".join(
        each.read_text("utf-8")
        for each in files()
        if each.relative_to(ROOT).parts[0] in {"bot", "handlers"} and each.suffix in {".py", ".html", ".js"}
    )
    literals = set(re.findall(r"""["']([a-z_]+\.[A-Za-z0-9_.]+)["']""", text))
    features = {key.partition(".")[0] for key in catalogue()}
    beginnings = {
        str(node.values[0].value)
        for path in sources("bot", "handlers")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.JoinedStr)
        and isinstance(node.values[0], ast.Constant)
        and "." in str(node.values[0].value)
        and str(node.values[0].value).partition(".")[0] in features
    }
    unsaid = [key for key in catalogue() if key not in literals and not key.startswith(tuple(beginnings))]
    assert not unsaid


# Documents


def documents() -> Iterator[tuple[Path, str]]:
    """What people read."""
    return ((each, each.read_text("utf-8")) for each in files() if each.suffix == ".md")


def commands(program: str) -> list[tuple[str, str]]:
    """(document, first word) wherever a document shows `program word`, in a block or between backticks."""
    found = []
    for path, text in documents():
        for word in re.findall(rf"(?:^|`|\$ |&& |/){re.escape(program)} +([a-z][a-z-]*)", text, re.MULTILINE):
            found.append((name_of(path), word))
    return found


def targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_every_target_is_there() -> None:
    """Those that stay fixed, those that documents name, and each is phony (a folder `bench` would hide it)."""
    assert targets() >= TARGETS
    for document, target in commands("make"):
        assert target in targets(), f"{document} says make {target}"
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == targets()


def test_every_command_is_there() -> None:
    """What documents and the design name, the CLI knows."""
    shown = subprocess.run(
        [sys.executable, "-m", "bot", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert shown.returncode == 0, shown.stderr
    known: set[Any] = set(re.findall(r"[a-z][a-z-]*", shown.stdout))
    for document, command in [*commands("exmail-bot"), ("the design", "serve"), ("the design", "sandbox")]:
        assert command in known, f"{document} says exmail-bot {command}"
