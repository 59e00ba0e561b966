"""Windows in; predictions or abstentions out."""
