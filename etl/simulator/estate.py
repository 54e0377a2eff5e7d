"""What surrounds the jobs of a simulated server, and how administrators change it."""

from __future__ import annotations

from threading import RLock
from typing import Any

from msgspec.structs import replace

from .infrastructure import Organization, Proxy, ProxyPool, Repository

Entity = Organization | Repository | Proxy | ProxyPool


class Estate:
    """Organizations, repositories, proxies and proxy pools by uid, in the order in which the server lists them.

    What refers to a removed one goes on referring to it, as on a real server.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self.organizations: dict[str, Organization] = {}
        self.repositories: dict[str, Repository] = {}
        self.proxies: dict[str, Proxy] = {}
        self.proxy_pools: dict[str, ProxyPool] = {}

    def place(self, *entities: Entity) -> None:
        """Add what is new, list again what was removed, replace what has the same uid."""
        with self.lock:
            for entity in entities:
                if isinstance(entity, Organization):
                    self.organizations[entity.uid] = entity
                elif isinstance(entity, Repository):
                    self.repositories[entity.uid] = entity
                elif isinstance(entity, Proxy):
                    self.proxies[entity.uid] = entity
                else:
                    self.proxy_pools[entity.uid] = entity

    def edit_organization(self, uid: str, **changes: Any) -> Organization:
        """Change fields of an organization."""
        with self.lock:
            changed = self.organizations[uid] = replace(self.organizations[uid], **changes)
            return changed

    def edit_repository(self, uid: str, **changes: Any) -> Repository:
        """Change fields of a repository."""
        with self.lock:
            changed = self.repositories[uid] = replace(self.repositories[uid], **changes)
            return changed

    def edit_proxy(self, uid: str, **changes: Any) -> Proxy:
        """Change fields of a proxy."""
        with self.lock:
            changed = self.proxies[uid] = replace(self.proxies[uid], **changes)
            return changed

    def edit_proxy_pool(self, uid: str, **changes: Any) -> ProxyPool:
        """Change fields of a proxy pool."""
        with self.lock:
            changed = self.proxy_pools[uid] = replace(self.proxy_pools[uid], **changes)
            return changed

    def remove_organization(self, uid: str) -> Organization:
        """Take an organization away; ``place`` brings it back."""
        with self.lock:
            return self.organizations.pop(uid)

    def remove_repository(self, uid: str) -> Repository:
        """Take a repository away."""
        with self.lock:
            return self.repositories.pop(uid)

    def remove_proxy(self, uid: str) -> Proxy:
        """Take a proxy away."""
        with self.lock:
            return self.proxies.pop(uid)

    def remove_proxy_pool(self, uid: str) -> ProxyPool:
        """Take a proxy pool away."""
        with self.lock:
            return self.proxy_pools.pop(uid)
