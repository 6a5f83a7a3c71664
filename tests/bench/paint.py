"""`python -m tests.bench.paint`: how long the sandbox's page takes until something is painted; median and worst."""

from __future__ import annotations

import statistics

from tests.sandbox.page.world import Served
from tests.servers.chromium import browsing

TIMES = 20
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def main() -> None:
    """Each time in a browser that has nothing of it yet."""
    served = Served(seeded=True)
    took = []
    with browsing() as browser:
        for _ in range(TIMES):
            context = browser.new_context()
            page = context.new_page()
            page.goto(served.base)
            took.append(float(page.wait_for_function(PAINTED).json_value()))
            context.close()
    served.stop()
    print(f"first paint of {TIMES}: median {statistics.median(took):.0f} ms, worst {max(took):.0f} ms")


if __name__ == "__main__":
    main()
