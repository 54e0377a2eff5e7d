"""The service: what runs passes at their times."""
