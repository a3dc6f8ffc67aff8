"""Handles of every kind of primary key, made and taken apart."""

import subprocess
import sys
import uuid

import pytest
from django.db import models
from django.test.utils import isolate_apps

from handleref_sync.models import HandleRefModel
from handleref_sync.util import split_ref
from tests.handleref.models import Device, Net, Org, Port

KEY = uuid.UUID("12345678-90ab-4def-8123-456789abcdef")


def test_made():
    assert Org(pk=12).handle == "org12"
    assert Device(pk=KEY).handle == f"dev{KEY}"
    assert Port(pk="ge-0/0/1").handle == "Port_ge-0/0/1"
    for unsaved in (Org(), Org(pk=0), Port()):
        with pytest.raises(ValueError, match=r"^id not set$"):
            _ = unsaved.handle


@pytest.mark.parametrize(
    ("string", "found"),
    [
        ("net1", ("net", 1)),
        ("NET-12", ("net", 12)),
        ("a - 4", ("a", 4)),
        ("net1\n", ("net", 1)),
        ("net\u0661", ("net", 1)),
        ("net--  -7", ("net", 7)),
        ("net007", ("net", 7)),
        ("unknown5", ("unknown", 5)),
        ("dev12345678901234567890123456789012", ("dev", 12345678901234567890123456789012)),
    ],
)
def test_numbers_as_ever(string, found):
    assert split_ref(string) == found


@pytest.mark.parametrize(
    "string", ["n_t1", "net", "12", "", "ne t1", "\xe91", " net1", "net1.5", "net1_0", "org", "Port_"]
)
def test_what_is_no_handle(string):
    with pytest.raises(ValueError, match=f"^unable to split string '{string}'"):
        split_ref(string)


@pytest.mark.parametrize("string", [None, 5, b"net1"])
def test_what_is_no_text(string):
    with pytest.raises(TypeError):
        split_ref(string)


def test_uuids():
    assert split_ref(f"dev{KEY}") == ("dev", KEY)
    assert split_ref(f"DEV - {KEY}".upper()) == ("dev", KEY)
    assert split_ref(f"dev{KEY.hex}") == ("dev", KEY)
    assert split_ref(f"unknown{KEY}") == ("unknown", KEY)
    assert split_ref(f"dev{KEY}", Device) == ("dev", KEY)
    with pytest.raises(ValueError, match="unable to split"):
        split_ref(f"unknown{KEY.hex}")


def test_text_keys():
    assert split_ref("Port_ge-0/0/1") == ("port_", "ge-0/0/1")
    assert split_ref("PORT_Uplink") == ("port_", "Uplink")
    assert split_ref(f"port_{KEY}") == ("port_", str(KEY))
    assert split_ref("port_007", Port) == ("port_", "007")


def test_a_model_says_what_its_keys_are():
    assert split_ref("net007", Net) == ("net", 7)
    with pytest.raises(ValueError, match=r"no handle of surface\.Net"):
        split_ref("org7", Net)


@pytest.fixture
def rivals(monkeypatch):
    """Two models with text keys, the tag of one the beginning of the other's, in a registry of their own."""
    with isolate_apps("tests.handleref") as registry:

        class Short(HandleRefModel):
            id = models.CharField(primary_key=True, max_length=9)

            class HandleRef:
                tag = "ix"

        class Long(HandleRefModel):
            id = models.CharField(primary_key=True, max_length=9)

            class HandleRef:
                tag = "ixlan"

        monkeypatch.setattr("handleref_sync.util.apps", registry)
        yield Short, Long


def test_two_readings_are_refused(rivals):
    short, long = rivals
    assert split_ref("ixa") == ("ix", "a")
    with pytest.raises(ValueError, match="any of ix, ixlan; name the model"):
        split_ref("ixlana")
    assert split_ref("ixlana", long) == ("ixlan", "a")
    assert split_ref("ixlana", short) == ("ix", "lana")


def test_it_needs_no_application():
    code = "from handleref_sync.util import split_ref; print(split_ref('net5'))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('net', 5)"
