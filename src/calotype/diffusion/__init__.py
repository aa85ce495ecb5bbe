"""From noise to images: times, samplers and guidance as pure functions of tensors."""
