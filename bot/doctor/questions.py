"""
The questions that only a real organisation answers: which are asked, in what way, and which are learnt in use.

tests/questions.toml says of each what the bot does under either answer and before it is known, and which test shows it;
docs/questions.md is made of that. The words stand in the catalogue, `live.<name>` and `live.<name>_why`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Way(enum.StrEnum):
    """How a question is settled."""

    ASKED = "asked"  # WeCom is asked what changes nothing
    MAILBOX = "mailbox"  # tried in a folder of our own, in a public mailbox of our own, and removed again
    WATCHED = "watched"  # trying it would do harm: seen when the bot does it on somebody's word
    LEFT = "left"  # trying it would do harm, and nothing the bot does shows it


@dataclass(frozen=True)
class Question:
    """One of them. `of` are the places where it was put: wecom 10.n, exmail 9.n (to verify), exmail 9 (a conflict)."""

    name: str
    way: Way
    of: tuple[str, ...]


QUESTIONS: tuple[Question, ...] = (
    Question("foreign_public", Way.ASKED, ("wecom 10.1",)),
    Question("foreign_groups", Way.ASKED, ("wecom 10.1",)),
    Question("foreign_changed", Way.WATCHED, ("wecom 10.1",)),
    Question("rename_api", Way.WATCHED, ("wecom 10.2",)),
    Question("old_receives", Way.LEFT, ("wecom 10.2",)),
    Question("aliases_shown", Way.ASKED, ("wecom 10.2",)),
    Question("minted_login", Way.MAILBOX, ("wecom 10.3",)),
    Question("public_bin", Way.WATCHED, ("wecom 10.4", "exmail 9.8")),
    Question("frozen_receives", Way.LEFT, ("wecom 10.4",)),
    Question("passive_cards", Way.LEFT, ("wecom 10.5",)),
    Question("card_code", Way.LEFT, ("wecom 10.5",)),
    Question("resent_card", Way.WATCHED, ("wecom 10.6",)),
    Question("admin_log", Way.ASKED, ("wecom 10.7",)),
    Question("listed_by_app", Way.ASKED, ("wecom 10.8",)),
    Question("fetch_child", Way.ASKED, ("wecom 10.8",)),
    Question("errcodes", Way.WATCHED, ("wecom 10.9",)),
    Question("retention", Way.WATCHED, ("wecom 10.10", "exmail 9.4", "exmail 9: bin time of a replaced mailbox")),
    Question("address_told", Way.WATCHED, ("wecom 10.11",)),
    Question("rate_limits", Way.WATCHED, ("wecom 10.12",)),
    Question("literal_plus", Way.MAILBOX, ("exmail 9.1",)),
    Question("appenduid", Way.MAILBOX, ("exmail 9.1",)),
    Question("create_top", Way.MAILBOX, ("exmail 9.2",)),
    Question("create_root", Way.MAILBOX, ("exmail 9.2",)),
    Question("created_listed", Way.MAILBOX, ("exmail 9.2",)),
    Question("fetched_at_once", Way.MAILBOX, ("exmail 9.3",)),
    Question("search_sees", Way.MAILBOX, ("exmail 9.3",)),
    Question("search_dates", Way.MAILBOX, ("exmail 9: SEARCH dates on Exmail",)),
    Question("header_fields", Way.MAILBOX, ("exmail 9: HEADER.FIELDS",)),
    Question("append_size", Way.MAILBOX, ("exmail 9.5",)),
    Question("connections", Way.MAILBOX, ("exmail 9.6",)),
    Question("imap_by_api", Way.WATCHED, ("exmail 9.7",)),
    Question("password_survives", Way.LEFT, ("exmail 9.9",)),
    Question("console_backup", Way.WATCHED, ("exmail 9.10",)),
    Question("convert_clears", Way.LEFT, ("exmail 9: what is cleared on convert-to-public",)),
    Question("seat_released", Way.LEFT, ("exmail 9: seat released",)),
    Question("backup_contacts", Way.LEFT, ("exmail 9: 备份联系人",)),
    Question("godaddy_api", Way.WATCHED, ("exmail 9: GoDaddy API eligibility",)),
    Question("spf_host", Way.LEFT, ("exmail 9: SPF host",)),
    Question("dnspod_mx", Way.LEFT, ("exmail 9: DNSPod MX range",)),
    Question("icp", Way.LEFT, ("exmail 9: ICP needed",)),
)

BY_NAME = {each.name: each for each in QUESTIONS}
