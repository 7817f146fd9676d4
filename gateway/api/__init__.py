"""One noun, one file; handlers of a few lines. A router of FastAPI is called `api` here."""
