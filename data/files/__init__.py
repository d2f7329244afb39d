"""Files and folders as people have them, whatever they hold: listings, names, and what stands for contents."""
