"""`make soak`: a copy killed with SIGKILL again and again, at other moments each time, and compared in the end."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.mail.test_killed import killed_and_finished
from tests.servers.dovecot import PROFILES, Dovecot

KILLS_A_ROUND = 10


def main() -> int:
    """Print the tally; an error ends it at once and shows what was found."""
    parser = argparse.ArgumentParser("tests.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how many to try in all (100)")
    wanted = parser.parse_args().kills
    killed = tried = 0
    with tempfile.TemporaryDirectory(prefix="exmail-bot-soak-") as folder:
        server = Dovecot(Path(folder) / "dovecot")
        server.folder.mkdir()
        Path(folder).chmod(0o755)
        try:
            server.start()
            while tried < wanted:
                for profile in PROFILES:
                    killed += killed_and_finished(server, Path(folder), profile, seed=tried, kills=KILLS_A_ROUND)
                    tried += KILLS_A_ROUND
                    print(f"{tried} tried, {killed} fell into a copy: 0 lost, 0 doubled, all equal", flush=True)
        finally:
            server.stop()
    return 0 if killed else 1


if __name__ == "__main__":
    raise SystemExit(main())
