"""User vectors: stores by URL, behind one small protocol."""

from .store import UserStore, create_user_store, open_user_store, place_below, remove_user_store

__all__ = [
    "UserStore",
    "create_user_store",
    "open_user_store",
    "place_below",
    "remove_user_store",
]
