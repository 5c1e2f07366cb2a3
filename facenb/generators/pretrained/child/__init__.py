"""A program of its own, run as this folder: `__main__` says what it does. Nothing imports it."""
