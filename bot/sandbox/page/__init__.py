"""
The sandbox's one page: markup, style sheets and script modules, served as they are; nothing comes from elsewhere.

Only the markup's head is completed, once. It holds the style sheets, so that the first answer is all that the browser
needs to paint, and names every module there is, so that it asks for all of them at once instead of finding one in the
other.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HERE = Path(__file__).parent
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def style() -> str:
    """All style sheets as one, the page's own first."""
    sheets = sorted((HERE / "static").glob("*.css"), key=lambda each: (each.name != "page.css", each.name))
    return "".join(each.read_text("utf-8") for each in sheets)


STYLE = style()
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'sha256-{STYLE_HASH}'",  # the page's own and no other
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # no innerHTML, not even by mistake
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Asset:
    """A file of the page, read once; the browser asks whether it is still the same."""

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        self.content = path.read_bytes() if content is None else content
        self.media_type = TYPES[path.suffix]
        self.etag = f'"{hashlib.sha256(self.content).hexdigest()[:20]}"'

    def answer(self, request: Request) -> Response:
        """200 with the content, or 304 when the browser has it."""
        headers = {**HEADERS, "ETag": self.etag}
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def head(names: list[str]) -> str:
    """The style, and links to all modules."""
    modules = sorted(each for each in names if each.endswith(".js") and not each.endswith("/main.js"))
    links = "".join(f'<link rel="modulepreload" href="/_sandbox/static/{each}">\n' for each in modules)
    return f"<style>{STYLE}</style>\n{links}"


def page_routes() -> list[Route]:
    """GET / and GET /_sandbox/static/*: the page, which lives on the control API of the same origin."""
    static, markup = HERE / "static", HERE / "templates" / "index.html"
    served = [each for each in static.rglob("*") if each.suffix in TYPES and each.suffix != ".css"]
    files = {each.relative_to(static).as_posix(): Asset(each) for each in served}
    index = Asset(markup, markup.read_text("utf-8").replace("<!-- files -->\n", head(list(files))).encode())

    async def page(request: Request) -> Response:
        return index.answer(request)

    async def asset(request: Request) -> Response:
        found = files.get(request.path_params["path"])
        return found.answer(request) if found else Response("there is no such file", 404, media_type="text/plain")

    return [
        Route("/", page, methods=["GET"], include_in_schema=False),
        Route("/_sandbox/static/{path:path}", asset, methods=["GET"], include_in_schema=False),
    ]
