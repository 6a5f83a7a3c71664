"""What the page asks for beside the state: help with typing, the console's steps, a mail that is opened."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, HTTPException
from starlette.concurrency import run_in_threadpool

from bot.sandbox.console_steps import steps
from bot.sandbox.hours import Hours
from bot.sandbox.organisation import Organisation
from bot.sandbox.reading import opened
from bot.sandbox.typing_help import helped

LINE_MAX = 500  # characters of a line that is helped with


def beside_router(org: Organisation, hours: Hours) -> APIRouter:
    """The routes; `hours` knows the bot."""
    router = APIRouter(prefix="/_sandbox", tags=["sandbox"])

    @router.get("/help")
    async def typing_help(member: str, typed: str = "") -> dict[str, Any]:
        """What a member may type next, of what his role may do; nothing for a line longer than people type."""
        found = org.member(member)
        if found is None:
            raise HTTPException(404, f"there is no member {member}")
        if len(typed) > LINE_MAX or "\n" in typed:
            return {"typed": typed, "offers": [], "usage": "", "what": ""}
        return {"typed": typed, **asdict(await run_in_threadpool(helped, hours.bot(), org, found.userid, typed))}

    @router.get("/steps")
    async def console_steps() -> dict[str, Any]:
        """The steps the bot waits for in the admin console, each with the order that does it."""
        return {"steps": await run_in_threadpool(steps, hours.bot())}

    @router.get("/mail")
    async def mail(address: str, uid: int, folder: str = "INBOX") -> dict[str, Any]:
        """One mail, opened: headers, text, attachments by name."""
        box = org.mail.mailbox(address)
        found = box.folders[folder].messages.get(uid) if box is not None and folder in box.folders else None
        if box is None or found is None:
            raise HTTPException(404, f"there is no mail {uid} in {folder} of {address}")
        return {"address": box.address, "folder": folder, **opened(found)}

    return router
