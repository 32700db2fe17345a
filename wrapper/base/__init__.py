"""Base images: their catalogue, how they are built, which one a build starts from."""
