"""What a bare copy does not load: half of a short copy's time would go into starting it."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {
    "sqlalchemy", "fastapi", "starlette", "uvicorn", "pydantic", "wechatpy", "dbos", "lark", "httpx", "structlog",
    "apscheduler", "cryptography", "jinja2",  # the bot's
    "email", "http", "xml", "zoneinfo", "tomllib", "tempfile", "random", "decimal", "importlib.resources",  # Python's
}  # fmt: skip


def test_a_bare_copy_loads_nothing_heavy() -> None:
    """What few copies need (a refused mail's headers, sentences, samples) is loaded when it is needed."""
    code = "import sys, bot.cli, bot.copy_command; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert "bot.mail.copy" in loaded
    assert "bot.mail.plan" not in loaded, "only --dry-run plans"
    assert not loaded & HEAVY, f"loaded by whom? {sys.executable} -X importtime -c 'import bot.copy_command'"


def test_a_sentence_of_mail_loads_no_other_file() -> None:
    """The catalogue is 200 kB of TOML; a note of a copy needs 7 of them."""
    code = (
        "from bot import words\nfrom bot.words import say\nprint(say('mail.same_mailbox', mailbox='x').text('en'))\n"
        "print(words.of_feature.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "1"
