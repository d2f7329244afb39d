"""Where jobs run: a file per executor."""
