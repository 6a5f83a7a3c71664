"""The sample organisation's mail: the same some hundreds of messages at every start, dated back from now."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bot.sandbox.mail.parsing import MONTHS, SHANGHAI
from bot.sandbox.mailserver import ROOT, Mailbox, MailServer
from bot.sandbox.seed_texts import ATTACHMENTS, BUSINESS, CUSTOMERS, JUNK, OFFICE, SUPPORT

SEED = 20_240_229
DOMAIN = "corp.test"
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WINDOW_DAYS = 30
TWIN_SUBJECT = "配额提醒：邮箱容量已使用 80%"

Texts = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class SampleMember:
    """A member of the sample organisation; `leader` leads his department."""

    userid: str
    name: str
    department: str
    leader: bool = False
    direct_leader: str | None = None

    @property
    def address(self) -> str:
        return f"{self.userid}@{DOMAIN}"


MEMBERS = (
    SampleMember("mei", "美玲", "行政", leader=True, direct_leader="fang"),
    SampleMember("ling", "凌", "销售", leader=True, direct_leader="fang"),
    SampleMember("ahing", "阿兴", "销售", direct_leader="ling"),
    SampleMember("calvin", "卡尔文", "销售", direct_leader="ling"),
    SampleMember("fang", "方敏", "示例公司", leader=True),
    SampleMember("wei", "魏强", "技术", leader=True, direct_leader="fang"),
    SampleMember("jun", "李军", "技术", direct_leader="wei"),
    SampleMember("lan", "王兰", "客服", leader=True, direct_leader="ling"),
    SampleMember("tao", "陈涛", "客服", direct_leader="lan"),
    SampleMember("yan", "赵燕", "行政", direct_leader="mei"),
)
PUBLIC = (("客户支持", f"support@{DOMAIN}"), ("销售", f"sales@{DOMAIN}"))
COLLEAGUES = tuple((member.name, member.address) for member in MEMBERS)


@dataclass(frozen=True)
class Lot:
    """So many mails of one folder, out of one kind of texts, spread over the last `days`; some have attachments."""

    folder: str
    count: int
    days: int
    texts: Texts
    sent: bool = False
    seen: float = 0.9
    attached: float = 0.0
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What a mailbox's owner has set in webmail, and what lies in it."""

    lots: tuple[Lot, ...]
    window_days: int | None = None
    show_custom: bool = True
    imap_on: bool = True
    odd: bool = False


@dataclass
class Letter:
    """A mail being written; `bytes` is how it would have come over the wire."""

    sender: tuple[str, str]
    receiver: tuple[str, str]
    subject: str
    body: str
    when: datetime
    message_id: str
    charset: str = "utf-8"
    mailer: str = "QQMail 2.x"
    html: bool = False
    answers: str | None = None
    attachments: list[tuple[str, str, bytes]] = field(default_factory=list)

    def bytes(self) -> bytes:
        lines = [
            f"From: {self.person(self.sender)}",
            f"To: {self.person(self.receiver)}",
            f"Subject: {word(self.subject, self.charset)}",
            f"Date: {dated(self.when)}",
            f"Message-ID: {self.message_id}",
        ]
        if self.answers:
            lines += [f"In-Reply-To: {self.answers}", f"References: {self.answers}"]
        lines += [f"X-Mailer: {self.mailer}", "MIME-Version: 1.0"]
        return "\r\n".join([*lines, self.content()]).encode("ascii")

    def person(self, who: tuple[str, str]) -> str:
        name, address = who
        quoted = '"' + name + '"' if any(mark in name for mark in ",()") else name
        return f"{quoted if name.isascii() else word(name, self.charset)} <{address}>"

    def content(self) -> str:
        """The MIME fields, the empty line and the body."""
        text = part(f'text/plain; charset="{self.charset}"', self.body.replace("\n", "\r\n").encode(self.charset))
        if self.html:
            markup = "<html><body><p>" + self.body.replace("\n", "<br>\r\n") + "</p></body></html>"
            other = part(f'text/html; charset="{self.charset}"', markup.encode(self.charset))
            text = multipart("alternative", f"ALT_{self.message_id[1:17]}", [text, other])
        if not self.attachments:
            return text
        files = [
            part(f'{kind}; name="{word(name, self.charset)}"', data, disposition=word(name, self.charset))
            for name, kind, data in self.attachments
        ]
        return multipart("mixed", f"MIX_{self.message_id[1:17]}", [text, *files])


def word(text: str, charset: str) -> str:
    """A header's text as it may stand there: an encoded word (RFC 2047) where it is not ASCII."""
    if text.isascii():
        return text
    return f"=?{charset}?B?{base64.b64encode(text.encode(charset)).decode()}?="


def dated(when: datetime) -> str:
    """A Date field (RFC 5322) whatever the machine's language."""
    local = when.astimezone(SHANGHAI)
    return f"{DAYS[local.weekday()]}, {local.day:02} {MONTHS[local.month - 1]} {local:%Y %H:%M:%S} +0800"


def part(kind: str, data: bytes, *, disposition: str | None = None) -> str:
    lines = [f"Content-Type: {kind}", "Content-Transfer-Encoding: base64"]
    if disposition is not None:
        lines.append(f'Content-Disposition: attachment; filename="{disposition}"')
    encoded = base64.b64encode(data).decode()
    return "\r\n".join([*lines, "", *(encoded[at : at + 76] for at in range(0, len(encoded), 76)), ""])


def multipart(subtype: str, boundary: str, parts: Iterable[str]) -> str:
    inside = "".join(f"--{boundary}\r\n{each}\r\n" for each in parts)
    head = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'
    return f"{head}This is a multi-part message in MIME format.\r\n\r\n{inside}--{boundary}--\r\n"


class Writer:
    """Writes one mailbox's mail, the same at every start."""

    def __init__(self, box: Mailbox, owner: str) -> None:
        self.box = box
        self.owner = (owner, box.address)
        self.chooser = random.Random(f"{SEED}:{box.address}")
        self.now = box.clock.now().astimezone(SHANGHAI).replace(microsecond=0)
        self.ids: list[str] = []

    def moment(self, days: int) -> datetime:
        """A moment in office hours within the last `days`, the recent ones somewhat more likely; never ahead of now."""
        ago = 1 + int(days * self.chooser.random() ** 1.6)
        day = self.now - timedelta(days=ago)
        return day.replace(
            hour=self.chooser.randint(8, 19), minute=self.chooser.randrange(60), second=self.chooser.randrange(60)
        )

    def letter(self, lot: Lot, when: datetime) -> Letter:
        chooser = self.chooser
        subject, body = chooser.choice(lot.texts)
        outside = lot.texts in (BUSINESS, SUPPORT, JUNK) and chooser.random() < 0.7
        people = [each for each in (CUSTOMERS if outside else COLLEAGUES) if each[1] != self.box.address]
        other = chooser.choice(people)
        sender, receiver = (self.owner, other) if lot.sent else (other, self.owner)
        values: dict[str, object] = {
            "customer": chooser.choice(CUSTOMERS)[0],
            "number": chooser.randrange(10_000, 99_999),
            "amount": f"{chooser.randrange(1_000, 900_000):,}",
            "small": chooser.randrange(2, 30),
            "month": when.month,
            "writer": sender[0],
            "reader": receiver[0],
        }
        written = body.format(**values)
        gbk = chooser.random() < 0.2 and fits_gbk(written + sender[0] + receiver[0])
        message_id = f"<{chooser.randbytes(14).hex()}@{sender[1].partition('@')[2]}>"
        answers = chooser.choice(self.ids) if self.ids and subject.startswith(("Re:", "转发")) else None
        self.ids.append(message_id)
        letter = Letter(
            sender,
            receiver,
            subject.format(**values),
            written,
            when,
            message_id,
            charset="gbk" if gbk else "utf-8",
            mailer=chooser.choice(("QQMail 2.x", "Foxmail 7.2.25.312[cn]", "Apple Mail (2.3774)")),
            html=chooser.random() < 0.35,
            answers=answers,
        )
        if chooser.random() < lot.attached:
            name, kind = chooser.choice(ATTACHMENTS)
            data = chooser.randbytes(chooser.randrange(6_000, 45_000))
            letter.attachments.append((name.format(**values), kind, data))
        return letter

    def write(self, lot: Lot) -> None:
        """Put a lot's mails into its folder in the order they came; every ninth was moved in later."""
        self.box.add_folder(lot.folder)
        moments = sorted(self.moment(lot.days) for _ in range(lot.count))
        for index in range(8, len(moments), 9):
            moments[index], moments[index - 5] = moments[index - 5], moments[index]
        for when in moments:
            flags = set(lot.flags)
            if lot.sent or self.chooser.random() < lot.seen:
                flags.add("\\Seen")
            flags |= {flag for flag, share in SOME_FLAGS if self.chooser.random() < share}
            self.box.put(lot.folder, self.letter(lot, when).bytes(), when, flags)

    def write_odd(self) -> None:
        """What twenty years of mail programs leave behind; each must come over as it is (imap-quirks 65, 94, 95)."""
        for number, (folder, raw, flags) in enumerate(odd_mails(self)):
            self.box.put(folder, raw, self.now - timedelta(days=900 - 31 * number, hours=3), flags)
        letter = Letter(
            ("邮件系统", f"postmaster@{DOMAIN}"),
            self.owner,
            TWIN_SUBJECT,
            "请及时清理邮箱。",
            self.now,
            "<quota@corp.test>",
        )
        twin = replace(letter, when=self.now - timedelta(days=200)).bytes()
        for _ in range(2):  # the same bytes twice in one folder, and once more in another
            self.box.put("INBOX", twin, self.now - timedelta(days=200), ("\\Seen",))
        self.box.put(f"{ROOT}/项目", twin, self.now - timedelta(days=200))
        other = replace(letter, when=self.now - timedelta(days=100), body="容量已使用 85%。").bytes()
        self.box.put("INBOX", other, self.now - timedelta(days=100))  # another mail with the same Message-ID


SOME_FLAGS = (("\\Answered", 0.15), ("\\Flagged", 0.06), ("$Forwarded", 0.04), ("NonJunk", 0.03))


def fits_gbk(text: str) -> bool:
    try:
        text.encode("gbk")
    except UnicodeEncodeError:
        return False
    return True


def odd_mails(writer: Writer) -> list[tuple[str, bytes, tuple[str, ...]]]:
    """Folder, bytes and flags of the odd ones."""
    project = f"{ROOT}/项目"
    plain = b"From: wang.lei@huarui.example\r\nTo: ahing@corp.test\r\n"
    inner = plain + b"Subject: the forwarded one\r\nMessage-ID: <inner@huarui.example>\r\n\r\nold text\r\n"
    return [
        ("INBOX", plain + "Subject: 关于付款的说明\r\n\r\n请看附件。\r\n".encode("gbk"), ("\\Seen",)),  # raw GBK header
        ("INBOX", plain + b"Subject: no Message-ID and no Date\r\n\r\nnothing else\r\n", ()),
        ("INBOX", plain + b"Subject: no line end at the end\r\n\r\nthe last line", ("\\Seen", "\\Flagged")),
        ("INBOX", b"\r\nA mail without any header.\r\n", ()),
        ("INBOX", b"only one line, and no header either", ()),
        ("INBOX", plain + b"Subject: bare line feeds\n\nunix\nlines\n", ("\\Seen",)),
        (project, plain + b"Subject: binary\r\nContent-Type: application/octet-stream\r\n\r\n" + bytes(range(256)), ()),
        (project, plain + b"Subject: a long line\r\n\r\n" + b"0123456789" * 1_200 + b"\r\n", ("\\Seen",)),
        (
            project,
            b"From: <<<a@>\r\nSubject: =?unknown-8bit?B?xOO6ww==?=\r\nDate: not a date\r\nMessage-ID:\r\n"
            b"Content-Type: text/plain; charset=x-unknown\r\n\r\n\xc4\xe3\xba\xc3\r\n",
            ("\\Answered", "\\Seen"),
        ),
        (project, plain + b"Subject: inside\r\nContent-Type: message/rfc822\r\n\r\n" + inner, ("$Forwarded",)),
        (
            "INBOX",
            plain + b'Content-Type: multipart/mixed; boundary="x"\r\nSubject: cut off\r\n\r\n--x\r\n\r\nab',
            ("\\Seen",),
        ),
        (
            "INBOX",
            plain + b"Subject: marked to go\r\nMessage-ID: <gone@huarui.example>\r\n\r\nbye\r\n",
            ("\\Deleted", "\\Seen"),
        ),
    ]


def ordinary(inbox: int, sent: int, days: int, texts: Texts = OFFICE) -> tuple[Lot, ...]:
    return (
        Lot("INBOX", inbox, days, texts, seen=0.7, attached=0.1),
        Lot("Sent Messages", sent, days, texts, sent=True, attached=0.1),
    )


AHING = Setting(
    (
        Lot("INBOX", 62, 1_500, BUSINESS, seen=0.8, attached=0.15),
        Lot("Sent Messages", 48, 1_500, BUSINESS, sent=True, attached=0.2),
        Lot("Drafts", 4, 90, OFFICE, sent=True, flags=("\\Draft",)),
        Lot("Deleted Messages", 10, 60, OFFICE),
        Lot("Junk", 9, 40, JUNK, seen=0.1),
        Lot(f"{ROOT}/项目", 14, 1_200, BUSINESS),
        Lot(f"{ROOT}/项目/华东区 2023", 22, 1_100, BUSINESS, attached=0.3),
        Lot(f"{ROOT}/项目/R&D 合作", 13, 800, BUSINESS, attached=0.3),
        Lot(f'{ROOT}/项目/"重点" 客户', 8, 700, BUSINESS),
        Lot(f"{ROOT}/发票&报销", 15, 900, OFFICE, attached=0.5),
    ),
    window_days=WINDOW_DAYS,
    show_custom=False,
    imap_on=False,
    odd=True,
)
CALVIN = Setting(
    (*ordinary(30, 18, 700, BUSINESS), Lot("Junk", 3, 30, JUNK), Lot(f"{ROOT}/客户", 9, 500, BUSINESS, attached=0.3)),
    window_days=WINDOW_DAYS,
)
SETTINGS: dict[str, Setting] = {
    "mei": Setting(ordinary(14, 6, 400)),
    "ling": Setting((*ordinary(16, 9, 500), Lot(f"{ROOT}/团队", 5, 300, OFFICE)), show_custom=False),
    "ahing": AHING,
    "calvin": CALVIN,
    "fang": Setting(ordinary(12, 4, 300), window_days=WINDOW_DAYS, show_custom=False),
    "wei": Setting(ordinary(10, 5, 300)),
    "jun": Setting(ordinary(9, 3, 200), window_days=WINDOW_DAYS),
    "lan": Setting(ordinary(11, 6, 300)),
    "tao": Setting(ordinary(8, 3, 120), window_days=WINDOW_DAYS),
    "yan": Setting(ordinary(9, 3, 200)),
    "support": Setting(
        (
            Lot("INBOX", 28, 300, SUPPORT, seen=0.6, attached=0.15),
            Lot("Sent Messages", 9, 300, SUPPORT, sent=True),
            Lot("Junk", 3, 30, JUNK),
        )
    ),
    "sales": Setting(ordinary(15, 6, 250, BUSINESS), window_days=WINDOW_DAYS),
}


def fill(server: MailServer) -> None:
    """
    Put the sample organisation's mail and webmail settings into its mailboxes, made where they are missing.

    The same clock gives the same bytes. A mailbox that is filled twice holds everything twice.
    """
    for name, address in (*COLLEAGUES, *PUBLIC):
        box = server.mailbox(address) or server.add(address)
        setting = SETTINGS[address.partition("@")[0]]
        box.window_days, box.show_custom, box.imap_on = setting.window_days, setting.show_custom, setting.imap_on
        writer = Writer(box, name)
        for lot in setting.lots:
            writer.write(lot)
        if setting.odd:
            writer.write_odd()
