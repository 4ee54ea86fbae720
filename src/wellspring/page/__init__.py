"""A study's page: what it found, in sentences, a table, charts and texts, as one HTML file."""
