"""The facts derived from jobs and sessions: what they are made of, their only writer, and what is stale."""
