"""Methods of other papers on the same frozen encoder, one file a method, each a function of one Case."""
