"""Config files: reading, locating and checking them."""
