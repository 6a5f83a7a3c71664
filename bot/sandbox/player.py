"""A person at the sandbox's page, for plays and tests: types, presses, reads, opens pages, over the control API."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from zoneinfo import ZoneInfo

from bot.http import Http
from bot.pages.onetime import CLIENT_PASSWORD_LENGTH

WAIT_SECONDS = 90.0
LOOK_EVERY_SECONDS = 0.05
WITHIN_SECONDS = 10.0  # of one question; the control API keeps none waiting longer than 20
LINK = re.compile(r"https?://\S+/pages/\S+")
CSRF = re.compile(r'name="csrf" value="([^"]+)"')
REDIRECTS_MAX = 8
SHANGHAI = ZoneInfo("Asia/Shanghai")

Entry = dict[str, Any]


class NotHeard(AssertionError):
    """What was waited for did not come; the message holds what came instead."""


class Browser:
    """A member's browser: keeps cookies, follows redirects, sends forms."""

    def __init__(self, base_url: str, *others: str) -> None:
        self._hosts = {urlsplit(each).netloc: Http(each) for each in (base_url, *others)}
        self._at = urlsplit(base_url).netloc
        self._cookies: dict[str, str] = {}

    def close(self) -> None:
        """Give the connections back."""
        for host in self._hosts.values():
            host.close()

    def get(self, url: str) -> tuple[int, str]:
        """Status and text at the end of the redirects."""
        for _ in range(REDIRECTS_MAX):
            status, text, location = self._send("GET", url, None)
            if location is None:
                return status, text
            url = location
        raise NotHeard(f"more than {REDIRECTS_MAX} redirects")

    def post(self, url: str, form: dict[str, str]) -> tuple[int, str]:
        """Status and text of a sent form."""
        status, text, location = self._send("POST", url, form)
        return (status, text) if location is None else self.get(location)

    def _send(self, method: str, url: str, form: dict[str, str] | None) -> tuple[int, str, str | None]:
        parts = urlsplit(url)
        self._at = parts.netloc or self._at
        if self._at not in self._hosts:
            raise NotHeard(f"the page leads elsewhere: {self._at}")
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        answer = self._hosts[self._at].request(method, parts.path, query=query, form=form, headers=headers)
        for line in answer.cookies:
            for name, morsel in SimpleCookie(line).items():
                self._cookies[name] = morsel.value
        location = answer.headers.get("location") if answer.status in (301, 302, 303, 307) else None
        return answer.status, answer.body.decode("utf-8", "replace"), location


class Player:
    """Everybody in the sandbox, one at a time. `told` is called with every line, for those who watch."""

    def __init__(self, url: str, told: Callable[[str], None] = lambda line: None) -> None:
        self.url = url
        self._http = Http(url, timeout_seconds=90)
        self._told = told
        self._read: dict[str, int] = {}
        self._pause = threading.Event()
        self._browsers: list[Browser] = []
        self._sent: set[str] = set()  # one-time links that are spent

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()
        for browser in self._browsers:
            browser.close()

    # --- the control API

    def get(self, path: str, /, **query: str) -> Any:
        """JSON of the control API."""
        answer = self._http.request("GET", f"/_sandbox/{path}", query=query)
        must(answer.status == 200, f"{path}: {answer.status} {answer.body.decode()}")
        return answer.json()

    def post(self, path: str, /, **body: object) -> Any:
        """JSON of an order to the control API; NotHeard when it is refused."""
        answer = self._http.request("POST", f"/_sandbox/{path}", json_body=body)
        if answer.status != 200:
            raise NotHeard(f"{path} {json.dumps(body, ensure_ascii=False)}: {answer.status} {answer.body.decode()}")
        return answer.json()

    def console(self, action: str, **fields: object) -> Any:
        """Something done in the admin console, or in a mailbox's own settings."""
        self._told(f"  [console] {action} {json.dumps(fields, ensure_ascii=False)}")
        return self.post("console", action=action, **fields)["result"]

    def trouble(self, switch: str, on: bool = True, **more: object) -> None:
        """Turn a trouble switch."""
        self.post("trouble", switch=switch, on=on, **more)

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self._told(f"  [clock] +{seconds:g} s")
        self.post("clock", advance_seconds=seconds)

    def walk(self, to: str) -> list[str]:
        """Move the clock on step by step: hour, day, next_reminder, before_deletion, after_deletion; its stops."""
        return self._walked(to=to)

    def until(self, moment: datetime) -> list[str]:
        """Move the clock on step by step to a moment; its stops."""
        return self._walked(until=moment.isoformat())

    def _walked(self, **goal: str) -> list[str]:
        moved = self.post("clock", **goal)
        must(moved["arrived"], f"the clock did not come to {goal}, but to {moved['clock']}")
        self._told(f"  [clock] {datetime.fromisoformat(moved['clock']).astimezone(SHANGHAI):%a %Y-%m-%d %H:%M}")
        return [str(each) for each in moved["stops"]]

    def now(self) -> datetime:
        """What time it is in the sandbox, by the clock on the wall in Shanghai."""
        return datetime.fromisoformat(self.state()["clock"]).astimezone(SHANGHAI)

    def due(self) -> list[Entry]:
        """What comes next by itself, and why then."""
        return list(self.get("due")["due"])

    def state(self) -> Any:
        """The whole organisation."""
        return self.get("state")

    def wait_ready(self) -> None:
        """Until the bot has read the directory: names are known from then on."""
        self.wait("the bot has read the directory", lambda: bool(self.get("story")["ready"]))

    def mailbox(self, address: str) -> Any:
        """A mailbox as the sandbox knows it."""
        return next(each for each in self.state()["mailboxes"] if each["address"] == address)

    # --- chatting

    def say(self, member: str, text: str) -> None:
        """A member types."""
        self._told(f"{member}> {text}")
        self.post("say", member=member, text=text)

    def entries(self, member: str, *, beyond: int = 0, seconds: float = 0) -> list[Entry]:
        """What stands in a member's chat from the bot; with `seconds`, waits until it is more than `beyond`."""
        seconds = max(0.0, min(seconds, WITHIN_SECONDS))
        chat = self.get("chat", member=member, beyond=str(beyond), within_seconds=str(seconds))
        return [each for each in chat["entries"] if each["from"] == "bot"]

    def hear(self, member: str, wanted: str, *, seconds: float = WAIT_SECONDS) -> Entry:
        """The next thing from the bot that holds `wanted`; what comes before it is read, too. NotHeard in the end."""
        return self.hear_what(member, wanted, lambda entry: wanted in text_of(entry), seconds=seconds)

    def hear_what(
        self, member: str, what: str, fits: Callable[[Entry], bool], *, seconds: float = WAIT_SECONDS
    ) -> Entry:
        """The next thing from the bot that fits; what comes before it is read, too. NotHeard with `what` in the end."""
        for entry in self.unread(member, seconds):
            if fits(entry):
                return entry
        heard = "\n".join(text_of(each) for each in self.entries(member)[-6:])
        raise NotHeard(f"{member} did not hear “{what}” within {seconds:g} s, but last:\n{heard}")

    def unread(self, member: str, seconds: float) -> Iterator[Entry]:
        """What is new for a member, as it comes, until the time is over."""
        until = time.monotonic() + seconds
        while True:
            position = self._read.get(member, 0)
            entries = self.entries(member, beyond=position, seconds=until - time.monotonic())
            if position < len(entries):
                self._read[member] = position + 1
                self._told(f"  bot to {member}: {text_of(entries[position])}")
                yield entries[position]
            elif time.monotonic() > until:
                return

    def card_with(self, member: str, key: str, *, seconds: float = WAIT_SECONDS) -> Entry:
        """The newest card of a member that has a live button whose key begins so."""
        until = time.monotonic() + seconds
        while True:
            for entry in reversed(self.entries(member)):
                if button_of(entry, key) is not None:
                    return entry
            if time.monotonic() > until:
                raise NotHeard(f"{member} has no card with a button {key}")
            self._pause.wait(LOOK_EVERY_SECONDS)

    def press(self, member: str, key: str, selected: dict[str, list[str]] | None = None) -> str:
        """Press the newest live button whose key begins so; gives the card's task id."""
        entry = self.card_with(member, key)
        pressed = button_of(entry, key)
        must(pressed is not None, f"no button {key}")
        self._told(f"{member}> [{pressed['text']}]")
        task_id = str(entry["card"]["task_id"])
        self.post("click", member=member, task_id=task_id, key=pressed["key"], selected=selected or {})
        return task_id

    def wait(self, what: str, check: Callable[[], bool], *, seconds: float = WAIT_SECONDS) -> None:
        """Until a check holds; NotHeard with `what` in the end."""
        until = time.monotonic() + seconds
        while not check():
            if time.monotonic() > until:
                raise NotHeard(f"not within {seconds:g} s: {what}")
            self._pause.wait(LOOK_EVERY_SECONDS)

    # --- pages

    def link(self, member: str) -> str:
        """The newest one-time link a member was sent."""
        for entry in reversed(self.entries(member)):
            if found := LINK.search(text_of(entry)):
                return found[0]
        raise NotHeard(f"{member} was sent no link")

    def has_link(self, member: str) -> bool:
        """Whether a member was sent a page that he has not sent yet."""
        found = [link[0] for entry in self.entries(member) if (link := LINK.search(text_of(entry)))]
        return bool(found) and found[-1] not in self._sent

    def browser(self) -> Browser:
        """A fresh one."""
        return Browser(self.url)

    def open(self, member: str, url: str | None = None) -> tuple[Browser, str, str]:
        """Open a link as a member does inside WeCom: the browser, the page's address, and its text."""
        address = url or self.link(member)
        browser = self.browser()
        self._browsers.append(browser)
        _, text = browser.get(f"{self.url}/_sandbox/open?{urlencode({'member': member, 'url': address})}")
        return browser, address, text

    def enter(self, member: str, password: str, url: str | None = None) -> str:
        """Enter a password on a member's page; gives the text of what follows."""
        form = {"password": password}
        if len(password) != CLIENT_PASSWORD_LENGTH:  # what no mailbox of Exmail's has: the other button
            form["sure"] = "1"
        return self._send_page(member, form, "(a client password)", url)

    def fill(self, member: str, **fields: str) -> str:
        """Fill in a member's page that asks for something else than a password; gives the text of what follows."""
        return self._send_page(member, fields, f"({', '.join(fields)})")

    def decline(self, member: str) -> str:
        """Refuse on a member's page."""
        return self._send_page(member, {}, "refuses", end="/decline")

    def _send_page(self, member: str, form: dict[str, str], told: str, url: str | None = None, end: str = "") -> str:
        browser, address, text = self.open(member, url)
        token = CSRF.search(text)
        if token is None:
            raise NotHeard(f"no form for {member}: {re.sub('<[^>]+>', ' ', text)[:400]}")
        self._told(f"{member}> [page] {told}")
        answer = browser.post(f"{address}{end}", {"csrf": token[1], **form})[1]
        if CSRF.search(answer) is None:
            self._sent.add(address)
        return answer

    def client_password(self, address: str) -> str:
        """A client password, as the member makes it on the web."""
        return str(self.post("console", action="mint_password", address=address)["result"]["password"])

    def show_everything(self, address: str) -> None:
        """The mailbox's own settings: all mail, and its own folders."""
        self.console("set_window", address=address, days=None)
        self.console("show_folders", address=address, on=True)


def must(holds: bool, what: str) -> None:
    """NotHeard with `what` unless it holds."""
    if not holds:
        raise NotHeard(what)


def text_of(entry: Entry) -> str:
    """An entry as a line of text: a card with its title, note, rows, buttons, and what it says when greyed."""
    card = entry.get("card")
    if not card:
        file = entry.get("file")
        return f"[file {file['name']}]" if file else str(entry.get("text") or "")
    rows = [f"{row['name']}: {row['value']}" for row in card["rows"]]
    options = [each["text"] for choice in card["choices"] for each in choice["options"]]
    buttons = [f"[{each['text']}]" for each in card["buttons"]]
    greyed = [f"({card['replaced_text']})"] if card["greyed"] else []
    return " | ".join(filter(None, [card["title"], card["text"], *rows, *options, *buttons, *greyed]))


def button_of(entry: Entry, key: str) -> Any:
    """A live button of a card, or an entry of its menu, whose key begins so; or None."""
    card = entry.get("card")
    if not card or card["greyed"]:
        return None
    return next(
        (each for each in (*card["buttons"], *card["menu"]) if each["key"] and each["key"].startswith(key)), None
    )
