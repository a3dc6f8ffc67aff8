"""The two time fields of HandleRefModel, usable on any model; and the one that holds keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _


class _HandleRefDateTimeField(models.DateTimeField):  # type: ignore[type-arg]
    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """Migrations name the public module: where the class lives inside the library must not reach them.

        All paths under which a migration imports the class give this one, so none of them looks like a change.
        """
        name, path, args, kwargs = super().deconstruct()
        return name, path.replace(f"{__name__}.", "handleref_sync.models."), args, kwargs


class CreatedDateTimeField(_HandleRefDateTimeField):
    """Set once, at the first save. ``field.auto_now_add = False`` at run time lets a value of your own stand."""

    def __init__(self, verbose_name: Any = None, name: str | None = None, **kwargs: Any) -> None:
        kwargs["auto_now_add"] = True
        super().__init__(verbose_name or _("Created"), name, **kwargs)


class UpdatedDateTimeField(_HandleRefDateTimeField):
    """Set at every save. ``field.auto_now = False`` at run time lets a value of your own stand."""

    def __init__(self, verbose_name: Any = None, name: str | None = None, **kwargs: Any) -> None:
        kwargs["auto_now"] = True
        super().__init__(verbose_name or _("Updated"), name, **kwargs)


class KeyField(models.TextField):  # type: ignore[type-arg]
    """A text that is compared byte by byte and can be indexed, on every database.

    MariaDB and MySQL index a text only up to a length, and compare it by a collation to which ``bob`` and ``BOB`` are
    the same. There `max_length` counts, and one that is longer is refused.
    """

    def db_type(self, connection: Any) -> str | None:
        if connection.vendor != "mysql":
            return super().db_type(connection)
        return f"varchar({self.max_length}) CHARACTER SET utf8mb4 COLLATE {binary_collation(connection)}"


def binary_collation(connection: Any) -> str:
    """The collation of MariaDB or MySQL that compares byte by byte, trailing blanks too."""
    return "utf8mb4_nopad_bin" if connection.mysql_is_mariadb else "utf8mb4_0900_bin"
