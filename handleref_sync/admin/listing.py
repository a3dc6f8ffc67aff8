"""One page of an object's versions, in the shape that the admin's own tags for lists take."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ALL_VAR, PAGE_VAR, ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

PER_PAGE = 100


class HistoryActionsForm(forms.Form):
    """What can be done with the versions that are ticked."""

    action = forms.ChoiceField(label=_("Action:"), choices=[("revert", _("Revert"))])


class HistoryListing(ChangeList):
    """The versions of one object, 100 a page, ``?p=`` counted from 1.

    Raises IncorrectLookupParameters for a page that is not there.
    """

    def __init__(self, model_admin: ModelAdmin[Any], request: HttpRequest, qset: QuerySet[Any]) -> None:
        # Not ChangeList's own constructor: that one lists the rows of the admin's model, with filters and a search.
        self.model_admin = model_admin
        self.model = qset.model
        self.opts = self.lookup_opts = qset.model._meta
        self.queryset = self.root_queryset = qset
        self.list_per_page = PER_PAGE
        self.list_max_show_all = 0
        self.show_all = self.can_show_all = False
        self.is_popup = False
        self.list_display = self.list_editable = ()
        self.formset = None
        self.params = {name: value for name, value in request.GET.items() if name not in (PAGE_VAR, ALL_VAR)}
        # What the tags make the links to the other pages of.
        self.filter_params = {name: values for name, values in request.GET.lists() if name not in (PAGE_VAR, ALL_VAR)}
        try:
            self.page_num = int(request.GET.get(PAGE_VAR, 1))
        except ValueError as error:
            raise IncorrectLookupParameters from error
        self.paginator = model_admin.get_paginator(request, qset, PER_PAGE)
        if not 1 <= self.page_num <= self.paginator.num_pages:
            raise IncorrectLookupParameters
        self.result_count = self.full_result_count = self.paginator.count
        self.show_full_result_count = True
        self.multi_page = self.result_count > PER_PAGE
        self.result_list = self.paginator.page(self.page_num).object_list
