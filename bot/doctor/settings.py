"""The settings one by one: what lacks, what cannot be meant, what does not work without. No network, no database."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError
from rapidfuzz import fuzz, process

from bot.doctor.findings import Finding, host_of, is_address, is_here, ok, warning, wrong
from bot.settings import Settings
from bot.vault import Vault, VaultError
from bot.wecom.envelope import Envelope
from bot.words import say

PREFIXES = ("WECOM_", "EXMAIL_", "BOT_")
INNER_ENDINGS = (".local", ".localdomain", ".internal", ".lan", ".home", ".intranet", ".corp")
NEAR_SCORE_MIN = 70
MISSING = "missing"
REQUIRED = frozenset(name for name, field in Settings.model_fields.items() if field.is_required())


def unreadable(error: ValidationError) -> Iterator[Finding]:
    """What `Settings` itself refuses. Values are not shown, they may be secrets in the wrong place."""
    for each in error.errors(include_input=False, include_url=False, include_context=False):
        name, *within = (str(part) for part in each["loc"])
        if each["type"] == MISSING:
            yield wrong("doctor.setting_missing", name=name.upper(), where=where(name))
        else:
            shown = ".".join([name.upper(), *within])
            yield wrong("doctor.setting_refused", name=shown, why=each["msg"].removeprefix("Value error, "))


def open_file(file: Path) -> Iterator[Finding]:
    """The settings' file, which holds every secret, must be its owner's alone."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return
    if os.name == "posix" and mode & 0o077:
        yield warning("doctor.env_file_open", path=str(file.absolute()))


def where(name: str) -> object:
    """Where to find the value of a setting that must be there."""
    return say(f"doctor.where_{name}") if name in REQUIRED else ""


def unknown_names(given: Iterable[str]) -> Iterator[Finding]:
    """Names in the environment that look like ours and are none: a slip of the keyboard leaves a setting unset."""
    ours = [name.upper() for name in Settings.model_fields]
    for name in sorted({each.upper() for each in given if each.upper().startswith(PREFIXES)} - set(ours)):
        near = process.extractOne(name, ours, scorer=fuzz.ratio, score_cutoff=NEAR_SCORE_MIN)
        if near is not None:
            yield warning("doctor.setting_unknown_near", name=name, near=near[0])
        else:
            yield warning("doctor.setting_unknown", name=name)


def check(settings: Settings) -> Iterator[Finding]:
    """Everything that can be told without asking anybody."""
    found = [
        *public_url(settings),
        *secrets(settings),
        *callbacks(settings),
        *keys(settings),
        *roles(settings),
        *mail(settings),
        *behind_a_proxy(settings),
    ]
    yield from found or [ok("doctor.settings_complete")]


def public_url(settings: Settings) -> Iterator[Finding]:
    """WeCom and members' phones must reach it, over TLS, under a name: OAuth2's trusted domain is one."""
    url = settings.bot_public_url
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment or parts.username:
        yield wrong("doctor.public_url_malformed")
    elif is_here(host_of(settings.wecom_api_base)):
        return  # WeCom itself is on this machine: a sandbox's
    elif parts.scheme != "https":
        yield wrong("doctor.public_url_not_https", url=url)
    elif is_address(host):
        yield wrong("doctor.public_url_no_name", host=host)
    elif "." not in host or host.endswith(INNER_ENDINGS):
        yield wrong("doctor.public_url_not_public", host=host)


def secrets(settings: Settings) -> Iterator[Finding]:
    """The app's and the directory's."""
    app, directory = settings.wecom_app_secret.get_secret_value(), settings.wecom_contacts_secret.get_secret_value()
    if not app.strip():
        yield wrong("doctor.setting_missing", name="WECOM_APP_SECRET", where=where("wecom_app_secret"))
    if not directory:
        yield warning("doctor.contacts_secret_missing")
    elif directory == app:
        yield wrong("doctor.secrets_alike")
    if not is_here(host := host_of(settings.wecom_api_base)) and not settings.wecom_api_base.startswith("https://"):
        yield wrong("doctor.api_base_not_https", host=host)


def callbacks(settings: Settings) -> Iterator[Finding]:
    """Token and key of both; what does not work without the directory's."""
    for name, token, key in (
        ("WECOM_CALLBACK", settings.wecom_callback_token, settings.wecom_callback_aes_key),
        ("WECOM_CONTACTS_CALLBACK", settings.wecom_contacts_callback_token, settings.wecom_contacts_callback_aes_key),
    ):
        if is_set(token) and is_set(key):
            if not fits(key):
                yield wrong("doctor.aes_key_malformed", name=f"{name}_AES_KEY")
        elif is_set(token) or is_set(key):
            yield wrong("doctor.callback_half", name=f"{name}_TOKEN", other=f"{name}_AES_KEY")
        elif name == "WECOM_CALLBACK":
            yield wrong("doctor.setting_missing", name=f"{name}_TOKEN", where=where("wecom_callback_token"))
        else:
            yield warning("doctor.contacts_callback_missing")


def keys(settings: Settings) -> Iterator[Finding]:
    """The keys for secrets at rest."""
    try:
        Vault(settings.bot_secret_keys.get_secret_value().replace(",", " ").split())
    except VaultError:
        yield wrong("doctor.secret_keys_malformed")


def roles(settings: Settings) -> Iterator[Finding]:
    """A tag can give a role as well; who is in it is asked later."""
    by_tag = settings.bot_role_tags
    admins = {*settings.bot_super_admins, *settings.bot_admins}
    if not admins and not by_tag.keys() & {"admin", "super_admin"}:
        yield wrong("doctor.no_admin")
        return
    if not settings.bot_super_admins and "super_admin" not in by_tag:
        yield warning("doctor.no_super_admin")
    if len(admins) < 2 and not by_tag.keys() & {"admin", "super_admin"}:
        yield warning("doctor.one_admin")


def mail(settings: Settings) -> Iterator[Finding]:
    """The domain, and passwords that must not travel in the open."""
    domain, archive = settings.exmail_domain, settings.exmail_archive_mailbox
    if "." not in domain or "@" in domain or "/" in domain or " " in domain:
        yield wrong("doctor.domain_malformed", domain=domain)
    if archive and ("@" not in archive or not archive.partition("@")[0] or " " in archive):
        yield wrong("doctor.archive_malformed", address=archive)
    if not settings.exmail_imap_tls and not is_here(settings.exmail_imap_host):
        yield wrong("doctor.imap_without_tls", host=settings.exmail_imap_host)


def behind_a_proxy(settings: Settings) -> Iterator[Finding]:
    """Behind a proxy that is not named, all visitors share one limit."""
    if not is_here(host_of(settings.bot_public_url)) and not settings.bot_trusted_proxies:
        yield warning("doctor.no_trusted_proxies")


def is_set(secret: SecretStr) -> bool:
    """Whether a secret holds anything."""
    return bool(secret.get_secret_value().strip())


def fits(key: SecretStr) -> bool:
    """Whether an EncodingAESKey can be one."""
    try:
        Envelope("", key.get_secret_value(), "")
    except ValueError:
        return False
    return True


def presence(settings: Settings) -> dict[str, str]:
    """Each setting as `set`, `default` or `empty`, for a ticket: no value."""
    told: dict[str, str] = {}
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        if name in settings.model_fields_set and plain not in ("", (), {}, None):
            told[name.upper()] = "default" if not field.is_required() and value == field.default else "set"
        else:
            told[name.upper()] = "empty" if plain in ("", (), {}, None) else "default"
    return told
