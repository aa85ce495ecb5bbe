"""The one loop and everything that keeps its work safe."""
