"""The three providers' APIs over HTTP, each below a path of its own, with answers that can get lost."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from bot.sandbox.dns.apis import ApiRefused
from bot.sandbox.organisation import Organisation


def provider_routes(org: Organisation) -> APIRouter:
    """The three APIs, each below a path of its own."""
    router = APIRouter(prefix="/_providers", include_in_schema=False)
    providers = org.providers

    def answered(provider: str, what: str, act: Callable[[], Any], shape: Callable[[ApiRefused], Response]) -> Response:
        entry = org.record("dns_api", provider=provider, call=what)
        try:
            told = act()
        except ApiRefused as error:
            entry["refused"] = error.code
            return shape(error)
        if org.troubles.strikes("dns_api_lost", f"{provider}/{what}"):
            entry["refused"] = "the answer was lost"
            return HTMLResponse("<html><head><title>504</title></head></html>", 504)
        return JSONResponse(told)

    @router.get("/aliyun/")
    async def aliyun(request: Request) -> Response:
        what = request.query_params.get("Action", "")

        def shape(error: ApiRefused) -> Response:
            told = {"RequestId": secrets.token_hex(16).upper(), "Code": error.code, "Message": error.text}
            return JSONResponse(told, error.status)

        return answered("aliyun", what, lambda: providers.aliyun(request.scope["query_string"]), shape)

    @router.post("/dnspod/")
    async def dnspod(request: Request) -> Response:
        body, headers = await request.body(), dict(request.headers)

        def shape(error: ApiRefused) -> Response:
            return JSONResponse({"Response": {"Error": {"Code": error.code, "Message": error.text}, "RequestId": "r"}})

        def act() -> Any:
            return {"Response": {"RequestId": secrets.token_hex(16), **providers.dnspod(headers, body)}}

        return answered("dnspod", headers.get("x-tc-action", ""), act, shape)

    @router.api_route("/godaddy/{path:path}", methods=["GET", "PUT", "PATCH", "POST", "DELETE"])
    async def godaddy(request: Request, path: str) -> Response:
        raw = await request.body()
        body = json.loads(raw) if raw else None
        parts, authorization = path.split("/"), request.headers.get("authorization", "")

        def act() -> Any:
            if parts[:2] == ["v1", "domains"]:
                return providers.godaddy_v1(request.method, parts[2:], authorization, body)
            if parts[:3] == ["v3", "domains", "zones"]:
                return providers.godaddy_v3(request.method, parts[3:], authorization, request.query_params, body)
            raise ApiRefused(404, "NOT_FOUND", "No such path")

        def shape(error: ApiRefused) -> Response:
            return JSONResponse({"code": error.code, "message": error.text}, error.status)

        return answered("godaddy", f"{request.method} {path}", act, shape)

    return router
