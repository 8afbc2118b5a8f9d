"""A challenger beside the champion, and who becomes the next."""
