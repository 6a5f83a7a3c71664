"""
Messages out: texts, template cards and their redrawing, files, the app's menu.

Cards are WeCom's own JSON as plain dicts (pages 90236 and 94888), checked here before WeCom can refuse them.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from bot.errors import BotError
from bot.wecom import limits
from bot.wecom.client import WeComClient
from bot.wecom.errcodes import CARD_CODE_SPENT, TASK_ID_USED, WeComError

CardDict: TypeAlias = Mapping[str, Any]
Receivers: TypeAlias = str | Sequence[str]  # one userid, or several

TASK_ID = re.compile(r"[0-9A-Za-z_@-]+")
FILE_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z ._@+-]{0,119}")
LINK = re.compile(r"<a\s[^>]*>.*?</a>", re.DOTALL)
INTERACTIVE = frozenset({"button_interaction", "vote_interaction", "multiple_interaction"})
NOTICES = frozenset({"text_notice", "news_notice"})
# Blocks that only some kinds of card have; the others every kind may carry (page 90236).
BLOCKS_OF: Mapping[str, frozenset[str]] = {
    "emphasis_content": frozenset({"text_notice"}),
    "vertical_content_list": frozenset({"news_notice"}),
    "card_image": frozenset({"news_notice"}),
    "image_text_area": frozenset({"news_notice"}),
    "jump_list": NOTICES,
    "button_selection": frozenset({"button_interaction"}),
    "button_list": frozenset({"button_interaction"}),
    "checkbox": frozenset({"vote_interaction"}),
    "select_list": frozenset({"multiple_interaction"}),
    "submit_button": frozenset({"vote_interaction", "multiple_interaction"}),
}


class CardRefused(BotError, ValueError):
    """WeCom would refuse the card (or menu) because of `block`: a bug of who built it."""

    def __init__(self, block: str, reason: str) -> None:
        super().__init__(block, reason)
        self.block = block
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.block}: {self.reason}"


class FileRefused(BotError, ValueError):
    """WeCom would refuse the file: its name is not plain ASCII, or it is too small or too large."""


@dataclass(frozen=True)
class Sent:
    """
    What became of one message.

    `invalid` are the receivers it did not reach, spelt as they were given. `already_sent`: WeCom knows the task id, an
    earlier try went out and its `msgid` and `response_code` are lost; the next click brings a fresh code.
    """

    msgid: str | None = None
    response_code: str | None = field(default=None, repr=False)  # a card's leave to redraw it once, for 72 hours
    invalid: list[str] = field(default_factory=list)
    already_sent: bool = False


@dataclass(frozen=True)
class Updated:
    """What became of a redrawing; `code_spent` when its leave was used before or has run out, and nothing changed."""

    invalid: list[str] = field(default_factory=list)
    code_spent: bool = False


@dataclass(frozen=True)
class Media:
    """A file WeCom keeps for us until `expires_at`."""

    media_id: str
    expires_at: datetime


def send_text(client: WeComClient, to: Receivers, text: str) -> list[Sent]:
    """
    Send `text`, in as many messages as its length needs, in order (page 90236).

    ValueError when there is nothing to send; raises as `WeComClient.call` does, after the parts before it went out.
    """
    parts = split_text(text)
    if not parts:
        raise ValueError("an empty text")
    return [_send(client, to, {"msgtype": "text", "text": {"content": part}}) for part in parts]


def send_card(client: WeComClient, to: Receivers, card: CardDict) -> Sent:
    """
    Send a template card (page 90236). The same task id may be sent again when it is unknown what became of the first.

    Raises CardRefused before anything is sent, or as `WeComClient.call` does.
    """
    check_card(card)
    try:
        return _send(client, to, {"msgtype": "template_card", "template_card": dict(card)})
    except WeComError as error:
        if error.errcode == TASK_ID_USED and "task_id" in card:
            return Sent(already_sent=True)
        raise


def update_card(
    client: WeComClient,
    response_code: str,
    to: Receivers,
    *,
    card: CardDict | None = None,
    replace_name: str | None = None,
) -> Updated:
    """
    Redraw a sent card for `to` (page 94888): its buttons grey with `replace_name` on them, or as the whole new `card`.

    A new interactive card needs `replace_text` (grey) or a fresh task id (live). Raises CardRefused, ValueError unless
    exactly one of the two is given, or as `WeComClient.call` does.
    """
    if (card is None) == (not replace_name):
        raise ValueError("either a card or a name for the buttons")
    body: dict[str, Any] = {"userids": receivers(to), "agentid": client.agent_id, "response_code": response_code}
    if card is None:
        body["button"] = {"replace_name": replace_name}
    else:
        check_card(card, update=True)
        body["template_card"] = dict(card)
    try:
        answer = client.call("POST", "/cgi-bin/message/update_template_card", body=body)
    except WeComError as error:
        if error.errcode == CARD_CODE_SPENT:
            return Updated(code_spent=True)
        raise
    return Updated(as_given(answer.get("invaliduser"), receivers(to)))


def upload(client: WeComClient, name: str, content: bytes) -> Media:
    """
    Hand WeCom a file for three days (page 90253). `name` is what the receiver sees: plain ASCII, with its ending.

    Raises FileRefused before anything is sent, or as `WeComClient.call` does.
    """
    check_file(name, content)
    answer = client.call(
        "POST",
        "/cgi-bin/media/upload",
        query={"type": "file"},
        files={"media": (name, content, "application/octet-stream")},
    )
    return Media(str(answer.get("media_id", "")), client.clock.now() + timedelta(days=limits.MEDIA_DAYS))


def send_file(client: WeComClient, to: Receivers, name: str, content: bytes) -> Sent:
    """Upload a file and send it; raises as `upload` does."""
    return send_media(client, to, upload(client, name, content).media_id)


def send_media(client: WeComClient, to: Receivers, media_id: str) -> Sent:
    """Send a file that was uploaded before (page 90236)."""
    return _send(client, to, {"msgtype": "file", "file": {"media_id": media_id}})


def download(client: WeComClient, media_id: str) -> bytes:
    """A file a member dropped into the chat, kept for three days (page 90254); raises as `WeComClient.call` does."""
    return client.fetch("/cgi-bin/media/get", query={"media_id": media_id})


def recall(client: WeComClient, msgid: str) -> None:
    """Take a message of the last 24 hours back (page 94867)."""
    client.call("POST", "/cgi-bin/message/recall", body={"msgid": msgid})


def create_menu(client: WeComClient, buttons: Sequence[CardDict]) -> None:
    """Set the app's menu in place of the one before (page 90231); raises CardRefused, or as `WeComClient.call` does."""
    check_menu(buttons)
    query = {"agentid": client.agent_id}
    client.call("POST", "/cgi-bin/menu/create", query=query, body={"button": [dict(each) for each in buttons]})


def _send(client: WeComClient, to: Receivers, message: Mapping[str, Any]) -> Sent:
    userids = receivers(to)
    body = {"touser": "|".join(userids), "agentid": client.agent_id, **message}
    answer = client.call("POST", "/cgi-bin/message/send", body=body)
    unreached = [*names(answer.get("invaliduser")), *names(answer.get("unlicenseduser"))]
    return Sent(answer.get("msgid") or None, answer.get("response_code") or None, as_given(unreached, userids))


def receivers(to: Receivers) -> list[str]:
    """The userids of `to`; ValueError when there are none, too many, or one holds the separator."""
    userids = [to] if isinstance(to, str) else list(to)
    if not userids or len(userids) > limits.RECEIVERS_MAX or any(not each or "|" in each for each in userids):
        raise ValueError(f"1 to {limits.RECEIVERS_MAX} userids")
    return userids


def names(answered: object) -> list[str]:
    """Userids out of an answer: `message/send` joins them with `|`, `update_template_card` lists them."""
    if isinstance(answered, str):
        return [each for each in answered.split("|") if each]
    return [str(each) for each in answered] if isinstance(answered, list) else []


def as_given(answered: object, userids: Iterable[str]) -> list[str]:
    """Those of `userids` that were answered, which WeCom writes in lower case."""
    folded = {each.casefold() for each in names(answered)}
    return [each for each in userids if each.casefold() in folded]


# Texts


def split_text(text: str) -> list[str]:
    """
    `text` in parts of at most 2048 bytes (WeCom cuts the rest off), broken at line ends.

    A longer line is broken at a space, else between characters, never within a link. Parts without words are left out.
    """
    parts: list[str] = []
    part = ""
    for line in text.split("\n"):
        for piece in _pieces(line):
            joined = f"{part}\n{piece.text}" if piece.starts_line and part else part + piece.text
            if len(joined.encode()) <= limits.TEXT_BYTES:
                part = joined
                continue
            parts.append(part)
            part = piece.text
    parts.append(part)
    return [part.strip("\n") for part in parts if part.strip()]


@dataclass(frozen=True)
class _Piece:
    text: str
    starts_line: bool


def _pieces(line: str) -> Iterator[_Piece]:
    start = True
    while len(line.encode()) > limits.TEXT_BYTES:
        end = _end_of_piece(line)
        yield _Piece(line[:end], start)
        line, start = line[end:], False
    yield _Piece(line, start)


def _end_of_piece(line: str) -> int:
    most = len(line.encode()[: limits.TEXT_BYTES].decode(errors="ignore"))
    end = most
    for link in LINK.finditer(line):
        if link.start() < end < link.end():
            end = link.start()
    space = line.rfind(" ", 0, end) + 1
    if end == most and space > most // 2 and not any(link.start() < space < link.end() for link in LINK.finditer(line)):
        end = space
    while 0 < end < len(line) and _belongs_to_previous(line, end):
        end -= 1
    return end or most


def _belongs_to_previous(line: str, index: int) -> bool:
    """Whether a reader sees line[index] as part of the character before: accents, joined and coloured emoji."""
    here, before = line[index], line[index - 1]
    return (
        bool(unicodedata.combining(here))
        or here in "\u200d\ufe0e\ufe0f\u20e3"
        or before == "\u200d"
        or "\U0001f3fb" <= here <= "\U0001f3ff"
    )


# Cards


def make_task_id(kind: str, rng: random.Random) -> str:
    """
    A task id nobody has used: WeCom takes each once per app, for ever. It names the kind of card and nothing secret.

    ValueError when `kind` has other characters than a task id may.
    """
    task_id = f"{kind}-{rng.getrandbits(128):032x}"
    if not TASK_ID.fullmatch(task_id) or len(task_id) > limits.CARD_TASK_ID_BYTES:
        raise ValueError(f"not for a task id: {kind!r}")
    return task_id


def check_card(card: CardDict, *, update: bool = False) -> None:
    """
    Refuse what WeCom would refuse (pages 90236, 94888; errcodes 42014 to 42051), naming the block.

    `update` is for redrawing, where a greyed card needs no task id. Raises CardRefused. What is only cut on screen
    passes: ask `cut_on_screen`.
    """
    kind = card.get("card_type")
    if kind not in INTERACTIVE | NOTICES:
        raise CardRefused("card_type", f"{kind!r} is no kind of card")
    for block, kinds in BLOCKS_OF.items():
        if block in card and kind not in kinds:
            raise CardRefused(block, f"not in a {kind}")
    _check_head(card, kind, update)
    _check_rows(card)
    _check_actions(card)
    if kind == "news_notice":
        _check_picture(card)
    if kind == "button_interaction":
        _check_buttons(card)
    if kind == "vote_interaction":
        _check_checkbox(card)
    if kind == "multiple_interaction":
        _check_selectors(card)
    if kind in ("vote_interaction", "multiple_interaction"):
        submit = _block(card, "submit_button", needed=True)
        _need(submit.get("text"), "submit_button.text")
        _key(submit.get("key"), "submit_button.key", limits.CARD_KEY_BYTES)


def cut_on_screen(card: CardDict) -> list[str]:
    """The texts of a card that are longer than WeCom shows, as `block.field`; empty when all can be read."""
    return [
        path
        for path, most in limits.SHOWN_CHARACTERS.items()
        if any(len(text) > most for text in _texts(card, path.split(".")))
    ]


def _texts(node: object, path: Sequence[str]) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _texts(item, path)
    elif isinstance(node, Mapping) and path:
        yield from _texts(node.get(path[0]), path[1:])
    elif isinstance(node, str) and not path:
        yield node


def _check_head(card: CardDict, kind: str, update: bool) -> None:
    task_id = card.get("task_id")
    if task_id is not None:
        fits = isinstance(task_id, str) and TASK_ID.fullmatch(task_id)
        if not fits or len(task_id) > limits.CARD_TASK_ID_BYTES:
            raise CardRefused("task_id", "1 to 128 of digits, letters, _, - and @")
    elif (kind in INTERACTIVE or "action_menu" in card) and not (update and card.get("replace_text")):
        raise CardRefused("task_id", "needed where something can be pressed")
    title = _block(card, "main_title").get("title")
    if kind == "text_notice":
        if not title and not card.get("sub_title_text"):
            raise CardRefused("main_title", "title and sub_title_text are both empty")
    else:
        _need(title, "main_title.title")
    if action := _block(card, "card_action", needed=kind in NOTICES):
        _target(action, "card_action")
        _need(action.get("type"), "card_action.type")
    _target(_block(card, "quote_area"), "quote_area")
    _block(card, "emphasis_content")
    if _block(card, "source").get("desc_color", 0) not in (0, 1, 2, 3):
        raise CardRefused("source.desc_color", "0 to 3")


def _check_rows(card: CardDict) -> None:
    for row in _list(card, "horizontal_content_list", limits.CARD_ROWS_MAX):
        _need(row.get("keyname"), "horizontal_content_list.keyname")
        wanted = {0: None, 1: "url", 2: "media_id", 3: "userid"}
        if row.get("type", 0) not in wanted:
            raise CardRefused("horizontal_content_list.type", "0 to 3")
        if name := wanted[row.get("type", 0)]:
            _need(row.get(name), f"horizontal_content_list.{name}")
    for row in _list(card, "vertical_content_list", limits.CARD_VERTICAL_ROWS_MAX):
        _need(row.get("title"), "vertical_content_list.title")
    for jump in _list(card, "jump_list", limits.CARD_JUMPS_MAX):
        _need(jump.get("title"), "jump_list.title")
        _target(jump, "jump_list")


def _check_actions(card: CardDict) -> None:
    if "action_menu" not in card:
        return
    menu = _block(card, "action_menu", needed=True)
    actions = _list(menu, "action_list", limits.CARD_MENU_ACTIONS_MAX, at_least=1, within="action_menu.")
    for action in actions:
        _need(action.get("text"), "action_menu.action_list.text")
        _key(action.get("key"), "action_menu.action_list.key", limits.CARD_KEY_BYTES)
    _unique([action["key"] for action in actions], "action_menu.action_list.key")


def _check_picture(card: CardDict) -> None:
    if "card_image" not in card and "image_text_area" not in card:
        raise CardRefused("card_image", "a news_notice needs card_image or image_text_area")
    if image := _block(card, "card_image"):
        _need(image.get("url"), "card_image.url")
        ratio = image.get("aspect_ratio", limits.CARD_IMAGE_RATIO_MIN)
        if not limits.CARD_IMAGE_RATIO_MIN <= ratio < limits.CARD_IMAGE_RATIO_MAX:
            raise CardRefused("card_image.aspect_ratio", "1.3 to 2.25")
    if area := _block(card, "image_text_area"):
        _need(area.get("image_url"), "image_text_area.image_url")


def _check_buttons(card: CardDict) -> None:
    keys = []
    for button in _list(card, "button_list", limits.CARD_BUTTONS_MAX, at_least=1):
        _need(button.get("text"), "button_list.text")
        if button.get("style", 1) not in (1, 2, 3, 4):
            raise CardRefused("button_list.style", "1 to 4")
        if button.get("type", 0) == 1:
            _need(button.get("url"), "button_list.url")
        elif button.get("type", 0) == 0:
            _key(button.get("key"), "button_list.key", limits.CARD_KEY_BYTES)
            keys.append(button["key"])
        else:
            raise CardRefused("button_list.type", "0 or 1")
    _unique(keys, "button_list.key")
    if "button_selection" in card:
        selection = _block(card, "button_selection", needed=True)
        _key(selection.get("question_key"), "button_selection.question_key", limits.CARD_KEY_BYTES)
        _options(selection, "button_selection", limits.CARD_SELECTOR_OPTIONS_MAX)


def _check_checkbox(card: CardDict) -> None:
    box = _block(card, "checkbox", needed=True)
    _key(box.get("question_key"), "checkbox.question_key", limits.CARD_KEY_BYTES)
    if box.get("mode", 0) not in (0, 1):
        raise CardRefused("checkbox.mode", "0 or 1")
    _options(box, "checkbox", limits.CARD_CHECKBOX_OPTIONS_MAX)


def _check_selectors(card: CardDict) -> None:
    selectors = _list(card, "select_list", limits.CARD_SELECTORS_MAX, at_least=1)
    for selector in selectors:
        _key(selector.get("question_key"), "select_list.question_key", limits.CARD_KEY_BYTES)
        _options(selector, "select_list", limits.CARD_SELECTOR_OPTIONS_MAX)
    _unique([selector["question_key"] for selector in selectors], "select_list.question_key")


def _options(owner: CardDict, block: str, most: int) -> None:
    options = _list(owner, "option_list", most, at_least=1, within=f"{block}.")
    for option in options:
        _key(option.get("id"), f"{block}.option_list.id", limits.CARD_OPTION_ID_BYTES)
        _need(option.get("text"), f"{block}.option_list.text")
    ids = [option["id"] for option in options]
    _unique(ids, f"{block}.option_list.id")
    if owner.get("selected_id") and owner["selected_id"] not in ids:
        raise CardRefused(f"{block}.selected_id", "no option has it")


def _list(owner: CardDict, name: str, most: int, *, at_least: int = 0, within: str = "") -> list[CardDict]:
    items = owner.get(name, [])
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise CardRefused(within + name, "a list of blocks")
    if not at_least <= len(items) <= most:
        raise CardRefused(within + name, f"{at_least} to {most}, not {len(items)}")
    return items


def _target(block: CardDict, name: str) -> None:
    kind = block.get("type", 0)
    if kind not in (0, 1, 2):
        raise CardRefused(f"{name}.type", "0 to 2")
    if kind == 1:
        _need(block.get("url"), f"{name}.url")
    if kind == 2:
        _need(block.get("appid"), f"{name}.appid")


def _block(owner: CardDict, name: str, *, needed: bool = False) -> CardDict:
    block = owner.get(name) or {}
    if not isinstance(block, Mapping):
        raise CardRefused(name, "not a block")
    if needed and not block:
        raise CardRefused(name, "missing")
    return block


def _need(value: object, block: str) -> None:
    if not value:
        raise CardRefused(block, "missing")


def _key(value: object, block: str, most: int) -> None:
    if not isinstance(value, str) or not value:
        raise CardRefused(block, "missing")
    if len(value.encode()) > most:
        raise CardRefused(block, f"longer than {most} bytes")


def _unique(values: Sequence[str], block: str) -> None:
    if len(set(values)) != len(values):
        raise CardRefused(block, "one stands there twice")


# Files and menu


def check_file(name: str, content: bytes) -> None:
    """Refuse what WeCom would refuse or show under a broken name (page 90253). Raises FileRefused."""
    if not FILE_NAME.fullmatch(name):
        raise FileRefused(f"not a plain ASCII file name: {name!a}")
    if not limits.FILE_BYTES_MIN <= len(content) <= limits.FILE_BYTES_MAX:
        raise FileRefused(f"{len(content)} bytes; WeCom takes {limits.FILE_BYTES_MIN} to {limits.FILE_BYTES_MAX}")


def check_menu(buttons: Sequence[CardDict]) -> None:
    """Refuse what WeCom would refuse of a menu (page 90231; errcodes 40016 to 40027). Raises CardRefused."""
    if not 1 <= len(buttons) <= limits.MENU_BUTTONS_MAX:
        raise CardRefused("button", f"1 to {limits.MENU_BUTTONS_MAX}, not {len(buttons)}")
    for button in buttons:
        _key(button.get("name"), "button.name", limits.MENU_NAME_BYTES)
        if not button.get("sub_button"):
            _check_menu_button(button, "button")
            continue
        if "type" in button:
            raise CardRefused("button.type", "not beside sub_button")
        for sub in _list(button, "sub_button", limits.MENU_SUB_BUTTONS_MAX, at_least=1, within="button."):
            _key(sub.get("name"), "button.sub_button.name", limits.MENU_SUB_NAME_BYTES)
            _check_menu_button(sub, "button.sub_button")


def _check_menu_button(button: CardDict, block: str) -> None:
    _need(button.get("type"), f"{block}.type")
    if button["type"] == "view":
        _key(button.get("url"), f"{block}.url", limits.MENU_URL_BYTES)
    elif button["type"] == "view_miniprogram":
        _need(button.get("appid"), f"{block}.appid")
    else:
        _key(button.get("key"), f"{block}.key", limits.MENU_KEY_BYTES)
