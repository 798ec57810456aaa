"""A headless Chromium, driven over its DevTools protocol through a pair of pipes."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

SECONDS = 60
_HIGH = 10  # the pipes' own descriptors must be neither 3 nor 4


class BrowserError(Exception):
    """The browser did not do what it was asked, or a script threw."""


class Browser:
    """One page. Everything that it logs, throws or refuses to load is in `complaints`.

    `with Browser() as browser: browser.open(path)`; it has ended when the block has."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._number = 0
        self._buffer = b""
        self._loaded = False
        self._session: str | None = None
        self._profile = tempfile.mkdtemp(prefix="gdbext-chromium-")
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        reading, writing = (fcntl.fcntl(fd, fcntl.F_DUPFD, _HIGH) for fd in (theirs_in, theirs_out))

        # --remote-debugging-pipe reads from 3 and writes to 4.
        exec_ = f'exec chromium "$@" 3<&{reading} 4>&{writing}'
        self._process = subprocess.Popen(
            [
                *("bash", "-c", exec_, "chromium"),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--hide-scrollbars",
                f"--user-data-dir={self._profile}",
                "--remote-debugging-pipe",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(reading, writing),
            start_new_session=True,
        )
        for descriptor in (theirs_in, theirs_out, reading, writing):
            os.close(descriptor)

    def __enter__(self) -> Browser:
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session = None
        try:
            if self._process.poll() is None:
                self.call("Browser.close")
                self._process.wait(timeout=SECONDS)
        except (BrowserError, OSError, subprocess.TimeoutExpired):
            os.killpg(self._process.pid, 9)
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401
        """One command of the protocol and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, path: Path) -> None:
        """Open a file and wait until its scripts have run."""
        self._loaded = False
        self.complaints.clear()
        self.requests.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not self._loaded:
            self._read()

    def run(self, script: str) -> Any:  # noqa: ANN401
        """What a script's expression gives, as JSON; a promise's outcome."""
        done = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in done:
            raise BrowserError(json.dumps(done["exceptionDetails"]))
        return done["result"].get("value")

    def press(self, key: str, text: str = "", code: int = 0) -> None:
        """One key down and up, where the focus is."""
        what = {"key": key, "code": key, "windowsVirtualKeyCode": code or _CODES.get(key, 0)}
        kind = "keyDown" if text else "rawKeyDown"
        self.call("Input.dispatchKeyEvent", type=kind, text=text, **what)
        self.call("Input.dispatchKeyEvent", type="keyUp", **what)

    def type(self, text: str) -> None:
        """A text into what has the focus."""
        self.call("Input.insertText", text=text)

    def size(self, width: int, height: int) -> None:
        """The size of the window in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip

    def prefer(self, scheme: str = "light", media: str = "") -> None:
        """`light` or `dark`, as the person likes it; MEDIA is "print" or nothing."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media=media, features=[feature])

    def screenshot(self, path: Path) -> None:
        """The window as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def print(self, path: Path) -> None:
        """The page as a PDF."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF")["data"]))

    def _read(self) -> dict[str, Any]:
        """The next message; events are noted."""
        end = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0, end - time.monotonic()))
            data = os.read(self._from, 1 << 20) if ready else b""
            if not data:
                raise BrowserError("the browser has ended or says nothing more")
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, event: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled",
                        "Page.javascriptDialogOpening"):  # fmt: skip
            self.complaints.append(f"{method}: {json.dumps(event)[:600]}")


_CODES = {
    "Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38,
    "ArrowRight": 39, "ArrowDown": 40,
}  # fmt: skip
