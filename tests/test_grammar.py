"""Tables of what people type and what it means; both languages, with and without spaces."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.grammar import CommandSpec, Grammar, NotUnderstood, PatternError, clash, compile_pattern, quoted
from bot.grammar.attempt import STEPS_MAX, Attempt
from bot.grammar.line import Line
from bot.words import LANGUAGES

COMMANDS = {
    "backup": (
        "backup|copy {source} [to {target}] [because {reason:text}] [since {since:date}] [only {folders:list}] "
        "[without {without:word}]",
        "备份 {source} [到|给 {target}] [原因 {reason:text}] [自 {since:date}] [只要 {folders:list}] "
        "[不要 {without:word}]",
    ),
    "approve": ("approve|yes {approval_id:int}", "同意 {approval_id:int}"),
    "reject": ("reject {approval_id:int} [{reason:text}]", "拒绝 {approval_id:int} [{reason:text}]"),
    "override": (
        "override {approval_id:int} because {reason:text}",
        "强制 {approval_id:int} 原因 {reason:text}",
    ),
    "jobs": ("jobs", "任务|任务列表"),
    "job": ("job {job_id:int}", "任务 {job_id:int}"),
    "cancel": ("cancel {job_id:int}", "取消 {job_id:int}"),
    "retry": ("retry {job_id:int}", "重试 {job_id:int}"),
    "verify": ("verify {job_id:int}", "核对 {job_id:int}"),
    "language": ("language {language:en|zh}", "语言 {language:en|zh|中文|英文}"),
    "mailbox": ("mailbox {mailbox}", "邮箱 {mailbox}"),
    "my_mailbox": ("my mailbox", "我的邮箱"),
    "whoami": ("whoami", "who am i", "我是谁"),
    "help": ("help [{topic:text}]", "帮助 [{topic:text}]"),
    "addresses_import": ("addresses import", "导入地址|地址导入"),
    "bin": ("bin", "回收站"),
    "bin_item": ("bin {address}", "回收站 {address}"),
    "bin_add": ("bin add {address} deleted {deleted:date}", "回收站 登记 {address} 删除于 {deleted:date}"),
    "bin_date": ("bin date {address} {day:date}", "回收站 日期 {address} {day:date}"),
    "bin_let_go": ("bin let go {address}", "回收站 放弃 {address}"),
    "reassign": (
        "reassign {address} to {owner} [because {reason:text}]",
        "转移 {address} 给|到 {owner} [原因 {reason:text}]",
    ),
    "public": ("public {mailbox}", "公共邮箱 {mailbox}"),
    "public_create": (
        "public create {address} [{title}] for {members:list}",
        "公共邮箱 新建 {address} [{title}] 给 {members:list}",
    ),
    "public_add": ("public add {members:list} to {mailbox}", "公共邮箱 添加 {members:list} 到 {mailbox}"),
    "what_can_open": ("what can {member} open", "{0}"),
}
EXAMPLES = {"backup": {"en": "backup ahing to support@ because he leaves", "zh": "备份 阿兴 到 support@ 原因 离职"}}
SPECS = [
    CommandSpec(name, tuple(each for each in patterns if each != "{0}"), EXAMPLES.get(name, {}))
    for name, patterns in COMMANDS.items()
]
GRAMMAR = Grammar(SPECS)

UNDERSTOOD = [
    # backup, English
    ("backup ahing", "backup", {"source": "ahing"}),
    ("backup ahing to support@", "backup", {"source": "ahing", "target": "support@"}),
    (
        "backup ahing to support@ because he leaves",
        "backup",
        {"source": "ahing", "target": "support@", "reason": "he leaves"},
    ),
    (
        "backup ahing because he leaves, to support@",
        "backup",
        {"source": "ahing", "reason": "he leaves", "target": "support@"},
    ),
    (
        "backup ahing because he goes to sales since monday",
        "backup",
        {"source": "ahing", "reason": "he goes to sales since monday"},
    ),
    (
        "backup ahing because he goes to sales since 2024-01-01",
        "backup",
        {"source": "ahing", "reason": "he goes to sales", "since": date(2024, 1, 1)},
    ),
    (
        "backup ahing to support@ because he leaves without notice",
        "backup",
        {"source": "ahing", "target": "support@", "reason": "he leaves without notice"},
    ),
    (
        "backup ahing to support@ because he leaves, without Junk",
        "backup",
        {"source": "ahing", "target": "support@", "reason": "he leaves", "without": "Junk"},
    ),
    (
        "backup ahing to support@ because he leaves since 2024-01-01 only Inbox,Sent without Junk",
        "backup",
        {
            "source": "ahing",
            "target": "support@",
            "reason": "he leaves",
            "since": date(2024, 1, 1),
            "folders": ["Inbox", "Sent"],
            "without": "Junk",
        },
    ),
    (
        "backup ahing because he leaves only Inbox,Sent",
        "backup",
        {"source": "ahing", "reason": "he leaves", "folders": ["Inbox", "Sent"]},
    ),
    (
        "backup ahing because he only reads mail",
        "backup",
        {"source": "ahing", "reason": "he only reads mail"},
    ),
    (
        "backup ahing\nto support@\nbecause he leaves\nonly Inbox",
        "backup",
        {"source": "ahing", "target": "support@", "reason": "he leaves", "folders": ["Inbox"]},
    ),
    (
        "backup ahing without Junk only Sent Messages, Inbox since 2024/1/1 to support@",
        "backup",
        {
            "source": "ahing",
            "without": "Junk",
            "folders": ["Sent Messages", "Inbox"],
            "since": date(2024, 1, 1),
            "target": "support@",
        },
    ),
    (
        'backup "Li Lei" to archive@ because "to be, since 2024-01-01"',
        "backup",
        {"source": "Li Lei", "target": "archive@", "reason": "to be, since 2024-01-01"},
    ),
    (
        "backup O'Brien to 'the archive' because it's John's",
        "backup",
        {"source": "O'Brien", "target": "the archive", "reason": "it's John's"},
    ),
    (
        'backup ahing because he said "to sales" twice',
        "backup",
        {"source": "ahing", "reason": 'he said "to sales" twice'},
    ),
    ("backup ahing because why not?", "backup", {"source": "ahing", "reason": "why not?"}),
    ("backup ahing because: he   leaves.", "backup", {"source": "ahing", "reason": "he leaves"}),
    (
        "Backup ahing to support@corp.com. Because he leaves.",
        "backup",
        {"source": "ahing", "target": "support@corp.com", "reason": "he leaves"},
    ),
    ('backup "to" to support@', "backup", {"source": "to", "target": "support@"}),
    ("copy ahing to support@", "backup", {"source": "ahing", "target": "support@"}),
    ("BackUp Ahing TO Support@", "backup", {"source": "Ahing", "target": "Support@"}),
    ("backup 阿兴 to support@", "backup", {"source": "阿兴", "target": "support@"}),
    ("backup 阿兴to support@", "backup", {"source": "阿兴", "target": "support@"}),
    ("backup tomato to total@", "backup", {"source": "tomato", "target": "total@"}),
    ("backup to-do@ to support@", "backup", {"source": "to-do@", "target": "support@"}),
    # backup, Chinese
    ("备份ahing到support@", "backup", {"source": "ahing", "target": "support@"}),
    ("备份 ahing 到 support@", "backup", {"source": "ahing", "target": "support@"}),
    ("备份阿兴到support@", "backup", {"source": "阿兴", "target": "support@"}),
    ("备份阿兴到support@原因离职", "backup", {"source": "阿兴", "target": "support@", "reason": "离职"}),
    ("备份 阿兴，到 support@，原因：离职。", "backup", {"source": "阿兴", "target": "support@", "reason": "离职"}),
    (
        "备份阿兴到support@。原因：他离职，谢谢！",
        "backup",
        {"source": "阿兴", "target": "support@", "reason": "他离职，谢谢"},
    ),
    ("备份“张 三”到support@", "backup", {"source": "张 三", "target": "support@"}),
    ("备份”张 三”到support@", "backup", {"source": "张 三", "target": "support@"}),
    ('备份"张到三"给 support@', "backup", {"source": "张到三", "target": "support@"}),
    ("备份「李 雷」到『客 服』", "backup", {"source": "李 雷", "target": "客 服"}),
    ("备份‘李 雷’到客服", "backup", {"source": "李 雷", "target": "客服"}),
    ("备份张到明到support@", "backup", {"source": "张到明", "target": "support@"}),
    ("备份刘自强到support@", "backup", {"source": "刘自强", "target": "support@"}),
    ("备份 给力 到 support@", "backup", {"source": "给力", "target": "support@"}),
    ("备份 张到 到 support@", "backup", {"source": "张到", "target": "support@"}),
    (
        "备份阿兴到support@原因调到销售",
        "backup",
        {"source": "阿兴", "target": "support@", "reason": "调到销售"},
    ),
    (
        "备份阿兴原因调到销售自2024年1月1日到support@",
        "backup",
        {"source": "阿兴", "reason": "调到销售", "since": date(2024, 1, 1), "target": "support@"},
    ),
    ("备份阿兴原因自愿离职", "backup", {"source": "阿兴", "reason": "自愿离职"}),
    (
        "备份阿兴只要收件箱、已发送不要垃圾邮件到support@",
        "backup",
        {"source": "阿兴", "folders": ["收件箱", "已发送"], "without": "垃圾邮件", "target": "support@"},
    ),
    (
        "备份阿兴原因离职只要收件箱、已发送",
        "backup",
        {"source": "阿兴", "reason": "离职", "folders": ["收件箱", "已发送"]},
    ),
    ("备份ａｈｉｎｇ＠　到　ｓｕｐｐｏｒｔ＠", "backup", {"source": "ahing@", "target": "support@"}),
    # approvals, jobs
    ("approve 42", "approve", {"approval_id": 42}),
    ("Approve #42!", "approve", {"approval_id": 42}),
    ("approve42", "approve", {"approval_id": 42}),
    ("yes 42", "approve", {"approval_id": 42}),
    ("同意42", "approve", {"approval_id": 42}),
    ("同意 ４２", "approve", {"approval_id": 42}),
    ("同意第42号", "approve", {"approval_id": 42}),
    ("reject 42", "reject", {"approval_id": 42}),
    ("reject 42 too early", "reject", {"approval_id": 42, "reason": "too early"}),
    ("reject 42, too early", "reject", {"approval_id": 42, "reason": "too early"}),
    ("拒绝42太急了", "reject", {"approval_id": 42, "reason": "太急了"}),
    ("拒绝 42 3天后再说", "reject", {"approval_id": 42, "reason": "3天后再说"}),
    ("override 42 because mei is away", "override", {"approval_id": 42, "reason": "mei is away"}),
    ("强制42原因休假", "override", {"approval_id": 42, "reason": "休假"}),
    ("jobs", "jobs", {}),
    ("任务", "jobs", {}),
    ("job 12", "job", {"job_id": 12}),
    ("任务12", "job", {"job_id": 12}),
    ("cancel 12", "cancel", {"job_id": 12}),
    ("取消12", "cancel", {"job_id": 12}),
    ("retry 12", "retry", {"job_id": 12}),
    ("重试 12", "retry", {"job_id": 12}),
    ("verify 12", "verify", {"job_id": 12}),
    ("核对12", "verify", {"job_id": 12}),
    # looking up
    ("language en", "language", {"language": "en"}),
    ("language ZH", "language", {"language": "zh"}),
    ("语言中文", "language", {"language": "中文"}),
    ("mailbox ahing", "mailbox", {"mailbox": "ahing"}),
    ("邮箱阿兴", "mailbox", {"mailbox": "阿兴"}),
    ("my mailbox", "my_mailbox", {}),
    ("my   mailbox", "my_mailbox", {}),
    ("我的邮箱", "my_mailbox", {}),
    ("whoami", "whoami", {}),
    ("whoami?", "whoami", {}),
    ("我是谁？", "whoami", {}),
    ("help", "help", {}),
    ("help backup", "help", {"topic": "backup"}),
    ("help bin add", "help", {"topic": "bin add"}),
    ("帮助备份", "help", {"topic": "备份"}),
    ("addresses import", "addresses_import", {}),
    ("导入地址", "addresses_import", {}),
    # the bin, reassign, public mailboxes
    ("bin", "bin", {}),
    ("bin ahing@", "bin_item", {"address": "ahing@"}),
    ("bin lettie", "bin_item", {"address": "lettie"}),
    ("bin add ahing@ deleted 2026-11-01", "bin_add", {"address": "ahing@", "deleted": date(2026, 11, 1)}),
    ("回收站登记ahing@删除于2026年11月1日", "bin_add", {"address": "ahing@", "deleted": date(2026, 11, 1)}),
    ("bin date ahing@ 2026-12-15", "bin_date", {"address": "ahing@", "day": date(2026, 12, 15)}),
    ("bin let go ahing@", "bin_let_go", {"address": "ahing@"}),
    ("回收站放弃ahing@", "bin_let_go", {"address": "ahing@"}),
    ("回收站ahing@", "bin_item", {"address": "ahing@"}),
    (
        "reassign ahing@ to calvin because he takes over",
        "reassign",
        {"address": "ahing@", "owner": "calvin", "reason": "he takes over"},
    ),
    ("转移 ahing@ 给 calvin 原因 接手", "reassign", {"address": "ahing@", "owner": "calvin", "reason": "接手"}),
    ("转移ahing@给卡尔文原因接手", "reassign", {"address": "ahing@", "owner": "卡尔文", "reason": "接手"}),
    (
        'public create support@ "Support" for ahing, calvin, dept:Sales, tag:oncall',
        "public_create",
        {"address": "support@", "title": "Support", "members": ["ahing", "calvin", "dept:Sales", "tag:oncall"]},
    ),
    (
        'public create support@ for "Li Lei", calvin',
        "public_create",
        {"address": "support@", "members": ["Li Lei", "calvin"]},
    ),
    (
        "公共邮箱新建support@“客 服”给阿兴、卡尔文，tag:值班",
        "public_create",
        {"address": "support@", "title": "客 服", "members": ["阿兴", "卡尔文", "tag:值班"]},
    ),
    ("public support@", "public", {"mailbox": "support@"}),
    ("public add ahing, mei to support@", "public_add", {"members": ["ahing", "mei"], "mailbox": "support@"}),
    ("what can ahing open?", "what_can_open", {"member": "ahing"}),
    # around the command
    ("/backup ahing", "backup", {"source": "ahing"}),
    ("@Exmail-bot backup ahing", "backup", {"source": "ahing"}),
    ("@邮箱助手\u2005备份 阿兴", "backup", {"source": "阿兴"}),
    ("@exmail-bot备份阿兴", "backup", {"source": "阿兴"}),
    ("  backup   ahing .", "backup", {"source": "ahing"}),
    ("`backup ahing to support@`", "backup", {"source": "ahing", "target": "support@"}),
    ("“备份 阿兴”", "backup", {"source": "阿兴"}),
    ("please backup ahing", "backup", {"source": "ahing"}),
    ("请帮我备份阿兴到support@", "backup", {"source": "阿兴", "target": "support@"}),
    ("\ufeffbackup\u00a0ahing\u200b", "backup", {"source": "ahing"}),
]


@pytest.mark.parametrize(("line", "command", "args"), UNDERSTOOD, ids=[each[0] for each in UNDERSTOOD])
def test_a_line_means(line, command, args):
    parsed = GRAMMAR.parse(line)
    assert (parsed.command, parsed.args) == (command, args)
    assert [type(value) for value in parsed.args.values()] == [type(value) for value in args.values()]


@pytest.mark.parametrize(
    ("line", "language"), [("backup 阿兴", "en"), ("备份ahing", "zh"), ("whoami", "en"), ("同意42", "zh")]
)
def test_the_language_is_the_patterns(line, language):
    assert GRAMMAR.parse(line).language == language


DATES = [
    ("2024-01-01", date(2024, 1, 1)),
    ("2024/1/1", date(2024, 1, 1)),
    ("2024.1.31", date(2024, 1, 31)),
    ("2024年1月1日", date(2024, 1, 1)),
    ("2024年1月", date(2024, 1, 1)),
    ("2024年12月31号起", date(2024, 12, 31)),
    ("2024-01", date(2024, 1, 1)),
    ("２０２４－０２－２９", date(2024, 2, 29)),
    ("2023-02-29", None),
    ("2024-13-01", None),
    ("0000-01-01", None),
    ("2024", None),
    ("monday", None),
    ("2024-01-011", None),
    ("2024-01/02", None),
    ("2024-01-01x", None),
]


@pytest.mark.parametrize(("typed", "meant"), DATES)
def test_dates(typed, meant):
    if meant is not None:
        assert GRAMMAR.parse(f"bin date ahing@ {typed}").args["day"] == meant
        return
    with pytest.raises(NotUnderstood) as caught:
        GRAMMAR.parse(f"bin date ahing@ {typed}")
    assert caught.value.kind == "value"
    assert caught.value.words().text("en").startswith(f"`{typed}` is not a date like")


NOT_UNDERSTOOD = [
    # line, kind, command, expected, missing, suggestion
    ("backup", "incomplete", "backup", ("source",), "source", None),
    ("备份", "incomplete", "backup", ("source",), "source", None),
    ("backup to support@", "incomplete", "backup", ("source",), "source", None),
    ("备份到support@", "incomplete", "backup", ("source",), "source", None),
    ("备份给力到support@", "incomplete", "backup", ("source",), "source", None),
    ("backup ahing to", "incomplete", "backup", ("target",), "target", None),
    ("备份阿兴到", "incomplete", "backup", ("target",), "target", None),
    ("backup ahing to because he leaves", "incomplete", "backup", ("target",), "target", None),
    ("backup ahing because", "incomplete", "backup", ("reason",), "reason", None),
    ("backup ahing because, to support@", "incomplete", "backup", ("reason",), "reason", None),
    ("backup ahing since monday", "value", "backup", ("since",), None, None),
    ("approve", "incomplete", "approve", ("approval_id",), "approval_id", None),
    ("approve soon", "value", "approve", ("approval_id",), None, None),
    ("approve 42x", "value", "approve", ("approval_id",), None, None),
    ("approve 9999999999999999999999", "value", "approve", ("approval_id",), None, None),
    ("approve 42 now", "incomplete", "approve", (), None, None),
    ("language fr", "value", "language", ("language",), None, None),
    ("reassign ahing@", "incomplete", "reassign", ("to owner",), "owner", None),
    ("reassign ahing@ calvin", "incomplete", "reassign", ("to owner",), "owner", "reassign ahing@ to calvin"),
    ("转移ahing@", "incomplete", "reassign", ("给 owner",), "owner", None),
    ("bin add", "incomplete", "bin_add", ("address",), "address", None),
    ("bin add ahing@", "incomplete", "bin_add", ("deleted deleted",), "deleted", None),
    (
        "bin add ahing@ deletd 2026-11-01",
        "incomplete",
        "bin_add",
        ("deleted deleted",),
        "deleted",
        "bin add ahing@ deleted 2026-11-01",
    ),
    ("回收站登记ahing@删除于明天", "value", "bin_add", ("deleted",), None, None),
    ("what can ahing", "incomplete", "what_can_open", ("open",), None, None),
    ("my", "incomplete", "my_mailbox", ("mailbox",), None, None),
    ("public creat support@ for mei", "incomplete", "public_create", None, None, "public create support@ for mei"),
    ("备份 ahing to support@", "incomplete", "backup", None, None, "备份 ahing 到 support@"),
    ("backup ahing 原因 离职", "incomplete", "backup", None, None, "backup ahing because 离职"),
    ("备份阿兴，离职", "incomplete", "backup", None, None, "备份阿兴 到 离职"),
    ("备份阿兴，他要离职 了", "incomplete", "backup", None, None, "备份阿兴 原因 他要离职 了"),
    ("backup ahing,calvin to support@", "incomplete", "backup", None, None, None),
    # no such verb
    ("", "unknown", None, (), None, None),
    (" 。", "unknown", None, (), None, None),
    ("good morning", "unknown", None, (), None, None),
    ("早上好", "unknown", None, (), None, None),
    ("公共文件在哪里", "unknown", None, (), None, None),
    ("bakup ahing to support@", "unknown", "backup", (), None, "backup ahing to support@"),
    ("backpu ahing", "unknown", "backup", (), None, "backup ahing"),
    ("bakup", "unknown", "backup", (), None, "backup"),
    ("aprove 42", "unknown", "approve", (), None, "approve 42"),
    ("jbo 12", "unknown", "job", (), None, "job 12"),
    ("mailbx ahing", "unknown", "mailbox", (), None, "mailbox ahing"),
    ("pubic create support@ for mei", "unknown", "public_create", (), None, "public create support@ for mei"),
    ("备分ahing到support@", "unknown", "backup", (), None, "备份 ahing到support@"),
    ("備份阿兴", "unknown", "backup", (), None, "备份 阿兴"),
    ("hello, could you backup ahing to support@", "unknown", "backup", (), None, "backup ahing to support@"),
    ("你好我想备份阿兴到support@", "unknown", "backup", (), None, "备份阿兴到support@"),
]


@pytest.mark.parametrize(
    ("line", "kind", "command", "expected", "missing", "suggestion"), NOT_UNDERSTOOD, ids=[e[0] for e in NOT_UNDERSTOOD]
)
def test_a_line_that_is_almost_right(line, kind, command, expected, missing, suggestion):
    with pytest.raises(NotUnderstood) as caught:
        GRAMMAR.parse(line)
    error = caught.value
    assert (error.kind, error.command, error.suggestion) == (kind, command, suggestion)
    if expected is not None:
        assert (error.expected, error.missing) == (expected, missing)
    for language in LANGUAGES:
        assert error.words().text(language)


def test_a_suggestion_can_be_typed():
    """What the bot offers must work, or say what else it lacks."""
    for line, *_, suggestion in NOT_UNDERSTOOD:
        if suggestion is not None and suggestion != "backup":
            assert GRAMMAR.parse(suggestion), line


REPLIES = [
    (
        "backup ahing to",
        "After `backup ahing to` I expected an address. For example: `backup ahing to support@ because he leaves`",
    ),
    (
        "backup ahing support@",
        "After `backup ahing` I did not expect `support@`. Did you mean `backup ahing to support@`?",
    ),
    (
        "backup ahing becuase he leaves",
        "After `backup ahing` I did not expect `becuase`. Did you mean `backup ahing because he leaves`?",
    ),
    ("approve 42 now", "`approve 42` is all I need; I do not understand `now`. For example: `approve APPROVAL_ID`"),
    ("language fr", "`fr` is not one of these: en, zh. For example: `language en|zh`"),
    ("备份阿兴到", "“备份阿兴到”之后应该是邮箱地址。例如：备份 阿兴 到 support@ 原因 离职"),
    (
        "回收站登记ahing@删除于明天",
        "“明天”不是日期（如 2024-01-31 或 2024年1月31日）。例如：回收站 登记 ADDRESS 删除于 DELETED",
    ),
    ("good morning", "I do not understand `good morning`. Type `help` to see what I can do."),
    ("备分阿兴", "我不明白“备分阿兴”。您是指“备份 阿兴”吗？"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "reply"), REPLIES)
def test_the_reply(line, reply):
    with pytest.raises(NotUnderstood) as caught:
        GRAMMAR.parse(line)
    assert caught.value.words().text(caught.value.language) == reply


def test_several_things_were_possible():
    grammar = Grammar([CommandSpec("backup", ("backup {source} [to {target}] [because {reason:text}]",))])
    with pytest.raises(NotUnderstood) as caught:
        grammar.parse("backup ahing , , 'x' 'y'")
    assert caught.value.expected == ("to target", "because reason")
    assert caught.value.suggestion == "backup ahing because 'x' 'y'"
    caught.value.suggestion = None
    assert str(caught.value.words()) == (
        "After `backup ahing` I expected `to` and an address, or `because` and a reason. "
        "For example: `backup SOURCE [to TARGET] [because REASON]`"
    )


def test_right_words_are_not_replaced():
    """A wrong date in one command never makes the bot offer another one."""
    grammar = Grammar(
        [CommandSpec("add", ("bin add {address} on {day:date}",)), CommandSpec("bad", ("bin bad {address:text}",))]
    )
    with pytest.raises(NotUnderstood) as caught:
        grammar.parse("bin add ahing@ on monday")
    assert (caught.value.kind, caught.value.command, caught.value.suggestion) == ("value", "add", None)


def test_chinese_verbs_that_look_alike_are_listed():
    """One wrong character of two says nothing about which verb was meant."""
    grammar = Grammar([CommandSpec("backup", ("备份 {source}",)), CommandSpec("record", ("备案 {domain}",))])
    with pytest.raises(NotUnderstood) as caught:
        grammar.parse("备分阿兴")
    assert set(caught.value.close) == {"备份", "备案"}
    assert caught.value.suggestion is None
    assert caught.value.words().text("zh") == "我不明白“备分阿兴”。相近的指令：备份、备案。"


def test_more_fixed_words_win_and_words_too_many_give_way():
    grammar = Grammar([CommandSpec("one", ("备份 {source} [到 {target}]",)), CommandSpec("all", ("备份列表",))])
    assert grammar.parse("备份列表").command == "all"
    assert grammar.parse("备份列表员到support@").args == {"source": "列表员", "target": "support@"}


@pytest.mark.parametrize(
    "source",
    [
        "",
        "{source} {target} backup",
        "{source}",
        "{source} [is also] {target}",
        "[backup]",
        "backup {a} {a}",
        "backup {a} [to {a}]",
        "backup {reason:text} {b}",
        "backup {reason:text} [{b}]",
        "backup [for {members:list} {b}]",
        "backup {a:number}",
        "backup {a:choice}",
        "backup {a",
        "backup [[to {a}]]",
        "backup {A}",
        "backup |",
    ],
)
def test_a_pattern_that_cannot_be(source):
    with pytest.raises(PatternError):
        compile_pattern(source)


def test_a_pattern_reads_well():
    assert compile_pattern("backup|copy {source}  [to {target}] [x {n:a|b}]").usage() == (
        "backup SOURCE [to TARGET] [x a|b]"
    )
    assert compile_pattern("备份 {source}").language == "zh"
    assert compile_pattern("backup {source}").language == "en"
    assert compile_pattern("公共邮箱 新建|创建 {address}").leads == ("公共邮箱新建", "公共邮箱创建")


@pytest.mark.parametrize(
    ("one", "other", "line"),
    [
        ("job {job_id:int}", "job {name}", "job 7"),
        ("bin", "bin [{address}]", "bin"),
        ("show|list {a}", "list {b} [to {c}]", "list x1"),
        ("bin {address}", "bin add {address}", None),
        ("bin", "bin {address}", None),
        ("help {topic:text}", "help login", None),
        ("job {job_id:int}", "job {day:date}", None),
    ],
)
def test_patterns_that_clash(one, other, line):
    assert clash(compile_pattern(one), compile_pattern(other)) == line


def refusal(line: str) -> NotUnderstood | None:
    """The answer to a line that is not understood; any other exception is the test's failure."""
    try:
        GRAMMAR.parse(line)
    except NotUnderstood as error:
        return error
    return None


@settings(max_examples=200)
@given(st.text(max_size=80))
def test_any_text_is_understood_or_answered(text):
    if error := refusal(text):
        assert all(error.words().text(language) for language in LANGUAGES)


PIECES = """
    backup bakup to because since only without public create add approve bin for deleted open what can
    备份 到 给 原因 自 只要 不要 公共邮箱 新建 登记 删除于 同意 拒绝
    “ ” " ' 「 」 ， 、 。 ： , ; : . @ / ahing 阿兴 support@ 42 2024-01-01 2024年1月1日 Inbox,Sent {x} {
"""


@settings(max_examples=400)
@given(st.lists(st.sampled_from([*PIECES.split(), " ", " ", "\n"]), max_size=16), st.sampled_from(["", " "]))
def test_any_mixture_of_our_words_is_understood_or_answered(pieces, glue):
    if error := refusal(glue.join(pieces)):
        assert all(error.words().text(language) for language in LANGUAGES)
        if error.kind == "incomplete" and error.suggestion:
            assert GRAMMAR.parse(error.suggestion)


@settings(max_examples=300)
@given(st.text(min_size=1, max_size=20), st.sampled_from(["backup {} to {}", "备份{}到{}", "备份 {} 到 {}。"]))
def test_quoting_round_trip(name, form):
    """Whatever a mailbox is called, its quoted name is read as exactly that."""
    try:
        written = quoted(name)
    except ValueError:
        assert sum(mark in name for mark in '"”“’‘」「』『') >= 4
        return
    assert GRAMMAR.parse(form.format(written, written)).args == {"source": name, "target": name}


NAMES = st.text("abcxyz0189._-", min_size=1, max_size=12).filter(lambda name: name[0].isalnum() and name[-1].isalnum())


@settings(max_examples=200)
@given(NAMES, NAMES, st.text("离职调岗休假张三", min_size=1, max_size=8))
def test_spaces_do_not_matter_between_chinese_and_latin(source, target, reason):
    args = {"source": f"{source}@", "target": target, "reason": reason}
    for space in ("", " ", "\u3000", "  "):
        pieces = ["备份", f"{source}@", "到", target, "原因", reason]
        assert GRAMMAR.parse(space.join(pieces)).args == args


@settings(max_examples=100)
@given(st.permutations(["to support@", "since 2024-01-01", "only Inbox, Sent", "without Junk"]))
def test_groups_stand_in_any_order(groups):
    assert GRAMMAR.parse(" ".join(["backup ahing", *groups, "because he leaves"])).args == {
        "source": "ahing",
        "target": "support@",
        "since": date(2024, 1, 1),
        "folders": ["Inbox", "Sent"],
        "without": "Junk",
        "reason": "he leaves",
    }


@pytest.mark.parametrize(
    "line",
    [
        "备份" + "到" * 1000,
        "备份" + "到a" * 700,
        "备份" + "给原因自只要不要" * 200,
        "backup a" + " to b because c" * 80,
        "backup a because " + "x, to y, since 2024-01-01 only a,b " * 40,
        "备份a原因x" + "，到b，自2024-01-01，只要a、b" * 60,
        "backup a only " + "b to c because d without e only " * 60,
        "公共邮箱新建" + "给a" * 500,
    ],
    ids=lambda line: line[:12],
)
def test_a_hostile_line_costs_little(line):
    """Counted in steps of the matcher, not in seconds; the bound itself is a last resort nobody should meet."""
    for spec in SPECS:
        for pattern in spec.patterns:
            assert Attempt(Line(line), compile_pattern(pattern)).steps < STEPS_MAX / 4


def test_the_bound_on_steps_holds(monkeypatch):
    monkeypatch.setattr("bot.grammar.attempt.STEPS_MAX", 3)
    attempt = Attempt(Line("backup a to b because c"), compile_pattern("backup {a} [to {b}] [because {c:text}]"))
    assert attempt.best is None
    assert attempt.steps < 40
