"""One cell pre-trained: view of the corpus, the loop, optimisers, ledger."""
