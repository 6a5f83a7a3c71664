"""Who agrees: asked on a card, answered once, reminded, replaced when absent, and in need overridden."""
