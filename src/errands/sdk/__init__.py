"""What a user's app is made of. Stands on `errands.model` alone."""
