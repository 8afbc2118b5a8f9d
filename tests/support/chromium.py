"""What a headless Chromium shows of a page."""

import base64
import html
import itertools
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ABSENT = "there is no Chromium here: apt-get install chromium (Debian) lets this test look at the page"


def dom(url: str, folder: Path, budget_s: int = 25) -> str:
    """A page's document after its scripts have had ``budget_s`` of virtual time; ``folder`` takes the browser's profile for that time."""
    profile = folder / f"chromium-{time.monotonic_ns()}"
    command = [*_command(profile), f"--virtual-time-budget={budget_s * 1000}", "--dump-dom", url]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=300, check=True
    )
    shutil.rmtree(profile, ignore_errors=True)
    return done.stdout


class Page:
    """A page that is open in a browser, where time runs as it does: one whose content comes by a websocket needs that."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    def wait_for(self, *expected: str, seconds: float = 120) -> str:
        """The page's visible text, once it has all that is expected."""
        until = time.monotonic() + seconds
        while True:
            text = str(self._ask("Runtime.evaluate", expression="document.body.innerText")["result"].get("value"))
            missing = [part for part in expected if part not in text]
            if not missing:
                return text
            assert time.monotonic() < until, f"the page does not show {missing}, it shows: {text}"
            time.sleep(0.3)

    def click(self, text: str) -> None:
        """Click the last button or tab whose text begins so."""
        buttons = "[...document.querySelectorAll('button, [role=tab]')]"
        script = f"{buttons}.filter(one => one.innerText.trim().startsWith({json.dumps(text)})).at(-1).click()"
        assert "exceptionDetails" not in self._ask("Runtime.evaluate", expression=script), (
            f"there is no button {text!r}"
        )

    def shown_to(self, width: int, scheme: str) -> None:
        """Show the page on a screen of that width to a reader who wants it ``"light"`` or ``"dark"``."""
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=True)
        self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def value(self, expression: str) -> Any:
        """What a script gives."""
        return self._ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self, file: Path) -> None:
        """Write what is seen as a PNG."""
        file.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))

    def _ask(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv(timeout=60))).get("id") != number:
            pass
        return answer["result"]


@contextmanager
def opened(url: str, folder: Path) -> Iterator[Page]:
    """A page in a browser of its own; ``folder`` takes the browser's profile for that time."""
    profile = folder / f"chromium-{time.monotonic_ns()}"
    command = [*_command(profile), "--remote-debugging-port=0", "about:blank"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until, port_file = time.monotonic() + 60, profile / "DevToolsActivePort"
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert browser.poll() is None, "the browser did not start"
            assert time.monotonic() < until
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        new = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?{url}", method="PUT")
        with urllib.request.urlopen(new, timeout=30) as answer:
            address = json.load(answer)["webSocketDebuggerUrl"]
        with connect(address, max_size=None) as socket:
            yield Page(socket)
    finally:
        browser.terminate()
        browser.wait(30)
        shutil.rmtree(profile, ignore_errors=True)


def _command(profile: Path) -> list[str]:
    return [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        f"--user-data-dir={profile}", "--window-size=1700,1400",
    ]  # fmt: skip


def text_of(dom: str) -> str:
    """A document's text in one line, pictures as ``[picture <alt> <source>]``."""
    body = html.unescape(re.sub(r"<(script|style)\b.*?</\1>", "", dom, flags=re.DOTALL))
    pictures = re.sub(r'<img\b[^>]*src="(data:image/svg[^"]*)"[^>]*alt="([^"]*)"[^>]*>', r" [picture \2 \1] ", body)
    return " ".join(re.sub(r"<[^>]*>", " ", pictures).split())


def shown(url: str, folder: Path, *expected: str) -> str:
    """What a page shows, as text, given more time until it has all that is expected."""
    text = ""
    for budget_s in (25, 50, 100, 100, 200):
        text = text_of(dom(url, folder, budget_s))
        if all(part in text for part in expected):
            break
    missing = [part for part in expected if part not in text]
    assert not missing, f"{url} does not show {missing}, it shows: {text}"
    return text
