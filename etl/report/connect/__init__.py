"""Starter files for BI tools, one module a tool."""
