"""The Django application."""

from __future__ import annotations

from typing import Any, ClassVar

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured


class HandleRefSyncConfig(AppConfig):
    name = "handleref_sync"
    verbose_name = "Synchronisation"
    default_auto_field = "django.db.models.BigAutoField"
    node_required: ClassVar[bool] = True
    """Whether it is an error that this database has no node ID."""

    def __init__(self, app_name: str, app_module: Any) -> None:
        # Django's own words would name a label that no setting contains. Once all is loaded, it is a test's registry.
        if not apps.apps_ready and {"handleref_sync", "django_handleref"} & set(apps.app_configs):
            raise ImproperlyConfigured(
                "INSTALLED_APPS lists the same application twice (handleref_sync.E006). Keep one of "
                '"handleref_sync" and "handleref_sync.compat", and take "django_handleref" out: '
                '"handleref_sync.compat" stands in its place.'
            )
        super().__init__(app_name, app_module)

    def ready(self) -> None:
        from handleref_sync import checks, versioning  # noqa: F401 - checks registers them
        from handleref_sync.capture import install
        from handleref_sync.replication import upgrade

        install.connect()
        upgrade.connect()  # after the columns are noted
        versioning.connect()
