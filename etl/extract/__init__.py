"""The extract stage speaks HTTP; it must not know tables, or what a document means."""
