"""1 KiB of JSON by FastAPI, with a parameter in the path and one in the query."""

from __future__ import annotations

from fastapi import FastAPI

from apps.content import items

asgi = FastAPI()


@asgi.get("/shops/{shop}/items")
async def shop_items(shop: int, page: int = 1) -> dict[str, object]:
    return items(page + shop)
