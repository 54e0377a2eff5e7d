"""What takes back everything that was observed after an instant (H8), one file a noun; ``tables.py`` lists how."""
