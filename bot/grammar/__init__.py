"""
What a typed line means: patterns in, a command and its values out, or what was expected instead.

Patterns are declared beside the handlers and compiled with lark (LALR):

    backup|copy {source} [to {target}] [because {reason:text}] [since {since:date}]

A plain word is typed as it stands (any case), `a|b` is either; `{field}` or `{field:type}` takes a value; groups in
`[ ]` may be left out and stand in any order among themselves. Types: `name` (one token, or anything in quotes), `word`
(the same, for things that are no names), `text` (the rest), `int`, `date`, `list` (names between commas), and `a|b|c`
(one of these). A pattern is Chinese when one of its words is.

Lines are matched by a small backtracking matcher instead of a lark grammar: without spaces
(`备份阿兴到support@原因离职`) where a token ends depends on which keywords may still follow, which no lexer can know.
The matcher tries every such end, keeps the reading that uses most keywords, then the one with the longest first values,
and remembers the furthest point it reached, which is what the reply speaks of.

Which reading wins, in words:
- A Chinese keyword ends the token before it and needs no space; a Latin keyword is a word of its own. Only keywords
  that may follow at that place divide a token. What is in quotes is never divided; a name that contains or is a keyword
  wants quotes.
- Inside a `text`, an optional group begins only behind a separator (`,` `;` `.` or a new line), or where its
  value is unmistakable: a date, a number, one of a fixed choice, or a tight list (`Inbox,Sent`, `收件箱、已发送`, or
  quoted). "because he goes to sales since monday" is all reason; "… since 2024-01-01" is a date. Groups after that
  one need no separator.
- A command with more fixed words at its start wins over one with fewer: `bin add …` is never `bin {address}`.
- A pattern that begins with a value (`{member} is also {nickname}`) is tried when no other one understands the line.
"""

from bot.grammar.attempt import clash
from bot.grammar.commands import CommandSpec, Grammar, NotUnderstood, Parsed
from bot.grammar.line import quoted
from bot.grammar.pattern import Field, FieldType, Pattern, PatternError, compile_pattern

__all__ = [
    "CommandSpec",
    "Field",
    "FieldType",
    "Grammar",
    "NotUnderstood",
    "Parsed",
    "Pattern",
    "PatternError",
    "clash",
    "compile_pattern",
    "quoted",
]
