"""The table of settings, a part a module; `settings.Settings` is all of them together."""
