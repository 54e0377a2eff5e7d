"""The warehouse: the schema and how to reach it; it must not know Veeam, HTTP or what a pass is."""
