"""A headless Chromium that tests of pages drive, over its DevTools protocol."""

import asyncio
import contextlib
import shutil
import subprocess
import time

import pytest

__all__ = ["Browser", "chromium", "needed", "opened"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-port=0"
)

#: Mark of a test that wants it.
needed = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: no program chromium or google-chrome")


@contextlib.contextmanager
def chromium(folder):
    """Run a browser with its profile and log in a folder; yield the port of its DevTools."""
    profile, log = folder / "profile", folder / "chromium.log"
    command = [CHROMIUM, *QUIET.split(), f"--user-data-dir={profile}", "--window-size=1100,1200", "about:blank"]
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            for _ in range(600):
                if (profile / "DevToolsActivePort").exists() or process.poll() is not None:
                    break
                time.sleep(0.1)
            if not (profile / "DevToolsActivePort").exists():
                pytest.skip(f"Chromium does not start here: {log.read_bytes()[-300:]!r}")
            time.sleep(0.2)
            yield int((profile / "DevToolsActivePort").read_text().split()[0])
        finally:
            process.terminate()
            process.wait(20)


@contextlib.asynccontextmanager
async def opened(port):
    """Yield the browser's page, whose faults are told."""
    import aiohttp

    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            target = next(one for one in await answer.json(content_type=None) if one["type"] == "page")
        async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            browser = Browser(socket)
            for domain in ("Page", "Runtime", "Log"):
                await browser.call(f"{domain}.enable")
            yield browser


class Browser:
    """A page of a browser; `faults` is what it has complained of."""

    def __init__(self, socket):
        self.socket, self.number, self.faults = socket, 0, []

    async def call(self, method, **params):
        """Return the result of a command; faults that the page reports meanwhile are kept."""
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": params})
        while True:
            message = await asyncio.wait_for(self.socket.receive_json(), 60)
            name, said = message.get("method", ""), message.get("params", {})
            if name == "Runtime.exceptionThrown" or said.get("entry", {}).get("level") == "error":
                self.faults.append(said)
            if name == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
                self.faults.append(said)
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]

    async def evaluate(self, script):
        """Return what a script gives."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return result["result"].get("value")

    async def until(self, script, wanted):
        """Wait until a script gives what is wanted."""
        found = None
        for _ in range(600):
            found = await self.evaluate(script)
            if found == wanted:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{script} is {found!r}, not {wanted!r}: {self.faults}")

    async def press(self, key):
        """Press a key."""
        text = {"text": key} if len(key) == 1 else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def settle(self, ending):
        """Wait until the page of a name is loaded; return its address."""
        for _ in range(200):
            place, state = await self.evaluate("[location.href, document.readyState]") or ["", ""]
            if place.endswith(ending) and state == "complete":
                return place
            await asyncio.sleep(0.05)
        raise AssertionError(f"{ending} was not reached; the browser shows {place}")
