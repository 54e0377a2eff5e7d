"""The transform stage turns documents into records, purely; it must not know HTTP or SQL."""
