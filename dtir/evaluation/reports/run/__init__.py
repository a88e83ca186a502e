"""One training told on one page: what it was, what it measured, and how it went."""
