"""``since()`` with numbers: the same moment in every time-zone setting."""

import math
import os
import time
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from tests.handleref.models import Org

ZONES = ["UTC", "America/Chicago", "Asia/Tokyo", "Pacific/Apia"]


@pytest.fixture(params=ZONES)
def process_zone(request, monkeypatch):
    """The zone of the process, which Django sets from TIME_ZONE and another library may set after it."""

    def apply():
        monkeypatch.setenv("TZ", request.param)
        time.tzset()

    yield apply
    monkeypatch.undo()
    time.tzset()


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ZONES)
def test_a_number_is_the_same_moment_everywhere(settings, process_zone, zone):
    """In django-handleref "5 s ago" found nothing where the process was in Tokyo and TIME_ZONE was Chicago."""
    settings.TIME_ZONE = zone
    process_zone()
    found_for(Org.objects.create(name="o"))


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ZONES)
def test_a_number_without_time_zone_support(settings, zone):
    settings.USE_TZ, settings.TIME_ZONE = False, zone
    assert os.environ["TZ"] == zone
    found_for(Org.objects.create(name="o"))


def found_for(org):
    now = time.time()
    for earlier in (now - 5, int(now) - 5, Decimal(str(now - 5)), Fraction(int(now) - 5), True, False, 0, -1):
        assert list(Org.handleref.since(timestamp=earlier)) == [org], earlier
    for later in (now + 5, int(now) + 5, Decimal(str(now + 5))):
        assert not Org.handleref.since(timestamp=later).exists(), later


@pytest.mark.django_db
def test_it_is_strictly_after():
    org = Org.objects.create(name="o")
    org.refresh_from_db()
    assert not Org.handleref.since(timestamp=org.updated).exists()
    assert not Org.handleref.since(timestamp=org.updated.timestamp()).exists()
    Org.objects.update(version=3)
    assert not Org.handleref.since(version=3).exists()
    assert Org.handleref.since(version=2).exists()
    assert not Org.handleref.since(timestamp=org.updated, version=2).exists()


@pytest.mark.parametrize(
    "number",
    [math.nan, math.inf, -math.inf, 10**400, 1e300, -1e12, 1_790_000_000_000, Decimal("NaN"), Decimal("Infinity")],
)
def test_a_number_that_is_no_moment(number):
    with pytest.raises(ValueError, match="give seconds since 1970"):
        Org.handleref.since(timestamp=number)


@pytest.mark.django_db
def test_what_is_no_number_is_left_to_the_field(settings):
    org = Org.objects.create(name="o")
    assert list(Org.handleref.since(timestamp="2001-02-03T00:00:00Z")) == [org]
    settings.USE_TZ = False
    assert list(Org.handleref.since(timestamp=datetime(2001, 2, 3))) == [org]
