"""What the server does before it answers its first visitor."""

import asyncio
import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import app


def test_what_was_imported_is_not_looked_through_after_each_run():
    async def served() -> int:
        async with app.with_pages_imported(app.app):
            return gc.get_freeze_count()

    try:
        with ThreadPoolExecutor(1) as thread:  # a browser's test may have left a loop in this one
            frozen = thread.submit(asyncio.run, served()).result()
        assert frozen > 100_000  # of Streamlit, pandas, Plotly and the rest
    finally:
        gc.unfreeze()
    assert "pages.components.cache" in sys.modules
