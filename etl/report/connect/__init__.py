"""Starter files for BI tools, one module a tool; it must not open the database, and never sees a password."""
