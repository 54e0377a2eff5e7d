"""The floor F of a pass: every page fetched with httpx and decoded with orjson, nothing kept; it knows nothing of etl.

Usage: jobs_floor.py URL USERNAME PASSWORD VERSION PAGE_SIZE; prints how many jobs it decoded.
"""

from __future__ import annotations

import sys

import httpx
import orjson


def main(url: str, username: str, password: str, version: str, page_size: str) -> None:
    jobs = 0
    # verify=False: over plain HTTP there is nothing to verify, and loading the CAs would raise the floor.
    with httpx.Client(base_url=url, timeout=60, trust_env=False, verify=False) as client:  # noqa: S501
        form = {"grant_type": "password", "username": username, "password": password}
        token = client.post(f"/{version}/Token", data=form).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        href: str | None = f"/{version}/Jobs?limit={page_size}" if version == "v8" else f"/{version}/Jobs"
        while href:
            page = orjson.loads(client.get(href).raise_for_status().content)
            is_page = isinstance(page, dict)
            jobs += len(page["results"] if is_page else page)
            href = page["_links"].get("next", {}).get("href") if is_page else None
    print(jobs)


if __name__ == "__main__":
    main(*sys.argv[1:])
