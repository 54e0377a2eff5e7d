"""The streams of a pass, a file each: how one is fetched, read and written."""
