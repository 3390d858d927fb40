"""The five resources of a grading system: what the server promises about them, without HTTP."""
