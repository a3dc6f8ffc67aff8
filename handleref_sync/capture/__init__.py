"""Capture: database triggers that note every write, whoever makes it."""
