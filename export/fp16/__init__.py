"""fp32 to mixed fp16: placement rules, measured ranges, rewriting."""
