"""What the frameworks answer with: about 1 KiB as JSON, made anew for each request."""

from __future__ import annotations


def items(page: int) -> dict[str, object]:
    return {
        "page": page,
        "items": [
            {"id": number, "name": f"item {number}", "price": number * 1.25, "tags": ["new", "small"], "stock": True}
            for number in range(13)
        ],
    }
