"""Public mailboxes: as they are, made, changed, ended; their client passwords; a test mail sent from one."""
