"""Training: recipes, the loop around the libraries' trainers, and the ledger of its compute."""
