"""The control API of the sandbox, `/_sandbox/*`: plays the members, the admin console, the clock and the troubles."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from bot.sandbox.callbacks import Callbacks
from bot.sandbox.chat import card_shown
from bot.sandbox.console import ACTIONS, Console, Done, Order
from bot.sandbox.hours import Hours, NothingAhead
from bot.sandbox.mailserver import FAULTS
from bot.sandbox.orders import Acknowledgement, Click, Drop, Enter, MenuClick, Move, Moved, Play, Renew, Say, Trouble
from bot.sandbox.organisation import ConsoleError, Organisation
from bot.sandbox.people import Member
from bot.sandbox.shown import mail_shown, whole_state
from bot.sandbox.stage import Busy, Stage
from bot.sandbox.story import BadStory, read
from bot.sandbox.trouble import SWITCHES
from bot.sandbox.wecom.contacts import OAUTH_OUTSIDER

COOKIE = "sandbox_member"
HEARTBEAT_SECONDS = 15.0
EVENT_GAP_SECONDS = 0.15
WITHIN_SECONDS_MAX = 20.0
FILE_BYTES_MAX = 20 << 20
MAIL_PREFIX = "mail:"
DUE_MAX = 200  # entries of one list


def control_router(org: Organisation, callbacks: Callbacks, hours: Hours, stage: Stage) -> APIRouter:
    """All routes of the control API."""
    router = APIRouter(prefix="/_sandbox", tags=["sandbox"])
    console = Console(org, callbacks)
    recorder = stage.recorder

    def known(userid: str) -> Member:
        member = org.member(userid)
        if member is None:
            raise HTTPException(404, f"there is no member {userid}")
        return member

    def user(userid: str) -> Member:
        member = known(userid)
        if not org.can_see(member):
            raise HTTPException(409, f"{userid} is outside the app's visible range and does not see its chat")
        return member

    @router.post("/say")
    async def say(order: Say) -> Acknowledgement:
        """A member types a text; answers when the bot has acknowledged the callback or WeCom gave up."""
        member = user(order.member)
        with recorder.doing({"do": "say", **order.model_dump()}):
            org.chats.add(member.userid, org.chats.entry(org.now(), "member", "text", text=order.text))
            org.changed()
            outcome = await callbacks.from_member(member.userid, "text", Content=order.text)
        return Acknowledgement(acknowledged=outcome.acknowledged, attempts=outcome.attempts)

    @router.post("/click")
    async def click(order: Click) -> Acknowledgement:
        """A member presses a button of a card he has; 404 when it is not there, 409 when it cannot be pressed."""
        member = user(order.member)
        found = org.chats.view(member.userid, order.task_id)
        if found is None:
            raise HTTPException(404, f"{member.userid} has no card {order.task_id}")
        card, view = found
        shown = card_shown(view)
        menu = {each.get("key") for each in shown["menu"]}
        button = next((each for each in shown["buttons"] if each["key"] == order.key and each["key"]), None)
        if button is None and order.key not in menu:
            raise HTTPException(404, f"the card has no button {order.key}")
        if order.key not in menu and view.greyed:
            raise HTTPException(409, f"the buttons are greyed: {view.replaced}")
        event = "template_card_event" if button else "template_card_menu_event"
        code = org.chats.new_code(card, org.now())
        fields: dict[str, Any] = {
            "EventKey": order.key,
            "TaskId": order.task_id,
            "CardType": shown["card_type"],
            "ResponseCode": code,
        }
        if button and shown["choices"]:
            fields |= answers(shown["choices"], order.selected or {})
        step = {
            "do": "press",
            "member": member.userid,
            "button": recorder.pressed(member.userid, order.task_id, order.key),
        }
        with recorder.doing(step | ({"selected": order.selected} if order.selected else {})):
            view.clicked = order.key
            org.changed()
            outcome = await callbacks.from_member(member.userid, f"event:{event}", **fields)
        return Acknowledgement(acknowledged=outcome.acknowledged, attempts=outcome.attempts)

    @router.post("/menu")
    async def menu(order: MenuClick) -> Acknowledgement:
        """A member presses an entry of the app's menu (event click)."""
        member = user(order.member)
        buttons = [each for top in org.chats.menu or [] for each in top.get("sub_button") or [top]]
        button = next((each for each in buttons if each.get("key") == order.key), None)
        if button is None:
            raise HTTPException(404, f"the menu has no key {order.key}")
        with recorder.doing({"do": "menu", **order.model_dump()}):
            org.chats.add(member.userid, org.chats.entry(org.now(), "member", "menu", text=button["name"]))
            org.changed()
            outcome = await callbacks.from_member(member.userid, "event:click", EventKey=order.key)
        return Acknowledgement(acknowledged=outcome.acknowledged, attempts=outcome.attempts)

    @router.post("/enter")
    async def enter(order: Enter) -> Acknowledgement:
        """A member opens the app's chat (event enter_agent)."""
        member = user(order.member)
        with recorder.doing({"do": "enter", **order.model_dump()}):
            outcome = await callbacks.from_member(member.userid, "event:enter_agent", EventKey="")
        return Acknowledgement(acknowledged=outcome.acknowledged, attempts=outcome.attempts)

    @router.post("/file")
    async def drop(order: Drop) -> Acknowledgement:
        """A member drops a file into the chat: a `file` message with the MediaId to fetch it by."""
        member = user(order.member)
        try:
            content = base64.b64decode(order.content_base64, validate=True)
        except (binascii.Error, ValueError):
            raise HTTPException(422, "content_base64 is not base64") from None
        if len(content) > FILE_BYTES_MAX:
            raise HTTPException(413, "a file can have 20 MB")
        with recorder.doing({"do": "file", **order.model_dump()}):
            media = org.chats.keep("file", order.name, "application/octet-stream", content, org.now())
            entry = org.chats.entry(org.now(), "member", "file", text=order.name, media=media)
            org.chats.add(member.userid, entry)
            org.changed()
            outcome = await callbacks.from_member(member.userid, "file", MediaId=media.id, FileName=order.name)
        return Acknowledgement(acknowledged=outcome.acknowledged, attempts=outcome.attempts)

    @router.get("/chat")
    async def chat(
        member: str,
        beyond: Annotated[int, Query(ge=0, description="wait until the bot has said more than so much")] = 0,
        within_seconds: Annotated[float, Query(ge=0, le=WITHIN_SECONDS_MAX, description="how long to wait")] = 0,
    ) -> dict[str, Any]:
        """A member's chat with the bot, oldest first; cards as they look now."""
        found = known(member)
        await org.wait_until(lambda: org.chats.said(found.userid) > beyond, within_seconds)
        return {
            "member": found.userid,
            "name": found.name,
            "entries": org.chats.shown(found.userid),
            "menu": org.chats.menu or [],
            "dropped": org.chats.dropped.get(found.userid.lower(), 0),
        }

    @router.get("/files/{media_id}")
    async def file(media_id: str) -> Response:
        """A file of a chat, as the member downloads it."""
        media = org.chats.media.get(media_id)
        if media is None:
            raise HTTPException(404, "there is no such file")
        name = media.name.encode().decode("latin-1", "replace").replace('"', "'").replace("\\", "'")
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
        return Response(media.content, media_type="application/octet-stream", headers=headers)

    @router.get("/open")
    async def open_link(request: Request, member: str, url: str) -> Response:
        """Open a link as a member would inside WeCom: makes him the one OAuth2 knows, then goes there."""
        if member != OAUTH_OUTSIDER:
            known(member)
        recorder.opened(member, url)
        target, own = urlsplit(url), urlsplit(org.api_base)
        origins = {(each.scheme, each.netloc) for each in (own, urlsplit(org.bot_url))}
        if (target.scheme or target.netloc) and (target.scheme, target.netloc) not in origins:
            raise HTTPException(400, "only links to the bot or to the sandbox")
        if not target.netloc and (not url.startswith("/") or url.startswith(("//", "/\\"))):
            raise HTTPException(400, "only links to the bot or to the sandbox")
        if request.url.netloc != own.netloc:  # the cookie must stand where the authorize page is
            return RedirectResponse(f"{org.api_base}{request.url.path}?{request.url.query}", 307)
        answer = RedirectResponse(url, 303)
        answer.set_cookie(COOKIE, member, httponly=True, samesite="lax")
        return answer

    @router.get("/state")
    async def state() -> dict[str, Any]:
        """Everything: clock, people, mailboxes, recycle bin, switches, and how to talk to the simulated WeCom."""
        org.expire()
        return whole_state(org)

    @router.get("/mails")
    async def mails(address: str, folder: str = "INBOX", limit: int = 100) -> dict[str, Any]:
        """The newest mails of a mailbox's folder, newest first: what a page may show, and the bytes' SHA-256."""
        box = org.mail.mailbox(address)
        if box is None or folder not in box.folders:
            raise HTTPException(404, f"there is no folder {folder} of {address}")
        messages = list(box.folders[folder].messages.values())
        newest = messages[-limit:] if limit > 0 else []
        return {"address": box.address, "folder": folder, "mails": [mail_shown(each) for each in reversed(newest)]}

    @router.post("/console")
    async def admin_console(order: Order) -> Done:
        """An action of the admin console or of a mailbox's own web settings; 409 with the reason when it refuses."""
        try:
            with recorder.doing({"do": "console", **portable(org, order.model_dump(exclude_none=True))}):
                return await console.carry_out(order)
        except ConsoleError as error:
            raise HTTPException(409, str(error)) from None

    @router.get("/console")
    async def console_actions() -> dict[str, dict[str, str]]:
        """The console's actions: what each does and which fields it wants."""
        return {name: {"what": act.__doc__ or "", "wants": wants} for name, (wants, act) in ACTIONS.items()}

    @router.post("/clock")
    async def clock(order: Move) -> Moved:
        """Move the clock on; what runs out in the recycle bin meanwhile is gone. 409 when there is no such moment."""
        step = {"do": "clock", **order.model_dump(mode="json", exclude_none=True)}
        if order.advance_seconds is not None:
            with recorder.doing(step):
                hours.leap(order.advance_seconds)
            return Moved(clock=org.now().isoformat())
        goal = order.to or order.until
        if goal is None or (order.until is not None and order.until < org.now()):
            raise HTTPException(409, "the clock only goes forward")
        try:
            with recorder.doing(step):
                walked = await hours.walk(goal)
        except NothingAhead as error:
            raise HTTPException(409, str(error)) from None
        stops = [each.isoformat() for each in walked.stops]
        return Moved(clock=org.now().isoformat(), stops=stops, arrived=walked.arrived)

    @router.get("/due")
    async def due() -> dict[str, Any]:
        """What comes next by itself, and why then, in both languages; what waits without an end is last."""
        found = await hours.due()
        return {"clock": org.now().isoformat(), "count": len(found), "due": [each.shown() for each in found[:DUE_MAX]]}

    @router.post("/trouble")
    async def trouble(order: Trouble) -> dict[str, Any]:
        """Turn a switch; 404 for an unknown one."""
        with recorder.doing({"do": "trouble", **order.model_dump(exclude_none=True)}):
            if order.switch.startswith(MAIL_PREFIX):
                mail_trouble(org, order)
            elif order.switch not in SWITCHES:
                raise HTTPException(404, f"no switch {order.switch}; there are: {', '.join(SWITCHES)}, mail:<fault>")
            elif order.switch == "bot_killed":
                await kill(order)
            else:
                trouble_of_its_own(org, order)
            org.record("trouble", **order.model_dump(exclude_none=True))
        return {"trouble": org.troubles.shown()}

    async def kill(order: Trouble) -> None:
        """Now, or at a mail that is about to be stored."""
        if stage.kill is None:
            raise HTTPException(409, "there is no bot in this sandbox that could be killed")
        if order.after is None or not order.on:
            stage.kill_at(None)
            if order.on:
                await stage.kill()
        else:
            stage.kill_at(order.after)

    @router.get("/wire")
    async def wire(since: int = 0, kind: str | None = None, limit: int = 500) -> dict[str, Any]:
        """What went over the wire after entry `since`: API calls, callbacks in both forms, IMAP lines."""
        entries = sorted((*org.wire, *org.imap_wire), key=lambda each: int(each["n"]))
        chosen = [each for each in entries if each["n"] > since and kind in (None, each["kind"])]
        return {"entries": chosen[-limit:] if limit > 0 else [], "last": org.wire_count}

    @router.post("/reset")
    async def reset(order: Renew | None = None) -> dict[str, str]:
        """Everything as at the start, the bot's rows, too, but for the clock, the secrets and the ids the bot holds."""
        stage.stop()
        if order is not None and order.language is not None:
            stage.settings = stage.settings | {"bot_language": order.language}
        await stage.begin_anew()
        return {"clock": org.now().isoformat()}

    @router.get("/story")
    async def story() -> dict[str, Any]:
        """How many doings are recorded, and how far a story that is played has come."""
        return await run_in_threadpool(stage.shown)

    @router.get("/story/file")
    async def story_file(name: str = "recorded") -> Response:
        """What people did since the start, as a story to keep and to play again."""
        kept = json.dumps(recorder.story(name), ensure_ascii=False, indent=1)
        headers = {"Content-Disposition": 'attachment; filename="story.json"'}
        return Response(kept, media_type="application/json", headers=headers)

    @router.post("/story/play")
    async def play(order: Play) -> dict[str, Any]:
        """Play a story on a fresh organisation; 422 with what is wrong with the file."""
        try:
            await stage.play(read(order.story), order.pace_seconds)
        except BadStory as error:
            raise HTTPException(422, str(error)) from None
        except Busy as error:
            raise HTTPException(409, str(error)) from None
        return await run_in_threadpool(stage.shown)

    @router.post("/story/stop")
    async def stop() -> dict[str, Any]:
        """Stop the story that is played before its next step."""
        stage.stop()
        return await run_in_threadpool(stage.shown)

    @router.get("/events")
    async def events(request: Request) -> StreamingResponse:
        """Server-sent events: the version, whenever anything has changed."""

        async def stream() -> AsyncIterator[str]:
            version = -1
            while not await request.is_disconnected():
                now = await org.wait_for_change(version, HEARTBEAT_SECONDS)
                yield f"data: {now}\n\n" if now != version else ": still here\n\n"
                version = now
                await asyncio.sleep(EVENT_GAP_SECONDS)

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return router


def answers(choices: list[dict[str, Any]], selected: dict[str, list[str]]) -> dict[str, Any]:
    """SelectedItems of a click: what the member chose, else what the card had preselected. 422 for no such option."""
    unknown = selected.keys() - {each["question_key"] for each in choices}
    if unknown:
        raise HTTPException(422, f"the card does not ask {', '.join(sorted(unknown))}")
    items = []
    for each in choices:
        chosen = selected.get(each["question_key"], each["selected"])
        if any(option not in [known["id"] for known in each["options"]] for option in chosen):
            raise HTTPException(422, f"{each['question_key']} has no such option")
        if len(chosen) > 1 and not each["multiple"]:
            raise HTTPException(422, f"{each['question_key']} takes one option")
        if chosen:
            items.append({"QuestionKey": each["question_key"], "OptionIds": {"OptionId": list(chosen)}})
    return {"SelectedItems": {"SelectedItem": items}} if items else {}


def portable(org: Organisation, order: dict[str, Any]) -> dict[str, Any]:
    """An order to the console without what only this organisation knows: the ids of DNS records."""
    records = (each for zone in org.dns.zones.values() for each in zone.records)
    found = next((each for each in records if order["action"] == "dns_remove" and each.id == order.get("record")), None)
    if found is None:
        return order
    named = {"record_type": found.type, "host": found.host, "text": found.value}
    return {name: value for name, value in order.items() if name != "record"} | named


def trouble_of_its_own(org: Organisation, order: Trouble) -> None:
    """A switch of ours: some act once, one fills a mailbox, the others stay as they are put."""
    if order.switch == "tokens_expired":
        org.expired_tokens.update(org.tokens if order.on else ())
    elif order.switch == "tokens_invalid":
        if order.on:
            org.tokens.clear()
    elif order.switch == "cards_old":
        if order.on:
            org.chats.age_codes()
    elif order.switch == "mailbox_full":
        box = org.mail.mailbox(order.address or "")
        if box is None:
            raise HTTPException(404, f"there is no mailbox {order.address}: give address")
        room = org.troubles.full.pop(box.address, box.quota_bytes)
        box.quota_bytes = room
        if order.on:
            org.troubles.full[box.address], box.quota_bytes = room, box.used_bytes
    else:
        org.troubles.set(order.switch, order.on, times=order.times, path=order.path, after=order.after)


def mail_trouble(org: Organisation, order: Trouble) -> None:
    """A fault of the mail server, or of one of its mailboxes."""
    name = order.switch.removeprefix(MAIL_PREFIX)
    if name not in FAULTS:
        raise HTTPException(404, f"no mail fault {name}; there are: {', '.join(FAULTS)}")
    faults = org.mail.faults
    if order.address:
        box = org.mail.mailbox(order.address)
        if box is None:
            raise HTTPException(404, f"there is no mailbox {order.address}")
        faults = box.faults
    if order.on:
        faults.arm(name, times=order.times, after=order.after or 0, command=order.command, value=order.value)
    else:
        faults[name] = False
