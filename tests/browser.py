"""A real Chromium without a window, for tests of pages; what is missing for one is said as the reason of a skip."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest

AXE = Path(os.environ.get("MULTIMAP_AXE", ".venv/axe/node_modules/axe-core/axe.min.js"))
WIDE, NARROW = (1280, 900), (390, 800)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def missing():
    """What a browser lacks here, "" where nothing is lacking."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed (pip install selenium)"
    if not any(map(shutil.which, CHROMIUM)):
        return "there is no Chromium (apt-get install chromium)"
    return "" if shutil.which("chromedriver") else "there is no chromedriver (apt-get install chromium-driver)"


@contextlib.contextmanager
def chromium(downloads):
    """A selenium driver whose downloads go to a folder. Skips where there is none."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException

    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, CHROMIUM)))
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    try:
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    except WebDriverException as error:
        pytest.skip(f"Chromium does not start: {str(error).splitlines()[0]}")
    try:
        yield driver
    finally:
        driver.quit()


class Browser:
    """What a person does with a page."""

    def __init__(self, driver, downloads):
        self.driver, self.downloads = driver, downloads

    def open(self, page, size=WIDE, dark=False):
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.driver.get("about:blank")
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(Path(page).absolute().as_uri())
        return self

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def click(self, selector):
        self.one(selector).click()

    def text(self, selector):
        return self.one(selector).text

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def view(self, name):
        self.click(f"#views-{name}")

    def group(self, name):
        """The section of a group by its heading."""
        return next(each for each in self.all(".group") if each.find_element("css selector", "h2").text == name)

    def does(self, name, what):
        """Presses the button of a group: rename, merge, split."""
        self.group(name).find_element("css selector", f"[data-does={what}]").click()

    def fill(self, selector, value):
        element = self.one(selector)
        if element.tag_name == "select":
            from selenium.webdriver.support.select import Select

            return Select(element).select_by_visible_text(value)
        element.clear()
        element.send_keys(str(value))

    def keys(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def chord(self, held, key):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).key_down(held).send_keys(key).key_up(held).perform()

    def headings(self):
        return [each.text for each in self.all(".group h2")]

    def images(self, name):
        """Names of the images of a group that are there as elements, in order."""
        cells = self.group(name).find_elements("css selector", ".image")
        return [
            each.get_attribute("title") for each in sorted(cells, key=lambda each: int(each.get_attribute("data-at")))
        ]

    def saved(self):
        """What "Save edits" downloads."""
        path = self.downloads / "edits.json"
        path.unlink(missing_ok=True)
        self.click("#save")
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, 10).until(lambda _: path.exists() and path.read_text().endswith("}\n"))
        return json.loads(path.read_text())

    def complaints(self):
        """What the console says of errors, and which requests left the page."""
        severe = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        sent = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [each["params"]["request"]["url"] for each in sent if each["method"] == "Network.requestWillBeSent"]
        return severe + [url for url in urls if not url.startswith(("file:", "data:", "blob:", "about:"))]

    def axe(self):
        """(rule, how bad, elements) of what axe-core finds; skips where it is not there."""
        if not AXE.exists():
            pytest.skip(f"axe-core is not in {AXE} (npm install axe-core, MULTIMAP_AXE=…/axe.min.js)")
        self.run(AXE.read_text())
        found = self.driver.execute_async_script("axe.run().then(arguments[0])")["violations"]
        return [(each["id"], each["impact"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found]
