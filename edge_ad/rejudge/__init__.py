"""Judge an archive of images again, as a line would: one row an image, each exactly once."""
