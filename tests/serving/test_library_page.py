"""The page of a library in a real browser: a moment found, played, kept; usable by all, by keyboard too."""

import pytest

pytest.importorskip("selenium")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from browser import Page, chromium, emulate, requested_urls
from drawn_library import BEAT_S
from running_server import running_server

PLACE = "document.querySelector('#player video').currentTime"


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        yield driver


@pytest.fixture
def page(driver, library_address):
    """The page, freshly opened; whatever the test did, it asked nobody else for anything."""
    emulate(driver)
    driver.get("about:blank")
    driver.get_log("browser"), driver.get_log("performance")
    driver.get(f"{library_address}/library.html")
    page = Page(driver)
    page.find("#moments .moment")
    yield page
    errors = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert [entry for entry in errors if "/search?" not in entry["message"]] == []
    for url in requested_urls(driver):
        assert url.startswith((library_address, "blob:", "data:", "about:")), f"{url} was asked for"


def search(page, query):
    box = page.find("#query")
    box.clear()
    box.send_keys(query, Keys.ENTER)


def told(page, text):
    page.wait(lambda: page.find("#told").text.startswith(text))


def test_it_opens_with_what_the_library_holds(page):
    assert page.find("#held").text.startswith("3 files, ") and "1 more could not be read" in page.find("#held").text
    assert len(page.find_all("#strip button:enabled")) == 3
    assert [one.text for one in page.find_all("#facet-folders .name")] == ["interviews", "talks", "weddings"]
    page.wait(lambda: page.run("[...document.querySelectorAll('.shot img')].every((one) => one.naturalWidth > 0)"))
    assert page.find_all(".shot img") and page.find_all(".curve path")


def test_a_moment_is_found_and_plays(page):
    search(page, "happy > 0.5")
    told(page, "2 moments")
    assert page.find("#asked").text == "The whole query: happy > 0.5"
    card = page.find(".moment")
    assert "happy" in card.text
    name = card.find_element("css selector", ".file").text
    card.click()
    page.find("#timeline .area path")
    assert page.find("#player-title").text.startswith("happy ")
    page.wait(lambda: page.run(PLACE) >= BEAT_S)
    rows = [one.text for one in page.find_all("#timeline .name")]
    assert "found" in rows and "face" in rows and page.find("#player-file").text == name
    page.wait(lambda: page.run(f"{PLACE.rpartition('.')[0]}.paused && {PLACE} > 1"))
    assert page.violations() == []
    page.find("#after").click()
    page.wait(lambda: page.find("#player-file").text != name)
    page.find("#player-panel").send_keys(Keys.ESCAPE)
    page.wait(lambda: not page.driver.find_element("id", "player-panel").is_displayed())
    assert page.run("document.activeElement.classList.contains('moment')"), "the keyboard has lost its place"


def test_names_stay_text(page):
    search(page, "folder = 'weddings'")
    told(page, "1 moment")
    assert page.find(".moment .file").text == "weddings/party's <b>.webm"


def test_seeking_in_the_timeline(page):
    search(page, "surprise > 0.5 and folder = 'weddings'")
    told(page, "1 moment")
    page.find(".moment").click()
    slider = page.find("#timeline .slider")
    page.wait(lambda: page.run(PLACE) >= 2 * BEAT_S)
    page.run("document.querySelector('#player video').pause()")
    slider.send_keys(Keys.HOME)
    page.wait(lambda: page.run(PLACE) < 1)
    assert slider.get_attribute("aria-valuetext").startswith("0:0")
    ActionChains(page.driver).move_to_element(slider).click().perform()
    page.wait(lambda: abs(page.run(PLACE) - 1.5 * BEAT_S) < 1)


def test_moments_like_one_that_plays(page):
    search(page, "surprise > 0.5 and folder = 'weddings'")
    told(page, "1 moment")
    page.find(".moment").click()
    page.find("#alike").click()
    page.wait(lambda: page.find("#asked").text.startswith("Most like"))
    first = page.find(".moment")
    assert "alike" in first.text and "talks/opening.webm" in first.text and page.violations() == []
    page.find("#clear").click()
    page.wait(lambda: page.find("#asked").text.startswith("The surest"))


def test_sound_alone_plays(page):
    search(page, "name = 'call.wav' and angry > 0.5")
    told(page, "1 moment")
    assert page.find(".moment .kind").text == "sound"
    page.find(".moment").click()
    page.wait(lambda: page.run(f"{PLACE.rpartition('.')[0]}.readyState > 0"))
    assert "sound" in page.find("#player").get_attribute("class") and page.violations() == []


def test_chips_and_sliders(page):
    chip = page.find('.chip[data-emotion="surprise"] button')
    chip.click()
    page.wait(lambda: page.find("#asked").text == "The whole query: surprise >= 0.6")
    assert chip.get_attribute("aria-pressed") == "true"
    slider = page.find('.chip[data-emotion="surprise"] input')
    slider.send_keys(Keys.ARROW_RIGHT)
    page.wait(lambda: page.find("#asked").text == "The whole query: surprise >= 0.65")
    page.find('.chip[data-emotion="sad"] button').click()
    page.wait(lambda: "sad >= 0.6 or surprise" in page.find("#asked").text or "or sad" in page.find("#asked").text)
    chip.click()
    page.wait(lambda: page.find("#asked").text == "The whole query: sad >= 0.6")
    assert page.find("#told").text.startswith("No moment fits")


def test_facets_narrow_down_and_the_address_remembers(page):
    search(page, "confidence > 0.4")
    for css in ('input[value="voice"]', 'input[name="folder"][value="interviews"]'):
        page.driver.find_element("css selector", css).click()
    page.wait(lambda: "folder in ('interviews')" in page.find("#asked").text)
    assert page.find("#asked").text == "The whole query: confidence > 0.4 and voice and folder in ('interviews')"
    assert {one.text for one in page.find_all(".moment .file")} == {"interviews/call.wav"}
    page.driver.refresh()
    page.wait(lambda: "folder in ('interviews')" in page.find("#asked").text)
    assert page.find("#query").get_attribute("value") == "confidence > 0.4"
    page.find("#clear").click()
    page.wait(lambda: page.find("#asked").text.startswith("The surest of all"))
    page.driver.find_element("css selector", 'input[name="people"][value="2"]').click()
    page.wait(lambda: "people = 2" in page.find("#asked").text)


def test_the_strip_by_keyboard(page):
    first = page.find("#strip button:enabled")
    assert first.get_attribute("aria-label").startswith("May 2024: 1 file, ")
    page.run("document.querySelector('#strip button:enabled').focus()")
    page.driver.switch_to.active_element.send_keys(Keys.END)
    assert page.run("document.activeElement.dataset.date") == "2024-11"
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait(lambda: page.find("#asked").text == "The whole query: date = 2024-11")
    assert {one.text for one in page.find_all(".moment .file")} == {"talks/opening.webm"}
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait(lambda: page.find("#asked").text.startswith("The surest"))


def test_a_mistake_is_pointed_at(page):
    search(page, "face and angrry > 0.6")
    assert "did you mean 'angry'?" in page.find("#failure-text").text
    assert page.find("#failure-pointer").text.splitlines()[1].strip() == "^^^^^^"
    assert page.find("#query").get_attribute("aria-invalid") == "true" and page.violations() == []
    search(page, "face and angry > 0.2")
    page.wait(lambda: not page.driver.find_element("id", "failure").is_displayed())


def test_downloads(page, tmp_path):
    search(page, "happy > 0.5")
    told(page, "2 moments")
    page.allow_downloads(tmp_path)
    page.find(".moment").click()
    for kind in ("csv", "edl", "vtt"):
        page.find(f"#save-{kind}").click()
        page.wait(lambda kind=kind: (tmp_path / f"moments.{kind}").is_file())
    begins = {path.suffix: path.read_text().split("\n")[0] for path in tmp_path.iterdir()}
    assert begins[".edl"] == "TITLE: moodreel" and begins[".vtt"] == "WEBVTT" and begins[".csv"].startswith('"file"')


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [1200, 360])
def test_the_page_is_usable_by_all(page, scheme, width_px):
    emulate(page.driver, scheme=scheme, width_px=width_px)
    page.driver.refresh()
    page.find(".moment").click()
    page.find("#timeline .area path")
    assert page.violations() == []
    assert page.run("document.documentElement.scrollWidth") <= width_px, "the page scrolls sideways"


def test_the_pages_know_each_other(page, driver, library_address, address):
    page.find("nav a").click()
    page.find("#drop")
    page.find('#pages a[href="library.html"]').click()
    page.find("#moments .moment")
    driver.get(address)
    assert (
        not Page(driver).find("h1").find_elements("css selector", "nav")
        and not driver.find_element("id", "pages").is_displayed()
    ), "a server without a library offers one"
    driver.get("about:blank")
    driver.get_log("performance"), driver.get_log("browser")


def test_a_token_is_asked_for_and_players_need_none(driver, tiny_bundle, drawn):
    with running_server(tiny_bundle, "--workers", "1", "--library", str(drawn), MOODREEL_TOKEN="secret") as (
        address,
        _,
    ):
        driver.get(f"{address}/library.html")
        page = Page(driver)
        page.find("#token-text").send_keys("wrong", Keys.ENTER)
        page.wait(lambda: page.find("#failure-title").text == "That token is wrong")
        page.find("#token-text").send_keys("secret", Keys.ENTER)
        page.find(".moment").click()
        page.wait(lambda: page.run(f"{PLACE.rpartition('.')[0]}.readyState > 0"))
        page.wait(lambda: page.run("[...document.querySelectorAll('.shot img')].some((one) => one.naturalWidth > 0)"))
        assert page.violations() == []
