"""Signals of the library."""

from django.dispatch import Signal

changes_applied = Signal()
"""Sent after a page from a peer is committed, once a model: ``sender`` the model class, ``keys`` (list of str),
``node`` (the peer's ID), ``using`` (database alias). An applied change calls no ``save()``, so caches and search
indexes listen here."""

files_named = Signal()
"""Sent after a page from a peer is committed, once a model that has files: ``sender`` the model class, ``names``
(list of (field, name of a file), each once), ``node`` (the peer's ID), ``using`` (database alias). Rows travel and
the files that they name do not; whoever moves files by other means learns here which ones a peer has named."""
