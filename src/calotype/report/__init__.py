"""The judgement of trained models: drawn samples, scores, verdicts, and the page that shows them."""
