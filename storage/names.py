"""Nicknames, and what somebody meant by a word that fits several."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from storage.asking import Asking
from storage.models import Member
from storage.name_tables import ChosenName, Nickname

PHRASE_MAX = 64  # characters; what is longer is asked about each time


class Names(Asking):
    """Questions asked of `nicknames` and `chosen_names`."""

    def nicknames(self) -> Sequence[Nickname]:
        """Those of everybody who is there, by whom they call and then by name."""
        present = select(Member.userid).where(Member.left_at.is_(None))
        query = select(Nickname).where(Nickname.userid.in_(present))
        return self.session.scalars(query.order_by(Nickname.userid, Nickname.key)).all()

    def nickname(self, name: str) -> Nickname | None:
        """Who is called so, while he is there."""
        row = self.session.get(Nickname, name.casefold())
        member = self.session.get(Member, row.userid) if row is not None else None
        return row if member is not None and member.left_at is None else None

    def call(self, userid: str, name: str, *, by: str) -> None:
        """A member is called so, too; who left gives the name up."""
        former = self.session.get(Nickname, name.casefold())
        if former is not None:
            self.session.delete(former)
            self.session.flush()
        self.added(Nickname(key=name.casefold(), name=name, userid=userid.casefold(), added_by=by, added_at=self.now))

    def forget_nickname(self, row: Nickname) -> None:
        """Nobody is called so any more."""
        self.session.delete(row)
        self.session.flush()

    def meant(self, member: str, phrase: str) -> ChosenName | None:
        """What a member meant the last time he was asked."""
        return self.session.get(ChosenName, (member.casefold(), phrase))

    def all_meant(self, member: str) -> Sequence[ChosenName]:
        """Everything that is remembered for a member."""
        query = select(ChosenName).where(ChosenName.member == member.casefold())
        return self.session.scalars(query.order_by(ChosenName.phrase)).all()

    def choose(self, member: str, phrase: str, meant: str) -> bool:
        """Remember what he meant; False for a phrase that is too long to be kept."""
        if len(phrase) > PHRASE_MAX:
            return False
        self.session.merge(ChosenName(member=member.casefold(), phrase=phrase, meant=meant, chosen_at=self.now))
        self.session.flush()
        return True

    def forget_meant(self, row: ChosenName) -> None:
        """Ask him again the next time."""
        self.session.delete(row)
        self.session.flush()
