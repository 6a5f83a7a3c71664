"""
One-time pages: a member hands over a mailbox password, or declines; or he is shown one that was made for him.

    GET  /pages/{token}    not known here: to WeCom and back, which says who it is; then the form
    GET  /pages/return     back from WeCom (developer.work.weixin.qq.com 91022, 91023); `doctor` ends here
    POST /pages/{token}    the password; spends the link, in the transaction that stores it (or forgets what it shows)
    POST /pages/{token}/decline

A GET spends nothing, so a link scanner does no harm. The password is in the body of one request and in what the host
encrypts, nowhere else: not in a URL, a log, an exception or the page. Tokens stay out of our logs too; the server's
access log must be off, because it holds paths.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
import secrets
import traceback
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl, urlsplit

import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from bot.clock import Clock
from bot.errors import UpstreamError, UserError
from bot.jobs import Start
from bot.pages.rates import Buckets, Clients
from bot.wecom import contacts
from bot.wecom.client import WeComClient
from bot.wecom.errcodes import WeComError
from bot.words import Language, Words, say
from storage.links import CAME_BACK, LINK_LIFE, TEST_SIDE, hashed
from storage.models import OneTimeLink

if TYPE_CHECKING:
    from storage.store import Store, Transaction

log = structlog.get_logger()

BODY_BYTES_MAX = 4096
PASSWORD_LENGTH_MAX = 128
KEY_LENGTH_MAX = 256
CLIENT_PASSWORD_LENGTH = 16  # letters; Exmail's page shows them in groups of four
TRIP_SECONDS = 600  # to WeCom and back
TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
STATE = re.compile(r"[0-9a-f]{32}")
CODE_REFUSED = 40029  # used, or older than five minutes
CLIENT_BURST, CLIENT_SECONDS = 120, 0.5  # a whole office may share one address
LINK_BURST, LINK_SECONDS = 30, 4.0

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Input:
    """A field of a page that asks for something else than a client password; `box` is one to tick."""

    name: str
    label: Words
    optional: bool = False
    box: bool = False


@dataclass(frozen=True)
class PageFacts:
    """What a member is shown before he decides; with `inputs` these are asked for instead of a client password."""

    language: Language
    address: str
    heading: Words
    lines: Sequence[Words]  # who asks, why, where to, who can read it there
    steps: Sequence[Words]  # how to get the password: the exact web switches; or how to use the one that is shown
    warning: Words | None = None
    shows: bool = False  # a password is not asked for but shown, when he presses the button
    inputs: Sequence[Input] = ()


class Host(Protocol):
    """The feature that sent the link. Called inside a transaction; a UserError undoes it and is shown to the member."""

    def facts(self, tx: Transaction, link: OneTimeLink) -> PageFacts: ...

    def given(self, tx: Transaction, link: OneTimeLink, password: str) -> list[Start]: ...

    def declined(self, tx: Transaction, link: OneTimeLink) -> list[Start]: ...

    def reveal(self, tx: Transaction, link: OneTimeLink) -> tuple[str, list[Start]]: ...


@dataclass(frozen=True)
class Notice:
    """A page that only says something: the same for everybody who gets it."""

    status: int
    title: str
    text: str


UNKNOWN = Notice(404, "pages.unknown_title", "pages.unknown")
SPENT = Notice(410, "pages.spent_title", "pages.spent")
EXPIRED = Notice(410, "pages.expired_title", "pages.expired")
FOREIGN = Notice(403, "pages.foreign_title", "pages.foreign")
REOPEN = Notice(403, "pages.reopen_title", "pages.reopen")
TOO_LONG = Notice(413, "pages.reopen_title", "pages.too_long")
TOO_OFTEN = Notice(429, "pages.too_often_title", "pages.too_often")
NO_WECOM = Notice(502, "pages.no_wecom_title", "pages.no_wecom")
FAILED = Notice(500, "pages.failed_title", "pages.failed")
REFUSED = Notice(409, "pages.refused_title", "pages.refused")
WORKS = Notice(200, "pages.works_title", "pages.works")
THANKS = Notice(200, "pages.thanks_title", "pages.thanks")
THANKS_KEY = Notice(200, "pages.thanks_title", "pages.thanks_key")
DECLINED = Notice(200, "pages.declined_title", "pages.declined")

Handler = Callable[[Request], Awaitable[Response]]


class BodyTooLong(Exception):
    """More than a form of ours can hold."""


class OneTimePages:
    """
    The pages of one bot, as routes for its web application.

    `public_url` is what members' browsers see, `oauth_base` is WeCom's login, `start` starts a job's workflow after
    the commit. `trusted_proxies` are addresses or networks; ValueError for anything else.
    """

    def __init__(
        self,
        store: Store,
        client: WeComClient,
        host: Host,
        *,
        public_url: str,
        oauth_base: str,
        clock: Clock,
        start: Callable[[Start], None],
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        parts = urlsplit(public_url)
        self._store = store
        self._client = client
        self._host = host
        self._oauth_base = oauth_base
        self._clock = clock
        self._start = start
        self._return_url = f"{public_url.rstrip('/')}/pages/return"
        self._origin = f"{parts.scheme}://{parts.netloc}".lower()
        self._secure = parts.scheme == "https"
        self._base = f"{parts.path.rstrip('/')}/pages"
        self._clients = Clients(trusted_proxies)
        self._by_client = Buckets(CLIENT_BURST, CLIENT_SECONDS)
        self._by_link = Buckets(LINK_BURST, LINK_SECONDS)
        self._style = (resources.files("bot.pages") / "static" / "page.css").read_bytes()
        self._templates = Environment(
            loader=PackageLoader("bot.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    def routes(self) -> list[Route]:
        """Everything below /pages, also what is not there, so that every answer carries the headers."""
        return [
            Route("/pages/static/page.css", Guarded(self, self._css), methods=["GET"]),
            Route("/pages/return", Guarded(self, self._come_back), methods=["GET"]),
            Route("/pages/{token}", Guarded(self, self._show), methods=["GET"]),
            Route("/pages/{token}", Guarded(self, self._give), methods=["POST"]),
            Route("/pages/{token}/decline", Guarded(self, self._decline), methods=["POST"]),
            Route("/pages/{token}/decline", Guarded(self, self._reload), methods=["GET"]),
            Route("/pages/{rest:path}", Guarded(self, self._nothing)),
        ]

    async def answer(self, request: Request, handler: Handler) -> Response:
        """What every request goes through: limits, errors that tell nothing, headers."""
        response = await self._limited(request, handler)
        response.headers.update(HEADERS)
        return response

    async def _limited(self, request: Request, handler: Handler) -> Response:
        now = self._clock.now()
        token = request.path_params.get("token", "")
        if not self._by_client.take(self._clients.key(request), now):
            return self._too_often(request)
        if TOKEN.fullmatch(token) and not self._by_link.take(hashed(token), now):
            return self._too_often(request)
        try:
            if request.method == "HEAD":
                return Response()  # says nothing about the link, and starts no trip to WeCom
            return await handler(request)
        except BodyTooLong:
            return self._notice(TOO_LONG, reader(request))
        except ClientDisconnect:
            return Response(status_code=400)
        except UserError as error:
            return self._notice(REFUSED, reader(request), reason=error.words)
        except Exception as error:
            # No text and no traceback of the error: either may hold what was typed.
            reference = secrets.token_hex(4)
            log.error("page_failed", reference=reference, error=type(error).__name__, at=places(error))
            return self._notice(FAILED, reader(request), reference=reference)

    def _too_often(self, request: Request) -> Response:
        response = self._notice(TOO_OFTEN, reader(request))
        response.headers["Retry-After"] = "30"
        return response

    async def _nothing(self, request: Request) -> Response:
        return self._notice(UNKNOWN, reader(request))

    async def _reload(self, request: Request) -> Response:
        """A browser that asks again for the answer to the form is shown what has become of the link."""
        token = request.path_params["token"]
        if not TOKEN.fullmatch(token):
            return self._notice(UNKNOWN, reader(request))
        return RedirectResponse(f"{self._base}/{token}", 303)

    async def _css(self, request: Request) -> Response:
        return Response(self._style, media_type="text/css")

    # To WeCom and back

    async def _show(self, request: Request) -> Response:
        return await run_in_threadpool(self._shown, request)

    def _shown(self, request: Request) -> Response:
        """The form for the member's browser; anybody else goes to WeCom to say who he is."""
        token = request.path_params["token"]
        with self._store.begin() as tx:
            link = found(tx, token)
            if link is None or not tx.links.alive(link):
                return self._gone(link, request)
            session = request.cookies.get(session_cookie(token), "")
            if belongs(link, session):
                return self._form(tx, self._host.facts(tx, link), link, token, session)
            state = tx.links.sent_to_wecom(link)
        url = contacts.authorize_url(self._client, self._return_url, state, base=self._oauth_base)
        response = RedirectResponse(url, 302)
        # The way back from WeCom is a URL that others log: the token travels in a cookie, which also ties the trip to
        # the browser that began it.
        self._set_cookie(response, trip_cookie(state), token, TRIP_SECONDS)
        return response

    async def _come_back(self, request: Request) -> Response:
        return await run_in_threadpool(self._came_back, request)

    def _came_back(self, request: Request) -> Response:
        """Whoever WeCom says it is gets a session if he is the bound member."""
        state = request.query_params.get("state", "")
        token = request.cookies.get(trip_cookie(state), "")
        if not STATE.fullmatch(state) or not TOKEN.fullmatch(token):
            return self._notice(REOPEN, reader(request))
        response = self._recognise(request, token, state)
        response.delete_cookie(trip_cookie(state), path=self._base, secure=self._secure, httponly=True, samesite="lax")
        return response

    def _recognise(self, request: Request, token: str, state: str) -> Response:
        page = RedirectResponse(f"{self._base}/{token}", 303)
        with self._store.begin() as tx:
            link = tx.links.by_state(state)
            if link is None or link.token_hash != hashed(token):
                return page  # somebody, a scanner perhaps, opened the link meanwhile: once more, with a new state
        try:
            visitor = contacts.userinfo(self._client, request.query_params.get("code", ""))
        except ValueError:
            return self._notice(REOPEN, reader(request))
        except UpstreamError as error:
            errcode = error.errcode if isinstance(error, WeComError) else None
            log.warning("page_visitor_unknown", link_id=link.id, error=type(error).__name__, errcode=errcode)
            return self._notice(REOPEN if errcode == CODE_REFUSED else NO_WECOM, reader(request))
        if visitor.userid is None or visitor.userid.casefold() != link.member.casefold():
            log.warning("page_foreign", link_id=link.id, member=visitor.userid)
            return self._notice(FOREIGN, reader(request))
        with self._store.begin() as tx:
            link = found(tx, token)
            if link is None or not tx.links.alive(link):
                return self._gone(link, request)
            session = tx.links.recognised(link)
            tx.moments.happened(CAME_BACK)
            if link.side == TEST_SIDE:  # it asks for nothing: that he came is what it was for
                tx.links.spend(token, session)
                return self._notice(WORKS, reader(request))
        self._set_cookie(page, session_cookie(token), session, int(LINK_LIFE.total_seconds()))
        return page

    # The answer

    async def _give(self, request: Request) -> Response:
        return await self._answered(request, gives=True)

    async def _decline(self, request: Request) -> Response:
        return await self._answered(request, gives=False)

    async def _answered(self, request: Request, *, gives: bool) -> Response:
        response, starts = await run_in_threadpool(self._spend, request, await fields(request), gives)
        if starts:
            await run_in_threadpool(self._begin, starts)
        return response

    def _spend(self, request: Request, form: dict[str, str], gives: bool) -> tuple[Response, list[Start]]:
        """Store the answer (or that he declines) and use up the link, in one transaction. An odd one wants `sure`."""
        token = request.path_params["token"]
        session = request.cookies.get(session_cookie(token), "")
        with self._store.begin() as tx:
            link = found(tx, token)
            if link is None or not tx.links.alive(link):
                return self._gone(link, request), []
            honest = hmac.compare_digest(form.get("csrf", "").encode(), csrf_token(session).encode())
            if not (belongs(link, session) and honest and self._from_here(request)):
                log.info("page_not_from_its_form", link_id=link.id)
                return self._notice(REOPEN, reader(request)), []
            facts = self._host.facts(tx, link)
            if facts.shows and not gives:
                return self._form(tx, facts, link, token, session), []
            if facts.shows:
                return self._show_once(tx, facts, token, session, request)
            given, problem = entered(facts, form) if gives else ("", None)
            if problem is not None:
                return self._form(tx, facts, link, token, session, problem=problem), []
            link = tx.links.spend(token, session)
            if link is None:
                return self._gone(found(tx, token), request), []
            starts = self._host.given(tx, link, given) if gives else self._host.declined(tx, link)
        log.info("page_answered" if gives else "page_declined", link_id=link.id, job_id=link.job_id)
        thanks = THANKS_KEY if facts.inputs else THANKS
        response = self._notice(thanks if gives else DECLINED, facts.language)
        response.delete_cookie(
            session_cookie(token), path=self._base, secure=self._secure, httponly=True, samesite="lax"
        )
        return response, starts

    def _show_once(
        self, tx: Transaction, facts: PageFacts, token: str, session: str, request: Request
    ) -> tuple[Response, list[Start]]:
        """The password, this once: in the same transaction the link is spent and what was kept of it forgotten."""
        link = tx.links.spend(token, session)
        if link is None:
            return self._gone(found(tx, token), request), []
        password, starts = self._host.reveal(tx, link)
        log.info("page_showed", link_id=link.id, job_id=link.job_id)
        page = self._page("shown.html", 200, facts.language, title=facts.heading, facts=facts, password=password)
        page.delete_cookie(session_cookie(token), path=self._base, secure=self._secure, httponly=True, samesite="lax")
        return page, starts

    def _begin(self, starts: list[Start]) -> None:
        """Start what the rows name. They are stored: if this fails, the tick starts them."""
        for start in starts:
            try:
                self._start(start)
            except Exception:
                log.exception("page_not_started", what=start.what, id=start.id)

    def _from_here(self, request: Request) -> bool:
        """
        Whether the browser says that our own page sent the form; an old browser says nothing.

        Under our referrer policy an honest form has `Origin: null` (Fetch, 3.2), so that proves nothing either way:
        the form's own token decides.
        """
        site = request.headers.get("sec-fetch-site", "none")
        origin = request.headers.get("origin", "null").lower()
        return site in ("same-origin", "none") and origin in (self._origin, "null")

    # What is shown

    def _gone(self, link: OneTimeLink | None, request: Request) -> Response:
        """Why there is no form: never there, used, or run out."""
        if link is None:
            return self._notice(UNKNOWN, reader(request))
        return self._notice(EXPIRED if link.spent_at is None else SPENT, reader(request), number=link.job_id)

    def _notice(self, notice: Notice, language: Language, **values: object) -> Response:
        title, text = say(notice.title), say(notice.text, **values)
        return self._page("notice.html", notice.status, language, title=title, sentence=text)

    def _form(
        self,
        tx: Transaction,
        facts: PageFacts,
        link: OneTimeLink,
        token: str,
        session: str,
        problem: Words | None = None,
    ) -> Response:
        return self._page(
            "show.html" if facts.shows else "form.html",
            200 if problem is None else 422,
            facts.language,
            title=facts.heading,
            facts=facts,
            action=f"{self._base}/{token}",
            csrf=csrf_token(session),
            minutes=math.ceil((link.expires_at - tx.now).total_seconds() / 60),
            problem=problem,
        )

    def _page(self, template: str, status: int, language: Language, **values: object) -> Response:
        def told(words: Words | str, /, **within: object) -> str:
            return (say(words, **within) if isinstance(words, str) else words).text(language)

        tag = "zh-CN" if language == "zh" else "en"
        page = self._templates.get_template(template).render(values, base=self._base, say=told, language=tag)
        return HTMLResponse(page, status)

    def _set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            name, value, max_age=seconds, path=self._base, secure=self._secure, httponly=True, samesite="lax"
        )


@dataclass(frozen=True)
class Guarded:
    """An endpoint behind what all pages share. An ASGI application, so that a route can take every method."""

    pages: OneTimePages
    handler: Handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await self.pages.answer(request, self.handler)
        await response(scope, receive, send)


def found(tx: Transaction, token: str) -> OneTimeLink | None:
    """The link of a token, in whatever state; what cannot be a token is not looked up."""
    return tx.links.find(token) if TOKEN.fullmatch(token) else None


def belongs(link: OneTimeLink, session: str) -> bool:
    """Whether this is the session of the browser in which WeCom named the bound member."""
    return link.session_hash is not None and hmac.compare_digest(link.session_hash, hashed(session))


def csrf_token(session: str) -> str:
    """What only our form in this session, which is of one link, can know."""
    return hmac.new(session.encode(), b"form", hashlib.sha256).hexdigest()


def session_cookie(token: str) -> str:
    """Its name: a member may have the pages of two mailboxes open."""
    return f"page-{hashed(token)[:16]}"


def trip_cookie(state: str) -> str:
    """Its name: two trips to WeCom may be under way in one browser."""
    return f"trip-{hashed(state)[:16]}"


def reader(request: Request) -> Language:
    """The language of a reader we do not know: whichever of ours his browser names first."""
    for each in request.headers.get("accept-language", "").lower().split(","):
        if each.strip().startswith("zh"):
            return "zh"
        if each.strip().startswith("en"):
            return "en"
    return "en"


async def fields(request: Request) -> dict[str, str]:
    """A posted form; empty when it is something else. Raises BodyTooLong as soon as it is."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise BodyTooLong
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return {}
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=8))
    except ValueError:
        return {}


def cleaned(typed: str) -> str:
    """A client password without the blanks it was copied with; anything else as it was typed."""
    bare = "".join(each for each in typed if not each.isspace() and unicodedata.category(each) != "Cf")
    return bare if is_client_password(bare) else typed


def is_client_password(password: str) -> bool:
    """Whether it looks like one that Exmail's web pages made."""
    return len(password) == CLIENT_PASSWORD_LENGTH and password.isascii() and password.isalpha()


def wrong(password: str, *, sure: bool = True) -> Words | None:
    """Why this can be no password, or None; one that is no client password is asked about, unless he is `sure`."""
    if not password.strip():
        return say("pages.empty")
    if len(password) > PASSWORD_LENGTH_MAX or not all(each == " " or each.isprintable() for each in password):
        return say("pages.absurd", length=PASSWORD_LENGTH_MAX)
    if not sure and not is_client_password(password):
        return say("pages.unusual", length=CLIENT_PASSWORD_LENGTH, typed=len(password))
    return None


def entered(facts: PageFacts, form: dict[str, str]) -> tuple[str, Words | None]:
    """What he gives: a client password, or as JSON what the page asked for; and why it can be nothing of the kind."""
    if not facts.inputs:
        password = cleaned(form.get("password", ""))
        return password, wrong(password, sure=form.get("sure") == "1")
    values = {each.name: form.get(each.name, "").strip() for each in facts.inputs}
    if any(not values[each.name] for each in facts.inputs if not (each.optional or each.box)):
        return "", say("pages.empty_key")
    if any(len(each) > KEY_LENGTH_MAX or not each.isascii() or not each.isprintable() for each in values.values()):
        return "", say("pages.absurd_key", length=KEY_LENGTH_MAX)
    return json.dumps(values), None


def places(error: BaseException) -> list[str]:
    """Where it happened, innermost last, without a word of what was there."""
    return [
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
    ]
