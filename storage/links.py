"""One-time pages: who may open which, once, and for how long."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select, update

from storage.asking import Asking
from storage.models import OneTimeLink

LINK_LIFE = timedelta(minutes=15)
TEST_SIDE = "test"  # of a page that asks for nothing: that its member came is what it is for
CAME_BACK = "pages:came-back"  # the moment at which a member last came back from WeCom to his page


def hashed(token: str) -> str:
    """How a token is kept: it cannot be had back from the database."""
    return hashlib.sha256(token.encode()).hexdigest()


class Links(Asking):
    """Questions asked of `one_time_links`. Tokens come in clear and are never stored so."""

    def make(self, *, member: str, job_id: int, mailbox_id: int | None, side: str) -> str:
        """A new link's token; an older open one of the same job and side ends."""
        self.end(job_id, side)
        token = secrets.token_urlsafe(24)
        self.added(
            OneTimeLink(
                token_hash=hashed(token), member=member, job_id=job_id, mailbox_id=mailbox_id, side=side,
                created_at=self.now, expires_at=self.now + LINK_LIFE,
            )
        )  # fmt: skip
        return token

    def end(self, job_id: int, side: str | None = None) -> None:
        """Open links of a job stop working."""
        statement = update(OneTimeLink).where(
            OneTimeLink.job_id == job_id, OneTimeLink.spent_at.is_(None), OneTimeLink.expires_at > self.now
        )
        if side is not None:
            statement = statement.where(OneTimeLink.side == side)
        self.session.execute(statement.values(expires_at=self.now))

    def find(self, token: str) -> OneTimeLink | None:
        """The link of a token, in whatever state."""
        return self.session.scalar(
            select(OneTimeLink).where(OneTimeLink.token_hash == hashed(token)).execution_options(populate_existing=True)
        )

    def by_state(self, state: str) -> OneTimeLink | None:
        """The link whose browser was sent to WeCom with this `state`."""
        return self.session.scalar(select(OneTimeLink).where(OneTimeLink.state_hash == hashed(state)))

    def alive(self, link: OneTimeLink) -> bool:
        """Whether it can still be used."""
        return link.spent_at is None and link.expires_at > self.now

    def sent_to_wecom(self, link: OneTimeLink) -> str:
        """A new `state` for the trip to WeCom: letters and digits, as it asks."""
        state = secrets.token_hex(16)
        link.state_hash = hashed(state)
        return state

    def recognised(self, link: OneTimeLink) -> str:
        """The bound member came back: a session for his browser; the state is used up."""
        session = secrets.token_urlsafe(24)
        link.session_hash, link.state_hash = hashed(session), None
        return session

    def spend(self, token: str, session: str) -> OneTimeLink | None:
        """Use it; None if it was used, has run out, or this is not the session of its member. One statement decides."""
        return self.session.scalar(
            update(OneTimeLink)
            .where(
                OneTimeLink.token_hash == hashed(token),
                OneTimeLink.session_hash == hashed(session),
                OneTimeLink.spent_at.is_(None),
                OneTimeLink.expires_at > self.now,
            )
            .values(spent_at=self.now)
            .returning(OneTimeLink)
        )

    def refused(self, job_id: int, side: str) -> None:
        """The password given through the last link of this side was refused."""
        last = self.latest(job_id, side)
        if last is not None:
            last.refused_at = self.now

    def latest(self, job_id: int, side: str) -> OneTimeLink | None:
        """The newest link of a job's side."""
        return self.session.scalar(
            select(OneTimeLink)
            .where(OneTimeLink.job_id == job_id, OneTimeLink.side == side)
            .order_by(OneTimeLink.id.desc())
            .limit(1)
        )

    def last_refusal(self, mailbox_id: int) -> OneTimeLink | None:
        """The latest refused login at a mailbox."""
        return self.session.scalar(
            select(OneTimeLink)
            .where(OneTimeLink.mailbox_id == mailbox_id, OneTimeLink.refused_at.is_not(None))
            .order_by(OneTimeLink.refused_at.desc())
            .limit(1)
        )

    def jobs_of(self, member: str) -> set[int]:
        """The jobs for which a member was ever sent a page."""
        return set(self.session.scalars(select(OneTimeLink.job_id).where(OneTimeLink.member == member)))

    def made_since(self, member: str, job_id: int, within: timedelta) -> int:
        """How many links a member was sent for a job within a time."""
        return (
            self.session.scalar(
                select(func.count())
                .select_from(OneTimeLink)
                .where(
                    OneTimeLink.member == member,
                    OneTimeLink.job_id == job_id,
                    OneTimeLink.created_at > self.now - within,
                )
            )
            or 0
        )

    def of_job(self, job_id: int) -> Sequence[OneTimeLink]:
        """All links of a job."""
        return self.session.scalars(select(OneTimeLink).where(OneTimeLink.job_id == job_id)).all()
