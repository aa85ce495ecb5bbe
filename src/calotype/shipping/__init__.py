"""A trained model in other people's hands: files that other programs run, and folders that are shared."""
