"""Files and folders as people have them, whatever they hold: listings, and what stands for contents."""
