"""The simulated `/cgi-bin`: one file a family of calls; importing the package registers them all."""

from bot.sandbox.wecom import contacts, exmail, messages, publicmail

__all__ = ["contacts", "exmail", "messages", "publicmail"]
