"""What can be asked of the control API: the bodies of its orders."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from bot.sandbox.hours import Goal
from bot.words import Language


class Say(BaseModel):
    """A member types a text to the bot."""

    member: str
    text: str


class Click(BaseModel):
    """A member presses a card's button; `selected` answers the card's questions."""

    member: str
    task_id: str
    key: str
    selected: dict[str, list[str]] | None = Field(None, description="question_key to the ids of the chosen options")


class MenuClick(BaseModel):
    """A member presses an entry of the app's menu."""

    member: str
    key: str


class Enter(BaseModel):
    """A member opens the app's chat."""

    member: str


class Drop(BaseModel):
    """A member drops a file into the chat."""

    member: str
    name: str
    content_base64: str


class Acknowledgement(BaseModel):
    """What became of the callback: whether the bot answered 200, and after how many attempts."""

    acknowledged: bool
    attempts: int


class Move(BaseModel):
    """How the clock moves on: one of these."""

    advance_seconds: float | None = Field(None, ge=0, description="at once, as if the bot had been off meanwhile")
    to: Goal | None = Field(None, description="step by step: the bot does on the way what it would have done")
    until: AwareDatetime | None = Field(None, description="step by step, to this moment")

    @model_validator(mode="after")
    def one_of_them(self) -> Move:
        """Refuse an order that says nothing, or two things."""
        if sum(each is not None for each in (self.advance_seconds, self.to, self.until)) != 1:
            raise ValueError("give one of advance_seconds, to, until")
        return self


class Moved(BaseModel):
    """Where the clock stands, where it stopped on the way, and whether it came to where it was sent."""

    clock: str
    stops: list[str] = []
    arrived: bool = True


class Trouble(BaseModel):
    """Turn a switch of WeCom's, or `mail:<fault>` of the mail server's (of one mailbox with `address`)."""

    switch: str
    on: bool
    times: int | None = Field(None, ge=1, description="strike so many times only")
    path: str | None = Field(None, description="WeCom: only this call, such as message/send")
    address: str | None = Field(None, description="mail and mailbox_full: only this mailbox")
    after: int | None = Field(None, ge=0, description="mail and bot_killed: after so many occasions, or mails")
    command: str | None = Field(None, description="mail: only this command")
    value: int | None = Field(None, description="mail: the size of faults that have one")


class Renew(BaseModel):
    """Begin anew; with a language the bot then speaks it to whoever has not spoken to it."""

    language: Language | None = None


class Play(BaseModel):
    """Play a story on a fresh organisation, so many seconds between what is done."""

    story: dict[str, Any]
    pace_seconds: float = Field(0, ge=0)
