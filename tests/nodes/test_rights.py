"""What a peer may write: nothing that it brings goes further than its rights, and nothing of it is lost."""

import pytest
from django.contrib.auth.models import Group, User

from handleref_sync.core.version_vector import VersionVector
from handleref_sync.exceptions import PeerRefused
from handleref_sync.models import Conflict, Parked, Peer
from handleref_sync.replication.cursors import Scope
from handleref_sync.replication.feed import read_page
from handleref_sync.replication.hello import hello
from handleref_sync.replication.page import START, to_message
from tests.nodes.network import ALIASES, Network, parked, tick
from tests.testapp.models import Country, Item, Tag

pytestmark = pytest.mark.django_db(databases=["default", "second", "third"], transaction=True)
A, B, C = ALIASES["a"], ALIASES["b"], ALIASES["c"]


@pytest.fixture
def net():
    """a is the hub; b and c joined it, so that they trust it, and it has to give them rights."""
    network = Network("abc")
    Peer.objects.using(A).update(read_only=None)
    return network


def permit(here, there, **flags):
    Peer.objects.using(ALIASES[here]).filter(name=there).update(**flags)


def user(using, name="ann"):
    return User.objects.using(using).get(username=name)


def reasons(name):
    return [reason for _, _, reason in parked(name)]


class TestUsers:
    @pytest.mark.parametrize("field", ["is_superuser", "is_staff"])
    def test_a_site_cannot_make_itself_administrator(self, net, field):
        User.objects.using(A).create(username="ann")
        net.ok("b", "a")
        User.objects.using(B).update(**{field: True})
        report = net.ok("b", "a")
        assert not getattr(user(A), field)
        assert reasons("a") == ["not-permitted"]
        assert field in Parked.objects.using(A).get().detail
        assert report.pushed == 0

    def test_nor_by_a_new_user(self, net):
        User.objects.using(B).create(username="eve", is_superuser=True)
        net.ok("b", "a")
        assert not User.objects.using(A).exists()
        assert reasons("a") == ["not-permitted"]

    def test_nor_by_a_group(self, net):
        User.objects.using(A).create(username="ann")
        Group.objects.using(A).create(name="editors")
        Group.objects.using(B).create(name="editors")
        net.ok("b", "a")
        user(B).groups.add(Group.objects.using(B).get())
        net.ok("b", "a")
        assert not user(A).groups.exists()
        assert reasons("a") == ["not-permitted"]

    def test_a_password_is_not_taken(self, net):
        User.objects.db_manager(A).create_user("ann", password="one")
        net.ok("b", "a")
        ann = user(B)
        ann.set_password("two")
        ann.save()
        net.ok("b", "a")
        assert user(A).check_password("one")
        assert reasons("a") == ["not-permitted"]

    def test_what_is_no_privilege_is_taken(self, net):
        User.objects.db_manager(A).create_user("ann", password="one", is_staff=True)
        net.ok("b", "a")
        User.objects.using(B).update(email="ann@example.org")
        User.objects.db_manager(B).create_user("bob")  # without a password that could be used
        net.ok("b", "a")
        assert not parked("a"), Parked.objects.using(A).get().detail
        assert user(A).email == "ann@example.org"
        assert user(A, "bob").pk
        assert not parked("a")

    def test_a_privilege_taken_at_the_hub_is_not_given_back_by_a_site_that_did_not_know(self, net):
        User.objects.using(A).create(username="ann", is_superuser=True)
        net.ok("b", "a")
        User.objects.using(A).update(is_superuser=False)
        tick()
        User.objects.using(B).update(email="ann@example.org")  # later, and so it would win
        net.ok("b", "a", pull=False)
        assert not user(A).is_superuser
        net.everywhere()
        assert not user(B).is_superuser
        lost = Conflict.objects.using(A).get()
        assert lost.node == "b"

    def test_the_right_can_be_given_and_then_it_is_written(self, net):
        User.objects.using(A).create(username="ann")
        net.ok("b", "a")
        User.objects.using(B).update(is_staff=True)
        net.ok("b", "a")
        permit("a", "b", read_only=[])
        net.ok("b", "a")
        assert user(A).is_staff
        assert not parked("a")

    def test_or_the_hub_writes_the_record_and_that_wins(self, net):
        User.objects.using(A).create(username="ann")
        net.ok("b", "a")
        User.objects.using(B).update(is_staff=True)
        net.ok("b", "a")
        User.objects.using(A).update(first_name="Ann")
        net.everywhere()
        assert not user(A).is_staff
        assert not user(B).is_staff
        assert user(B).first_name == "Ann"

    def test_what_came_by_a_peer_without_the_right_comes_again_by_one_with_it(self, net):
        User.objects.using(A).create(username="ann")
        net.everywhere()
        permit("b", "c", read_only=None)  # b and c talk too, and b trusts a alone
        User.objects.using(A).update(is_staff=True)
        net.ok("c", "a")
        net.ok("c", "b")
        assert not user(B).is_staff
        assert reasons("b") == ["not-permitted"]
        net.ok("b", "a")
        assert user(B).is_staff
        assert not parked("b")

    def test_two_that_do_not_trust_each_other_come_to_rest(self, net):
        User.objects.using(A).create(username="ann")
        net.everywhere()
        for here, there in ("ab", "ba", "bc", "cb", "ac", "ca"):
            permit(here, there, read_only=None)
        for name in "abc":
            User.objects.using(ALIASES[name]).update(is_staff=True, first_name=name)
            tick()
        net.heal([("b", "a"), ("c", "b"), ("a", "c")])


class TestModels:
    def test_a_peer_of_few_models_gets_and_brings_only_those(self, net):
        permit("a", "b", only_models=["testapp.country"])
        Country.objects.using(A).create(code="fr", name="France")
        Item.objects.using(A).create(name="lamp")
        Country.objects.using(B).create(code="de", name="Deutschland")
        Item.objects.using(B).create(name="rope")
        report = net.ok("b", "a")
        assert Country.objects.using(B).count() == Country.objects.using(A).count() == 2
        assert [i.name for i in Item.objects.using(A).all()] == ["lamp"]
        assert [i.name for i in Item.objects.using(B).all()] == ["rope"]
        assert any("testapp.item" in note for note in report.notes)

    def test_what_it_missed_comes_once_it_may_have_it(self, net):
        permit("a", "b", only_models=["testapp.country"])
        Item.objects.using(A).create(name="lamp")
        net.ok("b", "a")
        permit("a", "b", only_models=None)
        net.ok("b", "a")
        assert Item.objects.using(B).get().name == "lamp"

    @pytest.mark.parametrize("what", ["record", "entry"])
    def test_a_page_with_another_model_is_refused(self, net, what):
        item = Item.objects.using(B).create(name="rope")
        if what == "entry":
            other = Item.objects.using(A).create(name="sail")
            net.ok("b", "a")
            Item.objects.using(A).filter(name="sail").update(name="a")
            tick()
            Item.objects.using(B).filter(name="sail").update(name="b")
            net.ok("b", "a", push=False)
            assert Conflict.objects.using(B).count() == 1 and other.pk
        page = push_of(net, "b", "a")
        permit("a", "b", only_models=["testapp.country"])
        page["rows"] = [row for row in page["rows"] if keeps(page, row, what)]
        before = Item.objects.using(A).count(), Conflict.objects.using(A).count()
        with pytest.raises(PeerRefused) as refusal:
            net.transport("b", "a").call("push", page)
        assert refusal.value.reason == "not-permitted"
        assert (Item.objects.using(A).count(), Conflict.objects.using(A).count()) == before and item.pk

    def test_read_only_models(self, net):
        permit("a", "b", read_only=["testapp.country"])
        Country.objects.using(A).create(code="fr", name="France")
        net.ok("b", "a")
        Country.objects.using(B).update(name="?")
        Country.objects.using(B).create(code="de", name="Deutschland")
        Item.objects.using(B).create(name="rope")
        net.ok("b", "a")
        assert [c.name for c in Country.objects.using(A).all()] == ["France"]
        assert Item.objects.using(A).count() == 1
        assert reasons("a") == ["not-permitted"] * 2
        Country.objects.using(B).all()._raw_delete(B)
        net.ok("b", "a")
        assert Country.objects.using(A).count() == 1

    def test_a_mirror_only_reads(self, net):
        permit("a", "b", can_push=False)
        Item.objects.using(A).create(name="lamp")
        Item.objects.using(B).create(name="rope")
        report = net.ok("b", "a")
        assert any("mirror" in note for note in report.notes)
        assert [i.name for i in Item.objects.using(A).all()] == ["lamp"]
        assert Item.objects.using(B).count() == 2
        assert net.sync("b", "a", pull=False).reason == "not-permitted"


class TestHostilePeer:
    """b is paired, and does what the library never would. It may not pass on what others wrote."""

    @pytest.fixture(autouse=True)
    def _no_relay(self, net):
        permit("a", "b", relay=False)

    def attack(self, net, rows, nodes=("b",), models=(("testapp.tag", ("name",)),)):
        page = {
            **push_of(net, "b", "a"),
            "models": [[label, list(fields)] for label, fields in models],
            "nodes": list(nodes),
            "rows": rows,
        }
        return net.transport("b", "a").call("push", page)

    def test_a_clock_that_claims_to_know_everything_is_not_believed(self, net):
        tag = Tag.objects.using(C).create(name="c")
        net.ok("c", "a")
        Tag.objects.using(C).update(name="c2")  # a has not seen this
        key = str(tag.pk)
        self.attack(net, [[0, key, 0, 50, [[0, 50], [1, 2**60]], 5 << 16, ["mine"]]], nodes=("b", "c"))
        assert Tag.objects.using(A).get().name == "c"
        assert reasons("a") == ["not-permitted"]
        report = net.ok("c", "a")
        assert not any("incarnation" in note for note in report.notes), "c was not restored"
        assert Tag.objects.using(A).get().name == "c2"

    def test_the_keys_of_others_are_not_taken(self, net):
        label = "testapp.item"
        Tag.objects.using(A).bulk_create(Tag(name=str(n)) for n in range(3))
        net.ok("c", "a")
        rows = [[0, f"a:{n}", 0, 50 + n, None, 5, [f"v{n}"]] for n in range(1, 4)]
        with pytest.raises(PeerRefused) as refusal:
            self.attack(net, [[0, "a:999", 0, 99, None, 5, ["x"]]], models=((label, ("name",)),))
        assert refusal.value.reason == "dot-reused"
        self.attack(net, rows, models=((label, ("name",)),))
        self.attack(net, [[0, "c:1", 0, 90, None, 5, ["x"]]], models=((label, ("name",)),))
        assert not Item.objects.using(A).exists()
        Item.objects.using(A).create(name="lamp")
        net.ok("c", "a")
        assert Item.objects.using(C).get().name == "lamp"

    def test_its_vector_hides_nothing(self, net):
        page = {**push_of(net, "b", "a"), "rows": [], "vector": {"c": 2**60, "a": 2**60}}
        net.transport("b", "a").call("push", page)
        Tag.objects.using(C).create(name="c")
        net.ok("c", "a")
        assert Tag.objects.using(A).count() == 1

    def test_too_many_that_wait_are_refused(self, net, settings):
        settings.HANDLEREF_SYNC = {**settings.HANDLEREF_SYNC, "MAX_PARKED": 10}
        rows = [[0, f"00000000-0000-0000-0000-{n:012}", 0, 50 + n, None, 2**62, ["x"]] for n in range(11)]
        with pytest.raises(PeerRefused) as refusal:
            self.attack(net, rows)
        assert refusal.value.reason == "parked-full"
        assert not parked("a")
        self.attack(net, rows[:10])
        assert len(parked("a")) == 10


def push_of(net, here, there):
    """The message by which `here` would push all it has to `there`."""
    mine = hello(ALIASES[here], net.peer(here, there))
    page = read_page(ALIASES[here], net.peer(here, there), START, VersionVector(), Scope(mine.models))
    return {**to_message(page), "after": list(START), "hello": mine.to_message()}


def keeps(page, row, what):
    label = page["models"][row[0]][0]
    return label == ("testapp.item" if what == "record" else "handleref_sync.conflict")
