"""What waits and what lost, in the admin: to look at, to try again, and to write back."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import messages
from django.contrib.admin import ModelAdmin, action, display, site
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from handleref_sync import wire
from handleref_sync.exceptions import MalformedBody, SyncError
from handleref_sync.models import Conflict, Parked
from handleref_sync.replication.clashes import clashes, in_words
from handleref_sync.replication.conflicts import describe_one, moment, restore
from handleref_sync.replication.ledger import Ledger
from handleref_sync.replication.parking import advice
from handleref_sync.replication.words import differences, winner
from handleref_sync.retrying import retry


class ReadOnly(ModelAdmin):  # type: ignore[type-arg]
    """Nothing is added, changed or deleted by hand: these rows are the library's own."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whether somebody may use the actions: who may change such rows, where that were possible."""
        return super().has_change_permission(request)

    @display(description=_("values"))
    def values(self, obj: Any) -> str:
        """The fields in wire form, a line each."""
        if obj.data is None:
            return str(_("a deletion"))
        try:
            data = wire.unpack_message(bytes(obj.data))
            return "\n".join(f"{name}: {value}" for name, value in zip(data["fields"], data["values"], strict=True))
        except (MalformedBody, KeyError, TypeError, ValueError) as error:  # a peer's word
            return f"{type(error).__name__}: {error}"

    @display(description=_("written"), ordering="timestamp")
    def written(self, obj: Any) -> str:
        return moment(obj.timestamp)


class ParkedAdmin(ReadOnly):
    """Changes that have arrived and can't be written yet."""

    list_display = ("model", "key", "reason", "detail", "node", "written", "peer", "since")
    list_filter = ("reason", "model", "peer")
    list_select_related = ("node",)
    search_fields = ("model", "key", "detail")
    ordering = ("since",)
    fields = ("model", "key", "reason", "advice", "why", "node", "written", "peer", "since", "values")
    actions = ("retry",)

    @display(description=_("what to do"))
    def advice(self, obj: Parked) -> str:
        return advice(obj)

    @display(description=_("detail"))
    def why(self, obj: Parked) -> str:
        """With which row it collides, where it does; else what the database said."""
        return in_words(obj, clashes(Ledger(str(obj._state.db)), obj)) or obj.detail

    @action(description=_("Try all parked changes again"), permissions=["act"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Parked]) -> None:
        """All of them: what one waits for may be among the others."""
        try:
            outcome = retry(queryset.db)
        except SyncError as error:
            self.message_user(request, error.sentence(), messages.ERROR)
            return
        left = Parked.objects.using(queryset.db).count()
        self.message_user(
            request, _("%(done)d written, %(left)d still waiting.") % {"done": outcome.applied, "left": left}
        )


class ConflictAdmin(ReadOnly):
    """Versions that lost a conflict."""

    list_display = ("model", "key", "node", "written", "restored", "dismissed")
    list_filter = ("restored", "dismissed", "model", "node")
    search_fields = ("model", "key", "id")
    ordering = ("-timestamp",)
    fields = ("id", "model", "key", "aspect", "node", "counter", "written", "values", "won", "restored", "dismissed")
    actions = ("restore", "dismiss")

    @display(description=_("won"))
    def won(self, obj: Conflict) -> str:
        """What is current now, and where the loser differs from it."""
        try:
            entry = describe_one(Ledger(str(obj._state.db)), obj)
        except (MalformedBody, KeyError, TypeError, ValueError):  # a peer's word; `values` says what is wrong
            return str(_("unknown"))
        return "\n".join([winner(entry), *(differences(entry) if entry["won"] == "content" else ())])

    @action(description=_("Write back what lost"), permissions=["act"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Conflict]) -> None:
        """Each as a new write, which replicates; one that can't be written is said, and the others go on."""
        for conflict in queryset:
            try:
                restore(queryset.db, conflict.pk)
                self.message_user(request, _("%(record)s is written back.") % {"record": str(conflict)})
            except SyncError as error:
                self.message_user(request, f"{conflict}: {error.sentence()}", messages.ERROR)

    @action(description=_("Dismiss: what won was right"), permissions=["act"])
    def dismiss(self, request: HttpRequest, queryset: QuerySet[Conflict]) -> None:
        """On all nodes: the flag replicates."""
        count = queryset.update(dismissed=True)
        self.message_user(request, _("%(count)d dismissed.") % {"count": count})


if apps.is_installed("django.contrib.admin"):
    site.register(Parked, ParkedAdmin)
    site.register(Conflict, ConflictAdmin)
