"""Settings from the environment (and `.env`), checked once at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bot.mail.pace import Hours
from bot.words import Language

ROLES = ("super_admin", "admin", "approver", "auditor")  # that a tag can give
AES_KEY_LETTERS = 43
Names = Annotated[tuple[str, ...], NoDecode]


def names(value: object) -> object:
    """`a, b c` as a tuple of userids without case."""
    if isinstance(value, str):
        return tuple(each.casefold() for each in value.replace(",", " ").split())
    return value


class Settings(BaseSettings):
    """Everything that is configured; the names are the environment's, in lower case."""

    model_config = SettingsConfigDict(env_ignore_empty=True, env_file=".env", extra="ignore", frozen=True)

    wecom_corp_id: str
    wecom_agent_id: int
    wecom_app_secret: SecretStr
    wecom_contacts_secret: SecretStr = SecretStr("")
    wecom_callback_token: SecretStr
    wecom_callback_aes_key: SecretStr
    wecom_contacts_callback_token: SecretStr = SecretStr("")
    wecom_contacts_callback_aes_key: SecretStr = SecretStr("")
    wecom_api_base: str = "https://qyapi.weixin.qq.com"
    wecom_oauth_base: str = "https://open.weixin.qq.com"

    exmail_domain: str
    exmail_imap_host: str = "imap.exmail.qq.com"
    exmail_imap_port: int = 993
    exmail_imap_tls: bool = True
    exmail_imap_connections_max: int = Field(4, ge=1, le=64)
    exmail_imap_mails_per_second: float | None = Field(None, gt=0)  # of each copy
    exmail_imap_bytes_per_second: float | None = Field(None, gt=0)
    exmail_imap_hours: Hours | None = None  # 22:00-06:00: copy only then
    exmail_smtp_host: str = "smtp.exmail.qq.com"
    exmail_smtp_port: int = 465
    exmail_smtp_tls: bool = True  # on port 587 by STARTTLS
    exmail_archive_mailbox: str = ""
    exmail_quota_bytes: int = Field(1 << 30, gt=0)  # the free plan's mailbox; no API tells

    bot_database_url: str = Field("", repr=False)  # may hold a password
    bot_data_dir: Path = Path("data")
    bot_public_url: str
    bot_secret_keys: SecretStr
    bot_super_admins: Names = ()
    bot_admins: Names = ()
    bot_approvers: Names = ()
    bot_auditors: Names = ()
    bot_role_tags: Annotated[dict[str, int], NoDecode] = {}
    bot_policy_file: Path | None = None
    bot_bin_days: int = 30
    bot_data_keep_days: int = Field(365, ge=1)
    bot_time_zone: str = "Asia/Shanghai"
    bot_language: Language = "en"
    bot_dns_servers: Names = ()  # resolvers, `address` or `address:port`; none: three public ones
    bot_dns_port: int = 53  # where zones' own name servers listen
    bot_aliyun_dns_base: str = "https://alidns.aliyuncs.com"
    bot_dnspod_base: str = "https://dnspod.tencentcloudapi.com"
    bot_godaddy_base: str = "https://api.godaddy.com"
    bot_trusted_proxies: Names = ()
    bot_host: str = "127.0.0.1"
    bot_port: int = 8080
    bot_metrics_host: str = "127.0.0.1"
    bot_replica: str = ""
    bot_tick_seconds: float = Field(30, gt=0)
    bot_poll_seconds: float = Field(0.25, gt=0)

    _names = field_validator(
        "bot_super_admins", "bot_admins", "bot_approvers", "bot_auditors", "bot_dns_servers", "bot_trusted_proxies",
        mode="before",
    )(names)  # fmt: skip

    @field_validator("bot_role_tags", mode="before")
    @classmethod
    def _role_tags(cls, value: object) -> object:
        """`admin=12 approver=13`: which WeCom tag gives which role."""
        if isinstance(value, str):
            pairs = [each.partition("=") for each in value.replace(",", " ").split()]
            if any(name not in ROLES for name, _, _ in pairs):
                raise ValueError(f"write role=tag id; the roles are {', '.join(ROLES)}")
            return {name: tag_id for name, _, tag_id in pairs}
        return value

    @field_validator("exmail_imap_hours", mode="before")
    @classmethod
    def _hours(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return Hours.parse(value) if value.strip() else None
        except ValueError:
            raise ValueError("not hours of a day; for example 22:00-06:00") from None

    @field_validator("bot_time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError):  # ZoneInfoNotFoundError is a KeyError
            raise ValueError("no such time zone; for example Asia/Shanghai") from None
        return value

    @field_validator("bot_database_url")
    @classmethod
    def _postgres(cls, value: str) -> str:
        scheme, _, rest = value.partition("://")
        if not value:
            return value
        if scheme not in ("postgresql", "postgres", "postgresql+psycopg") or not rest:
            raise ValueError("must be postgresql://…, or empty for SQLite files in BOT_DATA_DIR")
        return f"postgresql+psycopg://{rest}"

    @field_validator("wecom_callback_aes_key", "wecom_contacts_callback_aes_key")
    @classmethod
    def _aes_key(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and len(value.get_secret_value()) != AES_KEY_LETTERS:
            raise ValueError(f"must be the {AES_KEY_LETTERS} letters of the console's EncodingAESKey")
        return value

    @field_validator("exmail_domain", "exmail_archive_mailbox")
    @classmethod
    def _folded(cls, value: str) -> str:
        return value.strip().casefold()

    @field_validator(
        "bot_public_url",
        "wecom_api_base",
        "wecom_oauth_base",
        "bot_aliyun_dns_base",
        "bot_dnspod_base",
        "bot_godaddy_base",
    )
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of dates in sentences and of working hours."""
        return ZoneInfo(self.bot_time_zone)

    @property
    def database_url(self) -> str:
        """PostgreSQL if configured, else SQLite in the data directory; psycopg 3 in any case."""
        if self.bot_database_url:
            return self.bot_database_url
        return f"sqlite:///{self.bot_data_dir / 'bot.sqlite'}"

    @property
    def workflow_database_url(self) -> str:
        """Where durable workflows keep their state: the same PostgreSQL, or a file of its own."""
        return self.database_url if self.bot_database_url else f"sqlite:///{self.bot_data_dir / 'workflows.sqlite'}"

    def address(self, typed: str) -> str:
        """`support@` and `support@corp.test` alike as a whole address."""
        local, _, domain = typed.strip().casefold().partition("@")
        return f"{local}@{domain or self.exmail_domain}"
