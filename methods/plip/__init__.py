"""PLIP: images and descriptions of persons, aligned by identity, with colour and attribute phrases to predict."""
