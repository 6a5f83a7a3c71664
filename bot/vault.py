"""Secrets at rest: encrypted with the first key, read with any; so keys are rotated without a gap."""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from bot.errors import BotError

LETTERS = string.ascii_letters + string.digits  # all that the console takes
TOKEN_CHARS, AES_KEY_CHARS = 32, 43


class VaultError(BotError):
    """The keys are missing or wrong, or a secret was written with a key that is gone."""


class Vault:
    """Encrypts and decrypts with keys made by `exmail-bot keys new`; the newest comes first."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise VaultError("BOT_SECRET_KEYS is empty: make a key with `exmail-bot keys new`")
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise VaultError("BOT_SECRET_KEYS holds something that is no key of `exmail-bot keys new`") from None

    def lock(self, secret: str) -> bytes:
        """The secret, encrypted."""
        return self._fernet.encrypt(secret.encode())

    def open(self, ciphertext: bytes) -> str:
        """The secret; VaultError when no key fits."""
        try:
            return self._fernet.decrypt(ciphertext).decode()
        except InvalidToken:
            raise VaultError("no key of BOT_SECRET_KEYS opens this secret") from None

    def rotated(self, ciphertext: bytes) -> bytes:
        """The same secret under the first key."""
        try:
            return self._fernet.rotate(ciphertext)
        except InvalidToken:
            raise VaultError("no key of BOT_SECRET_KEYS opens this secret") from None


def new_key() -> str:
    """A new key."""
    return Fernet.generate_key().decode()


def new_callbacks() -> list[str]:
    """
    The settings of both callbacks with values of our own making, which the console takes as well as its own.

    So that they are there before the bot starts, and need not be carried from a page that cannot be saved yet.
    """
    return [
        f"{name}={''.join(secrets.choice(LETTERS) for _ in range(length))}"
        for source in ("WECOM_CALLBACK", "WECOM_CONTACTS_CALLBACK")
        for name, length in ((f"{source}_TOKEN", TOKEN_CHARS), (f"{source}_AES_KEY", AES_KEY_CHARS))
    ]
