"""The sandbox as one ASGI application: the simulated WeCom, its OAuth2 page, and the control API."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from email.utils import format_datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.datastructures import UploadFile
from starlette.types import ASGIApp, Receive, Scope, Send

import bot.sandbox.wecom as calls
from bot.sandbox.beside import beside_router
from bot.sandbox.callbacks import RETRY_DELAYS, TIMEOUT_SECONDS, Callbacks, Deliver
from bot.sandbox.control import control_router
from bot.sandbox.dns import panel
from bot.sandbox.dns.routes import provider_routes
from bot.sandbox.hours import Hours
from bot.sandbox.organisation import Organisation
from bot.sandbox.recorder import PageWatch
from bot.sandbox.stage import Stage
from bot.sandbox.tour import look
from bot.sandbox.wecom.api import Gate, Refused, Upload
from bot.wecom.errcodes import WeComError
from bot.words import LANGUAGES

__all__ = ["calls", "create_sandbox_app", "panel"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
COOKIE = "sandbox_member"
BODY_BYTES_MAX = 72 << 20
STATE = re.compile(r"[A-Za-z0-9]{0,128}")
HIDDEN = ("access_token", "corpsecret", "auth_code")


def create_sandbox_app(
    organisation: Organisation,
    *,
    deliver: Deliver | None = None,
    retry_delays: Sequence[float] = RETRY_DELAYS,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> FastAPI:
    """
    The application for loopback: `/cgi-bin/*`, `/connect/oauth2/authorize` and `/_sandbox/*`.

    `deliver(path, query, body)` posts a callback to the bot and gives the HTTP status; without it callbacks go to
    `organisation.bot_url` over TCP. The control API's OpenAPI document is at `/_sandbox/openapi.json`.
    """
    app = FastAPI(
        title="exmail-bot sandbox",
        description="Plays the members, the admin console, the clock and the troubles of a simulated WeCom.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/_sandbox/openapi.json",
    )
    callbacks = Callbacks(organisation, deliver, retry_delays=retry_delays, timeout_seconds=timeout_seconds)
    hours = Hours(organisation)
    stage = Stage(organisation)
    organisation.on_change = partial(look, organisation)
    app.state.organisation, app.state.callbacks, app.state.hours = organisation, callbacks, hours
    app.state.stage = stage
    app.add_middleware(PageWatch, recorder=stage.recorder)
    app.add_middleware(LoopbackOnly)
    wecom_routes(app, organisation)
    app.include_router(control_router(organisation, callbacks, hours, stage))
    app.include_router(beside_router(organisation, hours))
    app.include_router(provider_routes(organisation))
    return app


class LoopbackOnly:
    """
    Refuses a Host that is not loopback, and for the control API an Origin that is not the page's own.

    Elsewhere Origin is not looked at: a form of a page with `Referrer-Policy: no-referrer` sends `null`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            host, origin = headers.get("host", ""), headers.get("origin")
            try:
                own = urlsplit(f"http://{host}").hostname in LOOPBACK
            except ValueError:
                own = False
            foreign = origin is not None and origin not in (f"http://{host}", f"https://{host}")
            if not own or (foreign and scope["path"].startswith("/_sandbox")):
                await JSONResponse({"error": "only from this machine's own page"}, 403)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def page_error(status: int) -> HTMLResponse:
    """What a gateway in front of WeCom answers: HTML, no JSON."""
    return HTMLResponse(f"<html><head><title>{status}</title></head><body>stgw</body></html>", status)


def without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """For the wire log: tokens and passwords shortened."""
    return {
        name: f"{value[:4]}…" if name in HIDDEN and isinstance(value, str) else value for name, value in values.items()
    }


def readable(raw: bytes) -> Any:
    """A request body for the wire log."""
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return f"{len(raw)} bytes"


async def body_of(request: Request) -> tuple[bytes, Upload | None]:
    """The body, or the part named `media` of a multipart body."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=4, max_part_size=BODY_BYTES_MAX) as form:
            part = form.get("media")
            if not isinstance(part, UploadFile):
                return b"", None
            name = part.filename or ""
            return b"", Upload(name, part.content_type or "application/octet-stream", await part.read())
    return await request.body(), None


def wecom_routes(app: FastAPI, org: Organisation) -> None:
    """The simulated WeCom's own paths; they are not in the OpenAPI document."""
    gate = Gate(org)

    @app.api_route("/cgi-bin/{path:path}", methods=["GET", "POST"], include_in_schema=False)
    async def cgi(path: str, request: Request) -> Response:
        if org.troubles.strikes("gateway_error", path):
            org.record("api", method=request.method, path=path, status=502)
            return page_error(502)
        raw, upload = await body_of(request)
        query = dict(request.query_params)
        if path == "media/get":
            return media_get(query)
        answer = gate.answer(request.method, path, query, raw, upload)
        entry = org.record(
            "api",
            method=request.method,
            path=path,
            query=without_secrets(query),
            request=upload.name if upload else readable(raw),
            answer=without_secrets(answer) if answer is not None else 404,
        )
        if answer is not None and answer["errcode"]:
            refused = WeComError(answer["errcode"], str(answer.get("errmsg", "")), path)
            entry["meaning"] = {language: refused.words().text(language) for language in LANGUAGES}
        if answer is None:
            return page_error(404)
        if org.troubles.strikes("answer_lost", path):
            entry["status"] = 504
            return page_error(504)
        body = json.dumps(answer, ensure_ascii=False).encode()
        date = {"Date": format_datetime(org.now(), usegmt=True)}
        return Response(body, headers=date, media_type="application/json; charset=UTF-8")

    def media_get(query: Mapping[str, str]) -> Response:
        """A file for the bot (90254); errors are JSON."""
        checked = gate.answer("GET", "getcallbackip", query, b"")
        media = org.chats.find_media(query.get("media_id", ""), org.now())
        if not checked or checked["errcode"]:
            return JSONResponse(checked)
        org.record("api", method="GET", path="media/get", query=without_secrets(query), answer=media and media.name)
        if media is None:
            return JSONResponse(Refused(40007, "invalid media_id").answer())
        return Response(media.content, media_type=media.content_type, headers=attachment(media.name))

    @app.get("/connect/oauth2/authorize", include_in_schema=False)
    async def authorize(request: Request) -> Response:
        """Silent (snsapi_base): sends the member of the cookie back with a code."""
        query = request.query_params
        member = request.cookies.get(COOKIE)
        if query.get("appid") != org.corp_id or query.get("response_type") != "code":
            return oauth_error("appid or response_type")
        if query.get("scope") not in ("snsapi_base", "snsapi_privateinfo"):
            return oauth_error("scope")
        state = query.get("state", "")
        if not STATE.fullmatch(state):
            return oauth_error("state")
        target = urlsplit(query.get("redirect_uri", ""))
        trusted = urlsplit(org.bot_url).netloc
        if target.scheme not in ("http", "https") or target.netloc != trusted:
            return oauth_error("redirect_uri")
        if not member:
            return HTMLResponse("<h1>请在企业微信客户端打开链接</h1>", 403)
        code = secrets.token_urlsafe(24)
        org.oauth_codes[code] = (member, org.now())
        org.record("oauth", member=member, redirect_uri=query["redirect_uri"])
        added = [*parse_qsl(target.query, keep_blank_values=True), ("code", code), ("state", state)]
        return RedirectResponse(urlunsplit(target._replace(query=urlencode(added), fragment="")), 302)


def oauth_error(name: str) -> HTMLResponse:
    """The page WeCom shows for a bad link."""
    return HTMLResponse(f"<h1>{name}参数错误</h1>", 400)


def attachment(name: str) -> dict[str, str]:
    """Headers that let a browser save a file under its name."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
