"""Groups, seats, frozen mailboxes, and who can open what."""
