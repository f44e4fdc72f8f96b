"""A real browser for tests: Debian's Chromium without a window, driven with Selenium, which downloads nothing."""

import json
import shutil
from contextlib import contextmanager

import pytest
from axe_core_python.selenium import Axe
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

WAIT_S = 120

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--window-size=1200,1000",
]


@contextmanager
def chromium():
    """Start Chromium and yield its driver; skip where there is none."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("Chromium is not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in FLAGS:
        options.add_argument(flag)
    opened = webdriver.Chrome(options, Service(driver))
    try:
        yield opened
    finally:
        opened.quit()


def emulate(driver, *, scheme="light", width_px=1200, height_px=1000):
    """Let the page see a colour scheme and a screen."""
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    size = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": width_px < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def requested_urls(driver):
    """Yield what was asked for since the log was last read."""
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            yield message["params"].get("request", message["params"])["url"]


class Page:
    """What a person does with the page."""

    def __init__(self, driver):
        self.driver = driver

    def find(self, css):
        """Wait until an element is there and visible."""

        def visible(driver):
            return next((one for one in driver.find_elements(By.CSS_SELECTOR, css) if one.is_displayed()), None)

        return WebDriverWait(self.driver, WAIT_S).until(visible, f"{css} never appeared")

    def find_all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def wait(self, told):
        return WebDriverWait(self.driver, WAIT_S).until(lambda _: told())

    def run(self, script):
        return self.driver.execute_script(f"return {script}")

    def upload(self, path):
        self.driver.find_element(By.ID, "file").send_keys(str(path))

    def allow_downloads(self, folder):
        behaviour = {"behavior": "allow", "downloadPath": str(folder)}
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)

    def violations(self):
        """What axe finds wrong, but for hints that need a person to judge."""
        found = Axe().run(self.driver)["violations"]
        return [(one["id"], [node["target"] for node in one["nodes"]]) for one in found]
