"""The target's folders: named, made, subscribed, and looked at again to see what was really made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from bot.mail import names
from bot.mail.connection import Command
from bot.mail.errors import CommandRefused, FolderRefused
from bot.mail.names import DisplayName, Folder, WireName
from bot.mail.notes import Note, NoteKind
from bot.mail.quirks import is_exmail
from bot.mail.session import Session
from bot.mail.survey import list_told
from bot.mail.told import Selected, Status, checked, folders_of, selected


class Branch(NamedTuple):
    """Where one source folder goes."""

    source: Folder
    target: WireName
    parts: tuple[str, ...]
    selected: Selected | None = None

    @property
    def display(self) -> DisplayName:
        return names.display(self.parts)


@dataclass
class Tree:
    """All of them, and what a person should know about them."""

    branches: dict[WireName, Branch]  # by source
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class Ground:
    """What the target has, and how it writes names."""

    folders: list[Folder]
    delimiter: str
    prefix: str
    told: dict[WireName, Status | None] = field(default_factory=dict)


async def look_at(target: Session, *, counted: bool) -> Ground:
    """The target's folders, delimiter and prefix; if `counted`, what it tells of each."""
    asked = target.ask_namespace()
    folders, told = await list_told(target) if counted else (await target.list_folders(), {})
    prefix = await target.personal_prefix(asked)
    delimiter = next((each.delimiter for each in folders if each.delimiter), "/")
    return Ground(folders, delimiter, prefix, told)


def lay_out(ground: Ground, sources: list[Folder], into: str, known: dict[WireName, WireName]) -> Tree:
    """
    Names for all. `known` keeps where a folder went before; every other name that had to change is a note.
    """
    root = names.split_display(into)
    wanted_root = root
    prefix = tuple(part for part in ground.prefix.split(ground.delimiter) if part) if ground.prefix else ()
    if prefix and names.fold(root[: len(prefix)]) != names.fold(prefix):
        root = (*prefix, *root)
    root = tuple(names.safe_part(part, ground.delimiter) for part in root)
    taken = {names.fold(Folder(name, ground.delimiter, frozenset()).parts[len(root) :]) for name in known.values()}
    tree = Tree({})
    if root != wanted_root and sources:
        tree.notes.append(Note(NoteKind.NAME_CHANGED, names.display(wanted_root), names.display(root)))
    for source in sources:
        if source.wire in known:
            target = known[source.wire]
            parts = Folder(target, ground.delimiter, frozenset()).parts
        else:
            below = names.target_parts(source.parts, ground.delimiter, taken)
            parts = (*root, *below)
            target = names.join(parts, ground.delimiter)
            if below != source.parts:
                tree.notes.append(Note(NoteKind.NAME_CHANGED, source.display, names.display(parts)))
        tree.branches[source.wire] = Branch(source, target, parts)
    return tree


async def grow(target: Session, ground: Ground, tree: Tree, into: str) -> None:
    """
    Make what is missing, subscribe it, read the list back, open each.

    A folder that cannot be made is left out of the tree with a note. Raises FolderRefused when none could be.
    """
    there = {each.wire for each in ground.folders if each.selectable}
    missing = [branch for branch in tree.branches.values() if branch.target not in there]
    failed: dict[WireName, str] = {}
    asked = [(branch, ask_create(target, branch.target)) for branch in missing]
    # A refusal to subscribe means nothing: some servers have no subscriptions.
    subscribing = [target.send(b"SUBSCRIBE " + names.quoted(branch.target)) for branch in missing]
    listing = target.send(b'LIST "" "*"', collect=True) if missing else None
    # Opened before it is known whether they were made: what was not, or lies elsewhere, is opened again. Not on Exmail,
    # which puts new folders elsewhere.
    early = {} if is_exmail(target.greeting, target.account.host, ground.folders) else open_all(target, tree)
    refused_first = False
    for branch, command in asked:
        text = await refusal(command)
        refused_first |= bool(text)
        if (
            text
            and (text := await refusal(command))
            and (text := await make_another_way(target, ground, tree, branch, into))
        ):
            failed[branch.source.wire] = text
    made = [tree.branches[each.source.wire] for each in missing if each.source.wire not in failed]
    for command in subscribing:
        await command.done
    if listing is not None:
        listed = folders_of(checked(await listing.done, target.account.user))
        if refused_first:
            for command in [target.send(b"SUBSCRIBE " + names.quoted(branch.target)) for branch in made]:
                await command.done
            listed = await target.list_folders()
        find_landed(ground, listed, tree, made)
    opened = {}
    for wire, (name, command) in early.items():
        if (await command.done).ok and name == tree.branches[wire].target:
            opened[wire] = command
    again = {wire: branch for wire, branch in tree.branches.items() if wire not in opened and wire not in failed}
    opened |= {wire: command for wire, (_, command) in open_all(target, Tree(again)).items()}
    for wire, command in opened.items():
        branch = tree.branches[wire]
        try:
            told = selected(await command.done, target.account.user)
        except CommandRefused as error:
            failed[wire] = error.text
        else:
            tree.branches[wire] = Branch(branch.source, branch.target, branch.parts, told)
    if failed and len(failed) == len(tree.branches):
        raise FolderRefused(into, next(iter(failed.values())), mailbox=target.account.user)
    for wire, text in failed.items():
        branch = tree.branches.pop(wire)
        tree.notes.append(Note(NoteKind.FOLDER_REFUSED, branch.source.display, text))


def open_all(target: Session, tree: Tree) -> dict[WireName, tuple[WireName, Command]]:
    """SELECT of all, not waited for: by source, the name that was opened and the command."""
    return {
        wire: (branch.target, target.open_folder(branch.target, writable=True))
        for wire, branch in tree.branches.items()
    }


def ask_create(target: Session, name: WireName) -> Command:
    return target.send(b"CREATE " + names.quoted(name))


async def refusal(command: Command) -> str:
    """Why a folder was not made; empty when it was, or was there already."""
    done = await command.done
    if done.ok or "[ALREADYEXISTS]" in done.text.upper() or "exist" in done.text.casefold().replace("not exist", ""):
        return ""
    return done.text or done.status


async def make_another_way(target: Session, ground: Ground, tree: Tree, branch: Branch, into: str) -> str:
    """
    Level by level; then without the characters strict servers refuse, flat, short. The last refusal, or nothing.
    """
    depth = len(branch.parts) - len(branch.source.parts) if ground.delimiter else 0
    taken = {names.fold(each.parts) for each in tree.branches.values() if each is not branch}
    text = ""
    for wanted in dict.fromkeys(ways(branch.parts[:depth], branch.parts[depth:])):
        parts = branch.parts if wanted == branch.parts else names.numbered(wanted, taken)
        for depth in range(1, len(parts) + 1):
            text = await refusal(ask_create(target, names.join(parts[:depth], ground.delimiter)))
        if not text:
            if parts != branch.parts:
                tree.notes.append(Note(NoteKind.NAME_CHANGED, branch.source.display, names.display(parts)))
            tree.branches[branch.source.wire] = Branch(
                branch.source, names.join(parts, ground.delimiter), parts, branch.selected
            )
            return ""
    return text


def ways(root: tuple[str, ...], below: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Other names for a path that was refused, each a little further from what it was called."""
    yield (*root, *below)

    def all_of(part: Callable[[str], str], parts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(part, parts))

    plain = all_of(names.plain_part, below)
    flat = " - ".join(plain)
    for upper in (root, all_of(names.plain_part, root)):
        yield (*upper, *plain)
        yield (*upper, flat)
        yield (*upper, *all_of(names.short_part, plain))
        yield (*upper, names.short_part(flat))
    upper, simple = (all_of(names.short_part, all_of(names.simple_part, parts)) for parts in (root, below))
    yield (*upper, *simple)
    yield (*upper, names.short_part(names.simple_part(flat)))


def find_landed(ground: Ground, listed: list[Folder], tree: Tree, made: list[Branch]) -> None:
    """A server may put a new folder elsewhere (Exmail below 其他文件夹): follow it when there is no doubt."""
    names_now = {each.wire for each in listed}
    before = {each.wire for each in ground.folders}
    for branch in made:
        if branch.target in names_now:
            continue
        tail = names.fold(branch.parts)
        landed = [each for each in listed if each.wire not in before and names.fold(each.parts).endswith("\0" + tail)]
        if len(landed) == 1:
            tree.branches[branch.source.wire] = Branch(branch.source, landed[0].wire, landed[0].parts)
            tree.notes.append(Note(NoteKind.NAME_CHANGED, branch.source.display, landed[0].display))
