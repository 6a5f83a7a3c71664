"""What only a person can do in the admin console: said step by step, then checked."""
