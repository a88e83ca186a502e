"""Pictures as files and arrays: reading, writing, tiles, self-ensemble."""
