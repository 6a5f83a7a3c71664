"""A link in a real database, its pages over ASGI, browsers with cookies, and a WeCom that says who looks."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
import structlog
from starlette.applications import Starlette

from bot.http import Http
from bot.jobs import Start
from bot.pages.onetime import OneTimePages, PageFacts
from bot.vault import Vault, new_key
from bot.wecom.client import WeComClient
from bot.words import Language, say
from storage.links import hashed
from storage.models import Job, JobState, Mailbox, MailboxKind, OneTimeLink
from storage.store import Transaction
from tests.servers.tables import Kept

PUBLIC_URL = "https://bot.corp.test"
PASSWORD = "abcdefghijklmnop"


class FakeClock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def advance(self, **amount: float) -> None:
        self.moment += timedelta(**amount)


class WeCom:
    """The login page, tokens, and `getuserinfo`; a code works once."""

    def __init__(self) -> None:
        self.codes: dict[str, dict[str, str]] = {}
        self.looking = "ahing"  # whose WeCom the login page is opened in
        self.errcode = 0
        self.asked: list[str] = []
        wecom = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                wecom.asked.append(parts.path)
                query = dict(parse_qsl(parts.query))
                if parts.path == "/connect/oauth2/authorize":
                    back = urlencode({"code": wecom.code(wecom.looking), "state": query["state"]})
                    self.send_response(302)
                    self.send_header("Location", f"{query['redirect_uri']}?{back}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                content = json.dumps(wecom.told(parts.path, query)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def code(self, userid: str | None) -> str:
        """A code for a member, or for somebody who is none."""
        code = secrets.token_urlsafe(16)
        self.codes[code] = {"openid": "o-1"} if userid is None else {"userid": userid}
        return code

    def told(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        if path == "/cgi-bin/gettoken":
            return {"errcode": 0, "errmsg": "ok", "access_token": "token-1", "expires_in": 7200}
        if self.errcode:
            return {"errcode": self.errcode, "errmsg": "told to"}
        visitor = self.codes.pop(query["code"], None)
        if visitor is None:
            return {"errcode": 40029, "errmsg": "invalid code"}
        return {"errcode": 0, "errmsg": "ok", **visitor}

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join(5)
        self.server.server_close()


class BackupHost:
    """What the backup will do with the pages: keep the password encrypted, wake the job."""

    def __init__(self) -> None:
        self.vault = Vault([new_key()])
        self.language: Language = "en"
        self.error: Exception | None = None
        self.shows = False

    def facts(self, tx: Transaction, link: OneTimeLink) -> PageFacts:
        return PageFacts(
            language=self.language,
            address=tx.mailboxes.get(link.mailbox_id).address,
            heading=say("pages.give"),
            lines=[say("pages.refused", reason="Mei <mei> wants a copy & more")],
            steps=[say("pages.thanks"), say("pages.declined")],
            warning=say("pages.too_often"),
            shows=self.shows,
        )

    def given(self, tx: Transaction, link: OneTimeLink, password: str) -> list[Start]:
        ciphertext = self.vault.lock(password)
        tx.passwords.keep(link.job_id, link.side, given_by=link.member, ciphertext=ciphertext)
        return self._woken(tx, link, "given")

    def declined(self, tx: Transaction, link: OneTimeLink) -> list[Start]:
        return self._woken(tx, link, "declined")

    def reveal(self, tx: Transaction, link: OneTimeLink) -> tuple[str, list[Start]]:
        kept = tx.passwords.find(link.job_id, link.side)
        assert kept is not None
        tx.passwords.forget(link.job_id, link.side)
        return self.vault.open(kept.ciphertext), self._woken(tx, link, "shown")

    def _woken(self, tx: Transaction, link: OneTimeLink, stage: str) -> list[Start]:
        job = tx.jobs.get(link.job_id)
        tx.jobs.wake(job, stage)
        if self.error is not None:
            raise self.error
        return [Start("job", job.id, job.wakes, str(job.id), job.kind)]


class Browser:
    """A browser: keeps cookies, follows nothing by itself."""

    def __init__(self, world: World, *, address: str = "10.1.1.1", language: str = "en-GB,en;q=0.9") -> None:
        self.world = world
        self.address = address
        self.headers = {"Accept-Language": language}
        self.cookies = httpx.Cookies()

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        more["headers"] = {**self.headers, **more.get("headers", {})}

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.world.web, client=(self.address, 40000))
            async with httpx.AsyncClient(
                transport=transport, base_url=self.world.public_url, cookies=self.cookies
            ) as client:
                answer = await client.request(method, path, **more)
                self.cookies = client.cookies
                return answer

        return asyncio.run(send())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, data: dict[str, str], **more: Any) -> httpx.Response:
        return self.request("POST", path, data=data, **more)

    def leave(self, token: str) -> str:
        """Open the link and be sent to WeCom; gives the state."""
        answer = self.get(f"/pages/{token}")
        assert answer.status_code == 302, answer.text
        assert answer.headers["location"].startswith(self.world.wecom.url + "/connect/oauth2/authorize?")
        return parse_qs(urlsplit(answer.headers["location"]).query)["state"][0]

    def back(self, state: str, userid: str | None) -> httpx.Response:
        """Come back from WeCom as somebody."""
        return self.get("/pages/return", params={"code": self.world.wecom.code(userid), "state": state})

    def form(self, token: str, userid: str = "ahing") -> httpx.Response:
        """Open the link as a member, by way of WeCom, until the form stands there."""
        answer = self.back(self.leave(token), userid)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/pages/{token}"
        return self.get(f"/pages/{token}")


class World:
    """One job that waits for the password of ahing@corp.test."""

    def __init__(self, kept: Kept, wecom: WeCom, public_url: str = PUBLIC_URL) -> None:
        self.clock = FakeClock()
        self.wecom = wecom
        self.public_url = public_url
        self.store = kept.opened(self.clock.now)
        self.host = BackupHost()
        self.started: list[Start] = []
        self.http = Http(wecom.url)
        client = WeComClient(self.http, self.clock, "ww1", 1000002, "app-secret", sleep=lambda _: None)
        self.pages = OneTimePages(
            self.store,
            client,
            self.host,
            public_url=public_url,
            oauth_base=wecom.url,
            clock=self.clock,
            start=self.started.append,
            trusted_proxies=["10.9.0.0/16"],
        )
        self.web = Starlette(routes=self.pages.routes())
        with self.store.begin() as tx:
            box = tx.links.added(
                Mailbox(
                    address="ahing@corp.test",
                    kind=MailboxKind.MEMBER,
                    owner="ahing",
                    source="import",
                    managed=False,
                    readers={},
                    aliases=[],
                )
            )
            job = tx.jobs.add("backup", asked_by="mei", params={}, state=JobState.WAITING)
            self.box_id, self.job_id = box.id, job.id

    def link(self, side: str = "source") -> str:
        with self.store.begin() as tx:
            return tx.links.make(member="AHing", job_id=self.job_id, mailbox_id=self.box_id, side=side)

    def row(self, token: str) -> OneTimeLink:
        with self.store.begin() as tx:
            link = tx.links.find(token)
            assert link is not None
            return link

    def job(self) -> Job:
        with self.store.begin() as tx:
            return tx.jobs.get(self.job_id)

    def kept(self, side: str = "source") -> str | None:
        """The password stored for the job."""
        with self.store.begin() as tx:
            secret = tx.passwords.find(self.job_id, side)
            return None if secret is None else self.host.vault.open(secret.ciphertext)

    def untouched(self, token: str) -> bool:
        """The link is whole and nothing came of it."""
        return self.row(token).spent_at is None and self.kept() is None and self.job().wakes == 1 and not self.started

    def session_of(self, browser: Browser, token: str) -> str:
        return browser.cookies[f"page-{hashed(token)[:16]}"]


@pytest.fixture
def wecom() -> Iterator[WeCom]:
    server = WeCom()
    yield server
    server.close()


@pytest.fixture
def world(kept_sqlite: Kept, wecom: WeCom) -> Iterator[World]:
    made = World(kept_sqlite, wecom)
    yield made
    made.http.close()
    made.store.close()


@pytest.fixture
def token(world: World) -> str:
    return world.link()


@pytest.fixture
def browser(world: World) -> Browser:
    return Browser(world)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """What structlog was told, as it was told."""
    with structlog.testing.capture_logs() as entries:
        yield entries
