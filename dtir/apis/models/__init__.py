"""Models as files: written, read, found by name or downloaded, and built."""
