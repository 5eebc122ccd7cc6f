"""Reports of campaigns as static HTML files."""
