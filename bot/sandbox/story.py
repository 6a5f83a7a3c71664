"""
A story as a JSON file: what people do on the page, and what is expected then.

One vocabulary for all of them: a `do` is an order to the control API, as the page sends it, without what only one
organisation knows (task ids, passwords, keys); an `expect` waits until it holds, or fails. The page records such files,
`exmail-bot sandbox --play FILE.json` plays them, and those of tests/stories are tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from bot.sandbox.console import Order
from bot.sandbox.orders import Drop, Enter, MenuClick, Move, Say, Trouble

STEPS_MAX = 3000
FILE_BYTES_MAX = 40 << 20
TOLD_MAX = 5  # of one file's faults
SHIPPED = Path(__file__).parent / "stories"


class BadStory(ValueError):
    """The file is no story; the text says where and why."""


class Part(BaseModel):
    """What every step has in common: a name that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


# What people do


class SayStep(Say, Part):
    """A member types."""

    do: Literal["say"]


class PressStep(Part):
    """A member presses the newest live button, or entry of a card's menu, whose key begins so."""

    do: Literal["press"]
    member: str
    button: str = Field(description="such as start: or approve:3")
    selected: dict[str, list[str]] | None = None


class MenuStep(MenuClick, Part):
    """A member presses an entry of the app's menu."""

    do: Literal["menu"]


class EnterStep(Enter, Part):
    """A member opens the chat."""

    do: Literal["enter"]


class FileStep(Drop, Part):
    """A member drops a file into the chat."""

    do: Literal["file"]


class PageStep(Part):
    """A member opens the newest page he was sent and sends it."""

    do: Literal["page"]
    member: str
    mailbox: str | None = Field(None, description="enters a client password of it, made for this")
    password: str | None = Field(None, description="enters this")
    account: str | None = Field(None, description="enters the key of the organisation's account at this DNS provider")
    fields: dict[str, str] | None = Field(None, description="fills in these; {} only presses the button")
    decline: bool = False
    answer: str | None = Field(None, description="what the page then says")

    @model_validator(mode="after")
    def one_of_them(self) -> PageStep:
        """Refuse a page on which nothing is done, or two things."""
        given = [self.mailbox, self.password, self.account, self.fields]
        if sum(each is not None for each in given) + self.decline != 1:
            raise ValueError("give one of mailbox, password, account, fields, decline")
        return self


class ConsoleStep(Order, Part):
    """Something done in the admin console, in a mailbox's own settings or in a DNS provider's panel."""

    do: Literal["console"]


class ClockStep(Move, Part):
    """The clock is moved on."""

    do: Literal["clock"]


class TroubleStep(Trouble, Part):
    """A trouble switch is turned."""

    do: Literal["trouble"]


# What is expected


class HeardStep(Part):
    """A member hears it next; what comes before it is read, too."""

    expect: Literal["heard"]
    member: str
    text: str | list[str] = Field([], description="all of these stand in it")
    exactly: str | None = Field(None, description="and nothing else")
    matches: str | None = Field(None, description="a regular expression")
    lacks: list[str] = []
    buttons: list[str] = Field([], description="a card with live buttons whose keys begin so")
    keep: dict[str, str] = Field({}, description="name to regular expression: {name} stands for its group from then on")

    @model_validator(mode="after")
    def something(self) -> HeardStep:
        """Refuse an expectation that anything fulfils, and expressions that are none."""
        if not (self.text or self.exactly or self.matches or self.buttons):
            raise ValueError("give text, exactly, matches or buttons")
        for each in (self.matches or "", *self.keep.values()):
            try:
                found = re.compile(each)
            except re.error as error:
                raise ValueError(f"{each} is no regular expression: {error}") from None
            if each in self.keep.values() and found.groups != 1:
                raise ValueError(f"{each} needs one group: what is kept")
        return self


class NewsStep(Part):
    """Exactly these members hear something after what they have read, each one message with all of its texts."""

    expect: Literal["news"]
    of: dict[str, list[str]] = {}


class ThingStep(Part):
    """A thing of the organisation stands so, by the names of `/_sandbox/state`; or is not there."""

    expect: Literal["mailbox", "public_mailbox", "member", "bin", "zone", "switch", "tour"]
    name: str = Field(description="an address, a userid, a domain, a switch or a step of the tour")
    is_: dict[str, Any] = Field({}, alias="is")
    gone: bool = False


class CopiedStep(Part):
    """Every mail of the source lies in the target, byte for byte, with flags and date, once."""

    expect: Literal["copied"]
    source: str
    target: str


class ClockShowsStep(Part):
    """The clock shows this minute in Shanghai."""

    expect: Literal["clock"]
    shows: str


class DueStep(Part):
    """What comes by itself of this kind about this, in Shanghai's time, is this and no more."""

    expect: Literal["due"]
    about: str = Field(description="stands in what happens")
    kind: str
    at: list[str]


class TellStep(Part):
    """A heading for those who read along."""

    tell: str


def kind_of(value: Any) -> str | None:
    """What a step is, by its first word: `do say`, `expect heard`, `tell`."""
    if not isinstance(value, dict):
        given = next((word for word in ("do", "expect") if hasattr(value, word)), "tell")
        return given if given == "tell" else f"{given} {getattr(value, given)}"
    if "tell" in value:
        return "tell"
    found = next((word for word in ("do", "expect") if word in value), None)
    return None if found is None else f"{found} {value[found]}"


Thing = ThingStep
Step = Annotated[
    Annotated[SayStep, Tag("do say")]
    | Annotated[PressStep, Tag("do press")]
    | Annotated[MenuStep, Tag("do menu")]
    | Annotated[EnterStep, Tag("do enter")]
    | Annotated[FileStep, Tag("do file")]
    | Annotated[PageStep, Tag("do page")]
    | Annotated[ConsoleStep, Tag("do console")]
    | Annotated[ClockStep, Tag("do clock")]
    | Annotated[TroubleStep, Tag("do trouble")]
    | Annotated[HeardStep, Tag("expect heard")]
    | Annotated[NewsStep, Tag("expect news")]
    | Annotated[Thing, Tag("expect mailbox")]
    | Annotated[Thing, Tag("expect public_mailbox")]
    | Annotated[Thing, Tag("expect member")]
    | Annotated[Thing, Tag("expect bin")]
    | Annotated[Thing, Tag("expect zone")]
    | Annotated[Thing, Tag("expect switch")]
    | Annotated[Thing, Tag("expect tour")]
    | Annotated[CopiedStep, Tag("expect copied")]
    | Annotated[ClockShowsStep, Tag("expect clock")]
    | Annotated[DueStep, Tag("expect due")]
    | Annotated[TellStep, Tag("tell")],
    Discriminator(kind_of),
]


class StorySettings(Part):
    """What the story's bot is set to; the rest is as in the demo."""

    bot_admins: list[str] | None = None
    bot_super_admins: list[str] | None = None
    bot_approvers: list[str] | None = None
    bot_auditors: list[str] | None = None
    bot_language: str | None = None
    bot_bin_days: int | None = None
    exmail_archive_mailbox: str | None = None
    exmail_imap_connections_max: int | None = None
    exmail_imap_hours: str | None = None


class Story(Part):
    """A story; its clock begins at `begins`, or now."""

    story: str = Field(description="its name")
    about: str = ""
    begins: AwareDatetime | None = None
    settings: StorySettings = StorySettings()
    steps: Annotated[list[Step], Field(min_length=1, max_length=STEPS_MAX)]

    def given(self) -> dict[str, Any]:
        """The settings that it names."""
        return self.settings.model_dump(exclude_none=True)


STORY: TypeAdapter[Story] = TypeAdapter(Story)


def shipped() -> list[str]:
    """The names of the stories that come along."""
    return sorted(each.stem for each in SHIPPED.glob("*.json"))


def find(wanted: str) -> Story:
    """A story that comes along, or one of a file; BadStory with what is wrong."""
    if wanted in shipped():
        return load(SHIPPED / f"{wanted}.json")
    if not wanted.endswith(".json"):
        raise BadStory(f"no story {wanted}; there are: {', '.join(shipped())}; or give a file that ends in .json")
    return load(Path(wanted))


def load(path: Path) -> Story:
    """The story of a file; BadStory with what is wrong."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise BadStory(f"{path} is larger than {FILE_BYTES_MAX >> 20} MB: no story is so long")
        return read(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise BadStory(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadStory(f"{path} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise BadStory(f"{path} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except BadStory as error:
        raise BadStory(f"{path}: {error}") from None


def read(value: Any) -> Story:
    """A story that was JSON; BadStory with what is wrong."""
    try:
        return STORY.validate_python(value)
    except ValidationError as error:
        faults = list(faults_of(error, value))
        more = [f"and {len(faults) - TOLD_MAX} more"] if len(faults) > TOLD_MAX else []
        raise BadStory("; ".join([*faults[:TOLD_MAX], *more])) from None


def faults_of(error: ValidationError, value: Any) -> Iterator[str]:
    """Each fault with the step it is in, counted from one, in words."""
    for each in error.errors(include_url=False, include_input=False):
        place = list(each["loc"])
        where = ""
        if place[:1] == ["steps"] and len(place) > 1:
            number = int(place[1])
            step = value["steps"][number]
            where = f"step {number + 1} ({kind_of(step) or 'neither do, expect nor tell'}): "
            place = place[3:]
        field = ".".join(map(str, place))
        if each["type"] in ("union_tag_invalid", "union_tag_not_found"):
            yield f"{where}no such step; there are: {', '.join(KINDS)}"
        elif each["type"] == "missing":
            yield f"{where}{field} is missing"
        elif each["type"] == "extra_forbidden":
            yield f"{where}{field} is not known here"
        else:
            yield f"{where}{field}{': ' if field else ''}{each['msg'].removeprefix('Value error, ')}"


KINDS = (
    "do say", "do press", "do menu", "do enter", "do file", "do page", "do console", "do clock", "do trouble",
    "expect heard", "expect news", "expect mailbox", "expect public_mailbox", "expect member", "expect bin",
    "expect zone", "expect switch", "expect tour", "expect copied", "expect clock", "expect due", "tell",
)  # fmt: skip
