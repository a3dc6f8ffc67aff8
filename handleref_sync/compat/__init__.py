"""Lets a project that was written for django-handleref 2.0 run on this package without a changed import.

``INSTALLED_APPS = [..., "handleref_sync.compat"]`` in place of ``"django_handleref"`` is the whole application. Where
django-handleref was imported but not listed, ``import handleref_sync.compat`` at the top of the settings does it.
"""

from handleref_sync.compat import alias

alias.install()
