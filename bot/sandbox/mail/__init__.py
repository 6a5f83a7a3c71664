"""A simulated Exmail IMAP server; its public face is `bot.sandbox.mailserver`."""
