"""Search of a corpus, and how good what it finds is."""
