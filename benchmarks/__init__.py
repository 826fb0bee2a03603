"""Speed of whole iterations beside a loop in the published structure and beside the floor."""
