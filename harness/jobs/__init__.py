"""Work as files: a job, its folder, its events, how it ended; and where jobs are run."""
