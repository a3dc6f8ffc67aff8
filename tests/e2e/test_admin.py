"""The admin in a real browser: from a list to an object that went back, and on to the second node."""

import re

import pytest

from tests.e2e.browser import chromium, picture

ICAO = "Airport.objects.order_by('icao')[0].icao"
SUPERUSER = "User.objects.create_superuser('anna', '', 'secret of anna')"


@pytest.fixture
def browser():
    with chromium() as page:
        yield page


class Admin:
    """What somebody does at a node's admin."""

    def __init__(self, page, site, folder):
        self.page, self.site, self.folder = page, site, folder
        self.root = f"http://127.0.0.1:{site.port}/admin/"
        site.do(SUPERUSER)
        self.icao = site.do(f"print({ICAO})")

    def login(self):
        self.page.goto(self.root)
        self.page.get_by_label("Username:").fill("anna")
        self.page.get_by_label("Password:").fill("secret of anna")
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(self.root)

    def open(self):
        """The airport's own page, from the list."""
        self.page.goto(f"{self.root}inspections/airport/?q={self.icao}")
        self.press("link", self.icao, then="/change/")

    def edit(self, **values):
        self.open()
        for label, value in values.items():
            self.page.get_by_label(f"{label.capitalize()}:", exact=True).fill(value)
        self.page.get_by_role("button", name="Save", exact=True).click()
        self.said("was changed successfully")

    def history(self):
        self.open()
        self.press("link", "History", then=r"/history/(\?|$)")

    def row(self, words):
        """The row of the history whose version changed something to `words`."""
        return self.page.locator("#change-history tbody tr").filter(
            has=self.page.locator("ins", has_text=re.compile(f"^{words}$"))
        )

    def said(self, words):
        self.page.locator(".messagelist").get_by_text(words).wait_for()
        self.page.wait_for_load_state()

    def press(self, role, name, then):
        """Press a link or a button, and wait until the page is there whose address matches `then`."""
        self.page.get_by_role(role, name=name, exact=True).click()
        self.page.wait_for_url(re.compile(then))

    def picture(self, name, **options):
        picture(self.page, self.folder, name, **options)

    def values(self, site):
        return site.do(f"a = Airport.objects.get(icao='{self.icao}'); print(a.name, a.city, a.status, sep='|')")


@pytest.fixture
def admin(browser, pair, tmp_path):
    hub, _ = pair
    found = Admin(browser, hub, tmp_path)
    found.login()
    return found


def test_from_the_list_to_a_reverted_object_on_both_nodes(admin, pair):
    hub, edge = pair
    admin.edit(name="Airfield", city="Old Town")
    admin.edit(name="Airport", city="New Town")
    admin.edit(name="International Airport")
    edge.sync("hq")
    assert admin.values(edge) == "International Airport|New Town|"

    admin.page.goto(f"{admin.root}inspections/airport/?written_at=hq&q={admin.icao}")
    assert admin.page.locator(".field-written_at").all_inner_texts() == ["hq"]
    admin.page.get_by_label("Toggle navigation").click()
    admin.page.evaluate("scrollTo(0, 0)")
    admin.picture("admin-list", whole=False)

    admin.history()
    rows = admin.page.locator("#change-history tbody tr")
    assert rows.count() == 3 and "hq" in rows.first.inner_text() and "anna" in rows.first.inner_text()
    admin.picture("admin-history")
    admin.row("Airport").get_by_role("checkbox").check()
    admin.row("International Airport").get_by_role("checkbox").check()
    admin.page.get_by_role("button", name="Go").click()
    admin.page.get_by_role("heading", name="Revert Changes").wait_for()
    admin.page.wait_for_load_state()

    fields = admin.page.locator("fieldset.handleref-choice")
    assert fields.locator("legend").all_inner_texts() == ["city", "name"]
    name = fields.filter(has_text="Airfield")
    assert name.get_by_role("radio").count() == 3, "Airport, Airfield, and what it is"
    name.get_by_label("Airfield").check()
    admin.picture("admin-revert")
    admin.page.get_by_role("button", name="Revert changes").click()
    admin.said("Reverted city, name.")
    assert admin.row("Airfield").count() == 1

    assert admin.values(hub) == "Airfield|Old Town|"
    assert edge.sync("hq")["pulled"] > 0
    assert admin.values(edge) == "Airfield|Old Town|"
    assert edge.digest() == hub.digest()
    assert edge.sync("hq")["pulled"] == 0


def test_a_rollback_reaches_the_second_node(admin, pair):
    hub, edge = pair
    admin.edit(name="Airfield", city="Old Town")
    admin.edit(name="Airport", city="New Town")
    edge.sync("hq")

    admin.history()
    admin.page.locator("#change-history tbody tr").last.get_by_role("link").click()
    admin.page.wait_for_url(re.compile(r"/history/\d+/$"))
    admin.picture("admin-version")
    admin.press("link", "Roll back to this version", then="/rollback/$")
    assert admin.page.locator("del").all_inner_texts() == ["New Town", "Airport"]
    admin.picture("admin-rollback")
    admin.page.get_by_role("button", name="Roll back").click()
    admin.said("Rolled back to the version")
    assert admin.page.locator("#change-history tbody tr").first.get_by_text("rollback to version").count() == 1

    edge.sync("hq")
    assert admin.values(hub) == admin.values(edge) == "Airfield|Old Town|"
    assert edge.digest() == hub.digest()


def test_a_version_that_lost_is_marked_and_written_back(admin, pair):
    hub, edge = pair
    admin.edit(name="of hq", city="Headquarters")
    edge.do(f"a = Airport.objects.get(icao='{admin.icao}'); a.name = 'of the ship'; a.save()")
    assert edge.sync("hq")["conflicts"] == 1
    assert admin.values(hub).startswith("of the ship|")

    admin.history()
    lost = admin.page.locator("#change-history tbody tr.handleref-lost")
    assert lost.count() == 1 and "of hq" in lost.inner_text() and "lost" in lost.inner_text()
    winner = admin.row("of the ship")
    assert "ship-7" in winner.inner_text() and "lost" not in winner.inner_text()
    admin.picture("admin-lost")
    lost.get_by_role("link").click()
    admin.press("link", "Write this version back", then="/rollback/$")
    admin.page.get_by_role("button", name="Roll back").click()
    admin.said("Rolled back to the version")
    assert admin.values(hub) == "of hq|Headquarters|"
    edge.sync("hq")
    assert admin.values(edge) == "of hq|Headquarters|"
    assert edge.digest() == hub.digest()
    assert [c["restored"] for c in (*hub.conflicts(), *edge.conflicts())] == [True, True]
    assert edge.sync("hq")["pulled"] == 0


def test_delete_selected_is_a_soft_deletion(admin, pair):
    hub, edge = pair
    admin.page.goto(f"{admin.root}inspections/airport/")
    names = admin.page.locator("#result_list tbody .field-icao a").all_inner_texts()[:2]
    for box in admin.page.locator("#result_list tbody input[type=checkbox]").all()[:2]:
        box.check()
    admin.page.get_by_label("Action:").select_option("delete_selected")
    admin.page.get_by_role("button", name="Run").or_(admin.page.get_by_role("button", name="Go")).first.click()
    admin.page.get_by_text("This is a soft deletion").wait_for()
    admin.page.wait_for_load_state()
    admin.picture("admin-soft-delete")
    admin.page.get_by_role("button", name="Yes, I").click()
    admin.said("Soft-deleted 2 airports.")
    edge.sync("hq")
    deleted = "print(*Airport.objects.filter(status='deleted').order_by('icao').values_list('icao', flat=True))"
    assert hub.do(deleted) == edge.do(deleted) == " ".join(sorted(names))


def test_dark_mode(admin):
    admin.edit(name="Airfield")
    admin.edit(name="Airport")
    admin.page.emulate_media(color_scheme="dark")
    admin.history()
    for mark in ("del", "ins"):
        colours = admin.page.locator(mark).first.evaluate(
            "e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
        )
        text, behind = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
        assert text - behind > 250, (mark, colours, "light text on a dark ground")
    admin.picture("admin-dark")
