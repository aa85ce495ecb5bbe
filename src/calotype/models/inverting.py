"""What is said of models whose samples cannot be led back to their noise."""

LABELED = "this model never saw images without their label, and a watermark is read without: train with `model.label_dropout` above 0"
