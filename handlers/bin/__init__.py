"""
邮箱回收站: the book of what lies there and until when, what goes in by our own doing, a mailbox made public or deleted.
"""
