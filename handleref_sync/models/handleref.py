"""HandleRefModel: an abstract base whose subclasses are replicated without further declaration."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ObjectDoesNotExist
from django.db import models, router, transaction
from django.db.models.base import ModelBase
from django.utils.translation import gettext_lazy as _

from handleref_sync.models.fields import CreatedDateTimeField, UpdatedDateTimeField
from handleref_sync.models.queryset import HandleRefManager

if TYPE_CHECKING:
    from handleref_sync.models.ledger import Stamp


class HandleRefOptions:
    """What a model's inner ``HandleRef`` class says, with the defaults.

    `opts` is that class, or None. Like Django's ``Meta``, a class that inherits from another one has its options too.
    """

    tag: str
    delete_cascade: ClassVar[list[str]] = []

    def __init__(self, cls: type[models.Model], opts: type | None) -> None:
        self.tag = cls.__name__.lower()
        for klass in reversed(opts.__mro__) if opts else ():
            for name, value in vars(klass).items():
                if not name.startswith("__"):
                    setattr(self, name, value)


class HandleRefMeta(ModelBase):
    """Reads the inner ``HandleRef`` class once, when the model class is made."""

    def __new__(mcs, name: str, bases: tuple[type, ...], attrs: dict[str, Any], **kwargs: Any) -> Any:
        cls = super().__new__(mcs, name, bases, attrs, **kwargs)
        if (cls.__module__, name) != (__name__, "HandleRefModel"):  # which has no tag of its own
            cls._handleref = HandleRefOptions(cls, getattr(cls, "HandleRef", None))  # type: ignore[attr-defined, arg-type]
        return cls


class HandleRefModel(models.Model, metaclass=HandleRefMeta):
    """Adds ``status``, ``created``, ``updated`` and ``version``, soft deletion, and the record's stamp.

    ``version`` counts the revisions of this row and says nothing about nodes; ``obj.node`` says where the current
    content was written.
    """

    _handleref: ClassVar[HandleRefOptions]

    # Declared, so that DEFAULT_AUTO_FIELD can't change the key of a table that is there already.
    id = models.AutoField(primary_key=True)
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

    def __unicode__(self) -> str:
        """Name and handle, or class and handle. Python never calls this by itself; old code does."""
        name = getattr(self, "name", None)
        return f"{type(self).__name__ if name is None else name}-{self.handle}"

    @property
    def ref_tag(self) -> str:
        """The short name that begins this row's handle."""
        return self._handleref.tag

    @property
    def handle(self) -> str:
        """Tag and primary key: ``apt12``. Raises ValueError while the row has no primary key (0 counts as none)."""
        if not self.pk:
            raise ValueError("id not set")
        return f"{self.ref_tag}{self.pk}"

    @property
    def stamp(self) -> Stamp | None:
        """The ledger row of this record; None until the row's first write is stamped (see stamping).

        What ``with_stamps()`` has loaded with the row, until the row is saved or loaded anew; else a query.
        """
        from handleref_sync.models.lookup import loaded_stamp, stamp_of

        loaded = loaded_stamp(self)
        return stamp_of(self) if loaded is None else loaded.stamp

    @property
    def node(self) -> str | None:
        """The ID of the node that wrote the current version; None while ``stamp`` is."""
        stamp = self.stamp
        return stamp.node.name if stamp else None

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        """As Django's. A stamp that was loaded with the row is out of date from here on."""
        self.__dict__.pop("_loaded_stamp", None)
        super().save_base(*args, **kwargs)

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        """As Django's; the stamp is read anew as well."""
        self.__dict__.pop("_loaded_stamp", None)
        super().refresh_from_db(*args, **kwargs)

    def delete(  # type: ignore[override]
        self, hard: bool = False, using: str | None = None, keep_parents: bool = False
    ) -> Any:
        """Soft-delete this row and what its ``delete_cascade`` names, or delete it for good with ``hard=True``.

        Soft returns None, and either all of the cascade is done or nothing; hard returns Django's (count, {label:
        count}). ``keep_parents`` means something to a hard deletion only.
        """
        # Passed on only where it was given: a class that overrides `save(self)` or `delete(self)` works as well.
        given: dict[str, Any] = {} if using is None else {"using": using}
        if hard:
            return super().delete(**given, **({"keep_parents": True} if keep_parents else {}))
        before = self.status
        try:
            with transaction.atomic(using=using or router.db_for_write(type(self), instance=self)):
                self.status = "deleted"
                self.save(**given)
                for name in self._handleref.delete_cascade:
                    for child in _undeleted(self, name, using):
                        _soft_delete(child, using)
        except BaseException:
            self.status = before  # the row has it back; a later save() must not delete it after all
            raise
        return None


def _undeleted(parent: models.Model, name: str, using: str | None) -> Iterable[Any]:
    """What `name` of `parent` holds and is not soft-deleted yet; it is a manager, a queryset or a single object."""
    try:
        related = getattr(parent, name)
    except ObjectDoesNotExist:
        return ()
    if related is None:
        return ()
    if isinstance(related, models.Model):  # remembered from an earlier look, perhaps
        using = using or related._state.db
        related = type(related)._default_manager.filter(pk=related.pk)
    return (related if using is None else related.using(using)).exclude(status="deleted")  # type: ignore[no-any-return]


def _soft_delete(child: models.Model, using: str | None) -> None:
    """Call the child's own ``delete`` with those of our arguments that it takes: an override may take none."""
    parameters = inspect.signature(child.delete).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    wanted: dict[str, Any] = {"hard": False} if using is None else {"hard": False, "using": using}
    child.delete(**{name: value for name, value in wanted.items() if anything or name in parameters})


__all__ = [
    "CreatedDateTimeField",
    "HandleRefManager",
    "HandleRefMeta",
    "HandleRefModel",
    "HandleRefOptions",
    "UpdatedDateTimeField",
]
