"""Where documents are kept: the database, its server and users, locks and configuration files."""
