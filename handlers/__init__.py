"""The features, one file each; put together here for the composition root."""

from __future__ import annotations

from functools import cache

from bot.router import Router
from bot.work import Services, Work
from handlers import addresses, audit, changes, jobs, lookup, mail_clients, possible
from handlers.address import aliases, old_address, rename
from handlers.approvals import approval_reminders, approval_talk, approvals, override
from handlers.backup import backup, backup_receipt
from handlers.bin import bin_check, convert, deletion, recycle_bin
from handlers.copying import access, backup_access, verification
from handlers.doctor import doctor, live
from handlers.domain import domain, domain_drift, domain_imap, domain_list, domain_proof, domain_setup, domain_write
from handlers.guide import greeting, help, nicknames
from handlers.handovers import handovers
from handlers.organisation import freeze, groups, moved_address, seats, who_can_open
from handlers.public import client_passwords, public_changes, public_mailbox, public_shown, smtp_test
from handlers.reassign import kept_alias, reassign, reassign_steps
from handlers.rescue import aftermath, bin_digest, rescue, rescue_choice

FEATURES = (
    backup,
    backup_access,
    backup_receipt,
    verification,
    access,
    handovers,
    reassign,
    reassign_steps,
    jobs,
    kept_alias,
    rename,
    aliases,
    old_address,
    moved_address,
    approvals,
    approval_talk,
    approval_reminders,
    override,
    addresses,
    recycle_bin,
    bin_check,
    bin_digest,
    rescue,
    rescue_choice,
    aftermath,
    deletion,
    convert,
    changes,
    public_shown,
    public_mailbox,
    public_changes,
    client_passwords,
    freeze,
    who_can_open,
    groups,
    seats,
    lookup,
    mail_clients,
    smtp_test,
    domain_list,
    domain,
    domain_setup,
    domain_proof,
    domain_imap,
    domain_drift,
    possible,
    nicknames,
    help,
    greeting,
    audit,
    doctor,
    live,
)


@cache
def router() -> Router:
    """Every command, button, menu entry and event; that no two clash is looked at once a process."""
    everything = Router()
    for feature in FEATURES:
        everything.include(feature.router)
    for entry, handler in (
        ("jobs", jobs.jobs_list),
        ("approvals", approvals.approvals_list),
        ("handovers", handovers.handovers_list),
        ("bin", recycle_bin.recycle_bin),
        ("public", public_shown.public),
        ("help_login", mail_clients.help_login),
    ):
        everything.menu(entry)(handler)
    help.knows(lambda: everything.commands)
    return everything


def work() -> Work:
    """Every job and sweep."""
    everything = Work()
    for feature in FEATURES:
        everything.include(feature.work)
    return everything


def page_host(services: Services) -> domain_write.PageHost:
    """What the one-time pages show, and what happens when one is used."""
    return domain_write.PageHost(services)
