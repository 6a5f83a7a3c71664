"""
Both callbacks, proved by an envelope of our own, and whether WeCom itself has ever come.

The GET carries a text that only who has token and key can answer; the POST carries an event that the bot notes and
nobody handles. So a proxy's page, another bot, or a bot that was not restarted is told from the right one.
"""

from __future__ import annotations

import secrets
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from bot.doctor import machine
from bot.doctor.findings import Finding, ok, warning, wrong
from bot.errors import NetworkError
from bot.http import Http
from bot.messages import CALLBACK_REFUSED, PROBE, callback_moment
from bot.settings import Settings
from bot.wecom.envelope import Envelope
from bot.words import Words, say
from bot.work import Services

PATHS = {"app": "/wecom/callback", "contacts": "/wecom/contacts-callback"}
TIMEOUT_SECONDS = 8.0
SLOW_SECONDS = 1.0  # the console gives the check of a URL so long (page 90930)


@dataclass(frozen=True)
class Tried:
    """What came of the probe at one address: None when all is well, else why not; and how long the GET took."""

    why: Words | None
    seconds: float = 0.0


def check(services: Services) -> Iterator[Finding]:
    """Both callbacks that are configured."""
    for source in ("app", "contacts"):
        envelope = envelope_of(services.settings, source)
        if envelope is not None:
            yield from answers(services, source, envelope)
            yield from came(services, source)


def envelope_of(settings: Settings, source: str) -> Envelope | None:
    """Token and key of a callback; None when it is not configured, or not right, which was said."""
    token, key = (
        (settings.wecom_callback_token, settings.wecom_callback_aes_key)
        if source == "app"
        else (settings.wecom_contacts_callback_token, settings.wecom_contacts_callback_aes_key)
    )
    try:
        return Envelope(token.get_secret_value(), key.get_secret_value(), settings.wecom_corp_id) if token else None
    except ValueError:
        return None


def answers(services: Services, source: str, envelope: Envelope) -> Iterator[Finding]:
    """At the public address; only when that fails is the local one asked, to tell where it is stuck."""
    settings, path = services.settings, PATHS[source]
    url = f"{settings.bot_public_url}{path}"
    name = say(f"doctor.callback_{source}")
    public = tried(services, source, envelope, settings.bot_public_url)
    if public.why is None:
        if public.seconds > SLOW_SECONDS:
            yield warning("doctor.callback_slow", callback=name, url=url, seconds=f"{public.seconds:.1f}")
        else:
            yield ok("doctor.callback_fine", callback=name, url=url)
        return
    local_url = local_of(settings)
    local = tried(services, source, envelope, local_url) if local_url != settings.bot_public_url else public
    if local.why is not None:
        yield wrong("doctor.callback_nowhere", callback=name, url=url, why=public.why, local=local_url, there=local.why)
    elif (at := last(services, source, "verified", "event")) is not None:
        # a router may not let its own network in by the public address
        yield warning("doctor.callback_not_from_here", callback=name, url=url, why=public.why, at=at)
    else:
        yield wrong("doctor.callback_local_only", callback=name, url=url, why=public.why, local=local_url)


def local_of(settings: Settings) -> str:
    """Where the bot listens on this machine."""
    host = settings.bot_host
    if host in ("", "0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{settings.bot_port}" if ":" in host else f"http://{host}:{settings.bot_port}"


def tried(services: Services, source: str, envelope: Envelope, base: str) -> Tried:
    """GET and POST as WeCom sends them, at one address."""
    http = Http(base, timeout_seconds=TIMEOUT_SECONDS)
    try:
        return Tried(*probed(services, source, envelope, http))
    except NetworkError as error:
        return Tried(unreachable(base, str(error)))
    finally:
        http.close()


def probed(services: Services, source: str, envelope: Envelope, http: Http) -> tuple[Words | None, float]:
    """Why it is not right, or None; and how long the check of the URL took."""
    path, clock = PATHS[source], services.clock
    text = f"{PROBE}-{secrets.token_hex(8)}"
    query, encrypted = envelope.seal(text, secrets.token_hex(8), clock.now())
    began = clock.now()
    answer = http.request("GET", path, query={**query, "echostr": encrypted})
    seconds = (clock.now() - began).total_seconds()
    if answer.status in (400, 403):  # another token; or another key, with which the text makes no sense
        return say("doctor.probe_other_key"), seconds
    if answer.status != 200:
        return say("doctor.probe_status", status=answer.status), seconds
    if answer.body.decode("utf-8", "replace") != text:
        return say("doctor.probe_other_answer"), seconds
    before = last_at(services, source, "probe")
    message = (
        f"<xml><ToUserName>{services.settings.wecom_corp_id}</ToUserName><FromUserName>sys</FromUserName>"
        f"<CreateTime>{int(clock.now().timestamp())}</CreateTime><MsgType>event</MsgType><Event>{PROBE}</Event>"
        f"<Nonce>{secrets.token_hex(8)}</Nonce></xml>"
    )
    query, encrypted = envelope.seal(message, secrets.token_hex(8), clock.now())
    body = f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()
    answer = http.request("POST", path, query=query, content=body, headers={"Content-Type": "text/xml"})
    if answer.status != 200:
        return say("doctor.probe_post_status", status=answer.status), seconds
    after = last_at(services, source, "probe")
    if after is None or after == before:
        return say("doctor.probe_other_database"), seconds
    return None, seconds


def unreachable(base: str, why: str) -> Words:
    """Why nothing answers: the name, the port, or the certificate; httpx tells only the kind."""
    parts = urlsplit(base)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT_SECONDS) as plain:
            if parts.scheme == "https":
                with ssl.create_default_context().wrap_socket(plain, server_hostname=host):
                    pass
    except socket.gaierror:
        return say("doctor.host_unknown", host=host)
    except ssl.SSLCertVerificationError as error:
        return say("doctor.certificate_refused", host=host, why=error.verify_message)
    except OSError as error:
        return say("doctor.port_refused", host=host, port=port, why=type(error).__name__)
    return say("doctor.no_answer", why=why)


def came(services: Services, source: str) -> Iterator[Finding]:
    """Whether WeCom itself came: when the console checked the URL, when the last event arrived, what was refused."""
    name, settings = say(f"doctor.callback_{source}"), services.settings
    heard = max(filter(None, (last_at(services, source, each) for each in ("verified", "event"))), default=None)
    bad = [(at, kind) for kind in CALLBACK_REFUSED if (at := last_at(services, source, kind)) is not None]
    at, kind = max(bad, default=(None, ""))
    url = f"{settings.bot_public_url}{PATHS[source]}"
    if at is not None and (heard is None or at > heard):
        level = wrong if heard is None else warning
        names = say(f"doctor.refused_{kind}", prefix="WECOM" if source == "app" else "WECOM_CONTACTS")
        yield level("doctor.callback_refused", callback=name, at=machine.shown(settings, at), why=names)
    if heard is not None:
        yield ok("doctor.callback_came", callback=name, at=machine.shown(settings, heard))
    elif at is None:
        yield wrong("doctor.callback_never", callback=name, url=url, menu=say(f"doctor.callback_{source}_menu"))


def last_at(services: Services, source: str, what: str) -> datetime | None:
    """When it last happened at a callback."""
    if machine.is_new(services.settings):
        return None
    try:
        with services.store.begin() as tx:
            return tx.moments.last(callback_moment(source, what))
    except SQLAlchemyError:
        return None  # the check of the database says why


def last(services: Services, source: str, *whats: str) -> str | None:
    """The latest of several things, as people read it."""
    found = max(filter(None, (last_at(services, source, each) for each in whats)), default=None)
    return machine.shown(services.settings, found) if found is not None else None
