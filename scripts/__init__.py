"""What maintainers run to make what ships: `python -m scripts.NAME`."""
