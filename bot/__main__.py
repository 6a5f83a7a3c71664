"""`python -m bot` is the `exmail-bot` command."""

from bot.cli import main

raise SystemExit(main())
