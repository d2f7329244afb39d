"""File formats and readers that several data sets share."""
