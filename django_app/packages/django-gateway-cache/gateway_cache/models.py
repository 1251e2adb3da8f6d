"""None: the table is nobody's but the triggers' and the readers' (migrations/0001_initial.py). Django wants this module all the same."""
