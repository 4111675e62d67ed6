"""Network layers that several estimators share."""
