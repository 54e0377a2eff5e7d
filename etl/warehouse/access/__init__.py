"""Who may read what: accounts for reports, per database."""
