"""HandleRefModel: an abstract base whose subclasses are replicated without further declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models, transaction
from django.db.models.base import ModelBase
from django.utils.translation import gettext_lazy as _

from handleref_sync.models.queryset import HandleRefManager

if TYPE_CHECKING:
    from handleref_sync.models.ledger import Stamp

OPTIONS = ("identity", "exclude", "resolver", "on_unique", "scope", "renamed")


class CreatedDateTimeField(models.DateTimeField):  # type: ignore[type-arg]
    """Set once, at the first save."""

    def __init__(self, verbose_name: Any = None, name: str | None = None, **kwargs: Any) -> None:
        kwargs["auto_now_add"] = True
        super().__init__(verbose_name, name, **kwargs)


class UpdatedDateTimeField(models.DateTimeField):  # type: ignore[type-arg]
    """Set at every save."""

    def __init__(self, verbose_name: Any = None, name: str | None = None, **kwargs: Any) -> None:
        kwargs["auto_now"] = True
        super().__init__(verbose_name, name, **kwargs)


class HandleRefOptions:
    """What a model's inner ``HandleRef`` class says, with the defaults."""

    tag: str
    delete_cascade: ClassVar[list[str]] = []

    def __init__(self, cls: type[models.Model], declared: type | None) -> None:
        self.tag = cls.__name__.lower()
        for klass in reversed(declared.__mro__) if declared else ():
            for name, value in vars(klass).items():
                if not name.startswith("_"):
                    setattr(self, name, value)


class HandleRefMeta(ModelBase):
    """Reads the inner ``HandleRef`` class once, when the model class is made."""

    def __new__(mcs, name: str, bases: tuple[type, ...], attrs: dict[str, Any], **kwargs: Any) -> Any:
        cls = super().__new__(mcs, name, bases, attrs, **kwargs)
        if hasattr(cls, "_meta") and not (name == "HandleRefModel" and cls._meta.abstract):
            cls._handleref = HandleRefOptions(cls, getattr(cls, "HandleRef", None))  # type: ignore[attr-defined, arg-type]
        return cls


class HandleRefModel(models.Model, metaclass=HandleRefMeta):
    """Adds ``status``, ``created``, ``updated`` and ``version``, soft deletion, and the record's stamp.

    ``version`` counts the revisions of this row and says nothing about nodes; ``obj.node`` says where the current
    content was written.
    """

    _handleref: ClassVar[HandleRefOptions]

    status = models.CharField(_("Status"), max_length=255, blank=True)
    created = CreatedDateTimeField(_("Created"))
    updated = UpdatedDateTimeField(_("Updated"))
    version = models.IntegerField(default=0)

    handleref: ClassVar[HandleRefManager[Any]] = HandleRefManager()
    objects: ClassVar[models.Manager[Any]] = models.Manager()

    class Meta:
        abstract = True
        get_latest_by = "updated"
        ordering = ("-updated", "-created")

    @property
    def ref_tag(self) -> str:
        """The short name that begins this row's handle."""
        return self._handleref.tag

    @property
    def handle(self) -> str:
        """Tag and primary key: ``apt12``. Raises ValueError while the row has no primary key."""
        if not self.pk:
            raise ValueError("id not set")
        return f"{self.ref_tag}{self.pk}"

    @property
    def stamp(self) -> Stamp | None:
        """The ledger row of this record; None until the row's first write is stamped (see stamping)."""
        from handleref_sync.models.lookup import stamp_of

        return stamp_of(self)

    @property
    def node(self) -> str | None:
        """The ID of the node that wrote the current version; None while ``stamp`` is."""
        stamp = self.stamp
        return stamp.node.name if stamp else None

    def delete(  # type: ignore[override]
        self, hard: bool = False, using: Any = None, keep_parents: bool = False
    ) -> Any:
        """Soft-delete this row and what its ``delete_cascade`` names, or delete it for good with ``hard=True``.

        Soft returns None; hard returns Django's (count, {label: count}).
        """
        if hard:
            return super().delete(using=using, keep_parents=keep_parents)
        with transaction.atomic(using=using or self._state.db):
            self.status = "deleted"
            self.save(using=using)
            for name in self._handleref.delete_cascade:
                for child in getattr(self, name).exclude(status="deleted"):
                    child.delete()
        return None
