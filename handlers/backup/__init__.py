"""The history of a mailbox copied into a public one, compared and receipted."""
