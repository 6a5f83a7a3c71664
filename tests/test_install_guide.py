"""The lines of docs/install.md and of the Dockerfile, as far as a test machine can run them."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bot.settings import Settings
from tests.core.test_settings import ENVIRONMENT
from tests.journeys.test_doctor import free_port
from tests.servers.dovecot import write_certificate

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "install.md").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
VERIFY = "WW_verify_0123456789abcdef.txt"


def block(language: str, containing: str) -> str:
    """The block of the guide in a language that holds something."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    (only,) = [each for each in found if containing in each]
    return str(only)


# nginx


class Upstream(BaseHTTPRequestHandler):
    """In the bot's place: says what came."""

    def answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        came = f"{self.command} {self.path} {self.headers['host']} {self.headers['x-forwarded-for']}\n".encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(came + self.rfile.read(length))

    do_GET = do_POST = answer  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def upstream() -> Iterator[int]:
    """Listening on loopback; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def configuration(folder: Path, port: int, behind: int) -> str:
    """The guide's lines, with this machine's ports and folders in the place of the guide's."""
    lines = block("nginx", "proxy_pass")
    write_certificate(folder)
    for theirs, ours in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/letsencrypt/live/bot.corp.com/fullchain.pem", f"{folder}/cert.pem"),
        ("/etc/letsencrypt/live/bot.corp.com/privkey.pem", f"{folder}/key.pem"),
        ("/var/log/nginx/bot.access.log", f"{folder}/access.log"),
        ("http://127.0.0.1:8080", f"http://127.0.0.1:{behind}"),
    ):
        assert theirs in lines, f"the guide has no {theirs} any more"
        lines = lines.replace(theirs, ours)
    verify = re.search(r"`(location = /WW_verify_….txt \{[^}]*\})`", GUIDE)
    assert verify is not None
    served = verify[1].replace("WW_verify_….txt", VERIFY).replace("/var/www/verify", str(folder))
    lines = lines.replace("    location / {", f"    {served}\n    location / {{")
    temporary = "".join(
        f"{each}_temp_path {folder}/{each};\n" for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""  # who may read pytest's folders
    return (
        f"{user}daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\n{temporary}access_log off;\n{lines}\n}}\n"
    )


@contextmanager
def nginx(folder: Path, port: int, behind: int) -> Iterator[None]:
    """A proxy of its own on loopback, stopped for sure."""
    file = folder / "nginx.conf"
    file.write_text(configuration(folder, port, behind))
    command = [NGINX, "-e", f"{folder}/error.log", "-p", str(folder), "-c", str(file)]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=30, check=False)
    assert tested.returncode == 0, tested.stderr
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(15)


def asked(port: int, folder: Path, method: str, path: str, body: bytes = b"") -> str:
    """What comes back through the proxy; tried until it listens, for ten seconds."""
    context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    until = time.monotonic() + 10
    while True:
        connection = HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
        try:
            connection.request(method, path, body, {"Host": "bot.corp.com", "Content-Type": "text/xml"})
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read().decode()
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.05)
        finally:
            connection.close()


def test_the_nginx_lines_let_wecom_in_and_log_no_link(tmp_path: Path) -> None:
    """GET and POST with XML arrive, a one-time link stands in no log, the console's file is served."""
    (tmp_path / VERIFY).write_text("0123456789abcdef")
    port = free_port()
    with upstream() as behind, nginx(tmp_path, port, behind):
        told = asked(port, tmp_path, "GET", "/wecom/callback?echostr=a%2Bb%3D")
        assert told == "GET /wecom/callback?echostr=a%2Bb%3D bot.corp.com 127.0.0.1\n"
        told = asked(port, tmp_path, "POST", "/wecom/callback", b"<xml>" + b"x" * 200_000 + b"</xml>")
        assert told.endswith("</xml>")
        assert asked(port, tmp_path, "GET", "/pages/once-only").startswith("GET /pages/once-only")
        assert asked(port, tmp_path, "GET", f"/{VERIFY}") == "0123456789abcdef"
    logged = (tmp_path / "access.log").read_text()
    assert "/wecom/callback" in logged
    assert "once-only" not in logged


# systemd


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    """Its lines are known to systemd, lead to the program, and let it write where the data lie and nowhere else."""
    unit = block("ini", "ExecStart")
    read = configparser.ConfigParser(strict=True, interpolation=None)
    read.optionxform = str  # type: ignore[method-assign,assignment]
    read.read_string(unit)
    service = read["Service"]
    program, command = service["ExecStart"].split()
    assert command == "serve"
    env = block("sh", "WECOM_CORP_ID=")
    data = re.search(r"^BOT_DATA_DIR=(.+)$", env, re.MULTILINE)
    assert data is not None
    assert {service["ReadWritePaths"], service["WorkingDirectory"]} == {data[1]}
    assert f"`{service['EnvironmentFile']}`" in GUIDE
    assert f"useradd --system --home-dir {data[1]} --create-home {service['User']}" in GUIDE
    assert f"--uid={service['User']} -p EnvironmentFile={service['EnvironmentFile']}" in GUIDE
    assert program.startswith("/opt/exmail-bot/.venv/bin/")
    if (analyze := shutil.which("systemd-analyze")) is None:  # on no Debian
        return
    file = tmp_path / "exmail-bot.service"
    file.write_text(unit.replace(program, sys.executable))
    told = subprocess.run(
        [analyze, "verify", "--man=no", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    ours = [line for line in told.stderr.splitlines() if file.name in line]
    assert ours == []


# the settings, and Docker


def test_the_settings_to_fill_in_are_settings() -> None:
    """Each line is a name of ours; what must be there is among them, in the order of the console's pages."""
    lines = block("sh", "WECOM_CORP_ID=").split()
    names = [line.partition("=")[0] for line in lines if "=" in line]
    known = {each.upper() for each in Settings.model_fields}
    assert set(names) <= known
    assert {name.upper() for name, field in Settings.model_fields.items() if field.is_required()} <= set(names)


def test_the_dockerfile_copies_what_it_needs_and_starts_what_there_is() -> None:
    """What is copied is there, what the package is made of is copied; paths, user, port and commands agree."""
    lines = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    copied = [word for each in re.findall(r"^COPY (.+)$", lines, re.MULTILINE) for word in each.split()[:-1]]
    assert all((ROOT / each).exists() for each in copied)
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    packages = re.search(r"^include = \[(.+)\]$", project, re.MULTILINE)
    assert packages is not None
    assert {each.strip('"*') for each in packages[1].split(", ")} <= set(copied)
    assert re.search(r'^readme = "README.md"$', project, re.MULTILINE)
    assert {"README.md", "LICENSE", "requirements.lock", "pyproject.toml"} <= set(copied)
    program, command = re.findall(r'^CMD \["([a-z-]+)", "([a-z]+)"\]$', lines, re.MULTILINE)[0]
    assert f'{program} = "' in project
    assert command == "serve"
    environment = dict(re.findall(r"(BOT_[A-Z_]+)=(\S+)", lines))
    assert environment["BOT_DATA_DIR"] in re.findall(r"^VOLUME (\S+)$", lines, re.MULTILINE)
    assert environment["BOT_PORT"] in re.findall(r"^EXPOSE (\S+)$", lines, re.MULTILINE)
    assert lines.index("USER bot") < lines.index('CMD ["exmail-bot"')
    assert f"-p 127.0.0.1:{environment['BOT_PORT']}:{environment['BOT_PORT']} -v exmail-bot:/data" in GUIDE
    assert "/healthz" in lines


def test_the_lines_of_docker_name_the_image_and_settings_that_are() -> None:
    """`docker build`, `run` and `exec` of the guide and of the Dockerfile: one image, one container, known settings."""
    shown = re.findall(r"docker (?:build|run|exec) [^`\n]+", GUIDE + DOCKERFILE)
    assert len(shown) >= 5
    known = {each.upper() for each in Settings.model_fields}
    for each in shown:
        words = each.replace(" && ", "\n").split("\n")[0].split()
        assert "exmail-bot" in words, each
        given = [words[place + 1].partition("=")[0] for place, word in enumerate(words) if word == "-e"]
        assert set(given) <= known, each
        if words[1] != "build":  # what runs in it, if not what the image runs by itself
            after = words[words.index("exmail-bot", words.index("--name") + 2 if "--name" in words else 0) + 1 :]
            assert after == [] or after[0] == "exmail-bot", each


def test_the_image_s_folder_holds_a_bot_that_starts_and_is_found_healthy(tmp_path: Path) -> None:
    """No engine is here to build it, so: what is copied and nothing else, served, and asked as HEALTHCHECK does."""
    lines = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    app, data = tmp_path / "app", tmp_path / "data"
    app.mkdir()
    data.mkdir()
    for name in (word for each in re.findall(r"^COPY (.+)$", lines, re.MULTILINE) for word in each.split()[:-1]):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, app / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, app / name)
    port = free_port()
    given = {**ENVIRONMENT, "BOT_DATA_DIR": str(data), "BOT_PORT": str(port), "BOT_HOST": "127.0.0.1"}
    given |= {"WECOM_API_BASE": "http://127.0.0.1:9", "BOT_PUBLIC_URL": "http://127.0.0.1:9"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WECOM_", "EXMAIL_", "BOT_"))}
    environment = kept | given | {"PYTHONPATH": str(app)}
    program = [sys.executable, "-c", "import sys; from bot.cli import main; sys.exit(main())", "serve"]
    asks = re.search(r'HEALTHCHECK .+ CMD \["python", "-c", "(.+)"\]', lines)
    assert asks is not None
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(program, env=environment, cwd=data, stdout=output, stderr=output)
        try:
            until = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < until:
                asked = subprocess.run(
                    [sys.executable, "-c", asks[1]], env=environment, capture_output=True, timeout=30
                )
                if asked.returncode == 0:
                    break
            assert asked.returncode == 0, (tmp_path / "log").read_text("utf-8")[-2000:]
        finally:
            process.terminate()
            process.wait(30)
    assert (data / "bot.sqlite").exists()
