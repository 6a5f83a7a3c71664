"""Messages out: message/send, update_template_card, recall; the app's menu; media."""

from __future__ import annotations

import copy
import hashlib
import json
import secrets
from datetime import timedelta
from typing import Any

from bot.sandbox.chat import INTERACTIVE, SentCard, View
from bot.sandbox.organisation import unique
from bot.sandbox.people import Member
from bot.sandbox.wecom.api import Call, Refused, endpoint
from bot.sandbox.wecom.cards import TASK_ID, check_card

TEXT_BYTES = 2048
RECEIVERS_MAX, GROUPS_MAX = 1000, 100
DUPLICATE_SECONDS, DUPLICATE_SECONDS_MAX = 1800, 4 * 3600
RECALL_HOURS = 24
ACCOUNTS = 100  # the corp's account limit; the app may send 200 times as many messages a day
FILE_BYTES_MAX = {"file": 20 << 20, "image": 10 << 20, "voice": 2 << 20, "video": 10 << 20}


def own_agent(call: Call, value: Any) -> None:
    """The agentid must be a number and the token's own app."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(40056, "invalid agentid")
    if value != call.org.agent_id:
        raise Refused(301002, "not allow operate another agent with this accesstoken")


def joined(call: Call, name: str, most: int, errcode: int) -> list[str]:
    """Ids joined by `|`."""
    value = call.body.get(name) or ""
    if not isinstance(value, str):
        raise Refused(40058, f"invalid {name}")
    ids = [each.strip() for each in value.split("|") if each.strip()]
    if len(ids) > most:
        raise Refused(errcode, f"{name} exceed max count {most}")
    return ids


def receivers(call: Call) -> tuple[list[Member], dict[str, str]]:
    """Who gets it, and the invalid ids of each kind joined by `|`."""
    org = call.org
    users = joined(call, "touser", RECEIVERS_MAX, 40032)
    parties = joined(call, "toparty", GROUPS_MAX, 82002)
    tags = joined(call, "totag", GROUPS_MAX, 82003)
    if not users and not parties and not tags:
        raise Refused(82001, "touser, toparty and totag are all empty")
    if users == ["@all"]:
        return [each for each in org.members.values() if org.can_see(each)], {}
    found: list[Member] = []
    invalid: dict[str, list[str]] = {"invaliduser": [], "invalidparty": [], "invalidtag": []}
    for each in users:
        member = org.member(each)
        if member and org.can_see(member) and member.status != 2:
            found.append(member)
        else:
            invalid["invaliduser"].append(each.lower())
    sight = org.visible_departments()
    for each in parties:
        if each.isdigit() and int(each) in sight:
            found += org.in_departments([int(each)])
        else:
            invalid["invalidparty"].append(each)
    for each in tags:
        tag = org.tags.get(int(each)) if each.isdigit() else None
        if tag and tag.visible:
            found += [member for member in org.tagged(tag.id) if org.can_see(member)]
        else:
            invalid["invalidtag"].append(each)
    if not found:
        raise Refused(81013, "user & party & tag all invalid")
    return unique(found), {name: "|".join(ids) for name, ids in invalid.items() if ids}


def cut(text: str, bytes_max: int) -> str:
    """At most `bytes_max` bytes of UTF-8; a character that would be torn is left out."""
    return text.encode()[:bytes_max].decode(errors="ignore")


def content(call: Call, kind: str) -> dict[str, Any]:
    """The message's own part, checked and cut; what the chat keeps of it."""
    part = call.body.get(kind)
    if not isinstance(part, dict):
        raise Refused(44004 if kind == "text" else 40058, f"missing {kind}")
    if kind in ("text", "markdown"):
        text = part.get("content")
        if not isinstance(text, str) or not text:
            raise Refused(44004, "text content is empty")
        if kind == "markdown" and len(text.encode()) > TEXT_BYTES:
            raise Refused(45002, "content size out of limit")
        return {"text": cut(text, TEXT_BYTES)}
    if kind == "file":
        media = call.org.chats.find_media(str(part.get("media_id", "")), call.now)
        if media is None:
            raise Refused(40007, "invalid media_id")
        return {"media": media, "text": media.name}
    for name, errcode in (("title", 41016), ("description", 41033), ("url", 41010)):
        if not isinstance(part.get(name), str) or not part[name]:
            raise Refused(errcode, f"missing {name}")
    if len(part["url"].encode()) > TEXT_BYTES:
        raise Refused(40039, "invalid url size")
    card = {
        "title": cut(part["title"], 128),
        "description": cut(part["description"], 512),
        "url": part["url"],
        "button": str(part.get("btntxt") or "详情")[:4],
    }
    return {"text": card["title"], "extra": {"textcard": card}}


def new_task(call: Call, card: dict[str, Any]) -> str | None:
    """The card's task id, unique for ever in the app (42014); needed wherever something can be pressed."""
    task_id = card.get("task_id")
    if task_id is None and card["card_type"] not in INTERACTIVE and "action_menu" not in card:
        return None
    known = call.org.chats.task_ids
    if not isinstance(task_id, str) or not TASK_ID.fullmatch(task_id) or task_id in known:
        raise Refused(42014, "taskid has existed or empty or exceed max len")
    return task_id


@endpoint("POST", "message/send")
def message_send(call: Call) -> dict[str, Any]:
    """
    Send to members, departments, tags (90236).

    Beyond 30 a minute and 1,000 an hour to one member the message is dropped and the answer is still 0.
    """
    org, chats, now = call.org, call.org.chats, call.now
    own_agent(call, call.body.get("agentid"))
    kind = call.body.get("msgtype")
    if kind not in ("text", "markdown", "file", "textcard", "template_card"):
        raise Refused(40008, "invalid message type")
    to, invalid = receivers(call)
    kept: dict[str, Any] = {}
    card: dict[str, Any] | None = None
    task_id: str | None = None
    if kind == "template_card":
        card = call.body.get("template_card")
        check_card(card)
        assert card is not None  # noqa: S101 - check_card refuses anything but an object
        task_id = new_task(call, card)
    else:
        kept = content(call, kind)
    msgid = secrets.token_urlsafe(32)
    if duplicate(call, [each.userid for each in to], call.body.get(kind)):
        return {**invalid, "msgid": msgid}
    day = [at for at, _ in chats.sent.values() if at > now - timedelta(days=1)]
    if len(day) + len(to) > ACCOUNTS * 200:
        raise Refused(45009, "api freq out of limit")
    sent: SentCard | None = None
    if card is not None:
        if task_id:
            chats.task_ids.add(task_id)
        views = {each.userid.lower(): View(copy.deepcopy(card), task_id) for each in to}
        sent = SentCard(msgid, views)
        kept = {"card": sent, "text": str((card.get("main_title") or {}).get("title", ""))}
    entries = []
    for each in to:
        if chats.allows(each.userid.lower(), now):
            entry = chats.entry(now, "bot", "card" if sent else kind, msgid=msgid, **kept)
            entries.append(chats.add(each.userid, entry))
        else:
            org.record("dropped", member=each.userid, reason="more than 30 a minute or 1000 an hour")
    chats.sent[msgid] = (now, entries)
    org.changed()
    answer: dict[str, Any] = {**invalid, "msgid": msgid}
    if sent and card and (card["card_type"] in INTERACTIVE or "action_menu" in card):
        answer["response_code"] = chats.new_code(sent, now)
    return answer


def duplicate(call: Call, to: list[str], part: Any) -> bool:
    """Whether enable_duplicate_check swallows it: the same content to the same receivers within the interval."""
    if call.body.get("enable_duplicate_check") != 1:
        return False
    seconds = min(call.number("duplicate_check_interval", default=DUPLICATE_SECONDS), DUPLICATE_SECONDS_MAX)
    said = json.dumps([call.body["msgtype"], sorted(to), part], sort_keys=True)
    key = hashlib.sha256(said.encode()).hexdigest()
    before = call.org.chats.duplicates.get(key)
    if before and call.now < before + timedelta(seconds=seconds):
        return True
    call.org.chats.duplicates[key] = call.now
    return False


@endpoint("POST", "message/update_template_card")
def update_template_card(call: Call) -> dict[str, Any]:
    """
    Grey a card's buttons or put a whole new card in its place (94888): one code, one use, 72 hours (60140).

    Without replace_text the new card is live again and needs a task id nobody used before.
    """
    chats, now = call.org.chats, call.now
    own_agent(call, call.body.get("agentid"))
    code = call.body.get("response_code")
    found = chats.code(code, now) if isinstance(code, str) else None
    if found is None:
        raise Refused(60140, "invalid response_code")
    views = found.card.views
    chosen, invalid = chosen_views(call, views)
    button, card = call.body.get("button"), call.body.get("template_card")
    if isinstance(card, dict):
        kind = check_card(card)
        greyed = card.get("replace_text") if kind in INTERACTIVE else None
        if greyed is not None and (not isinstance(greyed, str) or not greyed):
            raise Refused(40058, "invalid replace_text")
        live = (kind in INTERACTIVE and greyed is None) or "action_menu" in card
        task_id = new_task(call, card) if live or "task_id" in card else None
        if task_id:
            chats.task_ids.add(task_id)
        for userid in chosen:
            views[userid] = View(copy.deepcopy(card), task_id, replaced=greyed)
    elif isinstance(button, dict) and isinstance(button.get("replace_name"), str) and button["replace_name"]:
        if any(views[userid].card["card_type"] not in INTERACTIVE for userid in chosen):
            raise Refused(42031, "invalid Template_Card.card_type")
        for userid in chosen:
            views[userid].replaced = button["replace_name"]
    else:
        raise Refused(40058, "missing button or template_card")
    del chats.codes[str(code)]
    call.org.changed()
    return {"invaliduser": invalid} if invalid else {}


def chosen_views(call: Call, views: dict[str, View]) -> tuple[list[str], list[str]]:
    """Whose card is updated, lower case, and the userids that never got it."""
    body, org = call.body, call.org
    if body.get("atall") == 1:
        return list(views), []
    asked: dict[str, list[Any]] = {}
    for name, most in (("userids", RECEIVERS_MAX), ("partyids", GROUPS_MAX), ("tagids", GROUPS_MAX)):
        value = body.get(name) or []
        if not isinstance(value, list) or len(value) > most:
            raise Refused(40058, f"invalid {name}")
        asked[name] = value
    if not any(asked.values()):
        raise Refused(82001, "userids, partyids and tagids are all empty")
    users = [str(each).lower() for each in asked["userids"]]
    chosen = [each for each in users if each in views]
    named = org.in_departments([each for each in asked["partyids"] if isinstance(each, int)])
    for each in asked["tagids"]:
        named += org.tagged(each) if isinstance(each, int) else []
    chosen += [each.userid.lower() for each in named if each.userid.lower() in views]
    return list(dict.fromkeys(chosen)), [each for each in users if each not in views]


@endpoint("POST", "message/recall")
def message_recall(call: Call) -> dict[str, Any]:
    """Take a message of the last 24 hours back (94867)."""
    at, entries = call.org.chats.sent.get(call.text("msgid"), (None, []))
    if at is None:
        raise Refused(40058, "invalid msgid")
    if call.now >= at + timedelta(hours=RECALL_HOURS):
        raise Refused(42052, "msgid expired")
    for each in entries:
        each.recalled = True
    call.org.changed()
    return {}


# ---------------------------------------------------------------------- menu
def asked_agent(call: Call) -> None:
    """The agentid of the query must be the token's app."""
    own_agent(call, call.asked_number("agentid", missing=40056))


def menu_button(button: Any, *, sub: bool) -> None:
    """Names of 16 and 40 bytes, keys of 128, URLs of 1024; a button with sub buttons has no type."""
    if not isinstance(button, dict):
        raise Refused(40058, "invalid button")
    name = button.get("name")
    if not isinstance(name, str) or not name:
        raise Refused(41102, "missing menu name")
    if len(name.encode()) > (40 if sub else 16):
        raise Refused(40025 if sub else 40018, "invalid button name size")
    below = button.get("sub_button")
    if below:
        if sub:
            raise Refused(40022, "invalid sub button level")
        if not isinstance(below, list) or not 1 <= len(below) <= 5:
            raise Refused(40023, "invalid sub button size")
        for each in below:
            menu_button(each, sub=True)
        return
    kind = button.get("type")
    if kind == "view":
        url = button.get("url")
        if not isinstance(url, str) or not url or len(url.encode()) > 1024:
            raise Refused(40027 if sub else 40020, "invalid button url size")
    elif kind == "click":
        key = button.get("key")
        if not isinstance(key, str) or not key or len(key.encode()) > 128:
            raise Refused(40026 if sub else 40019, "invalid button key size")
    else:
        raise Refused(40024 if sub else 40017, "invalid button type")


@endpoint("POST", "menu/create")
def menu_create(call: Call) -> dict[str, Any]:
    """Overwrite the app's menu (90231)."""
    asked_agent(call)
    buttons = call.body.get("button")
    if not isinstance(buttons, list) or not 1 <= len(buttons) <= 3:
        raise Refused(40016, "invalid button size")
    for each in buttons:
        menu_button(each, sub=False)
    call.org.chats.menu = copy.deepcopy(buttons)
    call.org.changed()
    return {}


@endpoint("GET", "menu/get")
def menu_get(call: Call) -> dict[str, Any]:
    """The app's menu (90232)."""
    asked_agent(call)
    if call.org.chats.menu is None:
        raise Refused(46003, "menu no exist")
    return {"button": call.org.chats.menu}


@endpoint("GET", "menu/delete")
def menu_delete(call: Call) -> dict[str, Any]:
    """Take the app's menu away (90233)."""
    asked_agent(call)
    call.org.chats.menu = None
    call.org.changed()
    return {}


# ---------------------------------------------------------------------- media
@endpoint("POST", "media/upload")
def media_upload(call: Call) -> dict[str, Any]:
    """Keep a file for three days (90253); created_at is a string."""
    kind = call.query.get("type", "")
    if kind not in FILE_BYTES_MAX:
        raise Refused(40005, "invalid type")
    if call.upload is None or not call.upload.content:
        raise Refused(44001, "empty media data")
    size = len(call.upload.content)
    if size <= 5:
        raise Refused(40006, "invalid file size")
    if size > FILE_BYTES_MAX[kind]:
        raise Refused(45001, "media size out of limit")
    media = call.org.chats.keep(kind, call.upload.name, call.upload.content_type, call.upload.content, call.now)
    return {"type": kind, "media_id": media.id, "created_at": str(call.org.epoch())}
