"""Stamping, the feed, and the applier: from captured writes to changes and back."""
