"""By which node a row was written: a column and a filter for the list of any replicated model."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter, display
from django.db.models import Case, Model, OuterRef, Q, QuerySet, Subquery, TextField, Value, When
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from handleref_sync.models import Capture, LocalNode, Node, ReplicatedModel, Stamp
from handleref_sync.models.ledger import REPLACED


class WrittenAtMixin(ModelAdmin):  # type: ignore[type-arg]
    """Gives a ModelAdmin ``written_at`` for ``list_display`` and ``readonly_fields``, without a query a row."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Not with_stamps(): that knows nothing of what was written here since the last stamping, and somebody who has
        # just pressed "Save" must not read the name of another node. It also gives nothing to sort by.
        return with_node(super().get_queryset(request))

    @display(description=_("written at"), empty_value="-", ordering="_handleref_node")
    def written_at(self, obj: Model) -> str | None:
        """The ID of the node that wrote what is shown, without the mark of its incarnation."""
        node: str | None = getattr(obj, "_handleref_node", None)
        return node.partition("~")[0] if node else None


class NodeFilter(SimpleListFilter):
    """Rows by the node that wrote them: ``list_filter = [NodeFilter]``. A node's incarnations count as one."""

    title = _("written at")
    parameter_name = "written_at"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        using = model_admin.get_queryset(request).db
        names = Node.objects.using(using).values_list("name", flat=True)
        return [(name, name) for name in sorted({name.partition("~")[0] for name in names})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name = self.value()
        if name is None:
            return queryset
        using = queryset.db
        nodes = Node.objects.using(using).filter(Q(name=name) | Q(name__startswith=f"{name}~"))
        stamped = Stamp.objects.using(using).filter(
            model__label=_label(queryset), deleted=False, pk_text__isnull=False, node__in=nodes
        )
        found = queryset.alias(_handleref_pk=Cast("pk", TextField()))
        known = Q(_handleref_pk__in=stamped.values("pk_text"))
        here = Q(_handleref_pk__in=_unstamped(queryset))
        chosen: QuerySet[Any] = found.filter(known | here if name == _local(using) else known & ~here)
        return chosen


def with_node(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """The same rows, each with the ID of the node that wrote it as ``_handleref_node``."""
    using = queryset.db
    stamps = Stamp.objects.using(using).filter(model__label=_label(queryset), pk_text=OuterRef("_handleref_pk"))
    found = queryset.alias(_handleref_pk=Cast("pk", TextField()))
    annotated: QuerySet[Any] = found.annotate(
        _handleref_node=Case(
            When(_handleref_pk__in=_unstamped(queryset), then=Value(_local(using))),
            default=Subquery(stamps.values("node__name")[:1]),
        )
    )
    return annotated


def _label(queryset: QuerySet[Any]) -> str:
    concrete: Any = queryset.model._meta.concrete_model
    return str(concrete._meta.label_lower)


def _unstamped(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """What was written here since the last stamping: its stamp still names the node before us."""
    captured = Capture.objects.using(queryset.db).exclude(op=REPLACED)
    # As a subquery and not as a join: one pass over what is usually a short list.
    return captured.filter(model__in=_numbers(queryset)).values("pk_text")


def _numbers(queryset: QuerySet[Any]) -> QuerySet[Any]:
    return ReplicatedModel.objects.using(queryset.db).filter(label=_label(queryset)).values("pk")


def _local(using: str) -> str:
    local = LocalNode.objects.using(using).first()
    return local.name if local else ""
