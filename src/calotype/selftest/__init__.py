"""What the checks see and miss, measured on real images with planted failures."""
