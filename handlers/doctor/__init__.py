"""The bot's own set-up, looked at from the chat, and what only a real organisation tells."""
