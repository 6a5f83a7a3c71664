"""
Two mailboxes and the mail between them: how to get in, what people are told, what a receipt holds, the comparison
later.
"""
