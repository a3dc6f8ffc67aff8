"""The application under its other entry: same name, label, tables, templates and commands."""

from __future__ import annotations

from handleref_sync import apps as application  # a class of its name here would be a second candidate for Django


class CompatConfig(application.HandleRefSyncConfig):
    node_required = False

    def ready(self) -> None:
        super().ready()
        from handleref_sync.compat import checks  # noqa: F401 - registers them
