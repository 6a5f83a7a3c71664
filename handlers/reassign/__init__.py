"""A mailbox with its history goes from one member to another."""
