"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig


class HandleRefSyncConfig(AppConfig):
    name = "handleref_sync"
    verbose_name = "Synchronisation"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from handleref_sync import checks  # noqa: F401 - registers them
        from handleref_sync.capture import install

        install.connect()
