"""A mail opened on the page: text of whatever bytes, attachments by name, never markup."""

from __future__ import annotations

from email.message import EmailMessage

from bot.clock import SystemClock
from bot.sandbox.mailserver import Message
from bot.sandbox.reading import TEXT_MAX, opened


def mail(raw: bytes) -> Message:
    """As the mail server keeps it."""
    return Message(uid=7, raw=raw, date=SystemClock().now(), flags=frozenset({"\\Seen"}))


def test_headers_text_and_attachments() -> None:
    """Encoded words are decoded, the plain text is taken before the HTML, files come by name, type and size."""
    letter = EmailMessage()
    letter["Subject"], letter["From"], letter["To"] = "报价", "阿兴 <ahing@corp.test>", "support@corp.test"
    letter.set_content("您好\n谢谢")
    letter.add_alternative("<p>您好</p>", subtype="html")
    letter.add_attachment(b"PK" * 50, maintype="application", subtype="zip", filename="合同.zip")
    shown = opened(mail(letter.as_bytes()))
    assert (shown["subject"], shown["text"].strip(), shown["was_html"]) == ("报价", "您好\n谢谢", False)
    assert shown["attachments"] == [{"name": "合同.zip", "type": "application/zip", "size_bytes": 100}]
    assert ["From", "阿兴 <ahing@corp.test>"] in shown["headers"]


def test_html_is_shown_as_its_words() -> None:
    """Scripts, styles and tags are left out; entities are read."""
    html = b"<html><style>p{}</style><script>alert(1)</script><p>One &amp; two</p><p>Three</p></html>"
    shown = opened(mail(b"Content-Type: text/html; charset=utf-8\r\n\r\n" + html))
    assert (shown["text"], shown["was_html"]) == ("One & two\nThree", True)


def test_whatever_its_bytes_a_mail_can_be_opened() -> None:
    """An unknown charset, a wrong one, raw bytes in a header, no headers at all, a text without an end."""
    wrong = "Content-Type: text/plain; charset={}\r\n\r\n"
    assert opened(mail(wrong.format("x-none").encode() + "你好".encode()))["text"] == "你好"
    assert opened(mail(wrong.format("us-ascii").encode() + "你好".encode("gb18030")))["text"] == "你好"
    assert opened(mail(b"Subject: \xff\xfe\r\n\r\nx"))["text"] == "x"
    assert opened(mail(b""))["text"] == ""
    long = opened(mail(b"\r\n" + b"x" * (TEXT_MAX + 1)))
    assert (len(long["text"]), long["cut"]) == (TEXT_MAX, True)
