"""What people did since the organisation began, as a story: what to do again, and what the bot said to whom then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.sandbox.chat import Entry, card_shown
from bot.sandbox.organisation import Organisation

FORM_BYTES_MAX = 8192
PIECE_MIN, PIECE_MAX = 4, 60
CHANGING = re.compile(r"https?://\S+|[\w.@-]*\d[\w.:@-]*|\n")  # what another day, or another run, says otherwise
PAGE = re.compile(r"/pages/([A-Za-z0-9_-]{32})(/decline)?")
NOT_TYPED = ("csrf", "sure")

Step = dict[str, Any]


@dataclass
class Doing:
    """What somebody did, and how many lines stood in each chat before."""

    step: Step
    said: dict[str, int] = field(default_factory=dict)


class Recorder:
    """Notes what people do; `story` makes a file of it. `settings` are the bot's, beside the demo's own."""

    def __init__(self, org: Organisation) -> None:
        self.org = org
        self.settings: dict[str, Any] = {}
        self.doings: list[Doing] = []
        self.readers: dict[str, str] = {}  # of one-time pages, by token
        self.restart({})

    def restart(self, settings: dict[str, Any], began: datetime | None = None) -> None:
        """The organisation is as at the start, which is now or was to be then."""
        self.settings = settings
        self.doings.clear()
        self.readers.clear()
        self.began = began or self.org.now()
        self.counts = self.mails()

    def mails(self) -> dict[str, int]:
        """How many mails each mailbox holds."""
        return {address: sum(self.org.box(address).counts().values()) for address in self.org.addresses()}

    @contextmanager
    def doing(self, step: Step) -> Iterator[Step]:
        """Somebody does it; forgotten if it is refused. The step may still be changed."""
        doing = Doing(step, {member: len(entries) for member, entries in self.org.chats.entries.items()})
        self.doings.append(doing)
        try:
            yield step
        except BaseException:
            if doing in self.doings:
                self.doings.remove(doing)
            raise

    def pressed(self, member: str, task_id: str, key: str) -> str:
        """How to name a button again: by what it does, if the newest live card that has such a one is this."""
        verb = key.partition(":")[0] + ":"
        for entry in reversed(self.org.chats.entries.get(member.lower(), [])):
            if entry.card and not entry.recalled:
                shown = card_shown(entry.card.views[member.lower()])
                live = [*([] if shown["greyed"] else shown["buttons"]), *shown["menu"]]
                if any((each["key"] or "").startswith(verb) for each in live):
                    return verb if shown["task_id"] == task_id and ":" in key else key
        return key

    # one-time pages

    def opened(self, member: str, url: str) -> None:
        """Somebody opens a link."""
        if found := PAGE.search(url):
            self.readers[found[1]] = member

    def page_step(self, path: str, body: bytes) -> Step | None:
        """What a member sends on his page: passwords and keys by whose they are."""
        found = PAGE.search(path)
        if found is None or found[1] not in self.readers:
            return None
        step: Step = {"do": "page", "member": self.readers[found[1]]}
        typed = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        fields = {name: value for name, value in typed.items() if name not in NOT_TYPED}
        if found[2]:
            return step | {"decline": True}
        if set(fields) == {"password"}:
            password = fields["password"].replace(" ", "")
            for box in self.org.mail.mailboxes.values():
                if password in box.passwords.values():
                    self.forget_minting(box.address)
                    return step | {"mailbox": box.address}
            return step | fields
        for name, keys in self.org.providers.accounts.shown().items():
            if [fields.get("id"), fields.get("secret")] == list(keys) and len(fields) == len(keys):
                return step | {"account": name}
        return step | {"fields": fields}

    def forget_minting(self, address: str) -> None:
        """The page makes its client password itself when it is played again."""
        for doing in reversed(self.doings):
            if doing.step.get("action") == "mint_password" and doing.step.get("address") == address:
                self.doings.remove(doing)
                return

    # the file

    def story(self, name: str) -> dict[str, Any]:
        """A story with an expectation for each member who heard something before the next was done."""
        steps: list[Step] = []
        before: dict[str, int] = {}
        for doing in self.doings:
            steps += self.heard(before, doing.said)
            steps.append(doing.step)
            before = doing.said
        steps += self.heard(before, {member: len(found) for member, found in self.org.chats.entries.items()})
        for address, count in self.mails().items():
            if self.counts.get(address) != count:
                steps.append({"expect": "mailbox", "name": address, "is": {"mails": count}})
        return {
            "story": name,
            "about": f"recorded in the sandbox on {self.org.now():%Y-%m-%d}",
            "begins": self.began.isoformat(timespec="seconds"),
            "settings": self.settings,
            "steps": steps,
        }

    def heard(self, before: dict[str, int], then: dict[str, int]) -> Iterator[Step]:
        """The last that the bot said to each member meanwhile, as far as it says the same another day."""
        for member, until in then.items():
            entries = self.org.chats.entries[member][before.get(member, 0) : until]
            said = [each for each in entries if each.sender == "bot" and not each.recalled]
            if said and (piece := lasting(said[-1], member)):
                userid = found.userid if (found := self.org.member(member)) else member
                yield {"expect": "heard", "member": userid, "text": piece}


def lasting(entry: Entry, member: str) -> str:
    """The longest piece of what stands in a line that is the same another day."""
    if entry.card:
        shown = card_shown(entry.card.views[member])
        text = shown["title"]
    elif entry.media:
        text = f".{entry.media.name.rpartition('.')[2]}"
    else:
        text = entry.text
    pieces = [each.strip()[:PIECE_MAX] for each in CHANGING.split(text)]
    longest = max(pieces, key=len, default="")
    if entry.media or len(longest) >= PIECE_MIN:
        return longest
    return "/pages/" if PAGE.search(text) else ""


class PageWatch:
    """Lets the recorder see what members send on one-time pages, which are the bot's own and not the control API's."""

    def __init__(self, app: ASGIApp, recorder: Recorder) -> None:
        self.app = app
        self.recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not PAGE.search(scope["path"]):
            await self.app(scope, receive, send)
            return
        parts, size = list[Message](), 0
        while size <= FORM_BYTES_MAX:
            part = await receive()
            parts.append(part)
            size += len(part.get("body", b""))
            if part["type"] != "http.request" or not part.get("more_body"):
                break
        step = self.recorder.page_step(scope["path"], b"".join(each.get("body", b"") for each in parts))

        async def again() -> Message:
            return parts.pop(0) if parts else await receive()

        if step is None:
            await self.app(scope, again, send)
            return
        with self.recorder.doing(step):
            await self.app(scope, again, send)
