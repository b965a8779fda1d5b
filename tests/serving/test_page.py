"""The page in a real browser: what a user does with it, on wide and narrow screens, by keyboard."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from cir.data.dataset import Dataset
from cir.search.index import SearchIndex
from cir.search.opening import Source, open_gallery
from cir.serving.app import create_app
from cir.serving.engine import Engine, Served
from tests.support.browser import browsing, listening
from tests.support.galleries import plain_sum, small_photos, stored
from tests.support.micro import micro_encoder

pytestmark = pytest.mark.slow

RESULT = "#answers .answer li"
PHONE = {"width": 400, "height": 860}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_photos(tmp_path_factory.mktemp("page") / "shop", count=12)


@pytest.fixture(scope="module")
def address(photos: Dataset) -> Iterator[str]:
    """Two checkpoints and the plain sum over a small shop."""
    encoder = micro_encoder()
    store = stored(photos, encoder, photos.root.with_name("shop.h5"))
    gallery = open_gallery(Source(store, photos))
    served = [
        Served("run-1", "after training: first", True, SearchIndex(plain_sum(encoder), gallery)),
        Served("run-2", "after training: second", True, SearchIndex(plain_sum(encoder), gallery)),
        Served(
            "sum", "before training: plain sum", False, SearchIndex(plain_sum(encoder), gallery)
        ),
    ]
    with listening(create_app(Engine(served, photos), queue=8)) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as opened:
        yield opened


class Visitor:
    """A fresh session, and everything that its page complained of or fetched from elsewhere."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.page: Page = browser.new_context(**options).new_page()
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("request", lambda request: self._asked(request.url, address))

    def _heard(self, message: Any) -> None:
        # A refusal that the page tells its user is in the console as well.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def _asked(self, url: str, address: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            self.faults.append(f"fetched {url}")


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Any]:
    """Opens the page in a fresh session; at the end no page may have complained."""
    visitors: list[Visitor] = []

    def opened(at: str = "", held: list[Route] | None = None, **options: Any) -> Page:
        """`held` keeps what the page asks first, unanswered."""
        visitors.append(Visitor(browser, address, **options))
        page = visitors[-1].page
        if held is not None:
            page.route("**/api/info*", lambda route: held.append(route))
        page.goto(at or address)
        while held == []:
            page.wait_for_timeout(10)
        return page

    yield opened
    for visitor in visitors:
        visitor.page.context.close()
        assert visitor.faults == []


def pick(page: Page, image_id: str = "s0") -> None:
    with answered(page):
        page.click(f'#found [data-id="{image_id}"] button')
    page.wait_for_selector(RESULT)


@contextmanager
def answered(page: Page) -> Iterator[None]:
    """What is done inside asks the server; at the end the page shows the answer, whole."""
    with page.expect_response("**/api/search"):
        yield
    expect(page.locator("#answers")).not_to_have_attribute("aria-busy", "true")


def ids(page: Page) -> list[str | None]:
    """The photos of the first answer, read at one moment."""
    shown = page.locator("#answers .answer >> nth=0 >> li[data-id]")
    return shown.evaluate_all("items => items.map(item => item.dataset.id)")


def ask(page: Page, text: str) -> None:
    """Searches, and waits for the answer."""
    page.fill("#text", text)
    with answered(page):
        page.click("#search")


def test_pick_type_search_refine_and_share(visit: Any) -> None:
    page = visit()
    pick(page)
    assert "s0" not in ids(page)
    ask(page, "is red")
    expect(page.locator("#status")).to_contain_text(re.compile(r"\d+ photos in \d+ ms"))
    second = ids(page)[1]
    with answered(page):
        page.click(f"{RESULT} >> nth=1 >> .frame")
    expect(page.locator("#steps li")).to_have_count(2)
    ask(page, "with stripes")
    assert second not in ids(page)

    other = visit(page.url)
    other.wait_for_selector(RESULT)
    assert ids(other) == ids(page)
    assert other.input_value("#text") == "with stripes"
    expect(other.locator("#steps li")).to_have_count(2)
    other.click("#steps li >> nth=0 >> button")
    expect(other.locator("#text")).to_have_value("is red")
    other.go_back()
    expect(other.locator("#text")).to_have_value("with stripes")


def test_more_and_less_like_a_result_can_be_taken_back(visit: Any) -> None:
    page = visit()
    pick(page)
    before = ids(page)
    for word in ("More", "Less"):
        with answered(page):
            page.click(f"{RESULT} >> nth=2 >> [aria-label^='{word} like this']")
    expect(page.locator("#tastes button")).to_have_count(2)
    for _ in range(2):
        with answered(page):
            page.click("#tastes button >> nth=0")
    expect(page.locator("#tastes")).to_be_hidden()
    assert ids(page) == before


def test_the_slider_and_the_category_are_asked_for(visit: Any) -> None:
    page = visit()
    pick(page)
    ask(page, "is red")
    with page.expect_request("**/api/search") as asked:
        page.locator("#weight").fill("1")
        page.locator("#weight").dispatch_event("change")
    assert asked.value.post_data_json["weight"] == 1
    with page.expect_request("**/api/search") as asked:
        page.select_option("#category", "shoes")
    assert asked.value.post_data_json["category"] == "shoes"
    assert asked.value.post_data_json["weight"] == 1


def test_two_checkpoints_stand_side_by_side(visit: Any) -> None:
    page = visit()
    pick(page)
    page.select_option("#second", "run-2")
    expect(page.locator("#answers .answer")).to_have_count(2)
    titles = page.locator("#answers h2").all_text_contents()
    assert titles == ["after training: first", "after training: second"]
    first, second = (page.locator("#answers .answer").nth(n).bounding_box() for n in (0, 1))
    assert first["y"] == second["y"]
    assert first["x"] + first["width"] <= second["x"]


def test_a_query_of_the_dataset_shows_where_its_target_ranks(visit: Any) -> None:
    page = visit()
    page.click("#of-queries")
    page.click("[data-query] button")
    expect(page.locator(".targets")).to_contain_text(re.compile(r"best rank \d+ of 12"))
    assert page.input_value("#text") == "is blue"
    expect(page.locator(".targets")).to_contain_text("the reference has a rank as well")
    expect(page.locator(f'{RESULT}.hit[data-id="s1"]')).to_have_count(1)
    rank = page.locator(f'{RESULT}[data-id="s1"] .note').text_content().split(" · ")
    expect(page.locator(".targets")).to_contain_text(f"best rank {rank[0]} of 12")
    reference = page.locator(f'{RESULT}[data-id="s0"] .note')
    expect(reference).to_have_text(re.compile(r"^\d+ · reference$"))
    ask(page, "is blue, with a bow")
    expect(page.locator(".targets")).to_have_count(0)


def test_a_query_says_where_the_protocol_removes_the_reference(visit: Any) -> None:
    def removed(route: Route) -> None:
        route.fulfill(json=route.fetch().json() | {"reference_rule": "removed"})

    page = visit()
    page.route("**/api/queries/*", removed)
    page.click("#of-queries")
    page.click("[data-query] button")
    expect(page.locator(".targets")).to_contain_text("the reference has none")


def test_photos_are_found_by_words_and_by_chance(visit: Any) -> None:
    page = visit()
    page.fill("#find", "shoe 7")
    expect(page.locator("#found li")).to_have_count(1)
    assert page.locator("#found .named").text_content() == "Shoe 7 <b>"
    page.click("#random")
    page.wait_for_selector(RESULT)


def test_words_of_the_catalogue_are_suggested(visit: Any) -> None:
    page = visit()
    pick(page)
    page.click("#words button >> nth=0")
    page.click("#words button >> nth=1")
    words = page.locator("#words button").all_text_contents()[:2]
    assert page.input_value("#text") == ", ".join(words)


def test_an_own_photo_is_searched_with_and_in_no_link(visit: Any, photos: Dataset) -> None:
    page = visit()
    page.set_input_files("#upload", photos.image_path("s3"))
    page.wait_for_selector(RESULT)
    expect(page.locator("#reference")).to_contain_text("Your own photo")
    expect(page.locator("#reference img")).to_have_js_property("complete", True)
    other = visit(page.url)
    expect(other.locator("#fault")).to_contain_text("which no link holds")


def test_a_step_back_is_to_the_photo_that_it_began_with(
    visit: Any, photos: Dataset, address: str
) -> None:
    """Each photo of one's own belongs to its step, whatever stands at that place otherwise."""
    page = visit()
    sent, shown = [], []
    for image_id in ("s3", "s4"):
        with page.expect_request("**/api/search") as asked:
            page.set_input_files("#upload", photos.image_path(image_id))
        sent.append(asked.value.post_data_json["photo"])
        shown.append(page.locator("#reference img").get_attribute("src"))
    with page.expect_request("**/api/search") as asked:
        page.go_back()
    assert asked.value.post_data_json["photo"] == sent[0] != sent[1]
    expect(page.locator("#reference img")).to_have_attribute("src", str(shown[0]))
    page.goto(f"{address}/#step=%7B%22own%22%3Atrue%7D")
    expect(page.locator("#fault")).to_contain_text("which no link holds")
    expect(page.locator("#reference img")).to_have_count(0)


def test_a_photo_that_the_server_could_not_tell_of_is_asked_for_again(
    visit: Any, address: str
) -> None:
    held: list[Route] = []
    page = visit(f"{address}/#step=%7B%22image%22%3A%22s5%22%7D", held=held)
    page.route("**/api/images/s5*", lambda route: route.fulfill(status=503))
    held.pop().continue_()
    page.wait_for_selector(RESULT)
    expect(page.locator("#fault")).to_contain_text("The server is busy")
    page.unroute("**/api/images/s5*")
    ask(page, "is red")
    expect(page.locator("#reference img")).to_have_count(1)


def test_what_is_done_before_the_server_has_answered_is_done_after_it(
    visit: Any, photos: Dataset
) -> None:
    """A page that is still loading loses no text and no photo, and does not leave itself."""
    held: list[Route] = []
    page = visit(held=held)
    page.fill("#text", "is red")
    page.click("#search")
    page.set_input_files("#upload", photos.image_path("s3"))
    assert page.locator("#found li").count() == 0
    held.pop().continue_()
    page.wait_for_selector(RESULT)
    expect(page.locator("#reference")).to_contain_text("Your own photo")
    expect(page.locator("#text")).to_have_value("is red")
    page.go_back()
    expect(page.locator("#reference")).to_contain_text("None yet")
    expect(page.locator("#text")).to_have_value("is red")


def test_an_upload_that_is_no_image_is_refused_in_a_line(visit: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no photo at all")
    page = visit()
    page.set_input_files("#upload", tmp_path / "notes.jpg")
    expect(page.locator("#fault")).to_be_visible()
    assert page.locator("#fault").text_content()
    page.click("#browse")
    expect(page.locator("#fault")).to_be_hidden()
    pick(page)


def test_a_text_of_10_000_characters_is_refused_in_a_line(visit: Any) -> None:
    page = visit()
    pick(page)
    ask(page, "a " * 5_000)
    expect(page.locator("#fault")).to_contain_text("1000")
    ask(page, "is red")
    page.wait_for_selector(RESULT)


def test_a_link_of_nonsense_begins_anew(visit: Any, address: str) -> None:
    page = visit(f"{address}/#step=%7B")
    page.wait_for_selector("#found li")
    for link in ("#step=7&at=7&top=x", "#step=%7B%22image%22%3A%22gone%22%7D"):
        page.goto(f"{address}/{link}")
        page.wait_for_selector("#fault:not([hidden])")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways(visit: Any, scheme: str) -> None:
    page = visit(viewport=PHONE, color_scheme=scheme)
    pick(page)
    page.select_option("#second", "sum")
    expect(page.locator("#answers .answer")).to_have_count(2)
    page.click(f"{RESULT} >> nth=0 >> [aria-label^='More like this']")
    taste = page.locator("#tastes button").bounding_box()
    assert taste["x"] + taste["width"] <= PHONE["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", ground)[:3])) > 3 * 128
    assert bright == (scheme == "light")


def test_the_keyboard_reaches_everything(visit: Any) -> None:
    page = visit()
    page.wait_for_selector("#found li")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator('#found [data-id="s0"] button').focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(RESULT)
    page.locator("#text").focus()
    page.keyboard.type("is red")
    with answered(page):
        page.keyboard.press("Enter")
    assert "is+red" in page.url


def test_axe_finds_nothing_serious(visit: Any) -> None:
    page = visit()
    page.wait_for_selector("#found li")
    assert serious(page) == []
    pick(page)
    page.click(f"{RESULT} >> nth=0 >> [aria-label^='More like this']")
    page.select_option("#second", "sum")
    expect(page.locator("#answers .answer")).to_have_count(2)
    assert serious(page) == []
    page.emulate_media(color_scheme="dark")
    assert serious(page, runOnly=["color-contrast"]) == []
    page.goto(page.url.split("#")[0] + "api/docs")
    assert serious(page) == []


def serious(page: Page, **options: Any) -> list[str]:
    """What axe finds that keeps people out."""
    options |= {"resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
