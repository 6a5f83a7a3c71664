"""
What WeCom's refusals mean, whether trying again helps, and what a person can do about them.

The numbers are those of page 90313; `errmsg` changes without notice and is only shown, but for the address in 60020.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from bot.errors import UpstreamError
from bot.words import Words, say

Secret = Literal["app", "contacts"]
APP: Secret = "app"
CONTACTS: Secret = "contacts"

ERRMSG_SHOWN = 200
TOKEN_REFUSED = frozenset({40001, 40014, 42001})  # a fresh token may help; 40001 is said of a reset secret's token too
NOBODY_FOUND = 46004
TASK_ID_USED = 42014
CARD_CODE_SPENT = 60140
FROM_IP = re.compile(r"from ip:\s*([0-9A-Fa-f:.]+)")


class Retry(enum.Enum):
    """Whether asking again helps: not at all, in a moment, or when the limit's window has passed."""

    NEVER = "never"
    BACKOFF = "backoff"
    AFTER_WINDOW = "after_window"


@dataclass(frozen=True)
class Meaning:
    """The sentence of catalogue `wecom` for an errcode, its class, and for cards the block it complains of."""

    key: str
    retry: Retry = Retry.NEVER
    block: str = ""


def _meanings() -> Iterator[tuple[int, Meaning]]:
    yield -1, Meaning("system_busy", Retry.BACKOFF)
    yield 45009, Meaning("rate_limited", Retry.AFTER_WINDOW)
    yield 45033, Meaning("too_many_at_once", Retry.BACKOFF)
    for key, codes in _ONCE.items():
        for code in codes:
            yield code, Meaning(key)
    for code, block in _CARD_BLOCKS.items():
        yield code, Meaning("card_refused", block=block)


_ONCE: Mapping[str, tuple[int, ...]] = {
    "bad_secret": (40001, 41004),
    "secret_of_another_corp": (40091,),
    "secret_unsafe": (45031,),
    "bad_corp_id": (40013, 41002),
    "token_refused": (40014, 42001),
    "our_fault": (41001, 40033, 60132, 680015),
    "bad_parameter": (40035, 40058, 40063, 680000),
    "ip_not_allowed": (60020,),
    "bad_agent_id": (40056, 41011),
    "wrong_agent": (301002,),
    "app_disabled": (50003,),
    "app_may_not_call": (60031,),
    "answer_too_large": (45029,),
    "api_not_authorised": (48001,),
    "api_no_permission": (48002,),
    "permission_withdrawn": (48006,),
    "details_need_app_secret": (48009,),
    "not_visible": (50002, 60011, 60021),
    "tag_not_ours": (81011,),
    "member_unknown": (40003, 60111),
    "nobody_found": (NOBODY_FOUND,),
    "some_members_unknown": (40031,),
    "no_receiver_reachable": (81013,),
    "no_receiver": (82001,),
    "too_many_receivers": (40032, 82002, 82003),
    "text_too_large": (45002,),
    "text_empty": (44004,),
    "card_task_id": (TASK_ID_USED,),
    "card_of_another_app": (42015,),
    "card_unknown": (42016,),
    "card_code_spent": (CARD_CODE_SPENT,),
    "recall_too_late": (42052,),
    "file_gone": (40007,),
    "file_refused": (40006, 44001, 45001),
    "menu_refused": (40016, 40017, 40018, 40019, 40020, 40022, 40023, 40024, 40025, 40026, 40027),
    "menu_missing": (46003,),
    "login_code_spent": (40029, 42003, 42022),
    "address_refused": (60143,),
    "address_fixed": (60144,),
    "address_taken": (60145,),
    "address_unknown": (60148,),
    "domain_mismatch": (81015,),
    "contact_email_refused": (60105, 60106),
    "batch_unknown": (40088, 40089),
    "group_address_refused": (680001,),
    "group_name_refused": (680002,),
    "group_member_refused": (680003, 680004),
    "group_senders_refused": (680006, 680007),
    "group_empty": (680008,),
    "group_address_taken": (680010, 680011),
    "group_unknown": (680012,),
    "public_address_refused": (680032,),
    "public_address_taken": (680033,),
    "public_name_refused": (680034,),
    "public_unknown": (680035, 680036),
    "accounts_used_up": (680037,),
    "public_name_taken": (680040,),
    "setting_refused": (680041, 680042, 680043),
    "mailbox_protected": (680044,),
    "mailbox_already_off": (680045,),
    "mailboxes_used_up": (680046,),
}

_CARD_BLOCKS: Mapping[int, str] = {
    42017: "button.key",
    42018: "button.key",
    42019: "button.key",
    42020: "button.text",
    42027: "horizontal_content_list.keyname",
    42028: "url",
    42029: "horizontal_content_list.media_id",
    42030: "appid",
    42031: "card_type",
    42033: "title",
    42035: "horizontal_content_list",
    42036: "vertical_content_list",
    42037: "option_list",
    42038: "button_list.text",
    42039: "button_list.key",
    42040: "option_list.id",
    42041: "option_list.text",
    42042: "jump_list",
    42043: "question_key",
    42044: "card_image.url",
    42045: "card_action",
    42046: "submit_button.key",
    42047: "select_list",
    42049: "submit_button.text",
    42050: "horizontal_content_list.userid",
    42051: "action_menu.action_list.key",
}

MEANINGS: Mapping[int, Meaning] = MappingProxyType(dict(_meanings()))
UNKNOWN = Meaning("unknown")


class WeComError(UpstreamError):
    """
    WeCom answered, with an errcode other than 0 (page 90313).

    Its text is for logs and holds path and secret's name, never the secret, the token or the query.
    """

    def __init__(self, errcode: int, errmsg: str = "", path: str = "", secret: Secret = APP) -> None:
        super().__init__(errcode, errmsg, path, secret)
        self.errcode = errcode
        self.errmsg = errmsg[:ERRMSG_SHOWN]
        self.path = path
        self.secret: Secret = secret

    def __str__(self) -> str:
        return f"{self.errcode} {self.errmsg} ({self.path}, {self.secret})"

    @property
    def meaning(self) -> Meaning:
        """What is known of the errcode; UNKNOWN when it stands in no table."""
        return MEANINGS.get(self.errcode, UNKNOWN)

    @property
    def retry(self) -> Retry:
        """Whether asking again helps, and when."""
        return self.meaning.retry

    @property
    def ip(self) -> str | None:
        """The address WeCom saw us come from, when it tells."""
        found = FROM_IP.search(self.errmsg)
        try:
            return str(ipaddress.ip_address(found[1].rstrip("."))) if found else None
        except ValueError:
            return None

    def words(self) -> Words:
        """What happened and what a person can do about it, with the path in the admin console."""
        return say(
            f"wecom.{self.meaning.key}",
            errcode=self.errcode,
            errmsg=self.errmsg,
            block=self.meaning.block,
            ip=self.ip or say("wecom.address_not_told"),
            where=say(f"wecom.where_{self.secret}"),
        )


class NoContactsSecret(UpstreamError):
    """The call needs the contacts-sync secret, and none is configured."""

    def words(self) -> Words:
        """Where to find it and where to put it."""
        return say("wecom.no_contacts_secret")
