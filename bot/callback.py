"""
HTTP in: check, store, acknowledge.

WeCom hangs up after five seconds and sends again, so a callback is one durable INSERT and an empty 200; what it means
is decided by a workflow. Hostile bodies cost little: the size is checked before anything is read whole, the signature
before anything is decrypted (developer.work.weixin.qq.com 90930, 90238).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from bot import dispatcher, messages
from bot.clock import Clock
from bot.errors import BadEnvelope
from bot.jobs import Start
from bot.messages import PROBE, OtherMessage, callback_moment
from bot.metrics import CALLBACKS
from bot.router import Router
from bot.wecom import envelope as envelopes
from bot.wecom.envelope import Envelope
from bot.wecom.limits import ENVELOPE_BYTES

if TYPE_CHECKING:
    from storage.store import Store

log = structlog.get_logger()

NOTE_EVERY = timedelta(minutes=1)
REFUSED_FOR = {
    envelopes.WRONG_SIGNATURE: "token",
    envelopes.WRONG_PADDING: "key",
    envelopes.WRONG_RECEIVER: "corp",
    envelopes.WRONG_TIME: "clock",
}

Endpoint = Callable[[Request], Awaitable[Response]]


class Callback:
    """One of the two callback URLs: the app's, or the directory's."""

    def __init__(
        self,
        source: str,
        envelope: Envelope | None,
        store: Store,
        router: Router,
        clock: Clock,
        start: Callable[[Start], None],
    ) -> None:
        self._source = source
        self._envelope = envelope
        self._store = store
        self._router = router
        self._clock = clock
        self._start = start
        self._noted: dict[str, datetime] = {}

    async def answer(self, request: Request) -> Response:
        """GET: the console's check of the URL. POST: a callback."""
        try:
            if self._envelope is None:
                raise BadEnvelope(403, "this callback is not configured")
            if request.method == "GET":
                text = self._envelope.echo(request.query_params, self._clock.now())
                return PlainTextResponse(text, background=None if text.startswith(PROBE) else self._noting("verified"))
            body = await bounded(request)
            fields = self._envelope.open(request.query_params, body, self._clock.now())
        except BadEnvelope as error:
            CALLBACKS.labels(self._source, str(error.status)).inc()
            log.info("callback_refused", source=self._source, status=error.status, reason=str(error))
            wrong = REFUSED_FOR.get(str(error))
            return Response(status_code=error.status, background=None if wrong is None else self._noting(wrong))
        except ClientDisconnect:
            return Response(status_code=400)
        started = await run_in_threadpool(self.accept, fields)
        CALLBACKS.labels(self._source, "200").inc()
        return Response(status_code=200, background=None if started is None else BackgroundTask(self.begin, started))

    def accept(self, fields: dict[str, object]) -> Start | None:
        """Store it; what to start, or None for what was here before or nobody handles."""
        message = messages.parse(fields)
        key = messages.key(self._source, fields)
        kind = message.kind if isinstance(message, OtherMessage) else type(message).__name__
        if kind == PROBE:
            with self._store.begin() as tx:
                tx.moments.happened(callback_moment(self._source, "probe"))
            return None
        with self._store.begin() as tx:
            if self._news("event"):
                tx.moments.happened(callback_moment(self._source, "event"))
            if not dispatcher.interesting(self._router, message, tx):
                tx.inbox.count(f"{self._source}.{kind}")
                return None
            row = tx.inbox.add(key, message.sender[:64], kind[:40], fields)
            return None if row is None else Start("message", row.id, row.attempt, row.sender)

    def _noting(self, what: str) -> BackgroundTask | None:
        """Remembers, once WeCom has its answer, that it happened."""
        return BackgroundTask(self.note, what) if self._news(what) else None

    def note(self, what: str) -> None:
        """It happened just now: `doctor` asks."""
        try:
            with self._store.begin() as tx:
                tx.moments.happened(callback_moment(self._source, what))
        except Exception:
            log.exception("callback_not_noted", source=self._source, what=what)

    def _news(self, what: str) -> bool:
        """Whether this was not noted within the last minute: callbacks, and strangers, may come by the thousand."""
        now, before = self._clock.now(), self._noted.get(what)
        if before is not None and abs(now - before) < NOTE_EVERY:
            return False
        self._noted[what] = now
        return True

    def begin(self, start: Start) -> None:
        """Start the decision, once WeCom has its answer. It is stored: if this fails, the tick starts it."""
        try:
            self._start(start)
        except Exception:
            log.exception("callback_not_started", inbox_id=start.id)


async def bounded(request: Request) -> bytes:
    """The body, or BadEnvelope 413 as soon as it is longer than a callback can be."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > ENVELOPE_BYTES:
        raise BadEnvelope(413, "the body is too long")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > ENVELOPE_BYTES:
            raise BadEnvelope(413, "the body is too long")
    return bytes(body)
