"""The derive stage makes facts of what was loaded, purely; it must not know HTTP or SQL."""
