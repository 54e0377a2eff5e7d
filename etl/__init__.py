"""vb365-etl keeps a SQL database in step with Veeam Backup for Microsoft 365 servers, with exact history."""

__version__ = "0.1.0"
