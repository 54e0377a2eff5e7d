"""The derive stage makes facts of what was loaded, purely; it must not know HTTP or SQL."""

DERIVE_REVISION = 2
"""Raise it when a rule of derivation changes: the next passes derive every job again, piece by piece."""
