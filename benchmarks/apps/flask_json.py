"""1 KiB of JSON by Flask, with a parameter in the path and one in the query."""

from __future__ import annotations

from flask import Flask, Response, jsonify, request

from apps.content import items

wsgi = Flask(__name__)


@wsgi.get("/shops/<int:shop>/items")
def shop_items(shop: int) -> Response:
    return jsonify(items(int(request.args["page"]) + shop))
