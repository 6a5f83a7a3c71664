"""Mail out of the recycle bin while there is time, and what becomes of the mailbox that held it."""
