"""A stand-in for Supabase Realtime that clients cannot tell from the real one."""
