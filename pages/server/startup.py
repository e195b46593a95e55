"""What the server does once, when it starts: it opens the browser, and imports what the pages need meanwhile.

Streamlit runs a page when the first browser has connected, and imports nothing of it before. A browser takes about as
long to load as pandas, so both happen at the same time.
"""

import asyncio
import ctypes
import gc
import importlib
import pkgutil
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st

from pages import panels, shared

LOCAL = "localhost"
EVERYWHERE = ("0.0.0.0", "::", "")  # addresses to listen at that no browser can open
TABLES = "pyarrow.dataset"  # pandas loads it with the first table
RETURN = 60.0  # seconds between two returns of freed memory to the system

_importing: threading.Thread | None = None


@asynccontextmanager
async def while_the_browser_loads(_app: st.App) -> AsyncIterator[None]:
    """Life of the server: it starts to import and to open the browser, and serves while both go on."""
    global _importing
    _importing = threading.Thread(target=import_everything, name="import-pages", daemon=True)
    _importing.start()
    if not st.get_option("server.headless"):
        threading.Thread(target=webbrowser.open, args=(address(),), name="open-browser", daemon=True).start()
    returning = asyncio.create_task(_return_freed_memory())
    yield
    returning.cancel()


async def _return_freed_memory() -> None:
    """Sessions that end leave gaps between what lives. glibc keeps these gaps, and the server seems to grow."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    while trim is not None:
        await asyncio.sleep(RETURN)
        await asyncio.to_thread(trim, 0)


def wait() -> None:
    """Let the imports finish: two threads that import the same packages at once could see them half-made."""
    if _importing is not None:
        _importing.join()


def address() -> str:
    """Where a browser on this machine finds the server."""
    scheme = "https" if st.get_option("server.sslCertFile") else "http"
    named, listening = st.get_option("browser.serverAddress") or LOCAL, st.get_option("server.address") or ""
    host = named if named != LOCAL or listening in EVERYWHERE else listening
    host = f"[{host}]" if ":" in host else host
    path = (st.get_option("server.baseUrlPath") or "").strip("/")
    return f"{scheme}://{host}:{st.get_option('browser.serverPort')}/{path}"


def import_everything() -> None:
    """All that pages need, so that none of them waits for it.

    What is imported stays, so the collection of garbage leaves it out: it took 0.1 s each time.
    """
    for package in (shared, panels):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    importlib.import_module(TABLES)
    gc.collect()
    gc.freeze()
