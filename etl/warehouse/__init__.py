"""The warehouse: the schema and how to reach it."""
