"""The switches of the sandbox: each one makes the simulated WeCom behave badly in a way the real one can."""

from __future__ import annotations

from dataclasses import dataclass

from bot.sandbox.mailserver import Faults

AT_MAIL = 200  # of a copy: where the line drops, or the bot is killed, unless another number is given


@dataclass(frozen=True)
class Switch:
    """
    What a switch does, whether it is on at the start, and whether it acts once instead of staying on.

    `fault` is the mail server's that it stands for; `counts`: it waits for a mail of the copy; `boxed`: it wants a
    mailbox.
    """

    name: str
    what: str
    on: bool = False
    once: bool = False
    fault: str | None = None
    counts: bool = False
    boxed: bool = False


SWITCHES: dict[str, Switch] = {
    switch.name: switch
    for switch in (
        Switch("own_public_mailboxes_only", "the app sees only public mailboxes and groups it created itself", on=True),
        Switch(
            "restricted_fields", "user/get leaves out addresses and phones, as for apps made after 2022-06", on=True
        ),
        Switch("tokens_expired", "every access token of now has expired: 42001", once=True),
        Switch("tokens_invalid", "every access token of now is unknown: 40014", once=True),
        Switch("tokens_refused", "every call is answered 40014, fresh tokens too"),
        Switch("secret_reset", "the app's secret was reset in the console: 40001"),
        Switch("app_disabled", "the app was disabled: 50003"),
        Switch("ip_not_trusted", "the caller's address is not on the trusted list: 60020"),
        Switch("busy", "system busy: -1"),
        Switch("rate_limited", "frequency limit: 45009"),
        Switch("too_concurrent", "too many calls at once: 45033"),
        Switch("gateway_error", "HTTP 502 with a page instead of JSON; the call was not carried out"),
        Switch("answer_lost", "HTTP 504 with a page instead of JSON; the call WAS carried out"),
        Switch("mail_not_allowed", "the app is not on the list of apps that may call the mail API: 48002"),
        Switch("log_not_allowed", "the app is not on the list of apps that may read the admin log: 48002"),
        Switch("contacts_sync_off", "contacts sync is switched off: 48002 to every write"),
        Switch("aliases_shown", "user/get shows a member's mail aliases, of which no page says that it does"),
        Switch("app_lists_ids", "the app's own secret may list all userids, not only contacts sync's"),
        Switch("fetch_child_works", "user/simplelist still goes down to the departments below, as it once did"),
        Switch("public_imap_off", "IMAP of a fresh public mailbox is off until somebody switches it on, on the web"),
        Switch("rename_refused", "user/update answers 60144 to every new biz_mail"),
        Switch("smtp_login_refused", "the SMTP server refuses every login: 535"),
        Switch("mail_lost", "the SMTP server takes mail and never delivers it"),
        Switch("public_mailboxes_full", "no public mailbox can be created: 680046"),
        Switch(
            "godaddy_no_api",
            "GoDaddy's API is not open to this account: 403 ACCESS_DENIED, with the right key",
            on=True,
        ),
        Switch("dns_api_busy", "the DNS providers' APIs want a pause: Throttling.User, 429, RequestLimitExceeded"),
        Switch("dns_api_lost", "HTTP 504 from a DNS provider; the call WAS carried out"),
        Switch("callback_twice", "every callback is delivered twice"),
        Switch("callback_lost", "callbacks never reach the bot"),
        Switch("acknowledgement_lost", "the bot's first answer to each callback is lost: WeCom sends again"),
        Switch("cards_old", "every card of now counts as older than 72 hours: it can be updated no more", once=True),
        Switch(
            "imap_drops",
            "the IMAP line drops once, in the middle of a mail that is stored",
            fault="drop_in_append",
            counts=True,
        ),
        Switch("mail_busy", "the mail server answers System busy! to whoever stores mail", fault="busy"),
        Switch("mailbox_full", "the mailbox is full", boxed=True),
        Switch("bot_killed", "the bot is killed and started again, now or at a mail of a copy", once=True, counts=True),
    )
}


class Troubles:
    """Which switches are on; a switch may be on for a number of times only, and for one API path only."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults if faults is not None else Faults()
        self.full: dict[str, int] = {}  # mailboxes that are full, with the room they had
        self._on: dict[str, int | None] = {}
        self._path: dict[str, str] = {}
        self.reset()

    def reset(self) -> None:
        """As at the start."""
        self._on = {switch.name: None for switch in SWITCHES.values() if switch.on}
        self._path = {}
        self.full = {}

    def set(
        self, name: str, on: bool, *, times: int | None = None, path: str | None = None, after: int | None = None
    ) -> None:
        """Turn a switch; KeyError for an unknown one."""
        switch = SWITCHES[name]
        if switch.fault is not None and on:
            at = (AT_MAIL if after is None else after) if switch.counts else 0
            self.faults.arm(switch.fault, times=1 if switch.counts else times, after=at)
            return
        if switch.fault is not None:
            self.faults.pop(switch.fault, None)
            return
        self._on.pop(name, None)
        self._path.pop(name, None)
        if on:
            self._on[name] = times
            if path is not None:
                self._path[name] = path

    def is_on(self, name: str) -> bool:
        """Whether it is on, without using up a time."""
        fault = SWITCHES[name].fault
        return (
            bool(self.full)
            if name == "mailbox_full"
            else name in self._on
            if fault is None
            else bool(self.faults.get(fault))
        )

    def strikes(self, name: str, path: str = "") -> bool:
        """Whether it hits this one call; uses up one of its times."""
        if name not in self._on or (self._path.get(name, path) != path):
            return False
        left = self._on[name]
        if left is not None:
            if left <= 1:
                del self._on[name]
            else:
                self._on[name] = left - 1
        return True

    def shown(self) -> list[dict[str, object]]:
        """All switches with their state, for the page."""
        return [
            {
                "switch": each.name,
                "what": each.what,
                "on": self.is_on(each.name),
                "times": self._on.get(each.name),
                "counts": AT_MAIL if each.counts else None,
                "boxed": each.boxed,
                "boxes": sorted(self.full) if each.boxed else [],
            }
            for each in SWITCHES.values()
        ]
