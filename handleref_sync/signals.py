"""Signals of the library."""

from django.dispatch import Signal

changes_applied = Signal()
"""Sent after a page from a peer is committed, once a model: ``sender`` the model class, ``keys`` (list of str),
``node`` (the peer's ID), ``using`` (database alias). An applied change calls no ``save()``, so caches and search
indexes listen here."""
