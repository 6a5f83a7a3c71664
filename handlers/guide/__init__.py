"""What can be typed here, and what people are called: help, the greeting, nicknames."""
