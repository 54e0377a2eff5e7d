"""The history of jobs: what is known, what a reading changes in it, and its only writer."""
