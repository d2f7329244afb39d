"""Folders, files and names as people have them: what is listed, what is left out, what lies under a root."""
