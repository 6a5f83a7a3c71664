"""A domain's records: read, planned, agreed to, written, watched until mail arrives, and looked at every day after."""
