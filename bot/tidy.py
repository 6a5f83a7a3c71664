"""What is kept no longer than BOT_DATA_KEEP_DAYS, and secrets brought under the newest key: once a night."""

from __future__ import annotations

from datetime import timedelta

import structlog

from bot.vault import VaultError
from bot.work import SweepStep, Work

log = structlog.get_logger()

work = Work()


@work.sweep("tidy", timedelta(days=1))
def tidy(sweep: SweepStep) -> None:
    """
    Forget messages, replies, cards and dead codes; rotate secrets.

    Jobs, approvals, mailboxes, members, the ledger and the audit chain stay: later work and checks rest on them.
    """
    keep = timedelta(days=sweep.services.settings.bot_data_keep_days)
    sweep.tx.inbox.forget(keep=keep)
    sweep.tx.deliveries.forget(keep=keep)
    sweep.tx.cards.forget(keep=keep)
    sweep.tx.questions.forget()
    for secret in sweep.tx.passwords.all():
        try:
            secret.ciphertext = sweep.services.vault.rotated(secret.ciphertext)
        except VaultError as error:
            log.error("secret_not_rotated", secret_id=secret.id, job_id=secret.job_id, error=str(error))
