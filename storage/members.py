"""People and departments as last read, also those who left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, select

from storage import renames
from storage.asking import Asking, insert_into
from storage.models import Department, Member, TagMember


class Members(Asking):
    """Questions asked of `members`, `departments` and `tag_members`."""

    def find(self, userid: str) -> Member | None:
        """The member, also one who left; userids have no case."""
        return self.session.get(Member, userid.casefold())

    def all(self, *, left: bool = False) -> Sequence[Member]:
        """Everybody, with or without those who left."""
        query = select(Member).order_by(Member.userid)
        return self.session.scalars(query if left else query.where(Member.left_at.is_(None))).all()

    def saw(
        self,
        userid: str,
        *,
        name: str | None = None,
        alias: str | None = None,
        departments: Sequence[int] | None = None,
        main_department: int | None = None,
        direct_leader: str | None = None,
        status: int | None = None,
    ) -> Member:
        """What was just read of a member; what is None stays as it was known."""
        member = self.find(userid) or self.first_seen(userid.casefold(), name or userid)
        if name:
            member.name = name
        if alias is not None:
            member.alias = alias or None
        if departments is not None:
            member.departments = list(departments)
        if main_department is not None:
            member.main_department = main_department
        if direct_leader is not None:
            member.direct_leader = direct_leader.casefold() or None
        if status is not None:
            member.status = status
        member.seen_at = self.now
        member.left_at = None
        return member

    def first_seen(self, userid: str, name: str) -> Member:
        """A member who is new, or was new until another transaction wrote him a moment ago."""
        self.session.execute(
            insert_into(self.session, Member)
            .values(userid=userid, name=name, departments=[], seen_at=self.now, status=1)
            .on_conflict_do_nothing(index_elements=["userid"])
        )
        return self.session.get_one(Member, userid, with_for_update=True)

    def left(self, member: Member) -> None:
        """He left; what is known of him stays."""
        member.left_at = self.now

    def renamed(self, old: str, new: str) -> Member | None:
        """
        A member got another userid: everything that is known of him, or waits for him, goes on under the new one.

        None when the old one was not known.
        """
        old, new = old.casefold(), new.casefold()
        member, taken = self.find(old), self.find(new)
        if member is None or old == new:
            return None
        if taken is not None:  # read or written to under the new one already
            self.session.delete(taken)
            self.session.flush()
        moved = self.added(
            Member(
                userid=new, name=new if member.name == old else member.name, alias=member.alias,
                departments=list(member.departments), main_department=member.main_department,
                direct_leader=member.direct_leader, status=member.status, language=member.language,
                greeted_at=member.greeted_at, seen_at=self.now,
            )
        )  # fmt: skip
        self.session.delete(member)
        renames.follow(self.session, old, new)
        return moved

    def in_departments(self, department_ids: Iterable[int]) -> set[str]:
        """Userids of everybody in the departments and those below them."""
        below = self.department_tree(department_ids)
        return {member.userid for member in self.all() if below & set(member.departments)}

    def department_tree(self, department_ids: Iterable[int]) -> set[int]:
        """The departments and all below them."""
        rows = self.session.scalars(select(Department)).all()
        found = set(department_ids)
        while more := {row.id for row in rows if row.parent_id in found} - found:
            found |= more
        return found

    def department(self, department_id: int) -> Department | None:
        """A department, if it was read."""
        return self.session.get(Department, department_id)

    def departments(self) -> Sequence[Department]:
        """Every department, as last read."""
        return self.session.scalars(select(Department).order_by(Department.id)).all()

    def departments_are(self, rows: Iterable[tuple[int, str, int | None, Sequence[str]]]) -> None:
        """The departments as just read: id, name, parent, leaders."""
        self.session.execute(delete(Department))
        for department_id, name, parent_id, leaders in rows:
            self.session.add(
                Department(
                    id=department_id, name=name, parent_id=parent_id, leaders=[each.casefold() for each in leaders]
                )
            )
        self.session.flush()

    def tag_is(self, tag_id: int, userids: Iterable[str]) -> None:
        """Who carries the tag, as just read."""
        self.session.execute(delete(TagMember).where(TagMember.tag_id == tag_id))
        for userid in {each.casefold() for each in userids}:
            self.session.add(TagMember(tag_id=tag_id, userid=userid))
        self.session.flush()

    def tags_of(self, userid: str) -> set[int]:
        """The ids of the role tags a member carries."""
        return set(self.session.scalars(select(TagMember.tag_id).where(TagMember.userid == userid.casefold())))

    def tagged(self, tag_id: int) -> set[str]:
        """Who carries a tag."""
        return set(self.session.scalars(select(TagMember.userid).where(TagMember.tag_id == tag_id)))
