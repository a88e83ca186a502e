"""One picture restored: what is wished, the passes, the network in tiles, and what was done."""
