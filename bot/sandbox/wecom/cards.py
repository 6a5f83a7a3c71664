"""
What WeCom refuses in a template card (blocks: doc 90236; errcodes: doc 90313).

Recommended text lengths are display limits and are not refused; list lengths, keys and missing parts are.
"""

from __future__ import annotations

import re
from typing import Any

from bot.sandbox.chat import INTERACTIVE
from bot.sandbox.wecom.api import Refused

CARD_TYPES = ("text_notice", "news_notice", *INTERACTIVE)
TASK_ID = re.compile(r"[0-9A-Za-z_\-@]{1,128}")
ROWS_MAX, VERTICAL_MAX, JUMPS_MAX, BUTTONS_MAX, ACTIONS_MAX = 6, 4, 3, 6, 3
CHOICES_MAX, BOXES_MAX, SELECTORS_MAX = 10, 20, 3
KEY_BYTES, OPTION_ID_BYTES = 1024, 128


def block(card: dict[str, Any], name: str, errcode: int = 40058) -> dict[str, Any]:
    """An optional object of the card; empty when absent."""
    value = card.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(errcode, f"invalid Template_Card.{name}")
    return value


def rows(holder: dict[str, Any], name: str, most: int, errcode: int, *, least: int = 0) -> list[dict[str, Any]]:
    """A list of objects with `least` to `most` items."""
    value = holder.get(name)
    if value is None:
        value = []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Refused(errcode, f"invalid Template_Card.{name}")
    if not least <= len(value) <= most:
        raise Refused(errcode, f"Template_Card.{name} size out of limit")
    return value


def filled(value: Any, errcode: int, name: str, bytes_max: int | None = None) -> str:
    """A non-empty string of at most `bytes_max` bytes."""
    if not isinstance(value, str) or not value or (bytes_max is not None and len(value.encode()) > bytes_max):
        raise Refused(errcode, f"missing or invalid Template_Card.{name}")
    return value


def distinct(keys: list[str], errcode: int, name: str) -> None:
    """No key twice."""
    if len(set(keys)) != len(keys):
        raise Refused(errcode, f"Template_Card.{name} conflict")


def check_card(card: Any) -> str:
    """Refuse what WeCom refuses; the card's type. The task id is the caller's business."""
    if not isinstance(card, dict) or card.get("card_type") not in CARD_TYPES:
        raise Refused(42031, "invalid Template_Card.card_type")
    kind = str(card["card_type"])
    title = block(card, "main_title")
    if kind == "text_notice":
        if not title.get("title") and not card.get("sub_title_text"):
            raise Refused(42033, "missing Template_Card.main_title.title")
    elif not title.get("title"):
        raise Refused(42033, "missing Template_Card.main_title.title")
    horizontal(card)
    for each in rows(card, "vertical_content_list", VERTICAL_MAX, 42036):
        filled(each.get("title"), 42033, "vertical_content_list.title")
    for each in rows(card, "jump_list", JUMPS_MAX, 42042):
        filled(each.get("title"), 42033, "jump_list.title")
        jump(each)
    action = block(card, "card_action", 42045)
    if kind in ("text_notice", "news_notice") and action.get("type") not in (1, 2):
        raise Refused(42045, "missing or invalid Template_Card.card_action")
    if action:
        jump(action)
    if kind == "news_notice" and not card.get("image_text_area"):
        filled(block(card, "card_image", 42044).get("url"), 42044, "card_image.url")
    if "action_menu" in card:
        actions = rows(block(card, "action_menu"), "action_list", ACTIONS_MAX, 40058, least=1)
        for each in actions:
            filled(each.get("text"), 42020, "action_menu.action_list.text")
            filled(each.get("key"), 42019, "action_menu.action_list.key", KEY_BYTES)
        distinct([each["key"] for each in actions], 42051, "action_menu.action_list.key")
    if kind == "button_interaction":
        buttons(card)
    elif kind == "vote_interaction":
        vote(card)
    elif kind == "multiple_interaction":
        selectors(card)
    return kind


def jump(where: dict[str, Any]) -> None:
    """A link's own parts: a URL for type 1, a mini program for type 2."""
    kind = where.get("type", 0)
    if kind == 1:
        filled(where.get("url"), 42028, "url", 2048)
    elif kind == 2:
        filled(where.get("appid"), 42030, "appid")
    elif kind != 0:
        raise Refused(40058, "invalid Template_Card jump type")


def horizontal(card: dict[str, Any]) -> None:
    """Up to six rows of name and value."""
    for each in rows(card, "horizontal_content_list", ROWS_MAX, 42035):
        filled(each.get("keyname"), 42027, "horizontal_content_list.keyname")
        kind = each.get("type", 0)
        if kind == 1:
            filled(each.get("url"), 42028, "horizontal_content_list.url")
        elif kind == 2:
            filled(each.get("media_id"), 42029, "horizontal_content_list.mediaid")
        elif kind == 3:
            filled(each.get("userid"), 42050, "horizontal_content_list.userid")


def options(question: dict[str, Any], most: int) -> None:
    """A question's key and options."""
    filled(question.get("question_key"), 42043, "question_key", KEY_BYTES)
    listed = rows(question, "option_list", most, 42037, least=1)
    for each in listed:
        filled(each.get("id"), 42040, "option_list.id", OPTION_ID_BYTES)
        filled(each.get("text"), 42041, "option_list.text")
    distinct([each["id"] for each in listed], 42040, "option_list.id")


def buttons(card: dict[str, Any]) -> None:
    """One to six buttons, perhaps a selector."""
    listed = rows(card, "button_list", BUTTONS_MAX, 40058, least=1)
    for each in listed:
        filled(each.get("text"), 42038, "button_list.text")
        if each.get("type", 0) == 1:
            filled(each.get("url"), 42028, "button_list.url")
        else:
            filled(each.get("key"), 42039, "button_list.key", KEY_BYTES)
        if each.get("style", 1) not in (1, 2, 3, 4):
            raise Refused(40058, "invalid Template_Card.button_list.style")
    distinct([each["key"] for each in listed if each.get("type", 0) != 1], 42039, "button_list.key")
    if card.get("button_selection") is not None:
        options(block(card, "button_selection"), CHOICES_MAX)


def submit(card: dict[str, Any]) -> None:
    """The submit button of vote and multiple cards."""
    button = block(card, "submit_button", 42046)
    filled(button.get("key"), 42046, "submit_button.key", KEY_BYTES)
    filled(button.get("text"), 42049, "submit_button.text")


def vote(card: dict[str, Any]) -> None:
    """A checkbox list of up to twenty."""
    question = block(card, "checkbox", 42043)
    options(question, BOXES_MAX)
    if question.get("mode", 0) not in (0, 1):
        raise Refused(40058, "invalid Template_Card.checkbox.mode")
    submit(card)


def selectors(card: dict[str, Any]) -> None:
    """One to three selectors."""
    listed = rows(card, "select_list", SELECTORS_MAX, 42047, least=1)
    for each in listed:
        options(each, CHOICES_MAX)
    distinct([each["question_key"] for each in listed], 42043, "select_list.question_key")
    submit(card)
