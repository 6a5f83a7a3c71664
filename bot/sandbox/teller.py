"""Plays a story with a player, step by step, and fails where it does not come out as its file says."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from bot.sandbox import story as steps
from bot.sandbox.arrival import arrived
from bot.sandbox.player import SHANGHAI, NotHeard, Player, button_of, must, text_of

LISTS = {
    "mailbox": ("mailboxes", "address"),
    "public_mailbox": ("public_mailboxes", "address"),
    "member": ("members", "userid"),
    "bin": ("recycle_bin", "address"),
    "zone": ("zones", "name"),
    "switch": ("trouble", "switch"),
    "tour": ("tour", "step"),
}
THING_SECONDS = 20.0
T = TypeVar("T")


class Teller:
    """Plays one story; what was kept on the way stands for its name in braces."""

    def __init__(self, player: Player, story: steps.Story, told: Callable[[str], None]) -> None:
        self.player = player
        self.story = story
        self.told = told
        self.kept: dict[str, str] = {}

    def play(self, before: Callable[[int], None] = lambda number: None) -> None:
        """The whole; `before` is called with each step's number, from one. NotHeard names the step that failed."""
        for number, step in enumerate(self.story.steps, 1):
            before(number)
            try:
                self.step(step)
            except NotHeard as error:
                raise NotHeard(f"step {number} ({steps.kind_of(step)}): {error}") from None

    def step(self, step: Any) -> None:
        """One of them."""
        match step:
            case steps.TellStep():
                self.told(f"\n--- {step.tell} ---")
            case steps.HeardStep():
                self.heard(step)
            case steps.NewsStep():
                self.news(step)
            case steps.ThingStep():
                self.thing(step)
            case steps.CopiedStep():
                self.told(f"  [checked] {arrived(self.player, step.source, step.target)}")
            case steps.ClockShowsStep():
                shown = f"{self.player.now():%Y-%m-%d %H:%M}"
                must(shown == step.shows, f"the clock shows {shown}, not {step.shows}")
            case steps.DueStep():
                self.due(step)
            case steps.PageStep():
                self.page(step)
            case steps.PressStep():
                self.player.press(step.member, self.filled(step.button), step.selected)
            case steps.ClockStep():
                self.clock(step)
            case steps.ConsoleStep():
                fields = self.filled(step.model_dump(exclude={"do", "action"}, exclude_none=True))
                self.player.console(step.action, **fields)
            case steps.SayStep():
                self.player.say(step.member, self.filled(step.text))
            case _:
                order = step.model_dump(exclude={"do"}, exclude_none=True)
                self.told(f"  [{step.do}] {' '.join(str(each) for each in order.values())[:100]}")
                self.player.post(step.do, **order)

    def filled(self, value: T) -> T:
        """A value with what was kept in the place of its name."""
        if isinstance(value, str):
            text: str = value
            for name, kept in self.kept.items():
                text = text.replace(f"{{{name}}}", kept)
            return text  # type: ignore[return-value]  # a str for a str
        if isinstance(value, dict):
            return {key: self.filled(each) for key, each in value.items()}  # type: ignore[return-value]
        return value

    def clock(self, step: steps.ClockStep) -> None:
        """Move it on, at once or step by step."""
        if step.advance_seconds is not None:
            self.player.advance(step.advance_seconds)
        elif step.to is not None:
            self.player.walk(step.to)
        elif step.until is not None:
            self.player.until(step.until)

    def page(self, step: steps.PageStep) -> None:
        """Open a page and send it."""
        player, member = self.player, step.member
        player.wait(f"a page for {member}", lambda: player.has_link(member))
        if step.mailbox is not None:
            answer = player.enter(member, player.client_password(step.mailbox))
        elif step.password is not None:
            answer = player.enter(member, step.password)
        elif step.account is not None:
            accounts = player.state()["dns_accounts"]
            must(step.account in accounts, f"no account {step.account}; there are: {', '.join(accounts)}")
            key, secret = accounts[step.account]
            answer = player.fill(member, id=key, secret=secret)
        elif step.decline:
            answer = player.decline(member)
        else:
            answer = player.fill(member, **(step.fields or {}))
        words = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", answer))
        must(step.answer is None or step.answer in words, f"the page says: {words[:400]}")

    def heard(self, step: steps.HeardStep) -> None:
        """Read on until it comes."""
        wanted = [self.filled(each) for each in ([step.text] if isinstance(step.text, str) else step.text)]
        exactly = None if step.exactly is None else self.filled(step.exactly)

        def fits(entry: Any) -> bool:
            text = text_of(entry)
            return (
                all(each in text for each in wanted)
                and (exactly is None or text == exactly)
                and (step.matches is None or re.search(self.filled(step.matches), text) is not None)
                and all(button_of(entry, each) is not None for each in step.buttons)
            )

        what = " … ".join([*wanted, *filter(None, [exactly, step.matches]), *(f"[{each}]" for each in step.buttons)])
        text = text_of(self.player.hear_what(step.member, what, fits))
        for each in step.lacks:
            must(each not in text, f"“{each}” stands in it: {text}")
        for name, expression in step.keep.items():
            found = re.search(expression, text)
            if found is None:
                raise NotHeard(f"{expression} is not in: {text}")
            self.kept[name] = found[1]

    def news(self, step: steps.NewsStep) -> None:
        """Who has heard something, and whether it is that; those who should have are waited for."""
        members = [each["userid"] for each in self.player.state()["members"]]
        for member in step.of:
            must(member in members, f"there is no member {member}")
        for member in sorted(members, key=lambda each: each not in step.of):
            heard = []
            if member in step.of:
                heard = [text_of(self.player.hear_what(member, "anything", lambda entry: True))]
            heard += [text_of(each) for each in self.player.unread(member, 0)]
            must(len(heard) == (member in step.of), f"{member} heard {heard}")
            for each in step.of.get(member, []):
                must(each in heard[0], f"{member} heard {heard}, not “{each}”")

    def thing(self, step: steps.ThingStep) -> None:
        """Wait until a thing of the organisation stands so."""
        group, key = LISTS[step.expect]
        wanted = self.filled(step.is_)
        last: list[str] = []

        def holds() -> bool:
            found = next((each for each in reversed(self.player.state()[group]) if each[key] == step.name), None)
            last[:] = differences(found, wanted) if found is not None else [f"there is no {step.expect} {step.name}"]
            return found is None if step.gone else not last

        try:
            self.player.wait(f"{step.expect} {step.name}", holds, seconds=THING_SECONDS)
        except NotHeard:
            raise NotHeard(f"{step.name} is still there" if step.gone else "; ".join(last)) from None

    def due(self, step: steps.DueStep) -> None:
        """What is to come, with its reasons."""
        found = [each for each in self.player.due() if each["kind"] == step.kind and step.about in each["what"]["en"]]
        moments = []
        for each in found:
            at = datetime.fromisoformat(each["at"]).astimezone(SHANGHAI) if each["at"] else None
            moments.append(f"{at:%Y-%m-%d %H:%M}" if at else "")
            self.told(f"  [due] {at:%a} {moments[-1]} {each['what']['en']}. {each['why']['en']}" if at else "  [due]")
        must(moments == step.at, f"{step.about} is due at {', '.join(moments) or 'no moment'}")


def differences(found: Any, wanted: dict[str, Any], where: str = "") -> list[str]:
    """In what a thing is not as wanted; of what is nested only what is named is compared."""
    out = []
    for name, value in wanted.items():
        if name not in found:
            out.append(f"{where}{name} is not there; there are: {', '.join(found)}")
        elif isinstance(value, dict) and isinstance(found[name], dict):
            out += differences(found[name], value, f"{where}{name}: ")
        elif name == "records":
            shown = sorted(record_line(each) for each in found[name])
            if shown != sorted(value):
                out.append(f"the records are {shown}")
        elif found[name] != value:
            out.append(f"{where}{name} is {found[name]!r}, not {value!r}")
    return out


def record_line(record: dict[str, Any]) -> str:
    """A DNS record in one line."""
    priority = "" if record["priority"] is None else f" {record['priority']}"
    return f"{record['type']} {record['host']} {record['value']}{priority}"
