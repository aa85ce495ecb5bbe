"""The service: trained models, runs and what was made, over HTTP on this machine."""
