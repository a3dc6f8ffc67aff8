"""Random writes and rounds over three nodes: what their histories say in the end."""

import json
import os
import random
from collections import Counter

import pytest
import reversion
from django.core import serializers
from django.db import IntegrityError
from reversion.models import Revision, Version

from handleref_sync.models import Conflict, Parked, RevisionSource, Stamp
from tests.nodes.network import ALIASES, Network
from tests.nodes.test_convergence import SHAPES, History
from tests.testapp.models import Airport, Country, Item, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=list(ALIASES.values()))
SEEDS = int(os.environ.get("HANDLEREF_SEEDS", "8"))
MODELS = [Airport, Country, Item, Tag]
UNSEEN = {4: Country, 10: Airport}
"""Acts of which no signal tells reversion: update() and raw SQL."""


class Recorded(History):
    """Every write in a revision, as an application does it."""

    def write(self, name):
        using = ALIASES[name]
        self.number += 1
        act = self.rnd.randrange(11)
        text = f"{name}{self.number}"
        try:
            with reversion.create_revision(using=using):
                self.act(act, using, text)
                if act in UNSEEN:
                    for row in UNSEEN[act].objects.using(using).filter(name=text):
                        reversion.add_to_revision(row, model_db=using)
        except IntegrityError:
            return


def fields(text):
    """What a snapshot says, without an order among memberships."""
    found = json.loads(text)[0]["fields"]
    return {name: sorted(map(str, value)) if isinstance(value, list) else value for name, value in found.items()}


def check(using):
    lost = set(RevisionSource.objects.using(using).filter(lost=True).values_list("revision_id", flat=True))
    for model in MODELS:
        for row in model._base_manager.using(using).all():
            versions = Version.objects.using(using).get_for_object(row, model_db=using)
            newest = versions.exclude(revision__in=lost).first()
            assert newest is not None, f"{row!r} has no history on {using}"
            assert fields(newest.serialized_data) == fields(serializers.serialize("json", [row])), using
    dots = Counter(RevisionSource.objects.using(using).values_list("dot", "lost"))
    assert set(dots.values()) <= {1}
    shown = Counter(RevisionSource.objects.using(using).filter(lost=True).values_list("conflict", flat=True))
    losers = 0
    for entry in Conflict.objects.using(using).filter(model__in=[m._meta.label_lower for m in MODELS]):
        stamps = Stamp.objects.using(using).filter(model__label=entry.model)
        stamp = stamps.filter(key=entry.key).first() or stamps.filter(pk_text=entry.key.replace("-", "")).first()
        stamp = stamp or stamps.filter(pk_text=entry.key).first()
        if entry.data is None:
            assert shown[entry.pk] == 0
        elif not stamp.deleted:
            assert shown[entry.pk] == 1, f"{entry} on {using}"
            losers += 1
        source = RevisionSource.objects.using(using).filter(conflict=entry.pk).first()
        if source is not None:
            assert source.dot == f"{entry.node}:{entry.counter}" and source.timestamp == entry.timestamp
    assert set(shown) <= set(Conflict.objects.using(using).values_list("pk", flat=True))
    with_a_source = Revision.objects.using(using).filter(pk__in=RevisionSource.objects.using(using).values("pk"))
    assert with_a_source.count() == RevisionSource.objects.using(using).count()
    return losers


@pytest.mark.parametrize("seed", range(SEEDS))
def test_histories_say_what_the_tables_hold(seed, settings, register):
    for model in MODELS:
        register(model)
    settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "PAGE_ROWS": 1 + seed % 4}
    rnd = random.Random(seed)
    net = Network()
    history = Recorded(net, rnd)
    for _ in range(45):
        if rnd.random() < 0.75:
            history.write(rnd.choice("abc"))
        else:
            history.sync(*rnd.sample("abc", 2))
    net.heal(SHAPES[rnd.choice(sorted(SHAPES))])
    assert not any(Parked.objects.using(using).exists() for using in ALIASES.values())
    assert net.rows("a") == net.rows("b") == net.rows("c")
    for using in ALIASES.values():
        check(using)
    before = [RevisionSource.objects.using(using).count() for using in ALIASES.values()]
    for here, there in SHAPES["mesh"]:
        assert net.ok(here, there).pulled == 0
    assert before == [RevisionSource.objects.using(using).count() for using in ALIASES.values()]
