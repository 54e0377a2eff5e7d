"""The load stage speaks SQL; it must not know HTTP or how Veeam writes a document."""
