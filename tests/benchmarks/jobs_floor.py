"""The floor F of a pass: every page fetched with httpx and decoded with orjson, nothing kept; it knows nothing of etl.

Usage: jobs_floor.py URL USERNAME PASSWORD VERSION PAGE_SIZE [LIST..]; prints how many documents it decoded. The lists
are Jobs unless others are named.
"""

from __future__ import annotations

import sys

import httpx
import orjson


def main(url: str, username: str, password: str, version: str, page_size: str, *lists: str) -> None:
    documents = 0
    # verify=False: over plain HTTP there is nothing to verify, and loading the CAs would raise the floor.
    with httpx.Client(base_url=url, timeout=60, trust_env=False, verify=False) as client:  # noqa: S501
        form = {"grant_type": "password", "username": username, "password": password}
        token = client.post(f"/{version}/Token", data=form).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        for name in lists or ("Jobs",):
            has_pages = version >= ("v8" if name == "Jobs" else "v5")
            href: str | None = f"/{version}/{name}?limit={page_size}" if has_pages else f"/{version}/{name}"
            while href:
                page = orjson.loads(client.get(href).raise_for_status().content)
                is_page = isinstance(page, dict)
                documents += len(page["results"] if is_page else page)
                href = page["_links"].get("next", {}).get("href") if is_page else None
    print(documents)


if __name__ == "__main__":
    main(*sys.argv[1:])
