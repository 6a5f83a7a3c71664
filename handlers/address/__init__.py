"""
A mailbox's addresses: renamed, with aliases, asked about after 90 days, looked for in every place that can hold one.
"""
